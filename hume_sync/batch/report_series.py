"""The scores of an item in the form in which a report's page holds them: rounded to three digits, and bounded."""

from __future__ import annotations

import math
import string
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby, product
from operator import itemgetter
from typing import Any, Final

import attrs

from ..reprs import safe_repr
from ..stream import StreamResponse

__all__ = ["COLUMNS", "Catalog", "Numbering", "Series", "Track", "encode_scores"]

COLUMNS: Final = 160
"""Columns of a heat map, at most: neighbouring segments are averaged where an item has more."""

_SERIES: Final = 16
"""Series of an item, at most: models, kinds of scores, and faces."""

_NAMES: Final = 512
"""Names in a report, at most. (The protocol has fewer than 200.)"""

_TEXT: Final = 160
"""Characters of a segment's text that a report holds."""

_OFFSET: Final = 1000
_ALPHABET: Final = string.ascii_letters + string.digits + "-_"
_MISSING: Final = len(_ALPHABET) ** 2 - 1

_UNNAMED: Final = (None, "unknown")
"""The ``face_id`` of faces that were not to be identified."""


class Numbering:
    """Names, numbered in the order in which they first occur."""

    def __init__(self, most: int) -> None:
        self._numbers: dict[Any, int] = {}
        self._most = most

    def number(self, name: Any) -> int | None:
        """Return the number of a name; None for a new one when there are as many as are kept."""
        if name not in self._numbers and len(self._numbers) >= self._most:
            return None
        return self._numbers.setdefault(name, len(self._numbers))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


@safe_repr
@attrs.define
class Track:
    """The scores of one model and one kind, such as the emotions of "prosody", in all items.

    Attributes:
        model: The name of the model.
        kind: As in `StreamResponse.to_records`.
        names: The numbers of the names, in the order in which the server gives them.
        highest: The highest score.
    """

    model: str
    kind: str
    names: Numbering = attrs.field(factory=lambda: Numbering(_NAMES))
    highest: float = 0.0


