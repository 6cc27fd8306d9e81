"""Tables of scores, with the same columns for any reply: as plain rows, and by pyarrow.

The long table has a row for each score. The wide one has a row for each prediction, and a column for each name of the
protocol: "Joy" for an emotion, "facs:AU12 Lip Corner Puller", "descriptions:Smile", "sentiment:9" and "toxicity:insult"
for others. Scores of names that the protocol does not have are in the column ``other``, as a JSON object.
"""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

import attrs
import orjson

from ..errors import FOREIGN
from ..net.extras import import_extra
from ..net.interrupts import from_handler
from ..reprs import safe_repr
from . import score_names
from .predictions import SCORE_KINDS, is_number, predictions, scores, times

__all__ = ["COLUMNS", "Measured", "arrow_batches", "arrow_schema", "arrow_table", "pandas_frame", "rows"]

_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "emotions": score_names.EMOTIONS,
        "facs": score_names.FACS,
        "descriptions": score_names.DESCRIPTIONS,
        "sentiment": score_names.SENTIMENT,
        "toxicity": score_names.TOXICITY,
    }
)
"""The names of each kind of score that have a column in a wide table."""


def _column(kind: str, name: str) -> str:
    """Return the column of a name in a wide table."""
    return name if kind == "emotions" else f"{kind}:{name}"


_SCORE_COLUMNS = tuple(_column(kind, name) for kind in SCORE_KINDS for name in _NAMES[kind])

_FACTS = MappingProxyType(
    {
        "input": "string",
        "model": "string",
        "segment": "int32",
        "begin": "float64",
        "end": "float64",
        "face_id": "string",
        "text": "string",
        "window_state": "string",
        "attempts": "int32",
        "emulated": "bool_",
    }
)
"""What is said of a prediction, in the order of `_facts`: columns and their types in pyarrow."""

_TEXT = list(_FACTS).index("text")

_LONG = ("input", "model", "segment", "kind", "begin", "end", "face_id", "text", "name", "score")
_SCORE_FACTS = {"kind": "string", "name": "string", "score": "float64"}

COLUMNS: Final[Mapping[bool, Mapping[str, str]]] = MappingProxyType(
    {
        False: MappingProxyType(
            {name: {**_FACTS, **_SCORE_FACTS}[name] for name in (*_LONG, "window_state", "attempts", "emulated")}
        ),
        True: MappingProxyType({**_FACTS, **dict.fromkeys(_SCORE_COLUMNS, "float32"), "other": "string"}),
    }
)
"""The columns of the long table (False) and of the wide one (True), and their types in pyarrow."""

_BATCH_ROWS = MappingProxyType({False: 100_000, True: 2_000})
_BATCH_CHARACTERS = 16_000_000
"""Rows, and characters of text, after which a batch ends: they bound the memory that building it takes."""


@safe_repr
@attrs.define
class Measured:
    """A reply, and what a table says of it. (Not frozen, which would take longer to make.)

    Attributes:
        reply: The JSON object received.
        input: The key of the item that it answers; None for none.
        window_state: As of `StreamResponse`.
        attempts: Likewise.
        emulated: Likewise.
    """

    reply: Mapping[str, Any] = attrs.field(repr=False)
    input: str | None = None
    window_state: str | None = None
    attempts: int = 1
    emulated: bool = False


@safe_repr
@attrs.frozen(eq=False)
class _Layout:
    """What lists of scores with the same names have in common."""

    names: list[str]
    places: Mapping[str, int]
    """The place of each name in the list: the last one of a name that is there twice."""
    others: tuple[tuple[str, int], ...]
    """The names without a column in the wide table, as they are called in the column ``other``, and their places."""

    @classmethod
    def of(cls, kind: str, names: list[str]) -> _Layout:
        """Return the layout of a list of scores with these names."""
        places = {name: place for place, name in enumerate(names)}
        unknown = [name for name in places if name not in _NAMES[kind]]
        return cls(names, places, tuple((_encodable(_column(kind, name)), places[name]) for name in unknown))

    def arranged(self, kind: str, values: list[float]) -> list[float | None]:
        """Return the scores in the order of the columns of their kind."""
        places = (self.places.get(name) for name in _NAMES[kind])
        return [None if place is None else values[place] for place in places]


