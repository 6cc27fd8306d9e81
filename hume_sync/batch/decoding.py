"""Decoding of sound with PyAV (the extra ``media``), while it is read, into WAV files of a few seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import attrs

from ..errors import InputError
from ..formats.wavformat import WavFormat
from ..net.extras import NeedsExtra
from ..net.preload import import_whole
from ..reprs import safe_repr
from ..stream.duration import STAMPED, open_container

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer

__all__ = ["Tracks", "cut_sound", "find_tracks", "import_av"]

_TOLERANCE: Final = 0.1
"""Seconds that sound may be missing, by the time stamps, before silence is put in its place."""

_MOST_SILENCE: Final = (60.0, 30)
"""Silence that is put in at most: these seconds, and so many times the sound before it. (Encoders that pause in
silence still send a twentieth.) If more is missing, the time stamps are wrong, and no longer followed."""

_SAMPLE: Final = 2
"""Bytes of a sample of s16."""


def import_av(what: str) -> Any:
    """Import PyAV.

    Args:
        what: What needs it, as the error says.

    Raises:
        ConfigurationError: It is not installed.
    """
    with NeedsExtra("media", what, advice="pip install 'hume_sync[media]'"):
        return import_whole("av")


@safe_repr
@attrs.frozen
class Tracks:
    """What a container holds.

    Attributes:
        audio: Whether there is sound.
        video: Whether there are moving pictures; the cover of an album is none.
        seconds: The length of the longest track by its packets, counted up to a limit.
        stated: The length by the container's head, in seconds; None if it says none.
    """

    audio: bool
    video: bool
    seconds: float
    stated: float | None


def find_tracks(file: BinaryIO, name: str, limit: float) -> Tracks:
    """Look at the tracks of a container, and at their packets until one track is longer than a limit.

    Args:
        file: A binary file object that can seek; it is read from its beginning.
        name: What errors call it.
        limit: Seconds.

    Raises:
        ConfigurationError: PyAV is not installed.
        InputError: The file is damaged.
    """
    av = import_av(f"{name}, which is not WAV,")
    with _opened(av, file, name) as container:
        pictures = [track for track in container.streams.video if not _is_cover(track)]
        tracks = [*container.streams.audio, *pictures]
        spans: dict[int, tuple[Fraction, Fraction]] = {}
        longest = Fraction(0)
        for packet in container.demux(tracks) if tracks else ():
            if packet.pts is None or packet.time_base is None or not packet.size:
                continue
            begin = packet.pts * packet.time_base
            end = begin + (packet.duration or 0) * packet.time_base
            first, last = spans.get(packet.stream_index, (begin, end))
            spans[packet.stream_index] = first, last = min(first, begin), max(last, end)
            longest = max(longest, last - first)
            if longest > limit:
                break
        stated = None if container.duration is None else container.duration / 1_000_000
        return Tracks(bool(container.streams.audio), bool(pictures), float(longest), stated)


def cut_sound(file: BinaryIO, name: str, seconds: float) -> Iterator[tuple[bytes, float]]:
    """Decode sound into WAV files (s16, at the source's rate, mono or stereo), one in memory at a time.

    Packets that cannot be decoded are left out, as players do. Where the container's time stamps say that sound is
    missing, or begins later than the pictures, silence is put in, so that times are those of the media.

    Args:
        file: A binary file object that can seek; it is read from its beginning.
        name: What errors call it.
        seconds: The length of each WAV file but the last.

    Yields:
        A WAV file and its length in seconds.

    Raises:
        ConfigurationError: PyAV is not installed.
        InputError: The file has no sound, or most of it cannot be decoded.
    """
    av = import_av(f"the sound of {name}, which is not WAV,")
    with _opened(av, file, name) as container:
        sound = _Sound(av, container, name)
        waiting = bytearray()
        size = 0
        for samples in sound.blocks():
            waiting += samples
            size = size or int(seconds * sound.rate) * sound.channels * _SAMPLE
            while len(waiting) >= size:
                yield sound.wav(waiting[:size]), size / sound.channels / _SAMPLE / sound.rate
                del waiting[:size]
        if waiting:
            yield sound.wav(waiting), len(waiting) / sound.channels / _SAMPLE / sound.rate


@contextlib.contextmanager
def _opened(av: Any, file: BinaryIO, name: str) -> Iterator[InputContainer]:
    """Open a container; what PyAV reports until it is closed is damage to the file."""
    file.seek(0)
    try:
        with open_container(av, file) as container:
            yield container
    except av.FFmpegError as exc:
        raise InputError(f"{name} is damaged, or of a format that cannot be read: {exc.strerror}") from None


def _is_cover(track: Any) -> bool:
    return bool(track.disposition & type(track.disposition).attached_pic)


class _Sound:
    """The sound of a container, decoded to s16; ``rate`` and ``channels`` are those of its first frame."""

    def __init__(self, av: Any, container: InputContainer, name: str) -> None:
        self._av = av
        self._container = container
        self._name = name
        track = container.streams.best("audio")
        if track is None:
            raise InputError(f"{name} has no sound")
        if track.codec_context is None:
            raise InputError(f"{name} has sound in a format that cannot be decoded")
        self._track: Any = track
        self._resampler: Any = None
        self._source: tuple[str, str, int] | None = None
        self._follows_stamps = container.format.name.partition(",")[0] in STAMPED
        self._frames = 0
        self._silent = 0
        self.rate = 0
        self.channels = 0

    def blocks(self) -> Iterator[bytes | memoryview]:
        """Yield the samples, and silence where there are none."""
        for frame in self._decoded():
            if self._follows_stamps and frame.time is not None:
                yield from self._silence_before(frame.time)
            yield from self._converted(frame)
        if self._resampler is not None:
            yield from self._samples(self._resampler.resample(None))

    def wav(self, samples: bytes | bytearray) -> bytes:
        """Return a WAV file."""
        return WavFormat.s16(self.rate, self.channels).file(memoryview(samples))

    def _decoded(self) -> Iterator[AudioFrame]:
        good = bad = 0
        reason = "it has no samples"
        for packet in self._container.demux(self._track):
            try:
                frames = packet.decode()
            except self._av.FFmpegError as exc:
                bad += 1
                reason = exc.strerror
                continue
            for frame in frames:
                if frame.samples and frame.sample_rate:
                    good += 1
                    self._begin(frame)
                    yield frame
        if good <= bad:
            raise InputError(f"{self._name} is damaged: most of its sound cannot be decoded ({reason})")

    def _begin(self, frame: AudioFrame) -> None:
        if not self.rate:
            self.rate = frame.sample_rate
            self.channels = min(2, frame.layout.nb_channels)

    def _silence_before(self, time: float) -> Iterator[bytes]:
        gap = time - (self._container.start_time or 0) / 1_000_000 - self._frames / self.rate
        if gap <= _TOLERANCE:
            return
        least, times = _MOST_SILENCE
        if self._silent / self.rate + gap > least + times * (self._frames - self._silent) / self.rate:
            self._follows_stamps = False
            return
        left = round(gap * self.rate)
        self._frames += left
        self._silent += left
        while left > 0:
            count = min(left, self.rate)
            left -= count
            yield bytes(count * self.channels * _SAMPLE)

    def _converted(self, frame: AudioFrame) -> Iterator[memoryview]:
        source = frame.format.name, frame.layout.name, frame.sample_rate
        if source != self._source:  # the first frame, or another link of a chain
            if self._resampler is not None:
                yield from self._samples(self._resampler.resample(None))
            layout = "mono" if self.channels == 1 else "stereo"
            self._resampler = self._av.AudioResampler("s16", layout, self.rate)
            self._source = source
        yield from self._samples(self._resampler.resample(frame))

    def _samples(self, frames: list[AudioFrame]) -> Iterator[memoryview]:
        for frame in frames:
            self._frames += frame.samples
            yield memoryview(frame.planes[0])[: frame.samples * self.channels * _SAMPLE]