@safe_repr
@attrs.define
class Series:
    """The scores of a track in one item, by segment.

    Attributes:
        track: The number of the track.
        label: The face; empty where there is but one, and for other models.
        times: Begin and end of each segment in seconds; None for what has no time.
        texts: The text of each segment; empty if none has any.
        counts: How many segments of the reply each one stands for.
        scores: A row for each segment, in the order of the track's names; NaN where there is no score. Rows may be
            shorter than the track has names.
    """

    track: int
    label: str
    times: list[tuple[float, float] | None] = attrs.field(factory=list)
    texts: list[str] = attrs.field(factory=list)
    counts: list[int] = attrs.field(factory=list)
    scores: list[array[float]] = attrs.field(factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def is_timed(self) -> bool:
        """Whether all segments have a time."""
        return None not in self.times

    def mean(self, width: int) -> array[float]:
        """Return the mean score of each of ``width`` names over all segments."""
        return _mean(self.scores, self.counts, width)

    def shrink(self, most: int, width: int) -> None:
        """Average neighbouring segments until there are at most ``most``."""
        if len(self) <= most:
            return
        step = -(-len(self) // most)
        groups = [slice(start, start + step) for start in range(0, len(self), step)]
        self.times = [_span(self.times[group]) for group in groups]
        self.texts = [" ".join(self.texts[group])[:_TEXT] for group in groups] if self.texts else []
        self.scores = [_mean(self.scores[group], self.counts[group], width) for group in groups]
        self.counts = [sum(self.counts[group]) for group in groups]


def _span(times: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    known = [time for time in times if time is not None]
    return (min(begin for begin, _ in known), max(end for _, end in known)) if known else None


def _mean(rows: Sequence[array[float]], counts: Sequence[int], width: int) -> array[float]:
    sums, weights = [0.0] * width, [0] * width
    for row, count in zip(rows, counts, strict=True):
        for index, score in enumerate(row):
            if not math.isnan(score):
                sums[index] += score * count
                weights[index] += count
    return array("d", [total / weight if weight else math.nan for total, weight in zip(sums, weights, strict=True)])


class Catalog:
    """The names and tracks of a report, which the replies of all items are read into."""

    def __init__(self) -> None:
        self.names = Numbering(_NAMES)
        self.emotions = Numbering(_NAMES)
        self._tracks = Numbering(_NAMES)
        self.tracks: list[Track] = []

    def read(self, reply: StreamResponse) -> list[Series]:
        """Return the series of a reply."""
        found: dict[tuple[int, str], Series] = {}
        faces: dict[tuple[int, object], int] = {}
        for (model, _, kind), group in groupby(reply.to_records(), itemgetter("model", "segment", "kind")):
            records = list(group)
            number = self._track(model, kind)
            if number is None:
                continue
            first = records[0]
            time = _time(first["t_start"], first["t_end"])
            label = _face_label(first["face_id"])
            if time is not None and not label and model == "face":  # several faces of one frame, not identified
                nth = faces[number, time] = faces.get((number, time), 0) + 1
                label = f"face {nth} of the frame" if nth > 1 else ""
            if (number, label) not in found and len(found) >= _SERIES:
                continue
            series = found.setdefault((number, label), Series(number, label))
            series.times.append(time)
            series.texts.append(first["text"] if isinstance(first["text"], str) else "")
            series.counts.append(1)
            series.scores.append(self._row(self.tracks[number], records))
        for series in found.values():
            series.texts = [text[:_TEXT] for text in series.texts] if any(series.texts) else []
            series.shrink(COLUMNS, len(self.tracks[series.track].names))
        return list(found.values())

    def means(self, emotions: Mapping[str, float]) -> array[float]:
        """Return the mean scores of `StreamResponse.emotions` in the order of ``self.emotions``."""
        row = array("d", [math.nan] * len(self.emotions))
        for name, score in emotions.items():
            _put(row, self._emotion(name), score)
        return row

    def _emotion(self, name: str) -> int | None:
        number = self.names.number(name)
        return None if number is None else self.emotions.number(number)

    def _track(self, model: str, kind: str) -> int | None:
        number = self._tracks.number((model, kind))
        if number == len(self.tracks):
            self.tracks.append(Track(model, kind))
        return number

    def _row(self, track: Track, records: Iterable[dict[str, Any]]) -> array[float]:
        row = array("d", [math.nan] * len(track.names))
        for record in records:
            name = self.names.number(record["name"])
            if name is not None:
                _put(row, track.names.number(name), record["score"])
                track.highest = max(track.highest, record["score"])
        return row


def _put(row: array[float], index: int | None, score: float) -> None:
    if index is None:
        return
    while len(row) <= index:
        row.append(math.nan)
    row[index] = score


def _time(begin: object, end: object) -> tuple[float, float] | None:
    if isinstance(begin, bool) or isinstance(end, bool):
        return None
    if isinstance(begin, int | float) and isinstance(end, int | float) and 0 <= begin <= end < 1e9:
        return float(begin), float(end)
    return None


def _face_label(face_id: object) -> str:
    return "" if face_id in _UNNAMED else str(face_id)[:_TEXT]


def encode_scores(scores: Iterable[float], width: int) -> str | list[float | None]:
    """Return scores in thousandths, two characters each; as a list of numbers if one is far from the usual range.

    Args:
        scores: The scores; NaN where there is none.
        width: How many there are to be; those that lack at the end count as NaN.
    """
    row = list(scores)
    row += [math.nan] * (width - len(row))
    pairs = _pairs()
    codes = [_MISSING if math.isnan(score) else _thousandths(score) for score in row]
    if all(0 <= code <= _MISSING for code in codes):
        return "".join([pairs[code] for code in codes])
    return [None if math.isnan(score) else round(score, 3) for score in row]


def _thousandths(score: float) -> int:
    code = round(score * 1000) + _OFFSET if abs(score) < _OFFSET else -1
    return code if code < _MISSING else -1


@cache
def _pairs() -> list[str]:
    """Return the two characters of each code."""
    return [first + second for first, second in product(_ALPHABET, repeat=2)]