class _ScoreReader:
    """Reads lists of scores as `scores` does, but several times faster where they are as usual."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, int], _Layout] = {}
        """The layouts last met, by kind and length."""
        self._layouts: dict[tuple[str, ...], _Layout] = {}

    def read(self, prediction: Mapping[str, Any]) -> Iterator[tuple[str, _Layout, list[float]]]:
        """Yield each kind of which a prediction has scores, their layout, and the scores."""
        for kind in SCORE_KINDS:
            items = prediction.get(kind)
            if items:
                layout, values = self._fast(kind, items) or self._slow(kind, prediction)
                if values:
                    yield kind, layout, values

    def _fast(self, kind: str, items: Any) -> tuple[_Layout, list[float]] | None:
        """Read a list of objects, each with a str and a float; return None for anything else."""
        try:
            names, values = list(map(_NAME, items)), list(map(_SCORE, items))
        except FOREIGN as exc:
            if from_handler(exc):
                raise
            return None
        if set(map(type, values)) != _FLOATS or type(items) is not list:
            return None
        layout = self._latest.get((kind, len(names)))
        if layout is None or layout.names != names:
            if set(map(type, names)) != _STRINGS or set(map(type, items)) != _OBJECTS:
                return None
            layout = self._layout(kind, names)
        return layout, values

    def _slow(self, kind: str, prediction: Mapping[str, Any]) -> tuple[_Layout, list[float]]:
        found = list(scores(prediction, kind))
        return self._layout(kind, [name for name, _ in found]), [float(score) for _, score in found]

    def _layout(self, kind: str, names: list[str]) -> _Layout:
        layout = self._layouts.get((kind, *names))
        if layout is None:
            if len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.clear()
            layout = self._layouts[kind, *names] = _Layout.of(kind, names)
        self._latest[kind, len(names)] = layout
        return layout


_MOST_LAYOUTS: Final = 256
"""How many are kept: usually there are a few, but a server may give every list other names."""

_NAME, _SCORE = operator.itemgetter("name"), operator.itemgetter("score")
_FLOATS, _STRINGS, _OBJECTS = frozenset({float}), frozenset({str}), frozenset({dict})
_NONE = MappingProxyType({kind: (None,) * len(names) for kind, names in _NAMES.items()})


def _other(found: Iterable[tuple[str, _Layout, list[float]]]) -> str | None:
    """Return the text for the column ``other``."""
    others = {column: values[place] for _, layout, values in found for column, place in layout.others}
    return orjson.dumps(others).decode() if others else None


def rows(measured: Iterable[Measured], *, wide: bool) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table as tuples, in the order of `COLUMNS`."""
    reader = _ScoreReader()
    for item in measured:
        for model, segment, prediction in predictions(item.reply):
            facts = _facts(item, model, segment, prediction)
            found = list(reader.read(prediction))
            if wide:
                arranged = {**_NONE, **{kind: layout.arranged(kind, values) for kind, layout, values in found}}
                yield (*facts, *chain.from_iterable(arranged.values()), _other(found))
                continue
            key, _, _, begin, end, face_id, text, *rest = facts
            for kind, layout, values in found:
                for name, score in zip(layout.names, values, strict=True):
                    yield (key, model, segment, kind, begin, end, face_id, text, name, score, *rest)


def arrow_schema(*, wide: bool) -> Any:
    """Return the ``pyarrow.Schema`` of a table.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    pyarrow = _pyarrow()
    return pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in COLUMNS[wide].items()])


def arrow_batches(measured: Iterable[Measured], *, wide: bool) -> Iterator[Any]:
    """Yield the table as ``pyarrow.RecordBatch`` objects, each of some megabytes.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    schema = arrow_schema(wide=wide)
    batch: _LongBatch | _WideBatch
    batch = _WideBatch() if wide else _LongBatch()
    for item in measured:
        for model, segment, prediction in predictions(item.reply):
            batch.add(_facts(item, model, segment, prediction), prediction)
            if batch.rows >= _BATCH_ROWS[wide] or batch.characters >= _BATCH_CHARACTERS:
                yield batch.finish(schema)
    if batch.rows:
        yield batch.finish(schema)


