"""Audio as callers hold it, turned into the samples of a session: s16le, one channel, at the session's rate."""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
import wave
from array import array
from pathlib import Path
from typing import Any, Final

from ..errors import InputError, described
from ..net.interrupts import from_outside
from ..net.optional import loaded_numpy
from ..net.pending import open_into
from .samples import Check, check_rate, check_whole, mean, mix_down, resample

__all__ = ["check_rate", "silence", "to_samples", "write_wav"]

_MAX_FILE: Final = 256 * 2**20
_CHUNK: Final = 2**20

_MAX_SILENCE: Final = 3600.0

_UNKNOWN: Final = 0xFFFFFFFF
"""A size that stands elsewhere (in the chunk "ds64" of RF64: EBU Tech 3306), or that nobody knew."""

_FORMAT: Final = struct.Struct("<HHIIHH")
_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE
_ENCODINGS: Final = {1: "PCM", 2: "ADPCM", 3: "float", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 85: "MP3"}


def to_samples(audio: object, sample_rate: int, *, check: Check = lambda: None) -> bytes:
    """Samples, s16le, one channel at ``sample_rate``, of any audio a session takes.

    Args:
        audio: one of

            - ``bytes``, ``bytearray``, or a ``memoryview`` of bytes: s16le, one channel, at ``sample_rate`` already;
            - an ``array.array`` of typecode "h", or a ``memoryview`` of that format: likewise, in the machine's order;
            - a numpy array of int16 at ``sample_rate``, of shape (n,), (1, n) or (n, 1), or stereo, (2, n) or (n, 2):
              one or two rows are channels, whatever the columns;
            - a path (str or PathLike), or a binary file object, read from where it stands, of a WAV file: 16-bit PCM,
              one or two channels, 8000 to 192000 Hz, resampled where it must be, at most 256 MiB. A file that was cut
              off counts as far as it goes, and one written to a pipe, whose sizes nobody knew, to its end.

            Two channels are mixed down to their mean.
        sample_rate: Hz, 8000 to 192000.
        check: called again and again while a long file is turned into samples; what it raises ends that.

    Raises:
        OSError: the file is missing, a directory, or unreadable.
        InputError: an odd number of bytes, nothing at all, another type, shape or number format, no WAV file, one that
            is too large, or a rate out of range; the text says what was found and what is accepted.
    """
    check_rate("sample_rate", sample_rate)
    numpy = loaded_numpy()  # never imported here: without it nobody can hold an array
    if isinstance(audio, bytes | bytearray | memoryview):
        samples = _of_bytes(audio)
    elif isinstance(audio, array):
        samples = _of_plain_array(audio)
    elif numpy is not None and isinstance(audio, numpy.ndarray):
        samples = _of_array(numpy, audio)
    elif isinstance(audio, str | os.PathLike):
        samples = _of_wav(_read_path(audio, check), _name_of(audio), sample_rate, check)
    elif hasattr(audio, "read"):
        samples = _of_wav(_read_object(audio, "audio", check), "audio", sample_rate, check)
    else:
        raise InputError(
            "audio must be bytes (s16le, mono), an array of int16 (array.array or numpy), or a WAV file by its path or"
            f" as a binary file object; got {type(audio).__name__}"
        )
    if not samples:
        raise InputError("audio is empty: there is nothing to send")
    return samples


def silence(seconds: float, sample_rate: int) -> bytes:
    """Samples of silence: s16le, one channel.

    Args:
        seconds: how long, 0 to 3600; rounded to whole samples.
        sample_rate: Hz, 8000 to 192000.

    Raises:
        InputError: a length or a rate out of range.
    """
    check_rate("sample_rate", sample_rate)
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= _MAX_SILENCE:
        raise InputError(f"seconds must be a number, 0 to {_MAX_SILENCE:.0f}; got {described(seconds)}")
    return bytes(2 * round(seconds * sample_rate))


