"""WAV files, read to the sample."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .clips import Clip, PcmFormat
from .faults import UNPARSED_MEDIA, PayloadError

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_LAYOUTS = frozenset({(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)})


def is_wav(content: bytes) -> bool:
    """Say whether ``content`` begins like a WAV file."""
    return content[:4] in (b"RIFF", b"RF64") and content[8:12] == b"WAVE"


def read_wav(content: bytes) -> Clip:
    """Return the samples of a WAV file: 8, 16, 24 or 32-bit integers or 32 and 64-bit floats.

    The sizes of a stream written to a pipe (0, 0xFFFFFFFF or beyond the end) stand for "to the end".
    Raises PayloadError E0200 for a file without a usable format or without a data chunk.
    """
    pcm: PcmFormat | None = None
    for name, start, size in _chunks(content):
        if name == b"fmt ":
            pcm = _read_format(content[start : start + size])
        elif name == b"data":
            if pcm is None:
                break
            end = start + size if size else len(content)
            return Clip.of_samples(content[start:end], pcm)
    raise PayloadError("E0200", UNPARSED_MEDIA)


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    position = 12
    while position + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, position)
        yield name, position + 8, size
        position += 8 + size + size % 2  # chunks begin at even places


def _read_format(chunk: bytes) -> PcmFormat:
    if len(chunk) < 16:
        raise PayloadError("E0200", UNPARSED_MEDIA)
    code, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if code == _EXTENSIBLE and len(chunk) >= 26:
        (code,) = struct.unpack_from("<H", chunk, 24)  # the first two bytes of the sub-format
    width = bits // 8
    if (code, bits) not in _LAYOUTS or not channels or not rate or block != channels * width:
        raise PayloadError("E0200", UNPARSED_MEDIA)
    return PcmFormat(rate, channels, width, code == _FLOAT)
