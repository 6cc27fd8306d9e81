"""The samples of WAV files, read a little at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import IO, Any, Final

from ..errors import InputError
from ..formats.mpegaudio import frames_at
from ..formats.wavchunks import File, Samples, Unclear, find_samples, is_wav
from ..formats.wavformat import ALAW, FLOAT, MULAW, PCM, describe
from ..net.interrupts import from_outside
from ..net.pending import open_into
from .pcm import to_s16
from .resample import Check, check_rate, mix_down, no_check, numpy_for

__all__ = ["RATES", "check_no_other", "is_wav", "opened", "read_wav"]

_BLOCK: Final = 2**20
"""Bytes of samples that are read at a time."""

RATES: Final = (1000, 768_000)
"""Hz that a file may have."""

_BEGINNING: Final = 2**16
"""Bytes that tell what a file is."""

_ACCEPTED: Final = "accepted are WAV files of PCM, float, mu-law or A-law"

_OTHERS: Final = {
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
"""How other files of audio begin."""


def check_no_other(name: str, data: bytes | bytearray | memoryview) -> None:
    """Raise `InputError` where bytes are a file of audio that is no WAV file, as far as their beginning tells."""
    begin = memoryview(data)[:_BEGINNING]
    kind = "MP4" if bytes(begin[4:8]) == b"ftyp" else _OTHERS.get(bytes(begin[:4])) or frames_at(begin, 0)
    if kind is not None:
        raise InputError(f"{name} is {kind}, which is to be decoded first; {_ACCEPTED}")


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a regular file; nothing is waited for.

    Raises:
        OSError: it is missing, a directory, or unreadable.
        InputError: it is a FIFO, a device, or a name that cannot be.
    """
    name = f"the file {os.fspath(path)!r}"
    descriptors: list[int] = []
    try:
        try:
            # Without O_NONBLOCK a FIFO would be waited for, and for ever.
            descriptor = open_into(descriptors, path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except ValueError as exc:  # a NUL, or what the file system cannot write
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


def read_wav(file: Any, name: str, check: Check = no_check, *, most: int = _BLOCK) -> Iterator[tuple[int, bytes]]:
    """Yield the samples of a WAV file, mixed down to their mean: the rate in Hz, and s16le.

    Args:
        file: a binary file object, which is read from where it stands. Its samples end where its head says, or with
            it: files that were cut off count as far as they go, and those that were written to a pipe to their end.
        name: what errors call it.
        check: called again and again meanwhile; what it raises ends the work.
        most: frames to read at a time.

    Raises:
        OSError: the file cannot be read.
        InputError: it is no WAV file, one that is damaged, or of another encoding; or it holds floats that are not
            finite or too large, which is known before anything is yielded where the file can seek.
    """
    if getattr(file, "closed", False) is True:
        raise InputError(f"{name} is a closed file")
    source = File(file, name)
    found = _find(source, name)
    form = found.format
    rate = check_rate(f"the sample rate of {name}", form.sample_rate, *RATES)
    step = max(1, min(most, _BLOCK // form.block_size)) * form.block_size

    def frames() -> Iterator[bytes]:
        left, place = found.size, 0
        while data := source.read(min(step, left)):
            check()
            left -= len(data)
            yield to_s16(data[: form.whole(len(data))], form, name, place)
            place += form.frames(len(data))

    if form.tag == FLOAT and source.size is not None:
        for _ in frames():
            pass
        source.seek(found.begin)
    for samples in frames():
        yield rate, mix_down(samples, form.channels, numpy=numpy_for(len(samples) // 2))


def _find(source: File, name: str) -> Samples:
    try:
        found = find_samples(source)
    except Unclear as exc:
        raise InputError(f"{name} {exc}; {_ACCEPTED}") from None
    if found is None:
        if source.size is not None:
            source.seek(0)
            check_no_other(name, source.read(_BEGINNING))
        what = "is no WAV file" if source.position or source.size else "is empty"
        raise InputError(f"{name} {what}; {_ACCEPTED}")
    if found.format.tag not in {PCM, FLOAT, ALAW, MULAW}:
        raise InputError(f"{name} holds {describe(found.format.chunk, found.format.order)}; {_ACCEPTED}")
    return found