def arrow_table(measured: Iterable[Measured], *, wide: bool) -> Any:
    """Return the whole ``pyarrow.Table``.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    return _pyarrow().Table.from_batches(list(arrow_batches(measured, wide=wide)), arrow_schema(wide=wide))


def pandas_frame(measured: Iterable[Measured], *, wide: bool) -> Any:
    """Return the whole table as a ``pandas.DataFrame``.

    Raises:
        ConfigurationError: pandas or pyarrow is not installed.
    """
    for module in ("pandas", "pyarrow"):
        import_extra(module, extra="pandas", what="a pandas table")
    return arrow_table(measured, wide=wide).to_pandas()


class _LongBatch:
    """Collects the columns of a batch of the long table.

    What is said of a prediction is kept once, and repeated for its scores by pyarrow.
    """

    def __init__(self) -> None:
        self._reader = _ScoreReader()
        self._clear()

    def _clear(self) -> None:
        self.rows = self.characters = 0
        self._facts: list[tuple[Any, ...]] = []
        self._repeats: list[int] = []
        self._kinds: list[str] = []
        self._names: list[str] = []
        self._scores: list[float] = []

    def add(self, facts: tuple[Any, ...], prediction: Mapping[str, Any]) -> None:
        """Add the scores of a prediction."""
        before = self.rows
        for kind, layout, values in self._reader.read(prediction):
            self._kinds += [kind] * len(values)
            self._names += layout.names
            self._scores += values
        self.rows = len(self._scores)
        count = self.rows - before
        if count:
            self._repeats += [len(self._facts)] * count
            self._facts.append(facts)
            self.characters += count * len(facts[_TEXT] or "")

    def finish(self, schema: Any) -> Any:
        """Return the batch, and begin another one."""
        pyarrow = _pyarrow()
        places = pyarrow.array(self._repeats, pyarrow.int32())
        columns = dict(zip(_FACTS, zip(*self._facts, strict=True), strict=True))
        arrays = {name: _array(schema.field(name).type, columns[name]).take(places) for name in _FACTS}
        for name, values in (("kind", self._kinds), ("name", self._names), ("score", self._scores)):
            arrays[name] = _array(schema.field(name).type, values)
        batch = pyarrow.record_batch([arrays[name] for name in schema.names], schema=schema)
        self._clear()
        return batch


class _WideBatch:
    """Collects the columns of a batch of the wide table."""

    def __init__(self) -> None:
        self._reader = _ScoreReader()
        self._clear()

    def _clear(self) -> None:
        self.rows = self.characters = 0
        self._facts: list[tuple[Any, ...]] = []
        self._scores = {kind: _KindScores(names) for kind, names in _NAMES.items()}
        self._others: list[str | None] = []

    def add(self, facts: tuple[Any, ...], prediction: Mapping[str, Any]) -> None:
        """Add a prediction."""
        other = None
        found = list(self._reader.read(prediction))
        for kind, layout, values in found:
            self._scores[kind].add(self.rows, layout, values)
            if layout.others:
                other = _other(found)
        self._facts.append(facts)
        self._others.append(other)
        self.rows += 1
        self.characters += len(facts[_TEXT] or "")

    def finish(self, schema: Any) -> Any:
        """Return the batch, and begin another one."""
        facts: Iterable[Sequence[Any]] = zip(*self._facts, strict=True)
        kinds = [schema.field(name).type for name in _FACTS]
        arrays = [_array(kind, values) for kind, values in zip(kinds, facts, strict=True)]
        for kind in SCORE_KINDS:
            arrays += self._scores[kind].arrays(self.rows)
        arrays.append(_array(schema.field("other").type, self._others))
        batch = _pyarrow().record_batch(arrays, schema=schema)
        self._clear()
        return batch


class _KindScores:
    """Collects the columns of a kind of score: lists of the same layout one behind the other, in the format of Arrow.

    Args:
        columns: The names of the columns.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._groups: dict[int, _Group] = {}

    def add(self, row: int, layout: _Layout, values: list[float]) -> None:
        """Put scores into a row."""
        group = self._groups.get(id(layout))  # (the group keeps the layout, so no other one gets its id)
        if group is None:
            group = self._groups[id(layout)] = _Group(layout)
        group.numbers.fromlist(values)
        group.rows.append(row)

    def arrays(self, rows: int) -> list[Any]:
        """Return the columns for a number of rows."""
        pyarrow = _pyarrow()
        groups = list(self._groups.values())
        if not groups:
            return [pyarrow.nulls(rows, pyarrow.float32())] * len(self._columns)
        order = list(chain.from_iterable(group.rows for group in groups))
        empty = pyarrow.nulls(rows - len(order), pyarrow.float32())
        if len(order) < rows:
            order += sorted(set(range(rows)).difference(order))
        # Where the rows of the table are, if the groups and then the rows without scores are put one behind the other.
        places = None if len(groups) == 1 and not len(empty) else pyarrow.array(_inverse(order), pyarrow.int32())
        arrays = []
        for name in self._columns:
            parts = [*(group.array(name, pyarrow) for group in groups), empty]
            arrays.append(parts[0] if places is None else pyarrow.concat_arrays(parts).take(places))
        return arrays


class _Group:
    """Lists of scores with one layout, and the rows that they belong to."""

    def __init__(self, layout: _Layout) -> None:
        self.layout = layout
        self.numbers = array("f")
        self.rows: list[int] = []

    def array(self, name: str, pyarrow: Any) -> Any:
        """Return the scores of a name."""
        place = self.layout.places.get(name)
        if place is None:
            return pyarrow.nulls(len(self.rows), pyarrow.float32())
        numbers = pyarrow.py_buffer(self.numbers[place :: len(self.layout.names)])
        return pyarrow.Array.from_buffers(pyarrow.float32(), len(self.rows), [None, numbers])


def _inverse(order: Sequence[int]) -> list[int]:
    """Return the place of each number in a sequence of all numbers from 0."""
    places = [0] * len(order)
    for place, number in enumerate(order):
        places[number] = place
    return places


def _facts(item: Measured, model: str, segment: int, prediction: Mapping[str, Any]) -> tuple[Any, ...]:
    begin, end = times(prediction)
    face_id, text = prediction.get("face_id"), prediction.get("text")
    return (
        item.input,
        model,
        segment,
        float(begin) if is_number(begin) else None,
        float(end) if is_number(end) else None,
        face_id if isinstance(face_id, str) else None,
        text if isinstance(text, str) else None,
        item.window_state,
        item.attempts,
        item.emulated,
    )


def _array(kind: Any, values: Sequence[Any]) -> Any:
    """Return a column of a type. Lone surrogates, which Arrow cannot hold, are written as escape sequences."""
    try:
        return _pyarrow().array(values, kind)
    except UnicodeEncodeError:
        return _pyarrow().array([None if value is None else _encodable(value) for value in values], kind)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _pyarrow() -> Any:
    return import_extra("pyarrow", extra="arrow", what="an Arrow table")
