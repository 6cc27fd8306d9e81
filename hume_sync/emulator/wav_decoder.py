"""Decode WAV files to the exact sample."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from attrs import frozen

from ..reprs import safe_repr
from .clips import Clip, Coding, PcmFormat
from .faults import UNPARSED_MEDIA, PayloadError

_BYTE_ORDERS: Final = {b"RIFF": "little", b"RIFX": "big", b"RF64": "little", b"BW64": "little"}
_CODINGS: Final = {1: "integer", 3: "float", 6: "a-law", 7: "mu-law"}
_WIDTHS: Final = {"integer": {1, 2, 3, 4, 8}, "float": {4, 8}, "a-law": {1}, "mu-law": {1}}
_MS_ADPCM, _IMA_ADPCM, _YAMAHA_ADPCM, _GSM, _EXTENSIBLE = 2, 17, 32, 49, 65534
_SUBFORMAT: Final = bytes.fromhex("000000001000800000aa00389b71")
_UNKNOWN_SIZE: Final = 2**32 - 1
_MAX_CHUNKS: Final = 500


@safe_repr
@frozen
class _Blocks:
    """The layout of samples compressed in blocks of one size; the last block may be shorter."""

    rate: int
    """Frames per second."""
    size: int
    """Bytes of a block."""
    overhead: int
    """Bytes of a block's header."""
    head: int
    """Frames in the header."""
    group: int
    """Bytes of a group, the smallest unit that can be decoded."""
    frames: int
    """Frames in a group."""

    def seconds(self, size: int) -> Fraction:
        whole, rest = divmod(size, self.size)
        frames = whole * self._frames(self.size) + self._frames(rest)
        return Fraction(frames, self.rate)

    def _frames(self, size: int) -> int:
        return self.head + (size - self.overhead) // self.group * self.frames if size >= self.overhead else 0


def is_wav(content: bytes) -> bool:
    """Return whether ``content`` starts like a WAV file, possibly after ID3 tags."""
    begin = _id3_size(content)
    return content[begin : begin + 4] in _BYTE_ORDERS and content[begin + 8 : begin + 12] == b"WAVE"


def _id3_size(content: bytes) -> int:
    """Return the size in bytes of the ID3 tags at the start of ``content``."""
    place = 0
    while content.startswith(b"ID3", place) and place + 10 <= len(content):
        a, b, c, d = content[place + 6 : place + 10]
        has_footer = content[place + 5] & 16
        place += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if has_footer else 0)
    return place


def read_wav(content: bytes) -> Clip | None:
    """Return the audio of a WAV file, or None for an unknown compressed format.

    Integers of 8 to 64 bits, floats of 32 and 64 bits and G.711 are exact to the sample, in RIFF, RIFX, RF64 and
    BW64. MS, IMA and Yamaha ADPCM and GSM 6.10 stay encoded; their duration is counted in blocks. The data sizes of
    a file written to a pipe (0, 0xFFFFFFFF or beyond the end) mean "to the end".

    Raises:
        PayloadError: The format is missing or invalid, or there is not exactly one data chunk (E0200).
    """
    chunks = _Chunks(content[_id3_size(content) :])
    found: dict[bytes, bytes] = {}
    for name, body in chunks:
        if name == b"data" and name in found:
            raise _unreadable()  # ambiguous
        if name in {b"data", b"fmt "}:
            found.setdefault(name, body)
    if set(found) != {b"data", b"fmt "}:
        raise _unreadable()
    layout = _read_format(found[b"fmt "], chunks.order)
    if layout is None:
        return None
    if isinstance(layout, _Blocks):
        return Clip(found[b"data"], layout.seconds(len(found[b"data"])))
    clip = Clip.from_samples(found[b"data"], layout)
    return clip if chunks.order == "<" else Clip.from_samples(_to_little_endian(clip.content, layout.width), layout)


