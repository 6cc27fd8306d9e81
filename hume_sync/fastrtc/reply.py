"""Replies, and their audio with the handler's pauses."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

import attrs

from ..errors import InputError
from ..reprs import safe_repr
from .audio import write_wav
from .events import AudioChunk, Custom, ErrorMessage, Event

__all__ = ["Reply", "with_pauses"]

_MAX_LINES: Final = 10
"""Lines of a reply that is printed."""

_MAX_WIDTH: Final = 200
"""Characters of one of these lines."""

_JITTER: Final = 0.1
"""Seconds that audio may come late without a pause before it."""

_ROUNDING: Final = 0.002
"""Seconds by which the media times of two frames may differ from their length."""


@safe_repr
@attrs.frozen
class Reply:
    """The reply to a question, or a greeting.

    Attributes:
        audio: s16le, mono. Empty if the handler replies without audio, by outputs alone.
        sample_rate: The rate of the audio in Hz.
        messages: All events that are not audio, in the order received.
        complete: Whether all announced audio has come, followed by ``idle`` seconds without any. False: the timeout
            passed before, the next turn began, the connection ended, or the handler has failed (`error`). (A handler
            that died without a message looks like one that pauses, until the server is known to be lost: over WebSocket
            after the client's ``patience``, over WebRTC after at most 40 s.)
    """

    audio: bytes = attrs.field(repr=lambda audio: f"<{len(audio)} bytes>")
    sample_rate: int
    messages: tuple[Event, ...]
    complete: bool

    @property
    def seconds(self) -> float:
        """The length of the audio."""
        return len(self.audio) / 2 / self.sample_rate

    @property
    def error(self) -> str | None:
        """The handler's message that it has failed. Over WebSocket servers do not send one."""
        return next((event.text for event in reversed(self.messages) if isinstance(event, ErrorMessage)), None)

    @property
    def text(self) -> str:
        """Texts among the application's own messages (`Custom`), one a line. Outputs come by `Session.outputs`."""
        return "\n".join(
            event.data for event in self.messages if isinstance(event, Custom) and isinstance(event.data, str)
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the audio to a WAV file.

        Raises:
            OSError: The file cannot be written.
        """
        write_wav(path, self.audio, self.sample_rate)

    def __str__(self) -> str:
        """Return a summary of a few lines: the length, and the messages, repeated ones once with a count."""
        lines: list[tuple[str, int]] = []
        for event in self.messages:
            line = repr(event)
            if lines and lines[-1][0] == line:
                lines[-1] = (line, lines[-1][1] + 1)
            else:
                lines.append((line, 1))
        shown = [line if count == 1 else f"{line} x {count}" for line, count in lines]
        shown = [line if len(line) <= _MAX_WIDTH else f"{line[:_MAX_WIDTH]}..." for line in shown]
        if len(shown) > _MAX_LINES - 1:
            shown[_MAX_LINES - 2 :] = [f"... and {len(shown) - _MAX_LINES + 2} more"]
        what = "" if self.complete else ", incomplete"
        return "\n".join([f"{self.seconds:.2f} s of audio at {self.sample_rate} Hz{what}", *shown])


def with_pauses(chunks: Iterable[AudioChunk]) -> bytes:
    """Join audio with silence where the handler paused, as it sounds if it is played as it comes.

    ::

        chunks = [event for event in session.events(timeout=3) if isinstance(event, AudioChunk)]
        samples = with_pauses(chunks)

    Servers send no audio while a handler yields none. So there is a pause where a chunk came later than the earlier
    ones take to play (by more than 0.1 s; over WebSocket audio comes faster than it plays, which hides short pauses),
    and where the media time has a gap, as after lost audio.

    Args:
        chunks: Chunks of one session, in the order received.

    Returns:
        Samples (s16le, mono) at the rate of the chunks. A pause of an hour is an hour of samples.

    Raises:
        InputError: The chunks differ in their rate.
    """
    joined = bytearray()
    last: AudioChunk | None = None
    played = 0.0  # the time at which all audio so far has been played
    for chunk in chunks:
        pause = 0.0
        if last is None:
            played = chunk.arrived
        elif chunk.rate != last.rate:
            raise InputError(f"chunks must have one rate, got {last.rate} and {chunk.rate}")
        else:
            pause = max(_lateness(chunk, played), _media_gap(last, chunk))
        joined += bytes(2 * round(pause * chunk.rate)) + chunk.samples
        played += pause + chunk.seconds
        last = chunk
    return bytes(joined)


def _lateness(chunk: AudioChunk, played: float) -> float:
    """Return the seconds by which it came too late to be played at once. (Delayed audio is of before the pause.)"""
    late = chunk.arrived - played
    return late if late > _JITTER and not chunk.delayed else 0.0


def _media_gap(last: AudioChunk, chunk: AudioChunk) -> float:
    """Return the seconds between the two by their media times; a new connection begins at zero again."""
    if last.media_time is None or chunk.media_time is None:
        return 0.0
    gap = chunk.media_time - last.media_time - last.seconds
    return gap if gap > _ROUNDING else 0.0
