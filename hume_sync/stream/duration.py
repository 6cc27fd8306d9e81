"""How long a piece of audio is, as far as its head tells: WAV to the sample, other formats through tinytag."""

from __future__ import annotations

import io
from fractions import Fraction

from .media import Media
from .wav import Wav

__all__ = ["media_seconds"]

_MAX_READ = 64 * 1024
"""Bytes of a file that are looked at, whatever its head promises."""


def media_seconds(media: Media) -> Fraction | None:
    """Length of audio in seconds; None where nobody knows. Never fails, whatever the bytes are.

    MP3, M4A, Ogg (Vorbis, Opus) and FLAC need the extra ``media`` (tinytag); without it their length is unknown.
    """
    if wav := Wav.parse(media):
        return Fraction(len(wav.samples) // wav.frame_size, wav.sample_rate)
    try:
        from tinytag import TinyTag  # noqa: PLC0415 - an extra, and only for what is not WAV
    except ImportError:
        return None
    file = _Bounded(media)
    ogg = bytes(memoryview(media)[:4]) == b"OggS"  # tinytag skips its audio only once it has seen its tags
    try:
        seconds = TinyTag.get(file_obj=file, tags=ogg).duration
        # What was not read to its end may be longer than it seems.
        return Fraction(round(seconds * 1000), 1000) if seconds and seconds > 0 and not file.exhausted else None
    except Exception:  # noqa: BLE001 - a hostile head must not fail a request: its length is just not known
        return None


class _Bounded(io.BytesIO):
    """Media as a file that can be read up to a limit: past it there is nothing more, but the size is the true one."""

    def __init__(self, media: Media) -> None:
        super().__init__(media)
        self._left = _MAX_READ

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        data = super().read(wanted)
        self._left -= len(data)
        return data

    @property
    def exhausted(self) -> bool:
        """Whether the limit was reached."""
        return self._left == 0
