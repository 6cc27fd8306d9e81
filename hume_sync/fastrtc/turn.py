"""Turns of a conversation: which audio answers which question, and when an answer is over.

Servers mark neither. What they say is ``started_talking`` and ``pause_detected`` when they hear speech and its end, and
``response_starting`` for each piece of audio their handler yields; some handlers say nothing of all this. What is known
on this side is how far the server has got with what was sent (`Spoken`). One table decides by state and event:

=========  ==========  =========  ========  ==========  ==========  ==========  =========  ==========
state      new         spoken     talking   pause       announced   audio       error,     other
           question                                                             end        message
=========  ==========  =========  ========  ==========  ==========  ==========  =========  ==========
IDLE       ASKING (f)  ASKED      keep      PAUSED (r)  drop        drop        keep       keep
GREETING   stay        stay       keep      over        keep        keep        keep       keep
ASKING     ASKING (f)  see below  hold (r)  hold (r)    hold        hold        hold       hold
ASKED      ASKING (f)  stay       keep      PAUSED (r)  drop        ANSWERING   keep       keep
PAUSED     ASKING (f)  stay       keep      PAUSED (r)  ANNOUNCED   ANSWERING   FAILED     keep
ANNOUNCED  ASKING (f)  stay       keep      PAUSED (r)  keep        ANSWERING   FAILED     keep
ANSWERING  stay        stay       keep      over        keep        keep        FAILED     keep
FAILED     stay        stay       keep      over        keep        keep        keep       keep
=========  ==========  =========  ========  ==========  ==========  ==========  =========  ==========

- Over WebRTC the end of the stream makes any turn without audio FAILED: none will come.
- *keep*: it is part of the turn. *drop*: it is part of none. *over*: the turn ends before it.
- *(f)*: forget all that was kept. *(r)*: begin again: forget audio and what was announced, and keep the message.
- While a question is being spoken, what comes may belong to an earlier one, or to a pause inside this one. So it is
  held, and each pause, or speech, drops what was held before it. Once the question is spoken, what is still held goes
  through the row of ASKED (over WebRTC without audio that no pause precedes, for it came while the question was spoken;
  but what comes to the silence behind the last word may be the answer of a handler that tells of nothing).
- Audio is dropped in any state if it is *stale*: in ASKED where the handler is one that tells of pauses, for that pause
  has yet to come; in PAUSED where it is one that announces, for the answer has yet to be; and what aiortc has held back
  since before the pause (see `Turn._is_stale`).
- On a barge-in the server goes on until it hears the pause behind the new speech, and so does the turn: it is over with
  that pause, incomplete; the pause begins the next.

Without an event a turn is over after some time of quiet: ANSWERING (and GREETING) after ``idle`` seconds, once as many
pieces have come as were announced; ANNOUNCED likewise after at least 2 s, for a handler that yields outputs alone
announces once, and no audio; FAILED after ``idle``, incomplete. A deadline, or the end of the connection, leaves it
incomplete. A new connection is IDLE.
"""

from __future__ import annotations

import enum
import math

from ..errors import TransportError
from .events import AudioChunk, EndStream, ErrorMessage, Event, LogMessage, Reconnected
from .link import Spoken

__all__ = ["State", "Turn"]


class State(enum.Enum):
    """Where a turn is."""

    IDLE = "nothing was asked on this connection"
    GREETING = "what the handler says by itself is waited for"
    ASKING = "the question is being spoken"
    ASKED = "it was spoken"
    PAUSED = "the server has heard the pause behind it"
    ANNOUNCED = "the handler has announced its answer"
    ANSWERING = "the answer comes"
    FAILED = "the handler has failed; what it had yielded still comes"


class _Kind(enum.Enum):
    """What an event is to a turn: the columns of the table."""

    QUESTION, SPOKEN, TALKING, PAUSE, ANNOUNCED, AUDIO, STALE, FAILURE, END, OTHER = range(10)


