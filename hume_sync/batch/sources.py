"""Sources of items: lists of paths, texts, landmarks, and pairs of key and payload; each is read as it is used."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import UUID

from ..errors import InputError, short_repr
from ..stream.media import open_file
from .item import Item, Source
from .keys import UniqueKeys, printable_key
from .whole_file import real_path

__all__ = ["items", "landmarks", "path_list", "text_item", "texts", "without_file"]

_StrPath = str | os.PathLike[str]

_MOST_OF_A_PATH: Final = 2**16
"""Bytes of a path in a list."""


def path_list(path: _StrPath) -> Iterable[Item]:
    """Return the files that a list names: one path a line, or ended by NUL characters as ``find -print0`` writes them.

    The key of a file is its path as the list has it, written as `files` writes keys. Relative paths are taken from the
    current folder. A path that comes twice is taken once. Files are opened when they are measured: one that is missing,
    or a folder, is an item that fails.

    Args:
        path: The file with the list; "-" for standard input.

    Returns:
        The items.

    Raises:
        OSError: The list cannot be read; raised at once.
        InputError: The list is empty or no regular file, or standard input is closed; raised at once. A path is longer
            than any can be; raised when it is reached.
    """
    if path == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed")
        return _listed(sys.stdin.buffer, "standard input")
    with open_file(path, sys.maxsize):
        pass
    return Source(lambda: _listed_in(path))


def _listed_in(path: _StrPath) -> Iterator[Item]:
    with open_file(path, sys.maxsize) as file:
        yield from _listed(file, f"the list {os.fspath(path)!r}")


def _listed(file: BinaryIO, name: str) -> Iterator[Item]:
    keys = UniqueKeys()
    for line in _lines(file, name):
        path = os.fsdecode(line)
        key = printable_key(path)
        if keys.is_new(key):
            yield Item(key, "file", Path(path))


def _lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the paths of a list, by NUL characters if its first block has any."""
    end = b""
    rest = b""
    while block := file.read(_MOST_OF_A_PATH):
        if not end:
            end = b"\0" if b"\0" in block else b"\n"
            block = block.removeprefix(b"\xef\xbb\xbf")
        *lines, rest = (rest + block).split(end)
        for line in (*lines, rest):
            if len(line) > _MOST_OF_A_PATH:
                raise InputError(f"{name} has a path of more than {_MOST_OF_A_PATH} bytes: one path a line is accepted")
        yield from filter(None, (_path(line, end) for line in lines))
    yield from filter(None, (_path(rest, end),))


def _path(line: bytes, end: bytes) -> bytes:
    return line.removesuffix(b"\r") if end == b"\n" else line


def items(pairs: Iterable[tuple[object, object]] | Mapping[Any, object]) -> Iterator[Item]:
    """Yield pairs of a key and a payload as items.

    Args:
        pairs: Keys (a str that is not empty, a whole number, or a UUID) and payloads: paths as `pathlib.Path`, bytes,
            texts as str, landmarks, or an error for what is not there. A key that comes twice is followed by its place:
            "7 (item 12)". A pair with another key, such as None, is an item of kind "rejected" with its place as the
            key: "item 12". A mapping is taken by its items.

    Raises:
        InputError: This is no iterable of pairs.
    """
    return _items(_iterable("items", pairs))


def _items(pairs: Iterable[Any]) -> Iterator[Item]:
    keys = UniqueKeys()
    for place, pair in enumerate(pairs, 1):
        if not _is_pair(pair):
            raise InputError(f"items must be pairs of a key and a payload; item {place} is {short_repr(pair)}")
        key, payload = pair
        if isinstance(payload, os.PathLike):
            payload = Path(payload)
        yield _keyed(Item.of(place, payload), key, place, keys)


def texts(source: Iterable[Any]) -> Iterator[Item]:
    """Yield texts as items.

    Args:
        source: Each a str, with its number from "1" as the key, or a pair of a key and a str, such as a row of a
            database; or a mapping of these. Keys are those of `items`. What is no str, or is blank, is an item of kind
            "rejected".

    Raises:
        InputError: This is no iterable, or a single str.
    """
    return _texts(_iterable("texts", source))


def _texts(source: Iterable[Any]) -> Iterator[Item]:
    keys = UniqueKeys()
    for place, value in enumerate(source, 1):
        key, text = value if _is_pair(value) else (place, value)
        yield _keyed(text_item(str(place), text, "the text"), key, place, keys)


def text_item(key: str, text: object, name: str) -> Item:
    """Return a text as an item; one of kind "rejected" for what is no text, or blank."""
    if not isinstance(text, str):
        is_missing = text is None or (isinstance(text, float) and math.isnan(text))
        kind = "missing" if is_missing else f"a {type(text).__name__}, not a str"
        return Item(key, "rejected", InputError(f"{name} is {kind}"))
    if not text.strip():
        return Item(key, "rejected", InputError(f"{name} is blank: there is nothing to measure"))
    return Item(key, "text", text)


def landmarks(source: Iterable[Any]) -> Iterator[Item]:
    """Yield landmarks as items.

    Args:
        source: Each as `StreamSocket.send_facemesh` takes them, with its number from "1" as the key, or a pair of a key
            (a str, a whole number, or a UUID) and landmarks; or a mapping of these.

    Raises:
        InputError: This is no iterable.
    """
    return _landmarks(_iterable("landmarks", source))


def _landmarks(source: Iterable[Any]) -> Iterator[Item]:
    keys = UniqueKeys()
    for place, value in enumerate(source, 1):
        given = _is_pair(value) and isinstance(value[0], str | Integral | UUID)
        key, points = value if given else (place, value)
        yield _keyed(Item(str(place), "landmarks", points), key, place, keys)


def _is_pair(value: Any) -> bool:
    """Return whether this is a pair: a tuple, a list, or a row of a database."""
    if isinstance(value, str | bytes | bytearray | memoryview) or not isinstance(value, Sequence):
        return False
    return len(value) == 2


def _keyed(item: Item, key: object, place: int, keys: UniqueKeys) -> Item:
    """Return the item with its key; one that is rejected for what is none."""
    try:
        name = Item.of(key, "").key
    except InputError as exc:
        return Item(keys.of(f"item {place}", "again"), "rejected", exc.with_traceback(None))
    return Item(keys.of(name, f"item {place}"), item.kind, item.content)


def without_file(source: Iterable[Item], path: _StrPath) -> Iterable[Item]:
    """Return items without a file: that of the results need not be an input, though it may lie among them.

    Args:
        source: The items.
        path: The file, which need not exist.

    Raises:
        InputError: ``path`` is no path.
    """
    left_out = Path(real_path(path))

    def read() -> Iterator[Item]:
        for item in source:
            if (
                item.kind != "file"
                or Path(item.content).name != left_out.name
                or real_path(item.content) != str(left_out)
            ):
                yield item

    return read() if isinstance(source, Iterator) else Source(read)


def _iterable(name: str, source: Any) -> Iterable[Any]:
    if isinstance(source, Mapping):
        return source.items()
    if isinstance(source, str | bytes) or not isinstance(source, Iterable):
        raise InputError(f"{name} needs an iterable, such as a list or a generator; got {short_repr(source)}")
    return source
