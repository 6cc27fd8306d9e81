"""Audio as callers hold it, turned into the samples of a session: s16le, one channel, at the session's rate."""

from __future__ import annotations

import math
import operator
import os
import stat
import struct
import wave
from pathlib import Path
from typing import Any, Final

from ..errors import InputError, described
from ..net.optional import loaded_numpy

__all__ = ["check_rate", "resample", "silence", "to_samples", "write_wav"]

_MIN_RATE: Final = 8000
_MAX_RATE: Final = 192_000

_MAX_FILE: Final = 256 * 2**20
_CHUNK: Final = 2**20

_MAX_SILENCE: Final = 3600.0

_FORMAT: Final = struct.Struct("<HHIIHH")
_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE
_ENCODINGS: Final = {1: "PCM", 2: "ADPCM", 3: "float", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 85: "MP3"}

_CROSSINGS: Final = 24
"""Zero crossings of the filter on each side: how steep it is, and what it costs."""

_CUTOFF: Final = 0.92
"""Where the filter lets half through, in halves of the lower rate: it begins at 0.85 and has closed at 0.99."""

_MAX_PHASES: Final = 1024
"""Places between two samples that the filter is made for: enough for nearly all usual rates. For others the nearest
place is taken, which is off by less than mu-law is."""

_BLOCK: Final = 2**18
"""Products at a time, so that what lies in between stays small."""

_IMPORT_NUMPY_AT: Final = 2**22
"""Products that take longer than importing numpy: about two seconds of audio."""