_LOGS = {
    "started_talking": _Kind.TALKING,
    "pause_detected": _Kind.PAUSE,
    "response_starting": _Kind.ANNOUNCED,
}
_STATES = {  # what changes the state; all else leaves it
    State.IDLE: {
        _Kind.QUESTION: State.ASKING,
        _Kind.SPOKEN: State.ASKED,
        _Kind.PAUSE: State.PAUSED,
        _Kind.END: State.FAILED,
    },
    State.GREETING: {_Kind.END: State.FAILED},
    State.ASKING: {},
    State.ASKED: {
        _Kind.QUESTION: State.ASKING,
        _Kind.PAUSE: State.PAUSED,
        _Kind.AUDIO: State.ANSWERING,
        _Kind.END: State.FAILED,
    },
    State.PAUSED: {
        _Kind.QUESTION: State.ASKING,
        _Kind.ANNOUNCED: State.ANNOUNCED,
        _Kind.AUDIO: State.ANSWERING,
        _Kind.FAILURE: State.FAILED,
        _Kind.END: State.FAILED,
    },
    State.ANNOUNCED: {
        _Kind.QUESTION: State.ASKING,
        _Kind.PAUSE: State.PAUSED,
        _Kind.AUDIO: State.ANSWERING,
        _Kind.FAILURE: State.FAILED,
        _Kind.END: State.FAILED,
    },
    State.ANSWERING: {_Kind.FAILURE: State.FAILED},
    State.FAILED: {},
}
_DROPPED = {
    (State.IDLE, _Kind.AUDIO),
    (State.IDLE, _Kind.ANNOUNCED),
    (State.ASKED, _Kind.ANNOUNCED),
}
_OVER = {(state, _Kind.PAUSE) for state in (State.GREETING, State.ANSWERING, State.FAILED)}
_HEARD = (State.GREETING, State.ANSWERING, State.FAILED)


