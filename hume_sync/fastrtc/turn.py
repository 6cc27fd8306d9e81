"""The turn under way: what has come of the answer to a question. The table in `states` decides what belongs to it."""

from __future__ import annotations

import math
from typing import Final

from ..errors import CloseCode, TransportError
from .events import AudioChunk, Event, Reconnected
from .kinds import Kinds
from .states import TABLE, Action, Kind, State
from .transport import Spoken

__all__ = ["Turn"]

_NO_AUDIO: Final = 2.0
"""Seconds until an answer that was announced, and brings no audio, is known to have none."""


_OF_AN_ANSWER: Final = (Kind.PAUSE, Kind.ANNOUNCEMENT, Kind.AUDIO, Kind.STALE)


class Turn:
    """The turn under way, fed with every event. ``real_time``: over WebRTC, where announcements are not counted."""

    def __init__(self, *, real_time: bool) -> None:
        self.state = State.IDLE
        self.messages: list[Event] = []
        self._real_time = real_time
        self._kinds = Kinds(real_time=real_time)
        self._held: list[Event] = []
        self._early: float = math.inf  # of the events held came before the last word was spoken
        self._came = 0
        self._spoken = 0  # the number of the last audio that the server has got to
        self.renew(0)

    def renew(self, number: int) -> None:
        """The connection is new, and nothing was asked on it but what comes behind that number."""
        self.state = State.GREETING if self.state is State.GREETING else State.IDLE
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

    def add(self, event: Event | Spoken) -> bool:
        """Count an event; False: this turn is over, and the event is not part of it."""
        if isinstance(event, Spoken):
            self._reach(event)
            return True
        kind = self._kind(event)
        if self.state is State.ASKING:
            self._hold(kind, event)
        elif TABLE[self.state].get(kind) is Action.OVER:
            self._end()
            return False
        else:
            self._take(kind, event)
        return True

    def _reach(self, place: Spoken) -> None:
        """The server has got to a place in what was sent."""
        if place.begins:
            if TABLE[self.state].get(Kind.QUESTION) is State.ASKING:
                self._forget()
                self.state, self._number = State.ASKING, max(self._number, place.number)
        elif place.quiet:
            self._early = len(self._held)
        else:
            self._spoken = max(self._spoken, place.number)
            if self.state is State.ASKING and self._spoken >= self._number:
                self._take_held()
            elif self.state is State.IDLE:
                self.state = State.ASKED

    def _hold(self, kind: Kind, event: Event) -> None:
        if kind in (Kind.TALKING, Kind.PAUSE):
            self._held = [other for other in self._held if self._kind(other) not in _OF_AN_ANSWER]
            self._early = math.inf
        self._held.append(event)

    def _take_held(self) -> None:
        self.state, held = State.ASKED, self._held
        self._held = []
        for place, event in enumerate(held):
            kind = self._kind(event)
            came_early = self._real_time and place < self._early and self.state is State.ASKED
            if not (kind is Kind.AUDIO and came_early):
                self._take(kind, event)

    def _take(self, kind: Kind, event: Event) -> None:
        step = TABLE[self.state].get(kind, self.state)
        if kind is Kind.STALE or not isinstance(step, State):
            return
        if kind is Kind.PAUSE:
            self._restart()
            self._number = max(self._number, self._spoken)  # the pause is the newest question's
        elif kind is Kind.ANNOUNCEMENT:
            self._announced += 1
            if self.state is State.PAUSED:
                self._kinds.answer_announced()
        self.state = step
        if isinstance(event, AudioChunk):
            self._audio.append(event.samples)
            self._came += 1
            self._behind = len(self.messages)
        else:
            self.messages.append(event)

    def rests_after(self, idle: float, *, audio: bool = True) -> float | None:
        """Seconds of quiet after which it is over, or None; ``idle`` and ``audio`` are those of `Session.reply`."""
        match self.state:
            case State.GREETING | State.ANSWERING if self.has_all:
                return idle
            case State.FAILED if self._came or self._real_time:
                return idle
            case State.ANNOUNCED:
                return max(idle, _NO_AUDIO) if audio else 0.0
            case State.ASKED if not audio and not self._kinds.tells_of_turns:
                return idle
        return None

    @property
    def has_all(self) -> bool:
        """Whether audio has come, and as much of it as was announced."""
        return self._came > 0 and (self._real_time or self._came >= self._announced)

    def has_come(self, *, rested: bool) -> bool:
        """Whether an answer has come: audio, or, once it has ``rested``, none."""
        return self._came > 0 or (rested and self.state is not State.FAILED)

    def outlives(self, error: TransportError) -> bool:
        """The connection has ended: whether the next call can be told of that, for what has come may be all of this."""
        if self.state is State.ASKING:  # the server gets no further with the question
            self._take_held()
        ended_well = not self._real_time or error.close_code == CloseCode.NORMAL_CLOSURE  # the server has ended it
        return self.state in (State.GREETING, State.ANSWERING, State.FAILED) and self.has_all and ended_well

    def split(self) -> list[Event]:
        """Take out what belongs to the next turn already: what came behind the audio since talking began."""
        behind = range(self._behind, len(self.messages) if self._came else 0)
        place = next((at for at in behind if self._kind(self.messages[at]) is Kind.TALKING), len(self.messages))
        rest, self.messages = self.messages[place:], self.messages[:place]
        return rest

    def take(self, *, rested: bool) -> tuple[bytes, tuple[Event, ...], bool]:
        """Take out its audio and its messages, and whether it is complete: it has ``rested``, and did not fail."""
        answer = b"".join(self._audio), tuple(self.messages), rested and self.state is not State.FAILED
        if rested or self.state is State.GREETING:
            self._end()
        self.messages = []
        self._restart()
        return answer

    def hand_out(self) -> None:
        """What came was given to the caller as it is: it is not kept."""
        self._audio.clear()
        self.messages.clear()

    def give_up(self) -> None:
        """What may still come of it is not waited for."""
        if self.state is not State.ASKING:
            self._end()
        self._forget()

    def _kind(self, event: Event) -> Kind:
        return self._kinds.of(event, self.state, has_audio=self._came > 0)

    def _end(self) -> None:
        self.state = State.IDLE if self.state in (State.IDLE, State.GREETING) else State.ASKED

    def _forget(self) -> None:
        """Forget all that was kept, but for word of new connections."""
        self.messages = [event for event in self.messages + self._held if isinstance(event, Reconnected)]
        self._held = []
        self._early = math.inf
        self._restart()

    def _restart(self) -> None:
        if self.state is State.ANNOUNCED and not self._came:
            self._kinds.answer_cut()
        self._audio: list[bytes] = []
        self._came = 0  # pieces of audio
        self._announced = 0
        self._behind = 0  # of the messages came before the last piece of audio
