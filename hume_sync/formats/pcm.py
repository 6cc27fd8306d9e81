"""Conversion of samples of all encodings to 16-bit ones (s16le)."""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Any, Final

from ..errors import InputError
from ..net.extras import loaded_numpy
from . import mulaw
from .resample import numpy_for
from .wavformat import ALAW, FLOAT, MULAW, WavFormat

__all__ = ["floats_of", "from_floats", "little_endian", "to_s16"]

_FULL_SCALE: Final = 32768
"""The sample of a float of 1; the largest sample is one less."""

_MAX_FLOAT: Final = 2.0
"""The largest float that is clipped: a mix may be 6 dB too loud. Larger ones are on another scale."""


def to_s16(data: bytes, wav_format: WavFormat, name: str, first: int = 0) -> bytes:
    """Return whole frames of a WAV file's samples as s16le; channels stay interleaved.

    Args:
        data: The frames, in a format whose blocks are frames.
        wav_format: The format.
        name: What errors call the file.
        first: The number of the first frame.

    Raises:
        InputError: A float is not finite, or far too large.
    """
    width = wav_format.block_size // wav_format.channels
    if wav_format.tag == FLOAT:
        return from_floats(floats_of(data, wav_format.order, width), name, first, wav_format.channels)
    if wav_format.tag == MULAW:
        return mulaw.decode(data)
    if wav_format.tag == ALAW:
        return _interleave(data.translate(_ALAW_LOW), data.translate(_ALAW_HIGH))
    if width == 1:  # the only unsigned samples
        return _interleave(bytes(len(data)), data.translate(_SIGNED))
    # Wider numbers are cut to their upper two bytes; 12 bits in two bytes, or 24 in four, are left-aligned, too.
    high, low = (width - 1, width - 2) if wav_format.order == "<" else (0, 1)
    return data if (width, high) == (2, 1) else _interleave(data[low::width], data[high::width])


def from_floats(values: Any, name: str, first: int = 0, channels: int = 1) -> bytes:
    """Return floats in -1 to 1 as samples; those of up to 2 are clipped.

    Args:
        values: A one-dimensional array of floats in native byte order, of numpy or of the standard library.
        name: What errors call the audio.
        first: The number of the first frame.
        channels: Floats of a frame.

    Raises:
        InputError: A float is not finite, or far too large; the first such float is named.
    """
    numpy = numpy_for(len(values) * 16)
    if numpy is None:
        for index, value in enumerate(values):
            if not -_MAX_FLOAT <= value <= _MAX_FLOAT:
                raise _range_error(name, first + index // channels, value)
        samples = [max(-_FULL_SCALE, min(_FULL_SCALE - 1, round(value * _FULL_SCALE))) for value in values]
        return struct.pack(f"<{len(samples)}h", *samples)
    values = numpy.asarray(values)
    with numpy.errstate(invalid="ignore"):
        sound = numpy.abs(values) <= _MAX_FLOAT  # NaN is not
    if not sound.all():
        index = int(sound.argmin())
        raise _range_error(name, first + index // channels, float(values[index]))
    clipped: bytes = numpy.rint(values * _FULL_SCALE).clip(-_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tobytes()
    return clipped


def little_endian(data: bytes, order: str) -> bytes:
    """Return 16-bit integers in this byte order ("<", ">", or "=" for native) as s16le."""
    if _is_little(order):
        return data
    return _interleave(data[1::2], data[0::2])


def floats_of(data: bytes, order: str, width: int) -> Any:
    """Return an array of the floats in ``data``, which are in this byte order."""
    numpy = loaded_numpy()
    if numpy is not None:
        return numpy.frombuffer(data, f"{order}f{width}")
    floats = array("f" if width == 4 else "d", data)
    if _is_little(order) != _is_little("="):
        floats.byteswap()
    return floats


def _is_little(order: str) -> bool:
    return order == "<" or (order == "=" and sys.byteorder == "little")


def _range_error(name: str, frame: int, value: float) -> InputError:
    return InputError(
        f"sample {frame} of {name} is {value:g}; floats must be finite and lie in -1 to 1 (those of 16-bit audio are to"
        " be divided by 32768)"
    )


def _interleave(low: bytes, high: bytes) -> bytes:
    samples = bytearray(2 * len(low))
    samples[0::2], samples[1::2] = low, high
    return bytes(samples)


def _decode_alaw(code: int) -> int:
    """Return the sample of an A-law code (ITU-T G.711)."""
    segment, step = divmod((code ^ 0x55) & 0x7F, 16)
    magnitude = 16 * step + 8 if segment == 0 else 16 * step + 264 << segment - 1
    return magnitude if code & 0x80 else -magnitude


_ALAW_LOW: Final = bytes(_decode_alaw(code) & 0xFF for code in range(256))
_ALAW_HIGH: Final = bytes(_decode_alaw(code) >> 8 & 0xFF for code in range(256))
_SIGNED: Final = bytes(code ^ 0x80 for code in range(256))
