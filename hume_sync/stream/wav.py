"""WAV audio: its length to the sample, and cut into payloads that a server takes, in memory or while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import attrs

from ..errors import InputError
from ..formats.wavchunks import File, Incomplete, Memory, Rereadable, Samples, Source, Unclear, find_samples
from ..formats.wavformat import WavFormat
from ..reprs import safe_repr

__all__ = ["Rereadable", "Wav", "WavStream"]


@safe_repr
@attrs.frozen
class Wav:
    """A WAV file in memory, taken apart without copying its samples."""

    format: WavFormat
    samples: memoryview = attrs.field(repr=False)
    """Whole frames only."""

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview, name: str = "") -> Self | None:
        """Take a WAV file (RIFF, RF64, BW64 or RIFX) apart.

        A data size of 0 or 0xFFFFFFFF (a stream written to a pipe), or one beyond the file's end, means: to the end.

        Args:
            data: All of it.
            name: What an error calls it; without a name, nothing is refused.

        Returns:
            None for anything else: damaged files, formats whose frames have no fixed size (see `WavFormat`), and
            files that decoders read differently, such as those with two data chunks.

        Raises:
            InputError: It is a WAV file without samples, or without their format.
        """
        source = Memory(data)
        if (found := _found(source, name)) is None:
            return None
        samples = source.view[found.begin : found.begin + found.size]
        if name and not len(samples):
            raise InputError(f"{name} is WAV audio without a single sample")
        return cls(found.format, samples[: found.format.whole(len(samples))])

    @property
    def sample_rate(self) -> int:
        """Frames per second."""
        return self.format.sample_rate

    @property
    def frame_size(self) -> int:
        """Bytes of one frame; of one block of frames where they are in blocks (ADPCM, GSM)."""
        return self.format.block_size

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.format.frames(len(self.samples))

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return self.frames / self.sample_rate

    def cut(self, seconds: float) -> Iterator[bytes]:
        """Yield the audio as WAV files of at most ``seconds`` each, in order; no frame is lost between them.

        Blocks of ADPCM and GSM are not divided: where one is longer, it is a file of its own.
        """
        step = self.format.step(seconds)
        for start in range(0, len(self.samples), step):
            yield self.format.file(self.samples[start : start + step])


class WavStream:
    """A WAV file of any length, cut while it is read; made by `open`."""

    def __init__(self, source: File, samples: Samples) -> None:
        self.format = samples.format
        self._source = source
        self._left = samples.size

    @classmethod
    def open(cls, file: Any, name: str = "") -> Self | None:
        """Read the head of a WAV file, from where the file object stands up to its samples.

        Args:
            file: A binary file object. One that cannot seek (a pipe) is only read forwards: wrap it in `Rereadable`
                if it may be something else than WAV.
            name: What an error calls it; without a name, no WAV file is refused.

        Returns:
            None for what `Wav.parse` takes for no WAV; then a file that can seek, or a `Rereadable`, stands where it
            stood. Of a file that cannot seek, what is behind its first samples is not looked at.

        Raises:
            OSError: The file cannot be read.
            InputError: It does not read as bytes, or is a WAV file without samples, or without their format.
        """
        source = File(file, name or "the file")
        found = _found(source, name)
        if isinstance(file, Rereadable):
            (file.forget if found else file.rewind)()
        elif found is None and source.size is not None:
            source.seek(0)
        return cls(source, found) if found else None

    def cut(self, seconds: float) -> Iterator[bytes]:
        """Yield the audio as WAV files of at most ``seconds`` each, as `Wav.cut` does, one in memory at a time.

        Where the file gives no size of its samples, they end with the file. What was yielded has been read: a second
        call goes on behind it.

        Raises:
            OSError: The file cannot be read.
            InputError: It does not read as bytes.
        """
        step = self.format.step(seconds)
        while samples := self._source.read(min(step, self._left)):
            self._left -= len(samples)
            if whole := self.format.whole(len(samples)):
                yield self.format.file(memoryview(samples)[:whole])


def _found(source: Source, name: str) -> Samples | None:
    """Find the samples, where all decoders would find the same."""
    try:
        return find_samples(source)
    except Unclear as exc:
        if name and isinstance(exc, Incomplete):
            raise InputError(f"{name} {exc} (a WAV file has a fmt and a data chunk)") from None
        return None
