"""MPEG audio (MP1, MP2, MP3) and AAC in ADTS frames: they have no file header, so consecutive frames identify them."""

from __future__ import annotations

from typing import Literal

import attrs

from ..reprs import safe_repr

__all__ = ["find_frames", "frames_at", "tag_size"]

Name = Literal["MP3", "MP2", "MP1", "AAC"]

_ENOUGH = 3
"""Consecutive frames that cannot be a coincidence."""
_JUNK = 128 * 1024
"""Bytes before the first frame that are searched."""

_V1, _V2 = 3, 2
"""MPEG versions as frames write them; 0 is 2.5."""

# Kilobits a second, by the four bits of a header; 0 is a free choice, which no decoder in use takes.
_BITRATES = {
    (_V1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (_V1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (_V1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (_V2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (_V2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


@safe_repr
@attrs.frozen
class _Frame:
    name: Name
    kind: tuple[int, ...]
    """The properties that all frames of a stream share."""
    size: int
    """Size in bytes, including its header."""


def frames_at(data: memoryview, place: int) -> Name | None:
    """Return the kind of the frames that follow each other from a position on.

    Fewer than three are taken only where the data end with them, but for a few old tags ("TAG") behind them.
    """
    first = frame = _frame(data, place)
    count = 0
    while first is not None and frame is not None and frame.kind == first.kind:
        count += 1
        place += frame.size
        if count >= _ENOUGH:
            return first.name
        frame = _frame(data, place)
    if first is None:
        return None
    if first.name == "MP1":  # FF FE is how texts in UTF-16 begin, too
        return None
    left = len(data) - place
    ended = left == 0 or bytes(data[place : place + 3]) in (b"TAG", b"APE") or (left < 0 and count > 1)
    return first.name if count and ended else None


def find_frames(data: memoryview) -> Name | None:
    """Return the kind of the frames after some other bytes, such as zeros."""
    junk = bytes(data[:_JUNK])
    place = junk.find(b"\xff")
    while place >= 0:
        if _frame(data, place) and (name := frames_at(data, place)):
            return name
        place = junk.find(b"\xff", place + 1)
    return None


def _frame(data: memoryview, place: int) -> _Frame | None:
    """Read the header of a frame."""
    head = bytes(data[place : place + 7])
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    if layer == 4:
        return _adts_frame(head)
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return None
    table = _BITRATES[_V1 if version == _V1 else _V2, layer if version == _V1 else min(layer, 2)]
    bits, hertz = table[bitrate] * 1000, _RATES[version][rate]
    if layer == 1:
        size = (12 * bits // hertz + padding) * 4
    else:
        size = (72 if layer == 3 and version != _V1 else 144) * bits // hertz + padding
    name: Name = "MP1" if layer == 1 else "MP2" if layer == 2 else "MP3"
    return _Frame(name, (version, layer, rate), size)


def _adts_frame(head: bytes) -> _Frame | None:
    if len(head) < 7 or head[1] & 0xF6 != 0xF0:
        return None
    rate = head[2] >> 2 & 15
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return _Frame("AAC", (head[1], head[2] & 0xFD), size) if rate < 13 and size >= 7 else None


_HEAD = 10
_FOOTER = 0x10
"""The flag of a tag that repeats its head at its end."""


def tag_size(data: bytes) -> int:
    """Return the size of the tag that begins here, in bytes; 0 where none does."""
    if data[:3] != b"ID3" or len(data) < _HEAD or data[3] >= 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return size + (2 * _HEAD if data[5] & _FOOTER else _HEAD)
