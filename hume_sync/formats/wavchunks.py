"""The chunks of a WAV file, and where its samples are; in memory, in a file, or in a pipe."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from ..errors import InputError
from .mpegaudio import tag_size
from .wavformat import WavFormat, describe

__all__ = [
    "File",
    "Incomplete",
    "Memory",
    "Rereadable",
    "Samples",
    "Source",
    "Unclear",
    "find_samples",
    "is_wav",
]

_ORDERS = {b"RIFF": "<", b"RF64": "<", b"BW64": "<", b"RIFX": ">"}
_LARGE = (b"RF64", b"BW64")
_HEADS = {order: struct.Struct(order + "4sI") for order in "<>"}
"""Name and size of a chunk, by byte order."""

_read_format = lru_cache(maxsize=32)(WavFormat.read)
"""Cached, since the payloads of a stream have one format."""

_UNKNOWN = 0xFFFFFFFF
_TO_THE_END = 2**63
"""Size of samples that end where the file does."""

_MAX_CHUNKS = 1000
"""Chunks of a file that are examined."""
_TOO_MANY = b""
_MAX_FORMAT = 4096
"""Bytes of a "fmt " chunk."""
_MAX_HEAD = 2**20
"""Bytes in front of the samples of a file that cannot seek."""
_MAX_TAG = 2**24
"""Bytes of an ID3 tag in front of a file that cannot seek; most are pictures."""
_MAX_TAGS = 100
"""Such tags in a row."""
_AT_A_TIME = 2**20
"""Bytes asked of a file at a time."""


class Unclear(ValueError):
    """A WAV file in which decoders would not all find the same samples. The text says why, after the file's name."""


class Incomplete(Unclear):
    """A WAV file in which no decoder finds samples: it was cut off inside its head, or lacks a part."""


class Samples(NamedTuple):
    """The samples of a WAV file."""

    format: WavFormat
    begin: int
    """Position of the first sample."""
    size: int
    """Bytes, as the head says; there may be fewer."""


class Source(Protocol):
    """A source of a WAV file's bytes."""

    @property
    def position(self) -> int:
        """Position of the next byte that is read."""

    @property
    def size(self) -> int | None:
        """Number of bytes; None if the source cannot seek."""

    def read(self, count: int) -> bytes:
        """Read ``count`` bytes; fewer only at the end."""

    def seek(self, position: int) -> None:
        """Go to a position; forwards only if the source cannot seek."""


class Memory:
    """Bytes in memory as a source."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.view = memoryview(data)
        self.size = len(self.view)
        self.position = 0

    def read(self, count: int) -> bytes:
        """Read ``count`` bytes; fewer only at the end."""
        begin = self.position
        data = bytes(self.view[begin : begin + count])
        self.position = begin + len(data)
        return data

    def seek(self, position: int) -> None:
        """Go to a position."""
        self.position = position


class Rereadable:
    """A binary file object that cannot seek, whose head can be read twice.

    Bytes that are read are kept until `rewind`, after which they are read again, or `forget`.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._kept: bytearray | None = bytearray()
        self._again = b""

    def read(self, size: int) -> Any:
        """Read up to ``size`` bytes; b"" at the end only."""
        if self._again:
            data, self._again = self._again[:size], self._again[size:]
            return data
        data = self._file.read(size)
        if self._kept is not None and isinstance(data, bytes | bytearray | memoryview):
            self._kept += data
        return data

    def rewind(self) -> None:
        """Go back to the beginning, once. Bytes read from then on are not kept."""
        if self._kept is not None:
            self._again = bytes(self._kept)
        self.forget()

    def forget(self) -> None:
        """Drop the kept bytes, and stop keeping bytes."""
        self._kept = None


class File:
    """A binary file object as a source; positions are relative to where it stood.

    Args:
        file: The file object.
        name: What errors call it.
    """

    def __init__(self, file: Any, name: str = "the file") -> None:
        self._file = file
        self._name = name
        self._start = self.position = 0
        self.size: int | None = None
        if hasattr(file, "seekable") and file.seekable():
            self._start = file.tell()
            self.size = file.seek(0, 2) - self._start
            file.seek(self._start)

    def read(self, count: int) -> bytes:
        """Read ``count`` bytes, also from a pipe that returns fewer at a time; fewer only at the end.

        Raises:
            OSError: The file cannot be read.
            InputError: It does not read as bytes.
        """
        parts = []
        while count > 0:
            data = self._file.read(min(count, _AT_A_TIME))
            if not isinstance(data, bytes | bytearray | memoryview):
                hint = "; open the file with mode 'rb'" if isinstance(data, str) else ""
                raise InputError(f"{self._name} must read as bytes, got {type(data).__name__}{hint}")
            if not data:
                break
            parts.append(data)
            count -= len(data)
            self.position += len(data)
        return b"".join(parts)

    def seek(self, position: int) -> None:
        """Go to a position; if the file cannot seek, by reading up to it."""
        if self.size is None:
            self.read(position - self.position)
        else:
            self._file.seek(self._start + position)
            self.position = position


def is_wav(data: bytes | bytearray | memoryview) -> bool:
    """Return whether these bytes begin as a WAV file does, after any ID3 tags."""
    head = bytes(data[:12])
    if head[:3] == b"ID3":
        head = _read_after_tags(Memory(data))
    return head[:4] in _ORDERS and head[8:] == b"WAVE"


