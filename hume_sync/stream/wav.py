"""WAV audio: its length to the sample, and cut into payloads short enough for a server."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Self

import attrs

from ..reprs import safe_repr

__all__ = ["Wav"]

_HEAD = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")
_EXTENSIBLE = 0xFFFE


@safe_repr
@attrs.frozen
class Wav:
    """A RIFF WAVE file, taken apart without copying its samples."""

    format_chunk: bytes = attrs.field(repr=False)
    """Body of the "fmt " chunk, as found."""
    sample_rate: int
    """Samples a second and channel."""
    frame_size: int
    """Bytes of one sample of all channels."""
    samples: memoryview = attrs.field(repr=False)
    """Whole frames only."""

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self | None:
        """Take a WAV file apart; None for anything else, damaged heads included.

        A data size of 0 or 0xFFFFFFFF (a stream written to a pipe), or one beyond the file's end, means: to the
        end. Only formats whose every frame has one size are read: PCM and float, plain or "extensible".
        """
        view = memoryview(data)
        if bytes(view[:4]) not in (b"RIFF", b"RF64") or bytes(view[8:12]) != b"WAVE":
            return None
        position, form = 12, b""
        while position + _HEAD.size <= len(view):
            name, size = _HEAD.unpack_from(view, position)
            position += _HEAD.size
            if name == b"fmt ":
                form = bytes(view[position : position + size])
            elif name == b"data":
                return cls._of(form, view[position : position + size] if size else view[position:])
            position += size + size % 2  # chunks begin at even places (RIFF)
        return None

    @classmethod
    def _of(cls, form: bytes, samples: memoryview) -> Self | None:
        if len(form) < _FORMAT.size:
            return None
        tag, channels, rate, _, frame_size, bits = _FORMAT.unpack_from(form)
        if tag == _EXTENSIBLE and len(form) >= 26:
            tag = int.from_bytes(form[24:26], "little")  # the sub-format begins with the plain tag
        if tag not in (1, 3) or not rate or not channels or frame_size != channels * ((bits + 7) // 8) or not bits:
            return None
        whole = len(samples) - len(samples) % frame_size
        return cls(form, rate, frame_size, samples[:whole])

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return len(self.samples) / self.frame_size / self.sample_rate

    def cut(self, seconds: float) -> Iterator[bytes]:
        """The audio as WAV files of at most ``seconds`` each, in order; nothing is lost between them."""
        # A millionth of a sample on top: 0.125125 s at 8 kHz is 1001 samples, not what a float makes of it.
        step = max(1, int(seconds * self.sample_rate + 1e-6)) * self.frame_size
        for start in range(0, len(self.samples), step):
            yield self._file(self.samples[start : start + step])

    def _file(self, samples: memoryview) -> bytes:
        form = _HEAD.pack(b"fmt ", len(self.format_chunk)) + self.format_chunk + b"\0" * (len(self.format_chunk) % 2)
        data = _HEAD.pack(b"data", len(samples)) + samples + b"\0" * (len(samples) % 2)
        return b"".join((_HEAD.pack(b"RIFF", 4 + len(form) + len(data)), b"WAVE", form, data))
