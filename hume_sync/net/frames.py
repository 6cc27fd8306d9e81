"""Build WebSocket frames, masked in one buffer. (`frame_parser` reads them.)

websocket-client's own frames cost more than the rest of a request: it masks through two arrays and three integers, at
four seconds per gigabyte. The measurements behind each choice here are in ``benchmarks``.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

from .extras import loaded_numpy
from .preload import import_optional

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "FINAL",
    "LARGE",
    "PING",
    "PONG",
    "TEXT",
    "FrameWriter",
    "LazyPart",
    "Part",
    "join_parts",
]

FINAL: Final = 0x80
"""In the first byte of a frame: it ends its message."""

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
"""Opcodes (RFC 6455, 5.2)."""

_MASKED: Final = 0x80
_SHORT: Final = struct.Struct("!BBH")
"""A header with two bytes of length; of other frames, its first two."""

_HEADER: Final = 16
"""Bytes kept for a header, so that the payload behind it starts at a multiple of eight (the longest has 14)."""

_SMALL: Final = 2048
"""Bytes below which one integer masks faster than anything that has to be set up."""

LARGE: Final = 128 * 1024
"""Bytes from which a message may be written part by part: glibc asks the system for memory that long, page by page."""

_IMPORT_NUMPY_AFTER: Final = 256 * 1024
"""Bytes masked the slower way before numpy is imported for it: who sends a text or a few does without."""

_KEYS: Final = 32
"""Masking keys fetched from the system at a time: a system call for each would be a microsecond a frame."""

_BLOCK: Final = 65536
"""Bytes masked at a time without numpy: what stays in the cache between its four passes."""

_Mask = Callable[[bytearray, bytes], None]
"""Masks the payload of a frame in place, with a key."""

_EVERY_BYTE: Final = int.from_bytes(bytes(range(256)), "little")
_ONES: Final = int.from_bytes(b"\x01" * 256, "little")


class LazyPart(Protocol):
    """A part of a message, of `LARGE` bytes or more, that becomes bytes only in its place in the frame."""

    def __len__(self) -> int:
        """How many bytes it will be."""

    def write_into(self, place: memoryview) -> None:
        """Write so many bytes."""


Part = bytes | LazyPart


class FrameWriter:
    """Builds the masked frames of one connection."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []  # for the frames to come
        self._masked_without_numpy = 0  # bytes masked without numpy so far
        self._numpy_mask: _Mask | None = None  # numpy's way, once numpy is there

    def build(self, parts: Sequence[Part], opcode: int = TEXT) -> bytes | memoryview:
        """Return one frame that is a whole message; its payload is the concatenation of the parts.

        The parts are written once, into the frame, and masked there. Each frame has a fresh, unpredictable key
        (RFC 6455, 5.3).
        """
        size = sum(map(len, parts))
        key = self._key()
        first = FINAL | opcode
        header = _SHORT.pack(first, _MASKED | 126, size) if 126 <= size < 65536 else _header(first, size)
        if size < _SMALL:
            mask = int.from_bytes(key * (size >> 2) + key[: size & 3], "little")
            masked = int.from_bytes(b"".join(cast(Sequence[bytes], parts)), "little") ^ mask
            return b"".join((header, key, masked.to_bytes(size, "little")))
        start = _HEADER - len(header) - 4
        pad = -size & 7
        frame = join_parts((bytes(start), header, key, *parts, bytes(pad)), _HEADER + size + pad)
        mask_in_place = self._numpy_mask or self._choose_mask(size)
        mask_in_place(frame, key)
        return memoryview(frame)[start : _HEADER + size]

    def _key(self) -> bytes:
        while True:
            try:
                return self._keys.pop()  # one step: of two threads, each gets its own
            except IndexError:
                ahead = os.urandom(4 * _KEYS)
                self._keys += [ahead[i : i + 4] for i in range(0, len(ahead), 4)]

    def _choose_mask(self, size: int) -> _Mask:
        numpy = loaded_numpy()
        if numpy is None and self._masked_without_numpy >= 0:
            self._masked_without_numpy += size
            if self._masked_without_numpy > _IMPORT_NUMPY_AFTER:
                numpy = import_optional("numpy")  # a tenth of a second
                if numpy is None:
                    self._masked_without_numpy = -1  # and never looked for again
        if numpy is None:
            return _mask_by_tables
        self._numpy_mask = functools.partial(_mask_by_words, numpy)
        return self._numpy_mask


def join_parts(parts: Sequence[Part], size: int) -> bytearray:
    """Return the concatenated parts; ``size`` is their total length in bytes."""
    if size < LARGE:  # so there is no late one
        return bytearray().join(cast(Sequence[bytes], parts))
    whole = bytearray(size)
    end = 0
    with memoryview(whole) as view:
        for part in parts:
            begin, end = end, end + len(part)
            if isinstance(part, bytes):
                view[begin:end] = part
            else:
                part.write_into(view[begin:end])
    return whole


def _header(first: int, size: int) -> bytes:
    """Return the header of a frame below 126 bytes or from 64 KiB."""
    if size < 126:
        return bytes((first, _MASKED | size))
    return struct.pack("!BBQ", first, _MASKED | 127, size)


def _mask_by_words(numpy: Any, frame: bytearray, key: bytes) -> None:
    """Eight bytes at a time: as fast as memory."""
    words = numpy.frombuffer(frame, numpy.uint64, -1, _HEADER)
    # The key has no dimension: numpy then has nothing to broadcast, which would take as long as the work.
    numpy.bitwise_xor(words, numpy.frombuffer(key + key, numpy.uint64).reshape(()), words)


def _mask_by_tables(frame: bytearray, key: bytes) -> None:
    """Each fourth byte has the same byte of the key: a translation. The fastest way the standard library has."""
    tables = [(_EVERY_BYTE ^ _ONES * byte).to_bytes(256, "little") for byte in key]
    for block in range(_HEADER, len(frame), _BLOCK):
        for first, table in enumerate(tables, block):
            lane = slice(first, block + _BLOCK, 4)
            frame[lane] = frame[lane].translate(table)
