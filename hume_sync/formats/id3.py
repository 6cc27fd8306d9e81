"""ID3v2 tags, which stand in front of MP3 and, now and then, of WAV, FLAC, AAC and AIFF."""

from __future__ import annotations

__all__ = ["tag_size"]

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
