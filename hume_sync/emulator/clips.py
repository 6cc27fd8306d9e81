"""Audio clips that can be shortened, compared and measured."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property
from hashlib import blake2b
from itertools import groupby
from typing import Any, Literal, cast

from attrs import evolve, field, frozen

from ..reprs import safe_repr

Coding = Literal["integer", "float", "a-law", "mu-law"]
"""The encoding of a sample. The last two are those of telephones (G.711), one byte each."""


@safe_repr
@frozen
class PcmFormat:
    """The layout of samples.

    Attributes:
        rate: Frames per second.
        channels: Samples per frame.
        width: Bytes per sample.
        coding: The encoding of each sample.
    """

    rate: int
    channels: int
    width: int
    coding: Coding = "integer"

    @property
    def frame_size(self) -> int:
        """Return the bytes of a frame: one sample of every channel."""
        return self.channels * self.width

    @property
    def name(self) -> str:
        """Return the format as text. Scores depend on it, so it must not change."""
        fields = f"rate={self.rate}, channels={self.channels}, width={self.width}, is_float={self.coding == 'float'}"
        law = f", coding={self.coding!r}" if self.coding.endswith("law") else ""
        return f"PcmFormat({fields}{law})"


@safe_repr
@frozen(slots=False)
class Clip:
    """A piece of audio: samples, or an encoded file.

    Attributes:
        content: The samples, or the bytes of the file.
        seconds: The duration.
        pcm: The layout of the samples, or None for an encoded file.
    """

    content: bytes = field(repr=False)
    seconds: Fraction
    pcm: PcmFormat | None = None

    @classmethod
    def from_samples(cls, content: bytes, pcm: PcmFormat) -> Clip:
        """Return a clip of samples, without an incomplete last frame."""
        frames = len(content) // pcm.frame_size
        return cls(content[: frames * pcm.frame_size], Fraction(frames, pcm.rate), pcm)

    @cached_property
    def peak(self) -> float:
        """Return the loudest sample as a fraction of full scale, 0 to 1; an encoded file counts as loud (1)."""
        if not self.pcm or not self.content:
            return 1.0 if self.content else 0.0
        if self.pcm.coding == "integer" and not self.content.strip(b"\x80" if self.pcm.width == 1 else b"\x00"):
            return 0.0
        return _peak(self.content, self.pcm)

    def last(self, seconds: Fraction) -> Clip:
        """Return the last ``seconds``: exact for samples, in proportion to the bytes of an encoded file."""
        if seconds >= self.seconds:
            return self
        if self.pcm:
            frames = int(seconds * self.pcm.rate)
            return Clip.from_samples(self.content[len(self.content) - frames * self.pcm.frame_size :], self.pcm)
        size = int(len(self.content) * seconds / self.seconds)
        return evolve(self, content=self.content[len(self.content) - size :], seconds=seconds)


def digest(clips: Iterable[Clip]) -> bytes:
    """Return a digest of the audio. Boundaries between clips of samples in one format do not change it."""
    whole = blake2b(digest_size=32)
    numbered = ((clip.pcm if clip.pcm else index, clip) for index, clip in enumerate(clips))
    for layout, group in groupby(numbered, key=lambda pair: pair[0]):
        part = blake2b((layout.name if isinstance(layout, PcmFormat) else repr("encoded")).encode(), digest_size=32)
        for _, clip in group:
            part.update(clip.content)
        whole.update(part.digest())
    return whole.digest()


def _peak(content: bytes, pcm: PcmFormat) -> float:
    if pcm.coding == "float":
        floats = _values("f" if pcm.width == 4 else "d", content)
        # NaN has no loudness; values beyond full scale are clipped.
        return min(1.0, max((abs(value) for value in floats if not math.isnan(value)), default=0.0))
    if pcm.coding != "integer":
        loudness = _a_law if pcm.coding == "a-law" else _mu_law
        return max(map(loudness, set(content))) / 2**15
    if pcm.width == 1:
        return max(max(content) - 128, 128 - min(content)) / 128
    if pcm.width == 3:
        # The upper 16 of 24 bits are enough to measure loudness.
        upper = bytearray(len(content) // 3 * 2)
        upper[0::2], upper[1::2] = content[1::3], content[2::3]
        return _peak(bytes(upper), PcmFormat(pcm.rate, pcm.channels, 2))
    codes: dict[int, Literal["h", "i", "q"]] = {2: "h", 4: "i", 8: "q"}
    samples = _values(codes[pcm.width], content)
    highest, lowest = max(samples), min(samples)
    return min(1.0, max(highest, -lowest) / (1 << 8 * pcm.width - 1))


def _a_law(value: int) -> int:
    """Return the magnitude of an A-law sample (ITU-T G.711) on a 16-bit scale."""
    exponent, mantissa = (value ^ 0x55) >> 4 & 7, (value ^ 0x55) & 15
    magnitude = (mantissa << 4) + 8
    return magnitude if exponent == 0 else magnitude + 256 << exponent - 1


def _mu_law(value: int) -> int:
    """Return the magnitude of a mu-law sample (ITU-T G.711) on a 16-bit scale."""
    exponent, mantissa = ~value >> 4 & 7, ~value & 15
    return ((mantissa << 3) + 132 << exponent) - 132


def _values(code: Literal["d", "f", "h", "i", "q"], content: bytes) -> memoryview[float]:
    if sys.byteorder == "big":  # pragma: no cover - WAV is little-endian
        values = array(code, content)
        values.byteswap()
        content = values.tobytes()
    view: Any = memoryview(content).cast(code)
    return cast("memoryview[float]", view)
