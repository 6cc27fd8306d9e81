"""One turn of a conversation: when a reply is over, which servers do not say."""

from __future__ import annotations

import attrs

from ..errors import TransportError
from ..reprs import safe_repr
from .events import AudioChunk, EndStream, ErrorMessage, Event, LogMessage, Reconnected, SendInput

__all__ = ["Reply", "Turn", "goes_on", "is_pause"]


@safe_repr
@attrs.frozen
class Reply:
    """What came of one turn."""

    audio: bytes = attrs.field(repr=lambda audio: f"<{len(audio)} bytes>")
    """s16le, mono."""
    sample_rate: int
    messages: tuple[Event, ...]
    """All that was no audio, in the order it came."""
    complete: bool
    """Whether all that was announced has come, and then nothing for ``idle`` seconds. False: time was up before, the
    next turn began, the connection ended, or the server said behind the audio that its handler has failed. (One that
    has died without a word looks like one that pauses, until it is noticed: over WebSocket after the client's
    ``patience``, over WebRTC after 40 s at most.)"""

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
        interrupting: whether the turn before `lingers`: some of it may come behind the pause.
    """

    def __init__(
        self, sample_rate: int, *, real_time: bool = False, first: bool = True, interrupting: bool = False
    ) -> None:
        self._sample_rate = sample_rate
        self._real_time = real_time
        self._audio: list[bytes] = []
        self._messages: list[Event] = []
        self._begin(first=first, interrupting=interrupting)

    def _begin(self, *, first: bool, interrupting: bool) -> None:
        self._first = first
        self._interrupting = interrupting
        self._overtaken = 0  # frames to come, at most, that were spoken before the pause
        self._behind = 0  # of the messages came before the last piece of audio
        self._announced = 0
        self._paused = False
        self._failed = False
        self._ended = False
        self._interrupted = False  # the next turn has begun while audio came, or soon after
        self._give_up()

    def add(self, event: Event) -> bool:
        """Count an event; False: this turn is over, and the event is not part of it."""
        if isinstance(event, AudioChunk):
            if not self._is_stale(event):
                self._audio.append(event.samples)
                self._size += len(event.samples)
                self._behind = len(self._messages)
                self._failed = False
            return True
        if isinstance(event, Reconnected):  # what has come is of a connection that is gone
            self._messages[:] = [other for other in self._messages if isinstance(other, Reconnected)]
            self._begin(first=True, interrupting=False)
        elif event == _PAUSE:
            if self.heard and (self._paused or self._first):
                self._interrupted = True
                return False
            self._interrupting |= self.heard
            self._overtaken = _AT_MOST if self._real_time and self._interrupting else 0
            self._paused, self._failed, self._announced = True, False, 0
            self._give_up()
        elif event == _STARTING and self._paused and not self._announced:
            # A reply is announced before it comes: what came since the pause was the last of one that it interrupted.
            self._overtaken = _HELD_BACK if self._overtaken else 0
            if self._interrupting and not self._real_time:
                self._give_up()
        self._messages.append(event)
        self._announced += event == _STARTING
        self._failed |= isinstance(event, ErrorMessage)
        self._ended |= isinstance(event, EndStream)
        return True

    def _is_stale(self, chunk: AudioChunk) -> bool:
        """Whether it was spoken before the pause: over WebRTC messages overtake audio, whose last is held back."""
        if not self._paused or self._audio:
            return False
        is_stale = chunk.delayed or self._overtaken > 0
        self._overtaken = 0 if chunk.delayed and self._announced else max(0, self._overtaken - 1)
        return is_stale

    def _give_up(self) -> None:
        self._audio.clear()
        self._size = 0  # bytes of it

    @property
    def has_begun(self) -> bool:
        """Whether anything of it has come."""
        return bool(self._audio) or any(not isinstance(event, Reconnected) for event in self._messages)

    def split(self) -> list[Event]:
        """Take out what belongs to the next turn already: what came behind the audio since talking began."""
        for place in range(self._behind, len(self._messages)):
            if self._audio and self._messages[place] == _TALKING:
                rest = self._messages[place:]
                del self._messages[place:]
                return rest
        return []

    @property
    def lingers(self) -> bool:
        """Whether some of its audio may still come behind the next turn's pause.

        So it is with a reply that was interrupted; and over WebRTC with one that is so short that all of it is held
        back until the next pushes it out.
        """
        return self._interrupted or (self._real_time and self._announced > 0 and not self.heard)

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

        So it is where what has come may be all: over WebSocket as much as was announced; over WebRTC where the server
        has ended it in order. (But see `Reply.complete`.)
        """
        return self.may_be_over and (not self._real_time or error.close_code == _ENDED)

    @property
    def messages(self) -> tuple[Event, ...]:
        """All that was no audio, so far."""
        return tuple(self._messages)

    def reply(self, *, rested: bool) -> Reply:
        """What has come so far; ``rested``: nothing has come behind it for a while."""
        complete = rested and self.may_be_over and not self._failed
        return Reply(b"".join(self._audio), self._sample_rate, self.messages, complete)


def goes_on(event: Event) -> bool:
    """Whether the event tells that a handler still replies: others do not put off the end of a reply."""
    return isinstance(event, AudioChunk | EndStream | ErrorMessage | SendInput) or event == _STARTING


def is_pause(event: Event) -> bool:
    """Whether the event begins a turn."""
    return event == _PAUSE


_ENDED = 1000
"""The close code of a connection that the server has ended."""

_AT_MOST = 50
"""Frames (a second) of an interrupted reply that may come behind the pause, before the next is announced. Seen: 13."""

_HELD_BACK = 6
"""Frames of it that may come behind that: the five that aiortc keeps until others push them out (see `rtcaudio.Ear`),
and one that was on its way."""

_TALKING = LogMessage("started_talking")
_PAUSE = LogMessage("pause_detected")
_STARTING = LogMessage("response_starting")
