"""The duration of audio, as far as its bytes confirm it."""

from __future__ import annotations

from fractions import Fraction

import attrs

from ..reprs import safe_repr
from .media import Media
from .packets import count_seconds
from .wav import Wav

__all__ = ["Length", "audio_duration", "measure"]

_DOUBT = Fraction(1, 4)
"""Seconds by which a length that is not exact may be too long; where that is most of it, half of it."""


@safe_repr
@attrs.frozen
class Length:
    """A length of audio."""

    seconds: Fraction
    exact: bool
    """To the sample, as in WAV. Decoders differ in how much they leave out of what is in packets."""

    @property
    def at_least(self) -> Fraction:
        """What any decoder gives of it."""
        return self.seconds if self.exact else max(self.seconds - _DOUBT, self.seconds / 2)


def measure(media: Media, name: str = "") -> Length | None:
    """Measure audio; None where its length is unknown.

    WAV is read to the sample. All other formats, MP3, M4A, Ogg, WebM and FLAC among them, need the extra ``media``
    (PyAV); without it their length is unknown.

    Args:
        media: The whole media.
        name: How errors name it; without a name, nothing is refused.

    Raises:
        InputError: This is a WAV file without samples, or without their format.
    """
    if wav := Wav.parse(media, name):
        return Length(Fraction(wav.frames, wav.sample_rate), True)
    seconds = count_seconds(media)
    return None if seconds is None else Length(seconds, exact=False)


def audio_duration(media: Media) -> Fraction | None:
    """Return the length that `measure` finds, in seconds."""
    length = measure(media)
    return length.seconds if length else None
