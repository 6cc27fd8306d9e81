"""The lines of a file of results, as they are found in it: complete, superseded, torn or broken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Any, Final

import attrs
import orjson

from ..errors import InputError
from ..reprs import safe_repr
from .item import settings_of

__all__ = ["ResultLine", "last_lines", "read_lines"]

_BEGINNING: Final = b'{"key":"'
_HEAD = re.compile(rb'\{"key":("(?:[^"\\]|\\.)+"),"hash":"([0-9a-f]*)","ok":(true|false),')
"""How `Result.to_line` begins a line."""


@safe_repr
@attrs.define
class ResultLine:
    """A complete line. (Not frozen: it would take three times as long to make, and there is one for each result.)

    Attributes:
        number: Of the line, from 1.
        begin: Its offset in the file.
        content: The line, with its line end if it has one.
        key: Of the result.
        hash: Of the result.
        ok: Whether the item was measured.
        emulated: Whether the local server has invented the scores. Known, like ``settings``, of lines parsed in full.
        settings: As of `Result`.
    """

    number: int
    begin: int
    content: bytes = attrs.field(repr=False)
    key: str
    hash: str
    ok: bool
    emulated: bool = False
    settings: str | None = attrs.field(default=None, repr=False)

    @property
    def end(self) -> int:
        """The offset behind the line."""
        return self.begin + len(self.content)


def read_lines(file: IO[bytes], path: str, *, thorough: bool, limit: int | None = None) -> Iterator[ResultLine]:
    """Yield the complete lines from where a file stands. Blank lines are skipped, and a broken last line too.

    A last line is broken when a run was killed while it wrote it.

    Args:
        file: The file, opened in binary mode and at its beginning.
        path: Its name for errors.
        thorough: Whether lines are parsed in full, not just their beginnings.
        limit: The offset at which reading stops; None: the end.

    Raises:
        InputError: A line that others follow is broken, or the file holds something else.
    """
    begin = number = count = 0
    broken: tuple[int, bytes] | None = None
    while (limit is None or begin < limit) and (content := _next_line(file, path, first=begin == 0)):
        number += 1
        if not content.isspace():
            if broken is not None:
                raise InputError(f"line {broken[0]} of {path!r} holds no result of a batch")
            head = _head(content, thorough=thorough)
            if head is None:
                broken = number, content
            else:
                count += 1
                yield ResultLine(number, begin, content, *head)
        begin += len(content)
    if broken is not None and not count:
        beginning = broken[1][: len(_BEGINNING)]
        if not _BEGINNING.startswith(beginning):
            raise InputError(f"{path!r} is no file of results: it holds something else")


def last_lines(file: IO[bytes], path: str, *, failed: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of the last line of each key, in the order of the file.

    What is appended meanwhile is left out.

    Args:
        file: The file, opened in binary mode; it is read twice.
        path: Its name for errors.
        failed: Whether only lines of items that failed are wanted.

    Raises:
        InputError: A line that others follow is broken, or the file holds something else.
    """
    places: dict[str, int] = {}
    unwanted: set[int] = set()
    end = 0
    file.seek(0)
    for line in read_lines(file, path, thorough=False):
        before = places.get(line.key)
        if before is not None:
            unwanted.add(before)
        if failed and line.ok:
            unwanted.add(line.begin)
        places[line.key] = line.begin
        end = line.end
    places.clear()
    file.seek(0)
    begin = number = 0
    while begin < end:
        content = file.readline()
        number += 1
        if begin not in unwanted and not content.isspace():
            yield number, content
        begin += len(content)


def _next_line(file: IO[bytes], path: str, *, first: bool) -> bytes:
    """Return the next line, b"" at the end. What is no text would be one line of any length: it is refused first."""
    if first:
        beginning = file.read(1)
        if beginning not in b"{ \t\r\n":
            raise InputError(f"{path!r} is no file of results: it holds something else")
        return beginning if beginning == b"\n" else beginning + file.readline()
    return file.readline()


def _head(content: bytes, *, thorough: bool) -> tuple[str, str, bool, bool, str | None] | None:
    """Return what a `ResultLine` has behind its content; None for a line that is broken."""
    if not thorough and content.endswith(b"}\n"):
        match = _HEAD.match(content)
        if match is not None:
            key = _parsed(match[1])
            return (key, match[2].decode(), match[3] == b"true", False, None) if isinstance(key, str) else None
    held = _parsed(content)
    if not isinstance(held, dict):
        return None
    key, content_hash, ok = held.get("key"), held.get("hash"), held.get("ok")
    if not isinstance(key, str) or not key or not isinstance(content_hash, str) or not isinstance(ok, bool):
        return None
    return key, content_hash, ok, ok and held.get("emulated") is True, settings_of(held)


def _parsed(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
