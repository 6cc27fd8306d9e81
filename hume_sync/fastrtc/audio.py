"""Audio as callers have it, as the messages of a session: samples, s16le, one channel, at the session's rate."""

from __future__ import annotations

import inspect
import io
import itertools
import os
import wave
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeGuard

from ..errors import InputError, short_repr
from ..net.number import plain_number
from .arrays import is_array, to_samples
from .resample import Check, Resampler, check_rate, check_whole, no_check
from .wavfile import RATES, check_no_other, is_wav, opened, read_wav

__all__ = ["PAUSE", "check_rate", "pause_of", "pieces", "silence", "write_wav"]

PAUSE: Final = 1.2
"""Seconds of silence that a pause needs: a server looks at 0.6 s at a time, and the first of these may hold speech."""

_MOST: Final = 2**23
"""Samples of a message: three minutes at 48 kHz, which as mu-law in base64 stay well below the 16 MiB at which servers
drop the connection."""

_MAX_SILENCE: Final = 3600.0

_MAX_PAUSE: Final = 60

_KINDS: Final = (
    "bytes (s16le, mono), an array of int16 or of floats from -1 to 1, (rate, array), a WAV file by its path, as a"
    " binary file object or as bytes, or an iterable of these"
)


def pieces(
    audio: object, sample_rate: int, *, silent: float = 0.0, most: int = _MOST, check: Check = no_check
) -> Generator[bytes]:
    """Yield the messages that audio makes: s16le, one channel, at ``sample_rate``.

    Servers look at each message as a whole, so what is no stream comes in as few as can be, and the silence apart: the
    speech in a message hides the pause in it. Nothing is yielded before all of what is in memory has been checked, and
    of a file its head, and its floats where it can seek. To close the iterator closes the file.

    Args:
        audio: one of

            - an array: see `to_samples`; at ``sample_rate``;
            - ``(rate, array)``: likewise, at its own rate, 1000 to 768000 Hz;
            - a WAV file by its path (str or PathLike), as a binary file object or as bytes: see `read_wav`;
            - an iterable of these, in any mixture: a stream, of which each chunk makes a message of its own as it
              comes. Bytes in it may be divided anywhere, in the middle of a sample, too.
        sample_rate: Hz, 8000 to 192000.
        silent: seconds of silence behind it.
        most: samples of a message.
        check: called again and again; what it raises ends the work.

    Raises:
        OSError: a file is missing, a directory, or unreadable.
        InputError: what cannot be audio; the text names it, and says what is accepted. Of a stream the error comes with
            the chunk that is wrong, and of a file that cannot seek with the sample.
        Exception: whatever an iterable raises.
    """
    check_rate("sample_rate", sample_rate)
    voice = _Voice(sample_rate, check)
    messages: Iterable[Iterable[bytes]]
    if _is_stream(audio):
        messages = _of_stream(audio, voice, most, check)
    else:
        messages = [itertools.chain(voice.say(_blocks(audio, "audio", sample_rate, most, check)), voice.end())]
    empty = True
    for message in messages:
        for piece in _gathered(message, most):
            empty = False
            yield piece
    if empty:
        raise InputError("audio is empty: there is nothing to send")
    yield from _gathered([silence(silent, sample_rate)], most)


def pause_of(name: str, value: object) -> float:
    """The seconds of silence that an argument asks for: True: as many as a pause needs; False or 0: none.

    Args:
        name: what the error calls it.
        value: a bool, or a number of any type, 0 to 60.

    Raises:
        InputError: anything else.
    """
    if isinstance(value, bool):
        return PAUSE if value else 0.0
    number = plain_number(value)
    if number is None or not 0 <= number <= _MAX_PAUSE:
        raise InputError(f"{name} must be a bool, or seconds of silence, 0 to {_MAX_PAUSE}; got {short_repr(value)}")
    return float(number)


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
        raise InputError(f"seconds must be a number, 0 to {_MAX_SILENCE:.0f}; got {short_repr(seconds)}")
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


