"""Rows of CSV files and of JSON lines as items, read line by line."""

from __future__ import annotations

import codecs
import contextlib
import csv
import importlib.util
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, TextIO

import attrs
import orjson

from ..errors import InputError, short_repr
from ..net.interrupts import from_handler
from ..reprs import safe_repr
from ..stream.media import name_of, open_file
from ..stream.payload_limits import PAYLOAD_LIMIT
from .item import Item, Source
from .keys import UniqueKeys
from .sources import text_item

__all__ = ["csv_rows", "json_rows"]

_StrPath = str | os.PathLike[str]

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_SEPARATOR: Final = re.compile(r"sep=([^\"\r\n])\s*", re.IGNORECASE)
_BLOCK: Final = 2**20
_DELIMITERS: Final = ",;\t|"
_FIRST_LINES: Final = 100
"""Lines of JSON in which a member is looked for before it counts as missing everywhere."""


def csv_rows(
    path: _StrPath, *, id: str | None = None, text: str, encoding: str | None = None, delimiter: str | None = None
) -> Source:
    """Return the texts of a CSV file as items.

    The first row names the columns. The key of a row is its cell in the column ``id``; without one, or where it is
    blank, "line 12" by the first line of the row. An id that comes again is followed by the line: "7 (line 12)". A row
    without a text, with more cells than there are columns, or with quotation marks that do not fit, is an item of kind
    "rejected". Empty lines are skipped. All of the file is checked for its encoding first, so that nothing is sent if
    it is wrong.

    Args:
        path: The file.
        id: The name of the column of ids.
        text: The name of the column of texts.
        encoding: None: as the byte order mark says, else UTF-8.
        delimiter: One character; None: the one of comma, semicolon, tab and bar by which the first row has the columns,
            or that of a line "sep=;" in front of it, as Excel has it.

    Returns:
        The items.

    Raises:
        OSError: The file cannot be read; raised at once.
        InputError: The file is empty, has no such column, or is not of that encoding; raised at once. A cell is larger
            than 64 MiB; raised when it is reached.
    """
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n'):
        raise InputError(f"delimiter must be one character, such as ';' or a tab; got {short_repr(delimiter)}")
    _check_name("text", text)
    if id is not None:
        _check_name("id", id)
    source = _Source.of(path, encoding)
    table = _Table.of(source, id, text, delimiter)
    return Source(lambda: _csv_items(source, table))


def json_rows(path: _StrPath, *, id: str | None = None, text: str, encoding: str | None = None) -> Source:
    """Return the texts of a file of JSON lines as items.

    Each line is an object. Keys are made as by `csv_rows`. A line that is no JSON object, or has no text, is an item of
    kind "rejected". Empty lines are skipped.

    Args:
        path: The file.
        id: The name of the member with the id: a str or an int.
        text: The name of the member with the text.
        encoding: None: as the byte order mark says, else UTF-8.

    Returns:
        The items.

    Raises:
        OSError: The file cannot be read; raised at once.
        InputError: The file is empty, holds no lines of JSON, has no such member in its first 100 lines, or is not of
            that encoding; raised at once. A line is larger than 64 MiB; raised when it is reached.
    """
    _check_name("text", text)
    if id is not None:
        _check_name("id", id)
    source = _Source.of(path, encoding)
    with source.open() as file:
        _check_members(file, source, [text] if id is None else [id, text])
    return Source(lambda: _json_items(source, id, text))


