"""The results of a batch, read from its file, and tables of them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import orjson

from ..errors import InputError, MisuseError, short_repr
from ..net.extras import import_extra
from ..net.validation import to_bool
from ..reprs import safe_repr
from ..stream.tables import COLUMNS, Measured, arrow_batches, arrow_schema, arrow_table, pandas_frame, rows
from .item import Result
from .result_lines import last_lines
from .summary import Summary
from .whole_file import real_path, whole_file

__all__ = ["Results", "read_results"]

_GROUP_ROWS = 100_000
_GROUP_BYTES = 32_000_000
"""Rows, and bytes in memory, after which a row group of a Parquet file ends."""


@safe_repr
class Results:
    """Results of a batch: an iterable of `Result` that makes tables.

    The tables have the same columns for any results, also for none. Items that failed, and those in which nothing was
    found, have no rows: see `failures`.

    The long table has a row a score: ``input`` (key of the item), ``model``, ``segment`` (index of the prediction),
    ``kind`` ("emotions", "facs", "descriptions", "sentiment" or "toxicity"), ``begin`` and ``end`` (seconds),
    ``face_id``, ``text``, ``name``, ``score`` (float64), ``window_state``, ``attempts``, ``emulated``.

    The wide table has a row a prediction: the same without ``kind``, ``name`` and ``score``, and a float32 column for
    each name of the protocol: "Joy" for an emotion, and for others "facs:AU12 Lip Corner Puller",
    "descriptions:Smile", "sentiment:9", "toxicity:insult". Scores of other names are in ``other``, a JSON object in the
    form of a string; it is null where there are none.

    What a row has no value for is null: in pandas NaN. Times, face identifiers and scores of an unexpected type count
    as none. Lone surrogates in texts are written as escape sequences.

    Args:
        results: The results. Those of an iterator can be used once, and only one by one.

    Raises:
        InputError: ``results`` is not iterable.
    """

    def __init__(self, results: Iterable[Result]) -> None:
        if not isinstance(results, Iterable):
            raise InputError(f"results must be an iterable of Result, got {short_repr(results)}")
        self._results = results
        self._used = False

    def __iter__(self) -> Iterator[Result]:
        if isinstance(self._results, Iterator):
            if self._used:
                raise MisuseError("these results come from an iterator, which can be used once; make a list of it")
            self._used = True
        return iter(self._results)

    def __len__(self) -> int:
        """Return the number of items.

        Raises:
            TypeError: They come from an iterator.
        """
        return len(self._results)  # type: ignore[arg-type]  # what has no length raises

    def __repr__(self) -> str:
        return f"<Results of {type(self._results).__name__}>"

    def failures(self) -> Iterator[Result]:
        """Yield the results of items that failed."""
        return (result for result in self if not result.ok)

    def summary(self) -> Summary:
        """Count items, failures by code, and requests."""
        return Summary.of(self)

    def to_arrow(self, *, wide: bool = False) -> Any:
        """Return a ``pyarrow.Table``.

        Args:
            wide: Whether a prediction is one row with a column a name; else every score is a row.

        Raises:
            ConfigurationError: pyarrow is not installed (extra "arrow").
            InputError: ``wide`` is neither True nor False, or the file of the results is damaged.
        """
        return arrow_table(self._measured(), wide=to_bool("wide", wide))

    def to_pandas(self, *, wide: bool = False) -> Any:
        """Return a ``pandas.DataFrame``.

        Args:
            wide: As for `to_arrow`.

        Raises:
            ConfigurationError: pandas or pyarrow is not installed (extra "pandas").
            InputError: As for `to_arrow`.
        """
        return pandas_frame(self._measured(), wide=to_bool("wide", wide))

    def to_polars(self, *, wide: bool = False) -> Any:
        """Return a ``polars.DataFrame``.

        Args:
            wide: As for `to_arrow`.

        Raises:
            ConfigurationError: polars or pyarrow is not installed (extra "polars").
            InputError: As for `to_arrow`.
        """
        to_bool("wide", wide)
        polars, _ = (import_extra(name, extra="polars", what="a polars table") for name in ("polars", "pyarrow"))
        return polars.from_arrow(self.to_arrow(wide=wide))

    def to_csv(self, path: str | os.PathLike[str], *, wide: bool = False) -> None:
        """Write a CSV file: UTF-8, a header, lines that end with a line feed, nothing for null. It needs no extra.

        Args:
            path: The file. One of that name is replaced when all is written.
            wide: As for `to_arrow`.

        Raises:
            InputError: As for `to_arrow`, or ``path`` is no path.
            OSError: The file cannot be written.
        """
        to_bool("wide", wide)
        with whole_file(path) as file:
            text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")
            try:
                writer = csv.writer(text, lineterminator="\n")
                writer.writerow(COLUMNS[wide])
                writer.writerows(rows(self._measured(), wide=wide))
                text.flush()
            finally:
                text.detach()

    def to_parquet(self, path: str | os.PathLike[str], *, wide: bool = False) -> None:
        """Write a Parquet file, by row groups, so that it takes little memory.

        Args:
            path: The file. One of that name is replaced when all is written.
            wide: As for `to_arrow`.

        Raises:
            ConfigurationError: pyarrow is not installed (extra "arrow").
            InputError: As for `to_arrow`, or ``path`` is no path.
            OSError: The file cannot be written.
        """
        schema = arrow_schema(wide=to_bool("wide", wide))
        pyarrow, parquet = (
            import_extra(name, extra="arrow", what="a Parquet file") for name in ("pyarrow", "pyarrow.parquet")
        )
        with whole_file(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            group: list[Any] = []
            for batch in arrow_batches(self._measured(), wide=wide):
                group.append(batch)
                if (
                    sum(part.num_rows for part in group) >= _GROUP_ROWS
                    or sum(part.nbytes for part in group) >= _GROUP_BYTES
                ):
                    writer.write_table(pyarrow.Table.from_batches(group, schema))
                    group.clear()
            if group:
                writer.write_table(pyarrow.Table.from_batches(group, schema))

    def _measured(self) -> Iterator[Measured]:
        for result in self:
            reply = result.reply
            if reply is not None:
                yield Measured(
                    reply,
                    input=result.key,
                    window_state=result.window_state,
                    attempts=result.attempts,
                    emulated=result.emulated,
                )


@safe_repr
class _FileResults(Results):
    """The results in a file, which is read again for every use."""

    def __init__(self, path: str) -> None:
        super().__init__(())
        self._path = path

    def __iter__(self) -> Iterator[Result]:
        return (_result(content, number, self._path) for number, content in self._lines())

    def __len__(self) -> int:
        return sum(1 for _ in self._lines())

    def __repr__(self) -> str:
        return f"<Results of {self._path!r}>"

    def failures(self) -> Iterator[Result]:
        return (_result(content, number, self._path) for number, content in self._lines(failed=True))

    def summary(self) -> Summary:
        return Summary.of(_without_reply(content, number, self._path) for number, content in self._lines())

    def _lines(self, *, failed: bool = False) -> Iterator[tuple[int, bytes]]:
        with _opened(self._path) as file:
            yield from last_lines(file, self._path, failed=failed)

    def _measured(self) -> Iterator[Measured]:
        # (not by way of Result, which compresses the reply)
        for number, content in self._lines():
            held = _parsed(content, number, self._path)
            if held.get("ok") is not True:
                continue
            key, reply, state, attempts = map(held.get, ("key", "reply", "window_state", "attempts"))
            if (
                not isinstance(key, str)
                or not isinstance(reply, dict)
                or not isinstance(state, str | None)
                or type(attempts) is not int
                or not 0 <= attempts < 1 << 31
            ):
                raise _broken(number, self._path)
            yield Measured(reply, key, state, attempts, held.get("emulated") is True)


def read_results(path: str | os.PathLike[str]) -> Results:
    """Return the results in a file of a batch. It is read when they are used, a line at a time.

    Of several lines with one key the last one counts. A last line that is not complete is left out, so the file of a
    run that goes on can be read.

    Args:
        path: The file that `Batch.run` has written.

    Raises:
        InputError: ``path`` is no path.
        OSError: The file cannot be read.
    """
    real = real_path(path)
    with _opened(real):
        return _FileResults(real)


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    with open(path, "rb") as file:  # noqa: PTH123 - a str
        yield file


def _parsed(content: bytes, number: int, path: str) -> dict[str, Any]:
    try:
        held = orjson.loads(content)
    except orjson.JSONDecodeError:
        held = None
    if not isinstance(held, dict):
        raise _broken(number, path)
    return held


def _result(content: bytes, number: int, path: str) -> Result:
    try:
        return Result.from_line(content)
    except InputError:
        raise _broken(number, path) from None


def _without_reply(content: bytes, number: int, path: str) -> Result:
    held = _parsed(content, number, path)
    held.pop("reply", None)
    return _result(orjson.dumps(held), number, path)


def _broken(number: int, path: str) -> InputError:
    return InputError(f"line {number} of {path!r} holds no result of a batch")
