"""Sound that a pause detector takes for speech, and mu-law by the book: slow, and written apart from the client's."""

from __future__ import annotations

import math
import random
from array import array
from bisect import bisect_left
from itertools import pairwise

WORD, GAP = 0.4, 0.3
"""Seconds. No block of 0.6 s within speech is quiet enough for a pause."""

PAUSE = 0.7
"""Seconds of silence that are a pause when they come in one message."""

_LOUD = 0.01 * 32768


def speech(rate: int, seconds: float = 1.9) -> bytes:
    """Words of buzz and noise with gaps between them, always the same: s16le, mono."""
    noise = random.Random(rate)
    samples = array("h")
    for number in range(round(rate * seconds)):
        word, place = divmod(number / rate, WORD + GAP)
        if place >= WORD:
            samples.append(0)
            continue
        pitch = 110 + 30 * (word % 3)
        buzz = sum(math.sin(2 * math.pi * pitch * harmonic * place) / harmonic for harmonic in (1, 2, 3))
        swell = math.sin(math.pi * place / WORD) ** 0.5
        samples.append(round(swell * (7000 * buzz + noise.uniform(-900, 900))))
    return samples.tobytes()


def _decoded(code: int) -> int:
    code ^= 0xFF
    magnitude = (((code & 0x0F) * 8 + 0x84) << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


DECODED = tuple(_decoded(code) for code in range(256))
_CODES = sorted((code for code in range(256) if code != 0x7F), key=DECODED.__getitem__)  # 0x7F: another zero
_BOUNDS = [(DECODED[low] + DECODED[high]) / 2 for low, high in pairwise(_CODES)]
_QUIET = bytes(code for code in range(256) if abs(DECODED[code]) <= _LOUD)

SILENCE = 0xFF


def to_mulaw(pcm: bytes) -> bytes:
    """The nearest code for each sample."""
    return bytes(_CODES[bisect_left(_BOUNDS, sample)] for sample in array("h", pcm))


def from_mulaw(data: bytes) -> bytes:
    """As s16le."""
    return array("h", [DECODED[code] for code in data]).tobytes()


def silence(rate: int, seconds: float = PAUSE) -> bytes:
    """As mu-law."""
    return bytes([SILENCE]) * round(rate * seconds)


def spoken(data: bytes, rate: int) -> float:
    """Seconds of speech in mu-law audio: the 30 ms windows in which a quarter of the samples are loud."""
    window = max(1, rate * 3 // 100)
    blocks = (data[start : start + window] for start in range(0, len(data), window))
    return sum(len(block.translate(None, _QUIET)) * 4 > len(block) for block in blocks) * window / rate