@safe_repr
@attrs.frozen
class _Source:
    """A text file with rows."""

    path: _StrPath
    name: str
    encoding: str

    @classmethod
    def of(cls, path: _StrPath, encoding: str | None) -> _Source:
        """Open the file, and check that all of it can be decoded."""
        name = name_of(path)
        with open_file(path, sys.maxsize) as file:
            head = file.read(4096)
            marked = next((codec for mark, codec in _MARKS if head.startswith(mark)), "utf-8")
            found = marked if encoding is None else _known(encoding)
            if encoding is None and found == "utf-8" and head.count(b"\0") > len(head) // 8:
                raise InputError(
                    f"{name} holds NUL bytes: if it is UTF-16 without a byte order mark, pass encoding='utf-16-le'"
                )
            file.seek(0)
            _check_encoding(file, name, found)
        return cls(path, name, found)

    @contextlib.contextmanager
    def open(self) -> Iterator[TextIO]:
        """Open the file for reading as text, without changing line ends."""
        with (
            open_file(self.path, sys.maxsize) as raw,
            io.TextIOWrapper(io.BufferedReader(raw), self.encoding, newline="") as text,  # type: ignore[type-var]
        ):
            yield text

    def lines(self, file: TextIO) -> Iterator[str]:
        """Yield the lines of the open file; an empty one for Excel's with the delimiter."""
        mark = "\ufeff"
        while line := self._line(file):
            yield "\n" if mark and _SEPARATOR.fullmatch(line.removeprefix(mark)) else line.removeprefix(mark)
            mark = ""

    def separator(self) -> str | None:
        """Return the delimiter that a line of Excel's names; None without one."""
        with self.open() as file:
            found = _SEPARATOR.fullmatch(self._line(file).removeprefix("\ufeff"))
        return found[1] if found else None

    def _line(self, file: TextIO) -> str:
        try:
            line = file.readline(PAYLOAD_LIMIT + 1)
        except UnicodeDecodeError as exc:
            if from_handler(exc):
                raise
            raise InputError(f"{self.name} was changed while it was read: it is not {self.encoding} any more") from None
        if len(line) > PAYLOAD_LIMIT:
            raise InputError(f"{self.name} has a line of more than {PAYLOAD_LIMIT} characters")
        return line


def _known(encoding: object) -> str:
    """Return the name of an encoding of texts; that of UTF-8 as the one that takes a byte order mark."""
    try:
        info = codecs.lookup(encoding)  # type: ignore[arg-type]  # what is no str raises
        "".encode(info.name)
    except (LookupError, TypeError, ValueError) as exc:
        if from_handler(exc):
            raise
        raise InputError(
            f"encoding must be the name of an encoding, such as 'utf-8' or 'cp1252'; got {short_repr(encoding)}"
        ) from None
    return "utf-8-sig" if info.name == "utf-8" else info.name


