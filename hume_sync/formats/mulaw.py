"""mu-law (ITU-T G.711), the encoding of audio on a WebSocket of FastRTC: one byte a sample.

Equal to the standard library's ``audioop``, which Python 3.13 removed, for every sample and every byte. The textbook's
encoder is not: ``audioop`` cuts samples to 14 bits first, which differs by one step for 381 of them.
"""

from __future__ import annotations

import functools
import sys
from array import array
from typing import Final

from ..errors import InputError
from ..net.extras import loaded_numpy

__all__ = ["decode", "encode"]

_SEGMENTS: Final = 8
"""Segments of magnitudes, each twice as long as the one before."""

_STEPS: Final = 16
"""Steps in each segment."""

_BIAS: Final = 0x84
"""The start of the first segment: added to a magnitude before encoding, and subtracted after decoding."""


def encode(samples: bytes | bytearray | memoryview) -> bytes:
    """Return samples as mu-law.

    Args:
        samples: s16le, one channel; may be empty.

    Returns:
        One byte a sample; silence is 0xFF.

    Raises:
        InputError: The number of bytes is odd.
    """
    samples = bytes(samples)
    if len(samples) % 2:
        raise InputError(f"samples are two bytes each, got {len(samples)} bytes: an odd number")
    # Only used if it is loaded: importing it takes as long as encoding a minute of audio without it.
    numpy = loaded_numpy()
    if numpy is not None:
        coded: bytes = numpy.frombuffer(_codes(), "u1")[numpy.frombuffer(samples, "<u2")].tobytes()
        return coded
    patterns = array("H", samples)
    if sys.byteorder == "big":  # pragma: no cover - samples are little-endian
        patterns.byteswap()
    codes = _codes()
    return bytes([codes[pattern] for pattern in patterns])


def decode(data: bytes | bytearray | memoryview) -> bytes:
    """Return the samples of mu-law: s16le, one channel, two bytes for each byte of ``data``."""
    # bytes.translate is as fast as numpy, so there is no second implementation.
    data = bytes(data)
    low, high = _samples()
    samples = bytearray(2 * len(data))
    samples[0::2] = data.translate(low)
    samples[1::2] = data.translate(high)
    return bytes(samples)


@functools.cache
def _codes() -> bytes:
    """Return the code of each 16-bit pattern: of the samples 0 to 32767, then of -32768 to -1.

    Built from runs of samples that share a code: within a segment all are of one length. Codes are stored
    complemented, so 0xFF to 0x80 are the positive ones from quiet to loud, and 0x7F to 0x00 the negative ones.
    """
    runs = [8 << segment for segment in range(_SEGMENTS) for _ in range(_STEPS)]
    # The first run lies around zero. Samples are cut to 14 bits downwards, which leaves four of it to the positive
    # side and none to the negative one. Samples louder than the last run get its code.
    positive = b"".join(bytes([0xFF - i]) * run for i, run in enumerate([4, *runs[1:]]))
    negative = b"".join(bytes([0x7F - i]) * run for i, run in enumerate([0, *runs[1:]]))
    return positive.ljust(32768, b"\x80") + negative.ljust(32768, b"\x00")[::-1]


@functools.cache
def _samples() -> tuple[bytes, bytes]:
    """Return the low bytes and the high bytes of the samples of the codes 0x00 to 0xFF."""
    quiet_to_loud = [(8 * step + _BIAS << segment) - _BIAS for segment in range(_SEGMENTS) for step in range(_STEPS)]
    positive = quiet_to_loud[::-1]
    samples = [-magnitude & 0xFFFF for magnitude in positive] + positive
    return bytes(sample & 0xFF for sample in samples), bytes(sample >> 8 for sample in samples)
