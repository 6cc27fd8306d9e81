"""One turn of a conversation: when a reply is over, which servers do not say."""

from __future__ import annotations

import attrs

from ..errors import TransportError
from .events import AudioChunk, EndStream, ErrorMessage, Event, LogMessage, Reconnected, SendInput

__all__ = ["Reply", "Turn", "goes_on"]


@attrs.frozen
class Reply:
    """What came of one turn."""

    audio: bytes = attrs.field(repr=lambda audio: f"<{len(audio)} bytes>")
    """s16le, mono."""
    sample_rate: int
    messages: tuple[Event, ...]
    """All that was no audio, in the order it came."""
    complete: bool
    """False: the server announced more pieces of audio than came before time was up or the next turn began, or its
    handler failed behind the last of them. Over WebRTC nothing tells how much is to come: there it is True once
    nothing has come for ``idle`` seconds, and False where time was up before, the next turn began, or the server ended
    the session. (A server that has died looks like one that pauses, until half a minute later.)"""

    @property
    def seconds(self) -> float:
        """How long its audio plays."""
        return len(self.audio) / 2 / self.sample_rate


class Turn:
    """Counts what comes, and knows what belongs to the next turn.

    A reply is over once as many pieces of audio have come as were announced (`response_starting`), and nothing has come
    behind them for a while; or with the next `pause_detected`, which begins another.

    Args:
        sample_rate: of the audio.
        real_time: see `Link`: there announcements are not counted, and an error is the end of the turn.
        first: whether it is the first of its connection. Audio before any pause is then a handler's greeting, a reply
            of its own; else it is the rest of an earlier reply that has been given up, and gives way to this turn's.
    """

    def __init__(self, sample_rate: int, *, real_time: bool = False, first: bool = True) -> None:
        self._sample_rate = sample_rate
        self._real_time = real_time
        self._first = first
        self._audio: list[bytes] = []
        self._size = 0  # bytes of it
        self._messages: list[Event] = []
        self._behind = 0  # of the messages came before the last piece of audio
        self._announced = 0
        self._paused = False
        self._failed = False
        self._ended = False

    def add(self, event: Event) -> bool:
        """Count an event; False: this turn is over, and the event is not part of it."""
        if isinstance(event, AudioChunk):
            # The first frames after a gap may be the last of the turn before (see `AudioChunk.delayed`).
            if not (event.delayed and self._paused and not self._audio):
                self._audio.append(event.samples)
                self._size += len(event.samples)
                self._behind = len(self._messages)
                self._failed = False
            return True
        if isinstance(event, Reconnected):
            if self._audio or self._messages:
                return False
            self._first = True
        if event == _PAUSE:
            if self.heard and (self._paused or self._first):
                return False
            self._paused = True
            self._audio.clear()
            self._size = self._announced = 0
        self._messages.append(event)
        self._announced += event == _STARTING
        self._failed |= isinstance(event, ErrorMessage)
        self._ended |= isinstance(event, EndStream)
        return True

    def split(self) -> list[Event]:
        """Take out what belongs to the next turn already: what came behind the audio since talking began."""
        for place in range(self._behind, len(self._messages)):
            if self._audio and self._messages[place] == _TALKING:
                rest = self._messages[place:]
                del self._messages[place:]
                return rest
        return []

    @property
    def heard(self) -> bool:
        """Whether audio has come."""
        return self._size > 0

    @property
    def may_be_over(self) -> bool:
        """Whether all that was announced has come."""
        return self.heard and (self._real_time or len(self._audio) >= self._announced)

    @property
    def is_hopeless(self) -> bool:
        """Whether no audio can be expected any more: over WebRTC handlers tell of their end, and of their failure.

        (One that has failed while it replied is dead. Over WebSocket these messages are an application's own.)
        """
        return self._real_time and ((self._paused and self._failed) or self._ended)

    def outlives(self, error: TransportError) -> bool:
        """Whether this end of the connection can be left to the next call, because a reply has come.

        In real time one that the server has ended may be cut (`Reply.complete`), one that was lost is.
        """
        return self.may_be_over and (not self._real_time or error.close_code == _ENDED)

    @property
    def messages(self) -> tuple[Event, ...]:
        """All that was no audio, so far."""
        return tuple(self._messages)

    def reply(self, *, rested: bool) -> Reply:
        """What has come so far; ``rested``: nothing has come behind it for a while."""
        complete = self.may_be_over and not self._failed and (rested or not self._real_time)
        return Reply(b"".join(self._audio), self._sample_rate, self.messages, complete)


def goes_on(event: Event) -> bool:
    """Whether the event tells that a handler still replies: others do not put off the end of a reply."""
    return isinstance(event, AudioChunk | EndStream | ErrorMessage | SendInput) or event == _STARTING


_ENDED = 1000
"""The close code of a connection that the server has ended."""

_TALKING = LogMessage("started_talking")
_PAUSE = LogMessage("pause_detected")
_STARTING = LogMessage("response_starting")