def write_wav(path: str | os.PathLike[str], samples: bytes, sample_rate: int) -> None:
    """Write samples (s16le, one channel, ``sample_rate`` in Hz) as a WAV file; an old one is replaced.

    Raises:
        OSError: the file cannot be written.
        InputError: an odd number of bytes, or a rate out of range.
    """
    check_rate("sample_rate", sample_rate)
    check_whole("samples", len(samples))
    with Path(path).open("wb") as file, wave.open(file, "wb") as writer:
        writer.setparams((1, 2, sample_rate, len(samples) // 2, "NONE", "not compressed"))
        writer.writeframes(samples)


def _of_bytes(audio: bytes | bytearray | memoryview) -> bytes:
    view = memoryview(audio)
    if view.ndim != 1 or view.format not in {"B", "c", "h", "<h"}:
        raise InputError(
            "audio must be a memoryview of bytes or of 16-bit integers (format 'h'), in one dimension;"
            f" got format {view.format!r}, shape {view.shape}"
        )
    samples = _little_endian(view.tobytes()) if view.format == "h" else view.tobytes()
    check_whole("audio", len(samples))
    if samples[:4] == b"RIFF" and samples[8:12] == b"WAVE":
        raise InputError(
            "audio as bytes must be bare samples, and this is a WAV file: pass its path or io.BytesIO(...)"
        )
    return samples


def _of_plain_array(audio: array[Any]) -> bytes:
    if audio.typecode != "h":
        raise InputError(f"audio must be an array of int16 (typecode 'h'), got typecode {audio.typecode!r}")
    return _little_endian(audio.tobytes())


def _little_endian(samples: bytes) -> bytes:
    """Samples that lie as this machine has its integers, as s16le."""
    if sys.byteorder == "little":
        return samples
    swapped = array("h", samples)
    swapped.byteswap()
    return swapped.tobytes()


def _of_array(numpy: Any, audio: Any) -> bytes:
    if audio.dtype.kind != "i" or audio.dtype.itemsize != 2:
        hint = "; scale floats: (x * 32767).astype(numpy.int16)" if audio.dtype.kind == "f" else ""
        raise InputError(f"audio must be an array of int16, got dtype {audio.dtype}{hint}")
    if not audio.size:
        return b""
    channels = audio.reshape(1, -1) if audio.ndim == 1 else audio
    if channels.ndim == 2 and len(channels) > 2:
        channels = channels.T
    if channels.ndim != 2 or len(channels) not in {1, 2}:
        raise InputError(
            "audio must be an array of shape (n,), (1, n) or (n, 1), or of two channels, (2, n) or (n, 2);"
            f" got {audio.shape}"
        )
    return mean(numpy, channels) if len(channels) == 2 else channels.astype("<i2").tobytes()


def _name_of(path: str | os.PathLike[str]) -> str:
    return f"the file {os.fspath(path)!r}"


def _read_path(path: str | os.PathLike[str], check: Check) -> bytes:
    descriptors: list[int] = []
    try:
        try:
            # Without O_NONBLOCK a FIFO would be waited for, and for ever.
            descriptor = open_into(descriptors, path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except ValueError as exc:  # a NUL, or what the file system cannot write
            if from_outside(exc):
                raise
            raise InputError(f"{_name_of(path)} cannot exist: {exc}") from None
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{_name_of(path)} is no regular file; pass an open file object")
        if status.st_size > _MAX_FILE:
            raise InputError(f"{_name_of(path)} holds {status.st_size} bytes; the limit is {_MAX_FILE}")
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            return _read_object(file, _name_of(path), check)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _read_object(file: Any, name: str, check: Check) -> bytes:
    content = bytearray()
    while len(content) <= _MAX_FILE:
        check()
        chunk = file.read(_CHUNK)
        if not isinstance(chunk, bytes | bytearray | memoryview):
            hint = "; open the file with mode 'rb'" if isinstance(chunk, str) else ""
            raise InputError(f"{name} must read as bytes, got {type(chunk).__name__}{hint}")
        if not chunk:
            return bytes(content)
        content += chunk
    raise InputError(f"{name} holds more than {_MAX_FILE} bytes, the limit")


def _of_wav(content: bytes, name: str, sample_rate: int, check: Check) -> bytes:
    """The samples of a WAV file at ``sample_rate``."""
    if content[:4] not in {b"RIFF", b"RF64"} or content[8:12] != b"WAVE":
        found = "is empty" if not content else "is no WAV file"
        raise InputError(f"{name} {found}; accepted are WAV files of 16-bit PCM, one or two channels")
    form, samples = _chunks(content, name)
    tag, channels, rate, _, frame_size, bits = _FORMAT.unpack_from(form)
    if tag == _EXTENSIBLE and len(form) >= 26:
        (tag,) = struct.unpack_from("<H", form, 24)  # the sub-format begins with the plain tag
    if (tag, bits) != (_PCM, 16) or channels not in {1, 2} or frame_size != 2 * channels:
        raise InputError(
            f"{name} holds {bits}-bit {_ENCODINGS.get(tag, f'audio of format {tag:#06x}')} of {channels} channels,"
            f" {frame_size} bytes a frame; accepted is 16-bit PCM of one or two channels"
        )
    check_rate(f"the sample rate of {name}", rate)
    samples = samples[: len(samples) - len(samples) % frame_size]
    return resample(mix_down(samples, check) if channels == 2 else samples, rate, sample_rate, check)


def _chunks(content: bytes, name: str) -> tuple[bytes, bytes]:
    """The bodies of the "fmt " and the "data" chunk, this one as far as it goes."""
    form, position, unknown = b"", 12, _UNKNOWN
    while position + 8 <= len(content):
        chunk, size = struct.unpack_from("<4sI", content, position)
        position += 8
        if chunk == b"ds64" and position + 16 <= len(content):
            (unknown,) = struct.unpack_from("<Q", content, position + 8)
        elif chunk == b"fmt ":
            form = content[position : position + size]
        elif chunk == b"data":
            if len(form) < _FORMAT.size:
                raise InputError(f"{name} is a damaged WAV file: its format does not come before its samples")
            if size == _UNKNOWN:
                size = unknown
            elif size == 0 and not _are_chunks(content, position):
                size = len(content)  # as by writers that fill in the sizes at the end, where they cannot go back
            return form, content[position : position + size]
        position += size + size % 2  # chunks begin at even places
    raise InputError(f"{name} is a damaged WAV file: it has no samples")


def _are_chunks(content: bytes, position: int) -> bool:
    """Whether from here to the end there is one chunk behind the other."""
    while position + 8 <= len(content) and all(0x20 <= letter < 0x7F for letter in content[position : position + 4]):
        (size,) = struct.unpack_from("<I", content, position + 4)
        position += 8 + size + size % 2
    return position in {len(content), len(content) + 1}  # the last may lack its pad