class _Chunks:
    """An iterable of the chunks of a file, as name and body."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.order = "<" if _BYTE_ORDERS[content[:4]] == "little" else ">"
        self._is_64 = content[:4] in {b"RF64", b"BW64"}

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        place, long_size = 12, 0
        for number in range(_MAX_CHUNKS):
            if place + 8 > len(self._content):
                return
            name, size = struct.unpack_from(self.order + "4sI", self._content, place)
            place += 8
            if (name == b"ds64") != (self._is_64 and number == 0):
                raise _unreadable()  # required as the first chunk of a 64-bit file, and allowed nowhere else
            if name == b"ds64":
                long_size = int.from_bytes(self._content[place + 8 : place + 16], "little")
            elif name == b"data":
                size = self._samples(place, size, long_size)
            yield name, self._content[place : place + size]
            place += size + size % 2  # chunks are aligned to two bytes

    def _samples(self, place: int, size: int, long_size: int) -> int:
        """Return the size of the samples at ``place``."""
        left = len(self._content) - place
        if self._is_64:
            if size not in {_UNKNOWN_SIZE, long_size} or not 0 < long_size < 2**63:
                raise _unreadable()
            return long_size
        if size == 0 and self._is_chunk(place):
            raise _unreadable()  # ambiguous: no samples, or an unknown size
        return size if size not in {0, _UNKNOWN_SIZE} else left

    def _is_chunk(self, place: int) -> bool:
        name, size = self._content[place : place + 4], self._content[place + 4 : place + 8]
        end = place + 8 + int.from_bytes(size, "little" if self.order == "<" else "big")
        return len(size) == 4 and name.isascii() and name.decode().isprintable() and end <= len(self._content)


def _read_format(chunk: bytes, order: str) -> PcmFormat | _Blocks | None:
    if len(chunk) < 16:
        raise _unreadable()
    code, channels, rate, byte_rate, block, bits = struct.unpack_from(order + "HHIIHH", chunk)
    if not channels or not rate or (order == ">" and code not in _CODINGS):
        raise _unreadable()
    if code in {_MS_ADPCM, _IMA_ADPCM, _YAMAHA_ADPCM, _GSM}:
        return _read_blocks(code, channels, rate, block, bits)
    container = -(-bits // 8)
    if code == _EXTENSIBLE:
        size, valid, code = struct.unpack_from("<16xHH4xH", chunk.ljust(26, b"\0"))
        bits = valid or bits
        fits = -(-bits // 8) == container or (bits, container, block) == (24, 4, 4 * channels)
        if size < 22 or chunk[26:40] != _SUBFORMAT or not fits:
            raise _unreadable()
    coding: Coding | None = _CODINGS.get(code)  # type: ignore[assignment]  # the values are its members
    if coding is None:
        return None
    if coding in {"a-law", "mu-law"}:
        width = 1
    elif (coding, bits, block) == ("integer", 24, 4 * channels):
        width = 4
    else:
        width = container
    agreed = block in {0, channels * width} or byte_rate == rate * channels * width
    if width not in _WIDTHS[coding] or not agreed or (coding == "float" and bits != 8 * width):
        raise _unreadable()
    return PcmFormat(rate, channels, width, coding)


def _read_blocks(code: int, channels: int, rate: int, block: int, bits: int) -> _Blocks:
    if code == _GSM:
        blocks = _Blocks(rate, block, 0, 0, 65, 320)
        sound = block == 65 and channels == 1
    elif code == _MS_ADPCM:
        blocks = _Blocks(rate, block, 7 * channels, 2, channels, 2)
        sound = block > 7 * channels
    elif code == _YAMAHA_ADPCM:
        blocks = _Blocks(rate, block, 0, 0, 1, 2 // min(channels, 2))
        sound = block > 0 and bits == 4 and channels <= 2
    else:
        blocks = _Blocks(rate, block, 4 * channels, 1, 4 * channels, 8)
        sound = block > 4 * channels and bits == 4
    if not sound or (block - blocks.overhead) % blocks.group:
        raise _unreadable()
    return blocks


def _to_little_endian(samples: bytes, width: int) -> bytes:
    """Return big-endian samples in little-endian byte order."""
    if width == 3:
        swapped = bytearray(samples)
        swapped[0::3], swapped[2::3] = samples[2::3], samples[0::3]
        return bytes(swapped)
    values = array({1: "B", 2: "H", 4: "I", 8: "Q"}[width], samples)
    values.byteswap()
    return values.tobytes()


def _unreadable() -> PayloadError:
    return PayloadError("E0200", UNPARSED_MEDIA)
