"""What the page of a report shows, as one JSON object: facts, failures, scopes, and a compact record for each item."""

from __future__ import annotations

import heapq
import math
import re
from array import array
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Final, Literal

import attrs

from ..reprs import safe_repr
from .item import ItemError, Result
from .report_series import Catalog, Series, encode_scores

__all__ = ["ReportData", "RunFacts"]

_TOP: Final = 3
"""Expressions in an item's row of the table."""

_FIRST_INPUTS: Final = 5

_MESSAGE: Final = 400
"""Characters of an error's text that a report holds."""

_BUDGET: Final = 8_000_000
"""Scores of all series together (two bytes each): beyond it, the segments of all items are averaged further."""

_DIGITS: Final = re.compile(r"([0-9]+)")


@safe_repr
@attrs.frozen
class RunFacts:
    """The facts of a run.

    Attributes:
        items: How many items there are.
        measured: How many of them have scores.
        failed: How many have an error.
        requests: How many requests the measured items took.
        retried: How many items took more than one attempt.
        seconds: The time that all items took, one after the other.
        media_seconds: The length of what the models with times measured.
        models: The models that replied, in alphabetical order.
        emulated: Whether "all", "some" or "none" of the measured items have invented scores.
        emulated_items: How many have.
    """

    items: int
    measured: int
    failed: int
    requests: int
    retried: int
    seconds: float
    media_seconds: float
    models: tuple[str, ...]
    emulated: Literal["all", "some", "none"]
    emulated_items: int


@safe_repr
@attrs.define
class _Row:
    """An item as the page needs it."""

    key: str
    error: ItemError | None
    attempts: int
    requests: int
    seconds: float
    emulated: bool
    window_state: str
    warning: str
    models: tuple[str, ...]
    means: array[float] = attrs.field(repr=False)
    top: list[tuple[str, float]]
    series: list[Series] = attrs.field(repr=False)

    @property
    def length(self) -> float:
        """The end of the last segment in seconds; 0 without times."""
        return max((time[1] for series in self.series for time in series.times if time is not None), default=0.0)


@safe_repr
@attrs.define
class _Scope:
    """All items, or those of a folder."""

    items: list[int] = attrs.field(factory=list, repr=False)
    failed: int = 0
    sums: dict[int, list[float]] = attrs.field(factory=dict, repr=False)
    counts: dict[int, list[int]] = attrs.field(factory=dict, repr=False)
    highest: dict[int, dict[int, tuple[float, int]]] = attrs.field(factory=dict, repr=False)

    def add(self, item: int, track: int, means: array[float]) -> None:
        """Count in the mean scores of an item."""
        sums = self.sums.setdefault(track, [0.0] * len(means))
        counts = self.counts.setdefault(track, [0] * len(means))
        highest = self.highest.setdefault(track, {})
        for index, score in enumerate(means):
            if not math.isnan(score):
                sums[index] += score
                counts[index] += 1
                if index not in highest or score > highest[index][0]:
                    highest[index] = score, item

    def to_json(self, name: str | None) -> dict[str, Any]:
        """Return the scope as the page reads it."""
        tracks = []
        for track in sorted(self.sums):
            sums, counts, highest = self.sums[track], self.counts[track], self.highest[track]
            means = [total / count if count else math.nan for total, count in zip(sums, counts, strict=True)]
            tracks.append(
                {
                    "track": track,
                    "items": max(counts, default=0),
                    "means": encode_scores(means, len(means)),
                    "highest": encode_scores(
                        [highest[index][0] if index in highest else math.nan for index in range(len(means))], len(means)
                    ),
                    "where": [highest[index][1] if index in highest else None for index in range(len(means))],
                }
            )
        return {"name": name, "items": len(self.items), "failed": self.failed, "tracks": tracks}


