"""Converting a caller's audio to the messages of a session: s16le samples of one channel, at the session's rate."""

from __future__ import annotations

import inspect
import io
import itertools
import os
import wave
from array import array
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeGuard

from ..errors import FOREIGN, InputError, short_repr, unreadable
from ..formats.pcm import floats_of, from_floats, little_endian
from ..formats.resample import CancelCheck, Resampler, check_even, check_rate, mix_channels, no_check
from ..formats.wavfile import RATES, is_wav, open_file, raise_if_other_format, read_wav
from ..net.interrupts import from_handler
from ..net.validation import plain_number

__all__ = ["PAUSE", "check_rate", "is_array", "pause_seconds", "pieces", "silence", "to_samples", "write_wav"]

_BLOCK: Final = 2**18
"""Frames that are converted at a time."""


def is_array(audio: object) -> bool:
    """Return whether `to_samples` converts things of this type."""
    if isinstance(audio, bytes | bytearray | memoryview | array):
        return True
    return not isinstance(audio, type) and (hasattr(audio, "__array__") or callable(getattr(audio, "numpy", None)))


def to_samples(audio: Any, name: str, check: CancelCheck = no_check) -> bytes:
    """Convert an array to samples: s16le, one channel.

    Args:
        audio: One of

            - ``bytes``, ``bytearray``, a ``memoryview`` of bytes: s16le, one channel;
            - an ``array.array``, or a ``memoryview``, of 16-bit integers or of floats: one channel;
            - a numpy array, or an object that converts itself to one (by ``__array__`` or ``numpy()``, as tensors do),
              of int16, float32 or float64, in any byte order: of shape (n,), (1, n) or (n, 1), or of two channels,
              (2, n) or (n, 2). One or two rows are channels for any number of columns. Two channels are mixed to their
              mean.

            Floats lie in -1 to 1; those of up to 2 are clipped.
        name: The argument that errors name.
        check: Called repeatedly; what it raises cancels the work.

    Returns:
        The samples.

    Raises:
        InputError: Half a sample, other numbers, another shape, or a float that is not finite or too large.
    """
    if isinstance(audio, array):
        if audio.typecode not in "hfd":
            raise InputError(
                f"{name} must be an array of int16 or of floats (typecode 'h', 'f' or 'd'),"
                f" got typecode {audio.typecode!r}"
            )
        audio = memoryview(audio)
    if isinstance(audio, bytes | bytearray | memoryview):
        return _convert_view(memoryview(audio), name, check)
    try:
        import numpy  # noqa: PLC0415 - an extra; a caller with an array has it

        values = numpy.asarray(audio if hasattr(audio, "__array__") else audio.numpy())
    except ImportError:
        raise InputError(f"{name} is a {type(audio).__name__}: to convert it, install numpy") from None
    except FOREIGN as exc:  # such as a tensor on another device, or one that requires its gradient
        if from_handler(exc):
            raise
        raise unreadable(name, audio, exc) from exc
    return _convert_numpy(numpy, values, name, check)


def _convert_view(view: memoryview, name: str, check: CancelCheck) -> bytes:
    order, kind = (view.format[0], view.format[1:]) if view.format[0] in "<>=@" else ("=", view.format)
    if view.ndim != 1 or kind not in {"B", "c", "h", "f", "d"}:
        raise InputError(
            f"{name} must be a memoryview of bytes, of 16-bit integers (format 'h') or of floats ('f', 'd'), in one"
            f" dimension; got format {view.format!r}, shape {view.shape}"
        )
    order = order.replace("@", "=")
    data = view.tobytes()
    if kind in {"B", "c"}:
        check_even(name, len(data))
        return data
    if kind == "h":
        return little_endian(data, order)
    floats = floats_of(data, order, view.itemsize)
    blocks = bytearray()
    for begin in range(0, len(floats), _BLOCK):
        check()
        blocks += from_floats(floats[begin : begin + _BLOCK], name, begin)
    return bytes(blocks)