def check_rate(name: str, value: object) -> int:
    """The sample rate itself, in Hz: an int, 8000 to 192000.

    Args:
        name: what the error calls it.
        value: the rate to look at.

    Raises:
        InputError: anything else, bools and floats included.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not _MIN_RATE <= value <= _MAX_RATE:
        raise InputError(f"{name} must be an int, {_MIN_RATE} to {_MAX_RATE} Hz; got {described(value)}")
    return value


def to_samples(audio: object, sample_rate: int) -> bytes:
    """Samples, s16le, one channel at ``sample_rate``, of any audio a session takes.

    Args:
        audio: one of

            - ``bytes``, ``bytearray`` or ``memoryview``: s16le, one channel, at ``sample_rate`` already;
            - a numpy array of int16 at ``sample_rate``, of shape (n,), (1, n) or (n, 1), or stereo, (2, n) or (n, 2):
              one or two rows are channels, whatever the columns;
            - a path (str or PathLike), or a binary file object, read from where it stands, of a WAV file: 16-bit PCM,
              one or two channels, 8000 to 192000 Hz, resampled where it must be, at most 256 MiB. A file that was cut
              off counts as far as it goes, and a size of 0 or 0xFFFFFFFF (written to a pipe) means: to the end.

            Two channels are mixed down to their mean.
        sample_rate: Hz, 8000 to 192000.

    Raises:
        OSError: the file is missing, a directory, or unreadable.
        InputError: an odd number of bytes, nothing at all, another type, shape or number format, no WAV file, one that
            is too large, or a rate out of range; the text says what was found and what is accepted.
    """
    check_rate("sample_rate", sample_rate)
    numpy = loaded_numpy()  # never imported here: without it nobody can hold an array
    if isinstance(audio, bytes | bytearray | memoryview):
        samples = _of_bytes(audio)
    elif numpy is not None and isinstance(audio, numpy.ndarray):
        samples = _of_array(numpy, audio)
    elif isinstance(audio, str | os.PathLike):
        samples = _of_wav(_read_path(audio), _name_of(audio), sample_rate)
    elif hasattr(audio, "read"):
        samples = _of_wav(_read_object(audio, "audio"), "audio", sample_rate)
    else:
        raise InputError(
            "audio must be bytes (s16le, mono), a numpy array of int16, or a WAV file by its path or as a binary file"
            f" object; got {type(audio).__name__}"
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
    _check_whole("samples", len(samples))
    with Path(path).open("wb") as file, wave.open(file, "wb") as writer:
        writer.setparams((1, 2, sample_rate, len(samples) // 2, "NONE", "not compressed"))
        writer.writeframes(samples)


def resample(samples: bytes, source: int, target: int) -> bytes:
    """The same sound at another rate.

    A filter (sinc, Hamming window) takes out what the lower of the rates cannot carry, 50 dB down, before it comes
    back as another tone. Before and after the samples there is silence.

    Args:
        samples: s16le, one channel.
        source: their rate in Hz, 8000 to 192000.
        target: the rate wanted; if it is the same, so are the samples.

    Returns:
        ``round(n * target / source)`` samples for n, louder ones cut to 16 bits. With and without numpy they are the
        same, but for a difference of 1 where rounding fell apart.

    Raises:
        InputError: an odd number of bytes, or a rate out of range.
    """
    check_rate("source", source)
    check_rate("target", target)
    _check_whole("samples", len(samples))
    if source == target:
        return samples
    rows = _filter(min(1.0, target / source), min(target // math.gcd(source, target), _MAX_PHASES))
    taps = len(rows[0])
    padded = bytes(taps - 2) + samples + bytes(taps + 2)  # so that every window lies inside
    count = round(len(samples) // 2 * target / source)
    weigh = _weigh if _numpy_for(count * taps) is None else _weigh_with_numpy
    return weigh(padded, rows, source, target, count)


def _filter(ratio: float, phases: int) -> list[list[float]]:
    """The weights of the samples around a new one, for each place it may have between two of them.

    Row p is for p / phases of the way from one to the next. The sum of each is 1, so that a constant stays what it is.
    """
    half = math.ceil(_CROSSINGS / ratio)
    rows = []
    for phase in range(phases):
        row = [_kernel(place - phase / phases, _CUTOFF * ratio, half) for place in range(1 - half, half + 1)]
        total = sum(row)
        rows.append([weight / total for weight in row])
    return rows


def _kernel(distance: float, cutoff: float, half: int) -> float:
    if distance == 0:
        return 1.0
    angle = math.pi * distance
    return math.sin(cutoff * angle) / (cutoff * angle) * (0.54 + 0.46 * math.cos(angle / half))


def _weigh(padded: bytes, rows: list[list[float]], source: int, target: int, count: int) -> bytes:
    """The new samples. The k-th lies at ``k * source / target`` of the old; its window begins there in ``padded``."""
    phases, taps = len(rows), len(rows[0])
    step = max(1, _BLOCK // taps)
    resampled = bytearray()
    for first in range(0, count, step):
        block = range(first, min(first + step, count))
        places = [divmod((k * source * phases + target // 2) // target, phases) for k in block]
        begin, end = places[0][0], places[-1][0] + taps
        old = list(map(float, struct.unpack(f"<{end - begin}h", padded[2 * begin : 2 * end])))
        new = [
            round(sum(map(operator.mul, rows[phase], old[start - begin : start - begin + taps])))
            for start, phase in places
        ]
        if min(new) < -32768 or max(new) > 32767:
            new = [max(-32768, min(32767, sample)) for sample in new]
        resampled += struct.pack(f"<{len(new)}h", *new)
    return bytes(resampled)


def _weigh_with_numpy(padded: bytes, rows: list[list[float]], source: int, target: int, count: int) -> bytes:
    numpy = loaded_numpy()
    weights = numpy.array(rows)
    phases, taps = weights.shape
    step = max(1, _BLOCK // taps)
    windows = numpy.lib.stride_tricks.sliding_window_view(numpy.frombuffer(padded, "<i2"), taps)
    resampled = numpy.empty(count, "<i2")
    for first in range(0, count, step):
        block = numpy.arange(first, min(first + step, count), dtype=numpy.int64)
        starts, places = numpy.divmod((block * (source * phases) + target // 2) // target, phases)
        sums = numpy.einsum("ij,ij->i", windows[starts].astype(float), weights[places])
        resampled[first : first + step] = numpy.rint(sums).clip(-32768, 32767)
    samples: bytes = resampled.tobytes()
    return samples


def _numpy_for(work: int) -> Any:
    """numpy where it is loaded, or where there is work enough to be worth its import."""
    numpy = loaded_numpy()
    if numpy is None and work >= _IMPORT_NUMPY_AT:
        try:
            import numpy  # noqa: PLC0415
        except ImportError:
            return None
    return numpy


def _check_whole(name: str, size: int) -> None:
    if size % 2:
        raise InputError(f"{name} must be 16-bit samples, two bytes each; got {size} bytes, an odd number")


def _of_bytes(audio: bytes | bytearray | memoryview) -> bytes:
    if isinstance(audio, memoryview) and audio.format not in {"B", "b", "c", "h", "<h"}:
        raise InputError(f"audio must be a memoryview of bytes or of 16-bit integers, got format {audio.format!r}")
    samples = bytes(audio)
    _check_whole("audio", len(samples))
    if samples[:4] == b"RIFF" and samples[8:12] == b"WAVE":
        raise InputError(
            "audio as bytes must be bare samples, and this is a WAV file: pass its path or io.BytesIO(...)"
        )
    return samples


def _of_array(numpy: Any, audio: Any) -> bytes:
    if audio.dtype.kind != "i" or audio.dtype.itemsize != 2:
        hint = "; scale floats: (x * 32767).astype(numpy.int16)" if audio.dtype.kind == "f" else ""
        raise InputError(f"audio must be an array of int16, got dtype {audio.dtype}{hint}")
    channels = audio.reshape(1, -1) if audio.ndim == 1 else audio
    if channels.ndim == 2 and len(channels) > 2:
        channels = channels.T
    if channels.ndim != 2 or len(channels) not in {1, 2}:
        raise InputError(
            "audio must be an array of shape (n,), (1, n) or (n, 1), or of two channels, (2, n) or (n, 2);"
            f" got {audio.shape}"
        )
    return _mean(numpy, channels) if len(channels) == 2 else channels.astype("<i2").tobytes()


def _mean(numpy: Any, channels: Any) -> bytes:
    mixed: bytes = (channels.sum(axis=0, dtype=numpy.int32) >> 1).astype("<i2").tobytes()
    return mixed


def _mix_down(samples: bytes) -> bytes:
    """The mean of two interleaved channels."""
    numpy = _numpy_for(len(samples) // 4)
    if numpy is not None:
        return _mean(numpy, numpy.frombuffer(samples, "<i2").reshape(-1, 2).T)
    mixed = bytearray()
    for begin in range(0, len(samples), 4 * _BLOCK):
        part = samples[begin : begin + 4 * _BLOCK]
        values = struct.unpack(f"<{len(part) // 2}h", part)
        means = [left + right >> 1 for left, right in zip(values[0::2], values[1::2], strict=True)]
        mixed += struct.pack(f"<{len(means)}h", *means)
    return bytes(mixed)


def _name_of(path: str | os.PathLike[str]) -> str:
    return f"the file {os.fspath(path)!r}"


def _read_path(path: str | os.PathLike[str]) -> bytes:
    try:
        # Without O_NONBLOCK a FIFO would be waited for, and for ever.
        file = open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    except ValueError as exc:  # a NUL, or what the file system cannot write
        raise InputError(f"{_name_of(path)} cannot exist: {exc}") from None
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{_name_of(path)} is no regular file; pass an open file object")
        if status.st_size > _MAX_FILE:
            raise InputError(f"{_name_of(path)} holds {status.st_size} bytes; the limit is {_MAX_FILE}")
        return _read_object(file, _name_of(path))


def _read_object(file: Any, name: str) -> bytes:
    content = bytearray()
    while len(content) <= _MAX_FILE:
        chunk = file.read(_CHUNK)
        if not isinstance(chunk, bytes | bytearray | memoryview):
            hint = "; open the file with mode 'rb'" if isinstance(chunk, str) else ""
            raise InputError(f"{name} must read as bytes, got {type(chunk).__name__}{hint}")
        if not chunk:
            return bytes(content)
        content += chunk
    raise InputError(f"{name} holds more than {_MAX_FILE} bytes, the limit")


def _of_wav(content: bytes, name: str, sample_rate: int) -> bytes:
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
    return resample(_mix_down(samples) if channels == 2 else samples, rate, sample_rate)


def _chunks(content: bytes, name: str) -> tuple[bytes, bytes]:
    """The bodies of the "fmt " and the "data" chunk, this one as far as it goes."""
    form, position = b"", 12
    while position + 8 <= len(content):
        chunk, size = struct.unpack_from("<4sI", content, position)
        position += 8
        if chunk == b"fmt ":
            form = content[position : position + size]
        elif chunk == b"data":
            if len(form) < _FORMAT.size:
                raise InputError(f"{name} is a damaged WAV file: its format does not come before its samples")
            return form, content[position : position + size] if size else content[position:]
        position += size + size % 2  # chunks begin at even places
    raise InputError(f"{name} is a damaged WAV file: it has no samples")