class ReportData:
    """Collects results; of several with one key, the last one counts."""

    def __init__(self) -> None:
        self._catalog = Catalog()
        self._rows: dict[str, _Row] = {}
        self._size = 0
        self._most = math.inf
        self.replaced = 0

    def add(self, result: Result) -> None:
        """Take in a result.

        Raises:
            InputError: Its reply is no JSON object.
        """
        reply = result.reply
        series = [] if reply is None else self._catalog.read(reply)
        emotions = {} if reply is None else reply.emotions()
        key = str(result.key)
        if key in self._rows:
            self.replaced += 1
            self._size -= _size(self._rows[key])
        row = self._rows[key] = _Row(
            key=key,
            error=result.error,
            attempts=result.attempts,
            requests=result.requests,
            seconds=result.seconds if math.isfinite(result.seconds) else 0.0,
            emulated=bool(result.emulated),
            window_state=str(result.window_state or ""),
            warning=str(reply.warning or "")[:_MESSAGE] if reply is not None else "",
            models=tuple(dict.fromkeys(self._catalog.tracks[one.track].model for one in series)),
            means=self._catalog.means(emotions) if emotions else array("d"),
            top=heapq.nsmallest(_TOP, emotions.items(), key=lambda item: (math.isnan(item[1]), -item[1])),
            series=series,
        )
        self._size += _size(row)
        self._keep_within_budget()

    def _keep_within_budget(self) -> None:
        while self._size > _BUDGET and self._most > 1:
            longest = max(len(series) for row in self._rows.values() for series in row.series)
            self._most = max(1, longest // 2)
            for row in self._rows.values():
                for series in row.series:
                    series.shrink(int(self._most), len(self._catalog.tracks[series.track].names))
            self._size = sum(map(_size, self._rows.values()))

    def facts(self) -> RunFacts:
        """Return the facts of the run."""
        rows = list(self._rows.values())
        measured = [row for row in rows if row.error is None]
        emulated = sum(row.emulated for row in measured or rows)
        return RunFacts(
            items=len(rows),
            measured=len(measured),
            failed=len(rows) - len(measured),
            requests=sum(row.requests for row in measured),
            retried=sum(row.attempts > 1 for row in rows),
            seconds=sum(row.seconds for row in rows),
            media_seconds=sum(row.length for row in rows),
            models=tuple(sorted({model for row in rows for model in row.models})),
            emulated="none" if not emulated else "all" if emulated == len(measured or rows) else "some",
            emulated_items=emulated,
        )

    def to_json(self, *, by_folder: bool, link: Callable[[str], Mapping[str, str] | None]) -> dict[str, Any]:
        """Return all that the page shows.

        Args:
            by_folder: Whether to group the items by their folders.
            link: Returns the link to an item's media by its key, if there is any.
        """
        rows = sorted(self._rows.values(), key=_natural_key)
        everything, folders, codes = _Scope(), dict[str, _Scope](), dict[tuple[str, str], _Scope]()
        for number, row in enumerate(rows):
            scopes = [everything]
            if by_folder:
                scopes.append(folders.setdefault(_folder(row.key), _Scope()))
            if row.error is not None:
                codes.setdefault((row.error.type, row.error.code or ""), _Scope()).items.append(number)
            for scope in scopes:
                scope.items.append(number)
                scope.failed += row.error is not None
                for track, means in self._track_means(row).items():
                    scope.add(number, track, means)
        numbers = {name: number for number, name in enumerate(folders)}
        return {
            "names": list(self._catalog.names),
            "emotions": list(self._catalog.emotions),
            "tracks": [
                {"model": track.model, "kind": track.kind, "names": list(track.names), "highest": track.highest}
                for track in self._catalog.tracks
            ],
            "scopes": [everything.to_json(None), *(scope.to_json(name) for name, scope in folders.items())],
            "failures": [
                _failure(rows, scope.items) for scope in sorted(codes.values(), key=lambda scope: -len(scope.items))
            ],
            "items": [self._item(row, link(row.key), numbers[_folder(row.key)] if by_folder else None) for row in rows],
        }

    def _track_means(self, row: _Row) -> dict[int, array[float]]:
        """Return the mean scores of an item by track, over all segments and faces."""
        joined: dict[int, Series] = {}
        for series in row.series:
            into = joined.setdefault(series.track, Series(series.track, ""))
            into.scores += series.scores
            into.counts += series.counts
        tracks = self._catalog.tracks
        return {track: series.mean(len(tracks[track].names)) for track, series in joined.items()}

    def _item(self, row: _Row, media: Mapping[str, str] | None, folder: int | None) -> dict[str, Any]:
        """Return an item; what is usual is left out."""
        names = self._catalog.names
        whole: dict[str, Any] = {
            "key": row.key,
            "folder": folder,
            "error": None if row.error is None else _error(row.error),
            "attempts": None if row.attempts == 1 else row.attempts,
            "requests": None if row.requests == 1 else row.requests,
            "seconds": round(row.seconds, 3),
            "emulated": row.emulated or None,
            "window": row.window_state or None,
            "warning": row.warning or None,
            "length": round(row.length, 3) or None,
            "top": [[names.number(name), None if math.isnan(score) else round(score, 3)] for name, score in row.top],
            "means": encode_scores(row.means, len(self._catalog.emotions)) if self._needs_means(row) else None,
            "series": [self._series(series) for series in row.series],
            "media": media,
        }
        return {name: value for name, value in whole.items() if value is not None and value != []}

    def _needs_means(self, row: _Row) -> bool:
        """Return whether the means of an item are anything but its one row of emotions."""
        if len(row.series) == 1 and len(row.series[0]) == 1:
            return self._catalog.tracks[row.series[0].track].kind != "emotions"
        return bool(row.means)

    def _series(self, series: Series) -> dict[str, Any]:
        width = len(self._catalog.tracks[series.track].names)
        rows = [encode_scores(row, width) for row in series.scores]
        whole: dict[str, Any] = {
            "track": series.track,
            "label": series.label,
            "times": [round(moment, 3) for time in series.times for moment in time or ()] if series.is_timed else [],
            "texts": series.texts,
            "counts": series.counts if max(series.counts) > 1 else [],
            "scores": "".join(map(str, rows)) if all(isinstance(row, str) for row in rows) else rows,
        }
        return {name: value for name, value in whole.items() if value not in ("", [])}


def _size(row: _Row) -> int:
    return sum(len(scores) for series in row.series for scores in series.scores)


def _error(error: ItemError) -> list[Any]:
    code = None if error.code is None else str(error.code)
    return [str(error.type), code, str(error.text)[:_MESSAGE], bool(error.retryable)]


def _failure(rows: list[_Row], items: list[int]) -> dict[str, Any]:
    """Return a row of the table of failures: one code, and the first inputs that met it."""
    errors = [error for item in items if (error := rows[item].error) is not None]
    return {
        "error": _error(errors[0]),
        "count": len(items),
        "items": heapq.nsmallest(_FIRST_INPUTS, items),
    }


def _folder(key: str) -> str:
    return str(PurePosixPath(key).parent)


def _natural_key(row: _Row) -> list[tuple[int, str]]:
    """Return a sort key by which "clip2" comes before "clip10"."""
    return [
        (len(part.lstrip("0")) + 1 if part.isdecimal() else 0, part.lstrip("0") if part.isdecimal() else part)
        for part in _DIGITS.split(row.key)
    ]
