"""Samples of every encoding that audio comes in, as 16-bit ones (s16le)."""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Any, Final

from ..errors import InputError
from ..formats.wavformat import ALAW, FLOAT, MULAW, WavFormat
from ..net.extras import loaded_numpy
from . import mulaw
from .resample import numpy_for

__all__ = ["floats_of", "from_floats", "little_endian", "to_s16"]

_FULL: Final = 32768
"""What a float of 1 is as a sample; the largest is one less."""

_MOST: Final = 2.0
"""The largest float that is clipped: a mix may be 6 dB too loud. What lies beyond is of another scale."""


def to_s16(data: bytes, form: WavFormat, name: str, first: int = 0) -> bytes:
    """Whole frames of a WAV file's samples, which stay interleaved.

    Args:
        data: of a format whose blocks are frames.
        form: that format.
        name: what errors call the file.
        first: the number of the first frame.

    Raises:
        InputError: a float that is not finite, or far too large.
    """
    width = form.block_size // form.channels
    if form.tag == FLOAT:
        return from_floats(floats_of(data, form.order, width), name, first, form.channels)
    if form.tag == MULAW:
        return mulaw.decode(data)
    if form.tag == ALAW:
        return _of_bytes(data.translate(_ALAW_LOW), data.translate(_ALAW_HIGH))
    if width == 1:  # the only ones that are unsigned
        return _of_bytes(bytes(len(data)), data.translate(_SIGNED))
    # Wider numbers are cut to their upper two bytes; 12 bits in two bytes, or 24 in four, are the upper ones, too.
    high, low = (width - 1, width - 2) if form.order == "<" else (0, 1)
    return data if (width, high) == (2, 1) else _of_bytes(data[low::width], data[high::width])


def from_floats(values: Any, name: str, first: int = 0, channels: int = 1) -> bytes:
    """Floats, of which 1 is the loudest, as samples; those of up to 2 are clipped.

    Args:
        values: an array of floats in the machine's order, of numpy or of the standard library; of one dimension.
        name: what errors call the audio.
        first: the number of the first frame.
        channels: floats of a frame.

    Raises:
        InputError: one that is not finite, or far too large; the first of them is named.
    """
    numpy = numpy_for(len(values) * 16)
    if numpy is None:
        for index, value in enumerate(values):
            if not -_MOST <= value <= _MOST:
                raise _refused(name, first + index // channels, value)
        samples = [max(-_FULL, min(_FULL - 1, round(value * _FULL))) for value in values]
        return struct.pack(f"<{len(samples)}h", *samples)
    values = numpy.asarray(values)
    with numpy.errstate(invalid="ignore"):
        sound = numpy.abs(values) <= _MOST  # NaN is not
    if not sound.all():
        index = int(sound.argmin())
        raise _refused(name, first + index // channels, float(values[index]))
    clipped: bytes = numpy.rint(values * _FULL).clip(-_FULL, _FULL - 1).astype("<i2").tobytes()
    return clipped


def little_endian(data: bytes, order: str) -> bytes:
    """16-bit integers in this byte order ("<", ">", or "=", which is the machine's) as s16le."""
    if _is_little(order):
        return data
    return _of_bytes(data[1::2], data[0::2])


def floats_of(data: bytes, order: str, width: int) -> Any:
    """An array of the floats that lie there in this byte order."""
    numpy = loaded_numpy()
    if numpy is not None:
        return numpy.frombuffer(data, f"{order}f{width}")
    floats = array("f" if width == 4 else "d", data)
    if _is_little(order) != _is_little("="):
        floats.byteswap()
    return floats


def _is_little(order: str) -> bool:
    return order == "<" or (order == "=" and sys.byteorder == "little")


def _refused(name: str, frame: int, value: float) -> InputError:
    return InputError(
        f"sample {frame} of {name} is {value:g}; floats must be finite and lie in -1 to 1 (those of 16-bit audio are to"
        " be divided by 32768)"
    )


def _of_bytes(low: bytes, high: bytes) -> bytes:
    samples = bytearray(2 * len(low))
    samples[0::2], samples[1::2] = low, high
    return bytes(samples)


def _expanded(code: int) -> int:
    """The sample that an A-law code stands for (ITU-T G.711)."""
    segment, step = divmod((code ^ 0x55) & 0x7F, 16)
    magnitude = 16 * step + 8 if segment == 0 else 16 * step + 264 << segment - 1
    return magnitude if code & 0x80 else -magnitude


_ALAW_LOW: Final = bytes(_expanded(code) & 0xFF for code in range(256))
_ALAW_HIGH: Final = bytes(_expanded(code) >> 8 & 0xFF for code in range(256))
_SIGNED: Final = bytes(code ^ 0x80 for code in range(256))