def _check_encoding(file: BinaryIO, name: str, encoding: str) -> None:
    """Decode all of a file, and refuse it where that fails, by the line."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    while True:
        block = file.read(_BLOCK)
        try:
            lines += decoder.decode(block, final=not block).count("\n")
        except UnicodeDecodeError as exc:
            if from_handler(exc):
                raise
            lines += exc.object[: exc.start].decode(encoding, "ignore").count("\n")
            bad = exc.object[exc.start : exc.start + 1].hex()
            shown = encoding.removesuffix("-sig").upper()
            other = "'cp1252' (western European Windows)" if shown == "UTF-8" else "'utf-8'"
            raise InputError(
                f"{name} is not {shown}: byte 0x{bad} in line {lines}; pass its encoding, such as encoding={other}"
            ) from None
        if not block:
            return


def _check_name(argument: str, name: object) -> None:
    if not isinstance(name, str) or not name:
        raise InputError(f"{argument} must be the name of a column, got {short_repr(name)}")


@safe_repr
@attrs.frozen
class _Table:
    """The columns of a CSV file."""

    delimiter: str
    columns: int
    text: int
    """Number of the column, from 0."""
    id: int | None

    @classmethod
    def of(cls, source: _Source, id: str | None, text: str, delimiter: str | None) -> _Table:
        """Find the columns in the first row, and the delimiter by which it has them."""
        wanted = [text] if id is None else [text, id]
        best: list[str] = []
        for each in delimiter or source.separator() or _DELIMITERS:
            header = [name.strip() for name in _first_row(source, each)]
            if len(header) > len(best):
                best = header
            if all(name.strip() in header for name in wanted):
                for name in wanted:
                    if header.count(name.strip()) > 1:
                        raise InputError(f"{source.name} has several columns {name!r}")
                return cls(
                    each, len(header), header.index(text.strip()), None if id is None else header.index(id.strip())
                )
        missing = next(name for name in wanted if name.strip() not in best)
        raise InputError(f"{source.name} has no column {missing!r}; it has {_listing(best)}")


def _listing(names: list[str]) -> str:
    """Return names for an error text, not too many."""
    shown = ", ".join(f"{name!r:.50}" for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown or "none"


def _first_row(source: _Source, delimiter: str) -> list[str]:
    reader = _csv()
    with source.open() as file:
        try:
            return next((row for row in reader.reader(source.lines(file), delimiter=delimiter, strict=True) if row), [])
        except reader.Error as exc:
            if from_handler(exc):
                raise
            return []


def _csv() -> Any:
    """Return an instance of the module behind `csv` with a limit of its own for the size of a cell.

    That limit is 128 KiB and global: programs that use this package may rely on it.
    """
    spec = importlib.util.find_spec("_csv")
    if spec is None or spec.loader is None:
        return csv
    own = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(own)
    own.field_size_limit(PAYLOAD_LIMIT)
    return own


def _csv_items(source: _Source, table: _Table) -> Iterator[Item]:
    own = _csv()
    keys = UniqueKeys()
    header = True
    with source.open() as file:
        reader = own.reader(source.lines(file), delimiter=table.delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader, None)
            except own.Error as exc:
                if from_handler(exc):
                    raise
                if "limit" in str(exc):
                    raise InputError(
                        f"{source.name} has a cell of more than {PAYLOAD_LIMIT} characters, line {line}:"
                        " is a quotation mark missing?"
                    ) from None
                yield Item(keys.of(f"line {line}", "again"), "rejected", _bad_row(line, reader.line_num, str(exc)))
                continue
            if row is None:
                return
            if row and not header:
                yield _csv_item(row, line, table, keys)
            header = header and not row


def _bad_row(first: int, last: int, reason: str) -> InputError:
    lines = f"line {first}" if first >= last else f"lines {first} to {last}"
    return InputError(f"{lines}: the quotation marks do not fit ({reason}); within a cell they are doubled")


def _csv_item(row: list[str], line: int, table: _Table, keys: UniqueKeys) -> Item:
    place = f"line {line}"
    key = row[table.id] if table.id is not None and table.id < len(row) else ""
    key = keys.of(key, place) if key.strip() else keys.of(place, "again")
    if len(row) > table.columns and any(cell.strip() for cell in row[table.columns :]):
        text = (
            f"{place} has {len(row)} cells for {table.columns} columns: is a cell with {table.delimiter!r} not quoted?"
        )
        return Item(key, "rejected", InputError(text))
    if table.text >= len(row):
        return Item(key, "rejected", InputError(f"{place} has {len(row)} cells, and no text among them"))
    if "\0" in row[table.text]:
        return Item(key, "rejected", InputError(f"the text in {place} holds NUL characters"))
    return text_item(key, row[table.text], f"the text in {place}")


def _check_members(file: TextIO, source: _Source, names: list[str]) -> None:
    """Refuse a file whose first lines are no JSON objects, or have no such members."""
    members: dict[str, None] = {}
    first: str | None = None
    for count, line in enumerate(source.lines(file)):
        if count == _FIRST_LINES:
            break
        if line.strip():
            first = first or line.strip()
            found = _parsed(line)
            members |= dict.fromkeys(found if isinstance(found, dict) else ())
    if not members:
        what = "is a JSON array" if first and first.startswith("[") else "holds no lines of JSON"
        raise InputError(f"{source.name} {what}: accepted is one object a line")
    for name in names:
        if name not in members:
            raise InputError(f"{source.name} has no member {name!r}; it has {_listing(list(members))}")


def _json_items(source: _Source, id: str | None, text: str) -> Iterator[Item]:
    keys = UniqueKeys()
    with source.open() as file:
        for number, line in enumerate(source.lines(file), 1):
            if line.strip():
                yield _json_item(_parsed(line), f"line {number}", id, text, keys)


def _json_item(row: object, place: str, id: str | None, text: str, keys: UniqueKeys) -> Item:
    if not isinstance(row, dict):
        return Item(keys.of(place, "again"), "rejected", InputError(f"{place} is no JSON object"))
    value = row.get(id) if id is not None else None
    key = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    key = keys.of(key.encode("utf-8", "backslashreplace").decode(), place) if key.strip() else keys.of(place, "again")
    return text_item(key, row.get(text), f"the text in {place}")


def _parsed(line: str) -> object:
    """Return the value of a line of JSON, in which numbers may be NaN; None if it is no JSON."""
    try:
        return orjson.loads(line)
    except ValueError:
        pass
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