def _convert_numpy(numpy: Any, values: Any, name: str, check: CancelCheck) -> bytes:
    kind, size = values.dtype.kind, values.dtype.itemsize
    if (kind, size) not in {("i", 2), ("f", 4), ("f", 8)}:
        hint = "; convert it: x.astype(numpy.float32)" if kind == "f" else ""
        raise InputError(
            f"{name} must be an array of int16, or of float32 or float64 in -1 to 1; got dtype {values.dtype}{hint}"
        )
    if not values.size:
        return b""
    frames = values.reshape(-1, 1) if values.ndim == 1 else values
    if frames.ndim == 2 and len(frames) <= 2 and values.ndim == 2:
        frames = frames.T
    if frames.ndim != 2 or frames.shape[1] > 2:
        raise InputError(
            f"{name} must be an array of shape (n,), (1, n) or (n, 1), or of two channels, (2, n) or (n, 2);"
            f" got {values.shape}"
        )
    blocks, channels = bytearray(), frames.shape[1]
    for begin in range(0, len(frames), _BLOCK):
        check()
        block = frames[begin : begin + _BLOCK]
        if kind == "f":
            samples = from_floats(block.reshape(-1), name, begin, channels)
        else:
            samples = block.astype("<i2").tobytes()
        blocks += mix_channels(samples, channels, numpy=numpy)
    return bytes(blocks)


PAUSE: Final = 1.2
"""Seconds of silence that make a pause: a server checks 0.6 s at a time, and the first of these may hold speech."""

_MAX_MESSAGE: Final = 2**23
"""Samples of a message: three minutes at 48 kHz, which as mu-law in base64 stay well below the 16 MiB at which servers
drop the connection."""

_MAX_SILENCE: Final = 3600.0

_MAX_PAUSE: Final = 60

_KINDS: Final = (
    "bytes (s16le, mono), an array of int16 or of floats from -1 to 1, (rate, array), a WAV file by its path, as a"
    " binary file object or as bytes, or an iterable of these"
)


def pieces(
    audio: object, sample_rate: int, *, silent: float = 0.0, most: int = _MAX_MESSAGE, check: CancelCheck = no_check
) -> Generator[bytes]:
    """Yield the messages that audio makes: s16le, one channel, at ``sample_rate``.

    Servers check each message as a whole for speech. So audio that is not a stream makes as few messages as possible,
    and silence a message of its own, since speech in the same message would hide the pause. Nothing is yielded before
    all audio in memory has been checked; of a file its head, and its floats if it can seek. Closing the iterator closes
    the file.

    Args:
        audio: One of

            - an array, as for `to_samples`, at ``sample_rate``;
            - ``(rate, array)``: likewise, at its own rate, 1000 to 768000 Hz;
            - a WAV file by its path (str or PathLike), as a binary file object or as bytes, as for `read_wav`;
            - an iterable of these, in any mixture: a stream, of which each chunk makes a message of its own as it
              comes. Bytes in it may be divided anywhere, also in the middle of a sample.
        sample_rate: The rate of the messages in Hz, 8000 to 192000.
        silent: Seconds of silence after the audio.
        most: Samples of a message.
        check: Called repeatedly; what it raises cancels the work.

    Raises:
        OSError: A file is missing, a directory, or unreadable.
        InputError: It cannot be used as audio; the text names it, and says what is accepted. For a stream the error is
            raised at the wrong chunk, and for a file that cannot seek at the wrong sample.
        Exception: What an iterable raises.
    """
    check_rate("sample_rate", sample_rate)
    converter = _RateConverter(sample_rate, check)
    messages: Iterable[Iterable[bytes]]
    if _is_stream(audio):
        messages = _stream_messages(audio, converter, most, check)
    else:
        messages = [
            itertools.chain(converter.convert(_blocks(audio, "audio", sample_rate, most, check)), converter.flush())
        ]
    empty = True
    for message in messages:
        for piece in _join_blocks(message, most):
            empty = False
            yield piece
    if empty:
        raise InputError("audio is empty: there is nothing to send")
    yield from _join_blocks([silence(silent, sample_rate)], most)