def find_samples(source: Source) -> Samples | None:
    """Find the samples of a WAV file, if all decoders would find the same ones. ID3 tags in front are skipped.

    Returns:
        The samples, with the source at the first of them; None if it is not a WAV file.

    Raises:
        Incomplete: It has no samples, or no format.
        Unclear: It is damaged, its frames have no fixed size, or the position or size of its samples is not clear.
    """
    beginning = _read_beginning(source)
    if beginning is None:
        return None
    order, large = beginning
    form: WavFormat | None = None
    place: tuple[int, int] | None = None
    strange = ""
    lacking: type[Unclear] = Incomplete
    for name, begin, size in _chunks(source, order, large):
        if name == _TOO_MANY or not _is_name(name):
            lacking = Unclear  # decoders that search for chunks may find more
        elif name == b"fmt " and form is None and not strange:
            chunk = source.read(min(size, _MAX_FORMAT))
            form = _read_format(chunk, order)
            if form is None:
                strange = f"holds {describe(chunk, order)}" if len(chunk) >= 16 else "is damaged: it is cut off"
        elif name == b"ds64":
            raise Unclear("is damaged: it has a size of 64 bits where there is none to be")
        elif name == b"data" and place:
            raise Unclear("has two chunks of samples, of which decoders take one, the other or both")
        elif name == b"data" and size < 0:
            raise Unclear("is empty or damaged: the size of its samples contradicts what else it holds")
        elif name == b"data":
            place = begin, size
            if source.size is None:
                break  # what follows them cannot be read first
    if form is None or place is None:
        raise _refusal(place, strange, lacking, seekable=source.size is not None)
    source.seek(place[0])
    return Samples(form, *place)


def _read_beginning(source: Source) -> tuple[str, int | None] | None:
    """Read the beginning of a WAV file: its byte order, and in RF64 and BW64 the size of its samples.

    Returns:
        Both; None if it is not a WAV file.

    Raises:
        Incomplete: It is cut off.
        Unclear: The size is missing.
    """
    head = _read_after_tags(source)
    order = _ORDERS.get(head[:4])
    if order is None or head[8:] != b"WAVE":
        if order and len(head) >= 8 and b"WAVE".startswith(head[8:]) and (b"\0" in head or not head.isascii()):
            raise Incomplete("is damaged: it is cut off inside its head")
        return None
    large = _read_ds64(source) if head[:4] in _LARGE else None
    if large == 0:
        kind = Unclear if source.read(1) else Incomplete
        raise kind("is damaged: it does not begin with its size, as RF64 and BW64 do")
    return order, large


def _refusal(place: object, strange: str, lacking: type[Unclear], *, seekable: bool) -> Unclear:
    """Return the error for a file without samples, or without a format that can be read.

    Args:
        place: The position of the samples, if there are any.
        strange: The text about a format that cannot be used, if one was found.
        lacking: The error if something was not found.
        seekable: Whether all of the file was examined.
    """
    if place is None:
        return lacking("is damaged: it has no samples")
    if strange:
        return Unclear(strange)
    if not seekable:
        return Unclear("has its samples in front of their format, and is read from what cannot seek: save it to a file")
    return lacking("is damaged: its samples have no format")


def _read_after_tags(source: Source) -> bytes:
    """Read the first twelve bytes after all ID3 tags."""
    head = source.read(12)
    for _ in range(_MAX_TAGS):
        size = tag_size(head)
        if not size or (source.size is None and size > _MAX_TAG):
            return head
        rest = head[size:]
        source.seek(source.position + max(0, size - len(head)))
        head = rest + source.read(12 - len(rest))
    return head


def _chunks(source: Source, order: str, large: int | None) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, position and size of every chunk, with the source at its body; -1 for a size that is not clear.

    If there are too many, the last name is `_TOO_MANY`.
    """
    limit = source.position + _MAX_HEAD if source.size is None else source.size
    unpack = _HEADS[order].unpack
    for _ in range(_MAX_CHUNKS):
        head = source.read(8)
        if len(head) < 8:
            return
        begin = source.position
        name, size = unpack(head)
        if name == b"data":
            size = _data_size(source, order, size, large)
        yield name, begin, size
        end = begin + size + size % 2  # chunks begin at even positions
        if end >= limit:
            if source.size is None:
                yield _TOO_MANY, 0, 0
            return
        source.seek(end)
    yield _TOO_MANY, 0, 0


def _data_size(source: Source, order: str, size: int, large: int | None) -> int:
    if large is not None:
        return large if size in (_UNKNOWN, large) else -1
    if size not in (0, _UNKNOWN):
        return size
    # The file was written to a pipe. But if chunks follow a size of 0, it may have no samples.
    return -1 if size == 0 and _is_chunk(source, order) else _TO_THE_END


def _read_ds64(source: Source) -> int:
    """Read the 64-bit size of the samples, which comes first in RF64 and BW64; 0 if there is none."""
    head = source.read(8)
    if len(head) < 8 or head[:4] != b"ds64":
        return 0
    begin, length = source.position, int.from_bytes(head[4:], "little")
    body = source.read(min(length, 28))
    size = int.from_bytes(body[8:16], "little")
    source.seek(begin + length + length % 2)
    return size if len(body) >= 16 and size < _TO_THE_END else 0


def _is_chunk(source: Source, order: str) -> bool:
    """Return whether a whole chunk begins here; False if the source cannot seek."""
    if source.size is None:
        return False
    begin = source.position
    head = source.read(8)
    source.seek(begin)
    if len(head) < 8 or not _is_name(head[:4]):
        return False
    size: int = _HEADS[order].unpack(head)[1]
    return begin + 8 + size <= source.size


def _is_name(name: bytes) -> bool:
    """Return whether this may be the name of a chunk."""
    return all(32 <= letter < 127 for letter in name)
