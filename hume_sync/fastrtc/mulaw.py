"""mu-law (ITU-T G.711), the form in which FastRTC carries audio: one byte a sample.

Equal to the standard library's ``audioop``, which Python 3.13 no longer has, for every sample and every byte. The
textbook's encoder is not: ``audioop`` cuts samples to 14 bits first, which differs by a step for 381 of them.
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
"""Of magnitudes, each twice as long as the one before."""

_STEPS: Final = 16
"""In every segment."""

_BIAS: Final = 0x84
"""Where the first segment begins: what is added to a magnitude before, and taken from it after."""


def encode(samples: bytes | bytearray | memoryview) -> bytes:
    """Samples as mu-law.

    Args:
        samples: s16le, one channel; none are fine.

    Returns:
        One byte a sample; silence is 0xFF.

    Raises:
        InputError: an odd number of bytes.
    """
    samples = bytes(samples)
    if len(samples) % 2:
        raise InputError(f"samples are two bytes each, got {len(samples)} bytes: an odd number")
    # Taken where it is loaded, never imported: that takes as long as coding a minute of audio without it.
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
    """Samples of mu-law: s16le, one channel, two bytes for each byte of ``data``."""
    # A look-up in C for each of the two bytes is as fast as numpy, so there is no other way here.
    data = bytes(data)
    low, high = _samples()
    samples = bytearray(2 * len(data))
    samples[0::2] = data.translate(low)
    samples[1::2] = data.translate(high)
    return bytes(samples)


@functools.cache
def _codes() -> bytes:
    """The code of each 16-bit pattern: of the samples 0 to 32767, then of -32768 to -1.

    Written as runs of samples that share a code: within a segment all are of one length. Codes are stored
    complemented, so 0xFF to 0x80 are the positive ones from quiet to loud, and 0x7F to 0x00 the negative ones.
    """
    runs = [8 << segment for segment in range(_SEGMENTS) for _ in range(_STEPS)]
    # The first run lies around zero. Samples are cut to 14 bits downwards, which leaves four of it to the positive
    # side and none to the negative one. Whatever is louder than the last run counts to it.
    positive = b"".join(bytes([0xFF - i]) * run for i, run in enumerate([4, *runs[1:]]))
    negative = b"".join(bytes([0x7F - i]) * run for i, run in enumerate([0, *runs[1:]]))
    return positive.ljust(32768, b"\x80") + negative.ljust(32768, b"\x00")[::-1]


@functools.cache
def _samples() -> tuple[bytes, bytes]:
    """The low bytes and the high bytes of the samples that the codes 0x00 to 0xFF stand for."""
    quiet_to_loud = [(8 * step + _BIAS << segment) - _BIAS for segment in range(_SEGMENTS) for step in range(_STEPS)]
    positive = quiet_to_loud[::-1]
    samples = [-magnitude & 0xFFFF for magnitude in positive] + positive
    return bytes(sample & 0xFF for sample in samples), bytes(sample >> 8 for sample in samples)