def pause_seconds(name: str, value: object) -> float:
    """Return the seconds of silence that an argument asks for. True: as many as make a pause; False or 0: none.

    Args:
        name: The argument that the error names.
        value: A bool, or a number of any type, 0 to 60.

    Raises:
        InputError: It is anything else.
    """
    if isinstance(value, bool):
        return PAUSE if value else 0.0
    number = plain_number(value)
    if number is None or not 0 <= number <= _MAX_PAUSE:
        raise InputError(f"{name} must be a bool, or seconds of silence, 0 to {_MAX_PAUSE}; got {short_repr(value)}")
    return float(number)


def silence(seconds: float, sample_rate: int) -> bytes:
    """Return samples of silence: s16le, one channel.

    Args:
        seconds: The length, 0 to 3600; rounded to whole samples.
        sample_rate: The rate in Hz, 8000 to 192000.

    Raises:
        InputError: The length or the rate is out of range.
    """
    check_rate("sample_rate", sample_rate)
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= _MAX_SILENCE:
        raise InputError(f"seconds must be a number, 0 to {_MAX_SILENCE:.0f}; got {short_repr(seconds)}")
    return bytes(2 * round(seconds * sample_rate))


def write_wav(path: str | os.PathLike[str], samples: bytes, sample_rate: int) -> None:
    """Write samples (s16le, one channel, ``sample_rate`` in Hz) to a WAV file; an existing file is replaced.

    Raises:
        OSError: The file cannot be written.
        InputError: The number of bytes is odd, or the rate is out of range.
    """
    check_rate("sample_rate", sample_rate)
    check_even("samples", len(samples))
    with Path(path).open("wb") as file, wave.open(file, "wb") as writer:
        writer.setparams((1, 2, sample_rate, len(samples) // 2, "NONE", "not compressed"))
        writer.writeframes(samples)


class _RateConverter:
    """Converts audio to one rate, without a break between consecutive parts of the same rate."""

    def __init__(self, sample_rate: int, check: CancelCheck) -> None:
        self.sample_rate = sample_rate
        self._check = check
        self._resampler: Resampler | None = None

    def convert(self, blocks: Iterator[tuple[int, bytes]]) -> Iterator[bytes]:
        """Yield blocks at the session's rate; the last few samples may be kept until more come."""
        for rate, samples in blocks:
            if self._resampler is not None and self._resampler.source != rate:
                yield from self.flush()
            if rate == self.sample_rate:
                yield samples
                continue
            if self._resampler is None:
                self._resampler = Resampler(rate, self.sample_rate, self._check)
            yield from self._resampler.feed(samples)

    def flush(self) -> Iterator[bytes]:
        """Yield the last samples."""
        if self._resampler is not None:
            yield from self._resampler.end()
            self._resampler = None


def _join_blocks(blocks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Yield the blocks, joined to messages of ``most`` samples."""
    size, message = 2 * most, bytearray()
    for block in blocks:
        for begin in range(0, len(block), size):
            message += memoryview(block)[begin : begin + size]
            if len(message) >= size:
                yield bytes(message[:size])
                del message[:size]
    if message:
        yield bytes(message)


def _is_stream(audio: object) -> TypeGuard[Iterable[object]]:
    """Return whether audio is an iterable of chunks."""
    return (
        isinstance(audio, Iterable)
        and not isinstance(audio, str | os.PathLike | Mapping | type)
        and not is_array(audio)
        and not hasattr(audio, "read")
        and not _is_pydub(audio)
        and not _is_pair(audio)
    )


def _stream_messages(
    audio: Iterable[object], converter: _RateConverter, most: int, check: CancelCheck
) -> Iterator[Iterator[bytes]]:
    for name, chunk in _align_chunks(audio):
        check()
        yield converter.convert(_blocks(chunk, name, converter.sample_rate, most, check))
    yield converter.flush()


def _align_chunks(audio: Iterable[object]) -> Iterator[tuple[str, object]]:
    """Yield each chunk with its name. Half a sample at the end of one chunk of bytes is moved to the next."""
    half, in_file = b"", False
    for number, chunk in enumerate(audio, 1):
        name = f"chunk {number} of audio"
        if _is_bytes(chunk) and not is_wav(chunk):
            if in_file and len(chunk):
                raise InputError(
                    f"{name} is bare bytes after a WAV file: give a file that comes in parts as a binary file object"
                )
            data = half + bytes(chunk)
            whole = len(data) // 2 * 2
            half = data[whole:]
            yield name, data[:whole]
            continue
        if half:
            raise InputError(f"{name} comes in the middle of a sample: the bytes before it are an odd number")
        in_file = _is_bytes(chunk)
        yield name, chunk
    if half:
        raise InputError("audio must be 16-bit samples, two bytes each; its chunks end in the middle of one")


def _is_bytes(audio: object) -> TypeGuard[bytes | bytearray | memoryview]:
    if isinstance(audio, memoryview):
        return audio.ndim == 1 and audio.format in {"B", "c"}
    return isinstance(audio, bytes | bytearray)


def _blocks(audio: Any, name: str, sample_rate: int, most: int, check: CancelCheck) -> Iterator[tuple[int, bytes]]:
    """Yield the rate and samples of audio, block by block."""
    if _is_bytes(audio) and is_wav(audio):
        yield from read_wav(io.BytesIO(bytes(audio)), name, check, most=most)
    elif is_array(audio):
        yield sample_rate, _array_samples(audio, name, check)
    elif isinstance(audio, str | os.PathLike):
        with open_file(audio) as file:
            yield from read_wav(file, _file_name(os.fspath(audio), name), check, most=most)
    elif hasattr(audio, "read") and not isinstance(audio, type):
        yield from read_wav(audio, _file_name(getattr(audio, "name", None), name), check, most=most)
    elif _is_pair(audio):
        rate, values = audio
        if not is_array(values):
            hint = "; the rate comes first" if is_array(rate) else ""
            raise InputError(f"{name} must be (rate, array), got {type(values).__name__} in place of the array{hint}")
        if _is_bytes(values) and is_wav(values):
            raise InputError(f"{name} is (rate, array) with a WAV file, which has a rate of its own")
        rate = check_rate(f"the rate of {name}", plain_number(rate), *RATES)
        yield rate, _array_samples(values, name, check)
    else:
        raise InputError(f"{name} must be {_KINDS}; got {_describe_type(audio)}")


def _array_samples(audio: Any, name: str, check: CancelCheck) -> bytes:
    if _is_bytes(audio):
        raise_if_other_format(name, audio)
    return to_samples(audio, name, check)


def _is_pair(audio: object) -> bool:
    return isinstance(audio, tuple) and len(audio) == 2 and any(plain_number(part) is not None for part in audio)


def _file_name(file: object, name: str) -> str:
    return f"the file {file!r}" if isinstance(file, str | bytes) else name


def _describe_type(audio: object) -> str:
    """Return the type of an unusable argument, with a hint for some."""
    got = f"the type {audio.__name__}" if isinstance(audio, type) else type(audio).__name__
    if _is_pydub(audio):
        return f'{got}; pass segment.export(format="wav")'
    if hasattr(audio, "__aiter__") or inspect.isawaitable(audio):
        return f"{got}, which is asynchronous"
    if inspect.isgeneratorfunction(audio):
        return f"{got}, which is to be called"
    if plain_number(audio) is not None:
        return f"{got}; numbers come in an array"
    return got


def _is_pydub(audio: object) -> bool:
    """Return whether this is a segment of pydub's, which iterates over its milliseconds."""
    return hasattr(audio, "raw_data") and hasattr(audio, "frame_rate")
