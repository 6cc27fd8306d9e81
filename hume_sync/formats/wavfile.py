"""Reading the samples of WAV files, block by block."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import IO, Any, Final

from ..errors import InputError
from ..net.interrupts import from_outside
from ..net.pending import open_into
from .mpegaudio import frames_at
from .pcm import to_s16
from .resample import CancelCheck, check_rate, mix_channels, no_check, numpy_for
from .wavchunks import File, Samples, Unclear, find_samples, is_wav
from .wavformat import ALAW, FLOAT, MULAW, PCM, describe

__all__ = ["RATES", "is_wav", "open_file", "raise_if_other_format", "read_wav"]

_BLOCK: Final = 2**20
"""Bytes of samples that are read at a time."""

RATES: Final = (1000, 768_000)
"""The lowest and highest rate of a file in Hz."""

_MAX_SIGNATURE: Final = 2**16
"""Bytes by which the format of a file is recognised."""

_ACCEPTED: Final = "accepted are WAV files of PCM, float, mu-law or A-law"

_SIGNATURES: Final = {
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"ID3\2": "MP3",
    b"ID3\3": "MP3",
    b"ID3\4": "MP3",
    b"FORM": "AIFF",
    b"caff": "CAF",
    b".snd": "AU",
    b"riff": "W64",
    b"#!AM": "AMR",
    b"\x30\x26\xb2\x75": "WMA",
    b"\x1aE\xdf\xa3": "WebM or Matroska",
}
"""The first bytes of audio files of other formats."""


def raise_if_other_format(name: str, data: bytes | bytearray | memoryview) -> None:
    """Raise `InputError` if the first bytes are those of an audio file of another format."""
    start = memoryview(data)[:_MAX_SIGNATURE]
    kind = "MP4" if bytes(start[4:8]) == b"ftyp" else _SIGNATURES.get(bytes(start[:4])) or frames_at(start, 0)
    if kind is not None:
        raise InputError(f"{name} is {kind}, which is to be decoded first; {_ACCEPTED}")


@contextlib.contextmanager
def open_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a regular file without blocking.

    Yields:
        The file object.

    Raises:
        OSError: It is missing, a directory, or unreadable.
        InputError: It is a FIFO or a device, or the name is not possible.
    """
    name = f"the file {os.fspath(path)!r}"
    descriptors: list[int] = []
    try:
        try:
            # Without O_NONBLOCK, opening a FIFO would block for ever.
            descriptor = open_into(descriptors, path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except ValueError as exc:  # a NUL, or a character that the file system cannot encode
            if from_outside(exc):
                raise
            raise InputError(f"{name} cannot exist: {exc}") from None
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise InputError(f"{name} is no regular file; pass an open file object")
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            yield file
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def read_wav(file: Any, name: str, check: CancelCheck = no_check, *, most: int = _BLOCK) -> Iterator[tuple[int, bytes]]:
    """Yield the samples of a WAV file, mixed to one channel, block by block: the rate in Hz, and s16le.

    Args:
        file: A binary file object, which is read from its position on. The samples end where the head says, or with the
            file: a file that was cut off is read as far as it goes, and one that was written to a pipe to its end.
        name: What errors call the file.
        check: Called repeatedly; what it raises cancels the work.
        most: Frames to read at a time.

    Raises:
        OSError: The file cannot be read.
        InputError: It is not a WAV file, damaged, or of another encoding; or it holds floats that are not finite or too
            large, which is raised before anything is yielded if the file can seek.
    """
    if getattr(file, "closed", False) is True:
        raise InputError(f"{name} is a closed file")
    source = File(file, name)
    found = _find(source, name)
    wav_format = found.format
    rate = check_rate(f"the sample rate of {name}", wav_format.sample_rate, *RATES)
    step = max(1, min(most, _BLOCK // wav_format.block_size)) * wav_format.block_size

    def frames() -> Iterator[bytes]:
        left, position = found.size, 0
        while data := source.read(min(step, left)):
            check()
            left -= len(data)
            yield to_s16(data[: wav_format.whole(len(data))], wav_format, name, position)
            position += wav_format.frames(len(data))

    if wav_format.tag == FLOAT and source.size is not None:
        for _ in frames():
            pass
        source.seek(found.begin)
    for samples in frames():
        yield rate, mix_channels(samples, wav_format.channels, numpy=numpy_for(len(samples) // 2))


def _find(source: File, name: str) -> Samples:
    try:
        found = find_samples(source)
    except Unclear as exc:
        raise InputError(f"{name} {exc}; {_ACCEPTED}") from None
    if found is None:
        if source.size is not None:
            source.seek(0)
            raise_if_other_format(name, source.read(_MAX_SIGNATURE))
        what = "is no WAV file" if source.position or source.size else "is empty"
        raise InputError(f"{name} {what}; {_ACCEPTED}")
    if found.format.tag not in {PCM, FLOAT, ALAW, MULAW}:
        raise InputError(f"{name} holds {describe(found.format.chunk, found.format.order)}; {_ACCEPTED}")
    return found