class _Voice:
    """Brings all that is said to one rate, without a seam where parts of the same rate follow each other."""

    def __init__(self, sample_rate: int, check: Check) -> None:
        self.sample_rate = sample_rate
        self._check = check
        self._resampler: Resampler | None = None

    def say(self, blocks: Iterator[tuple[int, bytes]]) -> Iterator[bytes]:
        """Yield blocks at the session's rate; the last few samples may wait for more."""
        for rate, samples in blocks:
            if self._resampler is not None and self._resampler.source != rate:
                yield from self.end()
            if rate == self.sample_rate:
                yield samples
                continue
            if self._resampler is None:
                self._resampler = Resampler(rate, self.sample_rate, self._check)
            yield from self._resampler.feed(samples)

    def end(self) -> Iterator[bytes]:
        """Yield what waits."""
        if self._resampler is not None:
            yield from self._resampler.end()
            self._resampler = None


def _gathered(blocks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Join blocks to messages of ``most`` samples."""
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
    """Tell whether audio is an iterable of chunks."""
    return (
        isinstance(audio, Iterable)
        and not isinstance(audio, str | os.PathLike | Mapping | type)
        and not is_array(audio)
        and not hasattr(audio, "read")
        and not _is_pydub(audio)
        and not _is_pair(audio)
    )


def _of_stream(audio: Iterable[object], voice: _Voice, most: int, check: Check) -> Iterator[Iterator[bytes]]:
    for name, chunk in _whole_chunks(audio):
        check()
        yield voice.say(_blocks(chunk, name, voice.sample_rate, most, check))
    yield voice.end()


def _whole_chunks(audio: Iterable[object]) -> Iterator[tuple[str, object]]:
    """Name and yield chunks; of bytes, what is left of a sample at the end of one goes to the next."""
    half, in_file = b"", False
    for number, chunk in enumerate(audio, 1):
        name = f"chunk {number} of audio"
        if _are_bytes(chunk) and not is_wav(chunk):
            if in_file and len(chunk):
                raise InputError(
                    f"{name} is bare bytes behind a WAV file: give a file that comes in parts as a binary file object"
                )
            data = half + bytes(chunk)
            whole = len(data) // 2 * 2
            half = data[whole:]
            yield name, data[:whole]
            continue
        if half:
            raise InputError(f"{name} comes in the middle of a sample: the bytes before it are an odd number")
        in_file = _are_bytes(chunk)
        yield name, chunk
    if half:
        raise InputError("audio must be 16-bit samples, two bytes each; its chunks end in the middle of one")


def _are_bytes(audio: object) -> TypeGuard[bytes | bytearray | memoryview]:
    if isinstance(audio, memoryview):
        return audio.ndim == 1 and audio.format in {"B", "c"}
    return isinstance(audio, bytes | bytearray)


def _blocks(audio: Any, name: str, sample_rate: int, most: int, check: Check) -> Iterator[tuple[int, bytes]]:
    """Yield rate and samples of a piece of audio, a little at a time."""
    if _are_bytes(audio) and is_wav(audio):
        yield from read_wav(io.BytesIO(bytes(audio)), name, check, most=most)
    elif is_array(audio):
        yield sample_rate, _samples(audio, name, check)
    elif isinstance(audio, str | os.PathLike):
        with opened(audio) as file:
            yield from read_wav(file, _name_of(os.fspath(audio), name), check, most=most)
    elif hasattr(audio, "read") and not isinstance(audio, type):
        yield from read_wav(audio, _name_of(getattr(audio, "name", None), name), check, most=most)
    elif _is_pair(audio):
        rate, values = audio
        if not is_array(values):
            hint = "; the rate comes first" if is_array(rate) else ""
            raise InputError(f"{name} must be (rate, array), got {type(values).__name__} in place of the array{hint}")
        if _are_bytes(values) and is_wav(values):
            raise InputError(f"{name} is (rate, array) with a WAV file, which has a rate of its own")
        rate = check_rate(f"the rate of {name}", plain_number(rate), *RATES)
        yield rate, _samples(values, name, check)
    else:
        raise InputError(f"{name} must be {_KINDS}; got {_described(audio)}")


def _samples(audio: Any, name: str, check: Check) -> bytes:
    if _are_bytes(audio):
        check_no_other(name, audio)
    return to_samples(audio, name, check)


def _is_pair(audio: object) -> bool:
    return isinstance(audio, tuple) and len(audio) == 2 and any(plain_number(part) is not None for part in audio)


def _name_of(file: object, name: str) -> str:
    return f"the file {file!r}" if isinstance(file, str | bytes) else name


def _described(audio: object) -> str:
    """The type of what is refused, and what its owner may have meant."""
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
    """Tell a segment of pydub's: an iterable, of its milliseconds."""
    return hasattr(audio, "raw_data") and hasattr(audio, "frame_rate")