class Turn:
    """The turn under way, and the table's memory of this connection. Fed with all that comes, by whoever receives it.

    Args:
        real_time: see `Link`: there announcements are not counted, and the end of the stream is told.
    """

    def __init__(self, *, real_time: bool) -> None:
        self.state = State.IDLE
        self._real_time = real_time
        self._tells = frozenset[_Kind]()  # which marks the handler is known to set
        self.messages: list[Event] = []
        self._held: list[Event] = []
        self._came = 0
        self._overtaken = 0  # frames to come, at most, that were spoken before the pause
        self._spoken = 0  # the number of the last audio that the server has got to
        self.renew(0)

    def renew(self, number: int) -> None:
        """The connection is new, and nothing was asked on it but what comes behind that number."""
        self.state = self.state if self.state is State.GREETING else State.IDLE
        self._number = number  # of the question
        self._forget()

    def expect(self, number: int) -> None:
        """From here on, what answers this audio, and all that was sent before it, is waited for."""
        if number > self._number:
            self._number = number
            self._forget()
            self.state = State.ASKED if self._spoken >= number else State.ASKING

    def greet(self) -> None:
        """A greeting is waited for."""
        self.state = State.GREETING

    def _forget(self) -> None:
        """Forget all that was kept, but for word of new connections."""
        self.messages = [event for event in self.messages + self._held if isinstance(event, Reconnected)]
        self._held = []
        self._early: float = math.inf  # of the events held came before the last word was spoken
        self._begin_again()

    def _begin_again(self) -> None:
        if self._real_time and self.state is State.ANNOUNCED and not self._came:
            self._overtaken = 1  # so short that all of it is held back
        self._audio: list[bytes] = []
        self._came = 0  # pieces of audio
        self._announced = 0
        self._behind = 0  # of the messages came before the last piece of audio

    # --- events

    def add(self, event: Event | Spoken) -> bool:
        """Count an event; False: this turn is over, and the event is not part of it."""
        kind = self._kind(event)
        self._tells |= {kind}
        if isinstance(event, Spoken):
            self._pass(event)
        elif self.state is State.ASKING:
            self._hold(kind, event)
        elif (self.state, kind) in _OVER:
            self._end()
            return False
        else:
            self._take(kind, event)
        return True

    def _pass(self, place: Spoken) -> None:
        """The server has got to a place in what was sent."""
        following = _STATES[self.state]
        if place.begins:
            if self.state is State.ASKING or _Kind.QUESTION in following:
                self._forget()
                self.state, self._number = State.ASKING, max(self._number, place.number)
            return
        if place.quiet:
            if self.state is State.ASKING:
                self._early = len(self._held)
            return
        self._spoken = max(self._spoken, place.number)
        if self.state is State.ASKING and self._spoken >= self._number:
            self._go_through_held()
        else:
            self.state = following.get(_Kind.SPOKEN, self.state)

    def _go_through_held(self) -> None:
        self.state, held = State.ASKED, self._held
        self._held = []
        for place, event in enumerate(held):
            kind = self._kind(event)
            is_early = self._real_time and place < self._early
            if not (kind is _Kind.AUDIO and self.state is State.ASKED and is_early):
                self._take(kind, event)

    def _hold(self, kind: _Kind, event: Event) -> None:
        if kind in (_Kind.TALKING, _Kind.PAUSE):
            dropped = (_Kind.AUDIO, _Kind.STALE, _Kind.ANNOUNCED, _Kind.PAUSE)
            self._held = [other for other in self._held if self._kind(other) not in dropped]
            self._early = math.inf
        self._held.append(event)

    def _take(self, kind: _Kind, event: Event) -> None:
        if kind is _Kind.STALE or (self.state, kind) in _DROPPED:
            return
        if kind is _Kind.PAUSE:
            self._begin_again()
            self._number = max(self._number, self._spoken)  # the pause is the newest question's
        if kind is _Kind.ANNOUNCED:
            self._announced += 1
            if self.state is State.PAUSED:  # what came since the pause was the end of one that it interrupted
                self._overtaken = _HELD_BACK if self._overtaken else 0
        self.state = _STATES[self.state].get(kind, self.state)
        if isinstance(event, AudioChunk):
            self._audio.append(event.samples)
            self._came += 1
            self._behind = len(self.messages)
        else:
            self.messages.append(event)

    def _kind(self, event: Event | Spoken) -> _Kind:
        match event:
            case Spoken():
                return _Kind.QUESTION if event.begins else _Kind.SPOKEN
            case AudioChunk():
                return _Kind.STALE if self._is_stale(event) else _Kind.AUDIO
            case LogMessage():
                return _LOGS.get(event.text, _Kind.OTHER)
            case ErrorMessage():
                return _Kind.FAILURE
            case EndStream() if self._real_time and not self._came:
                return _Kind.END
        return _Kind.OTHER

    def _is_stale(self, chunk: AudioChunk) -> bool:
        """Whether it was made before the answer. (Over WebRTC messages overtake audio, whose last is held back.)"""
        match self.state:
            case State.ASKED:
                return chunk.delayed or not self._tells.isdisjoint(_LOGS.values())
            case State.PAUSED if _Kind.ANNOUNCED in self._tells:
                self._overtaken = 1 if self._real_time else 0
                return True
            case State.PAUSED | State.ANNOUNCED:
                is_stale = chunk.delayed or self._overtaken > 0
                self._overtaken = 0 if chunk.delayed else max(0, self._overtaken - 1)
                return is_stale
        return False

    # --- its end

    def rests_after(self, idle: float, *, audio: bool = True) -> float | None:
        """Seconds of quiet after which it is over; None: more is to come, however long that takes.

        Args:
            idle: of the caller's.
            audio: whether the caller waits for audio.
        """
        match self.state:
            case State.GREETING | State.ANSWERING if self.has_all:
                return idle
            case State.FAILED if self._came or self._real_time:
                return idle
            case State.ANNOUNCED:
                return max(idle, _NO_AUDIO) if audio else 0.0
            case State.ASKED if not audio and self._tells.isdisjoint(_LOGS.values()):
                return idle
        return None

    @property
    def has_all(self) -> bool:
        """Whether audio has come, and as much of it as was announced."""
        return self._came > 0 and (self._real_time or self._came >= self._announced)

    @property
    def has_begun(self) -> bool:
        """Whether anything of it has come."""
        return self._came > 0 or bool(self.messages)

    def is_answered(self, *, rested: bool) -> bool:
        """Whether it has come to an answer: audio, or, once it has rested, none."""
        return self._came > 0 or (rested and self.state is not State.FAILED)

    def outlives(self, error: TransportError) -> bool:
        """The connection has ended: whether that can be left to the next call, because an answer has come.

        So it is where what has come may be all: over WebSocket as much as was announced; over WebRTC where the server
        has ended it in order.
        """
        if self.state is State.ASKING:  # the server gets no further with the question
            self._go_through_held()
        return self.state in _HEARD and self.has_all and (not self._real_time or error.close_code == _ENDED)

    def split(self) -> list[Event]:
        """Take out what belongs to the next turn already: what came behind the audio since talking began."""
        for place in range(self._behind, len(self.messages)):
            if self._came and self._kind(self.messages[place]) is _Kind.TALKING:
                rest = self.messages[place:]
                del self.messages[place:]
                return rest
        return []

    def take(self, *, rested: bool) -> tuple[bytes, tuple[Event, ...], bool]:
        """Take out its audio and its messages, and whether it is complete.

        Args:
            rested: whether nothing more came for a while. Else the rest may still come.
        """
        complete = rested and self.state is not State.FAILED
        audio, messages = b"".join(self._audio), tuple(self.messages)
        if rested or self.state is State.GREETING:
            self._end()
        self.messages = []
        self._begin_again()
        return audio, messages, complete

    def hand_out(self) -> None:
        """What came was given to the caller as it is: it is not kept."""
        self._audio.clear()
        self.messages.clear()

    def give_up(self) -> None:
        """What may still come of it is not waited for."""
        if self.state is not State.ASKING:
            self._end()
        self._forget()

    def _end(self) -> None:
        self.state = State.IDLE if self.state in (State.IDLE, State.GREETING) else State.ASKED


_ENDED = 1000
"""The close code of a connection that the server has ended."""

_HELD_BACK = 6
"""Frames of an interrupted answer that come behind the next announcement: the five that aiortc keeps until others push
them out (see `rtcaudio.Ear`), and one that was on its way."""

_NO_AUDIO = 2.0
"""Seconds until an answer that was announced, and brings no audio, is known to have none."""
