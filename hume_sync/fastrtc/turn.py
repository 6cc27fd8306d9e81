"""The current turn: what has come of the reply to a question. The table in `turn_states` decides what belongs to it."""

from __future__ import annotations

import math

from ..errors import CloseCode, TransportError
from .events import AudioChunk, Event, Reconnected
from .transport import Mark
from .turn_states import NO_AUDIO_AFTER, OF_A_REPLY, TABLE, Action, EventClassifier, Kind, State

__all__ = ["Turn"]


class Turn:
    """The current turn: `add` it every event, and `take` the reply when it is complete."""

    def __init__(self, *, real_time: bool) -> None:
        self.state = State.IDLE
        self.messages: list[Event] = []  # all events that are not audio
        self._real_time = real_time  # announcements then do not count pieces of audio
        self._classifier = EventClassifier(real_time=real_time)
        self._held: list[Event] = []
        self._held_before_quiet: float = math.inf  # held events that came before the last speech was received
        self._chunks = 0
        self._received = 0  # number of the last audio that the server has received
        self.reset(0)

    def reset(self, number: int) -> None:
        """Begin on a new connection, on which only audio after ``number`` was sent."""
        self.state = State.GREETING if self.state is State.GREETING else State.IDLE
        self._number = number  # of the question
        self._clear_turn()

    def expect_reply(self, number: int) -> None:
        """Wait for the reply to this audio, and to all that was sent before it."""
        if number > self._number:
            self._number = number
            self._clear_turn()
            self.state = State.ASKED if self._received >= number else State.ASKING

    def expect_greeting(self) -> None:
        """Wait for a greeting."""
        self.state = State.GREETING

    def add(self, event: Event | Mark) -> bool:
        """Add an event. Return False if the turn has ended before it; the event is then part of the next turn."""
        if isinstance(event, Mark):
            self._apply_mark(event)
            return True
        kind = self._kind(event)
        if self.state is State.ASKING:
            self._hold(kind, event)
        elif TABLE[self.state].get(kind) is Action.END_TURN:
            self._end()
            return False
        else:
            self._accept(kind, event)
        return True

    def _apply_mark(self, mark: Mark) -> None:
        """Note that the server has got to this mark."""
        if mark.begins:
            if TABLE[self.state].get(Kind.QUESTION) is State.ASKING:
                self._clear_turn()
                self.state, self._number = State.ASKING, max(self._number, mark.number)
        elif mark.quiet:
            self._held_before_quiet = len(self._held)
        else:
            self._received = max(self._received, mark.number)
            if self.state is State.ASKING and self._received >= self._number:
                self._accept_held()
            elif self.state is State.IDLE:
                self.state = State.ASKED

    def _hold(self, kind: Kind, event: Event) -> None:
        if kind in (Kind.TALKING, Kind.PAUSE):
            self._held = [other for other in self._held if self._kind(other) not in OF_A_REPLY]
            self._held_before_quiet = math.inf
        self._held.append(event)

    def _accept_held(self) -> None:
        self.state, held = State.ASKED, self._held
        self._held = []
        for index, event in enumerate(held):
            kind = self._kind(event)
            too_early = self._real_time and index < self._held_before_quiet and self.state is State.ASKED
            if not (kind is Kind.AUDIO and too_early):
                self._accept(kind, event)

    def _accept(self, kind: Kind, event: Event) -> None:
        next_state = TABLE[self.state].get(kind, self.state)
        if kind is Kind.STALE or not isinstance(next_state, State):
            return
        if kind is Kind.PAUSE:
            self._clear_reply()
            self._number = max(self._number, self._received)  # the pause follows the newest question
        elif kind is Kind.ANNOUNCEMENT:
            self._announced += 1
            if self.state is State.PAUSED:
                self._classifier.reply_announced()
        self.state = next_state
        if isinstance(event, AudioChunk):
            self._audio.append(event.samples)
            self._chunks += 1
            self._messages_before_audio = len(self.messages)
        else:
            self.messages.append(event)

    def idle_timeout(self, idle: float, *, audio: bool = True) -> float | None:
        """Return the seconds without an event after which the turn ends; None: it does not. See `Session.reply`."""
        match self.state:
            case State.GREETING | State.ANSWERING if self.has_all_audio:
                return idle
            case State.FAILED if self._chunks or self._real_time:
                return idle
            case State.ANNOUNCED:
                return max(idle, NO_AUDIO_AFTER) if audio else 0.0
            case State.ASKED if not audio and not self._classifier.reports_turns:
                return idle
        return None

    @property
    def has_all_audio(self) -> bool:
        """Whether audio has come, and as many pieces as were announced."""
        return self._chunks > 0 and (self._real_time or self._chunks >= self._announced)

    def has_reply(self, *, idle: bool) -> bool:
        """Return whether a reply has come: audio or, if the turn ended by being idle, a reply without audio."""
        return self._chunks > 0 or (idle and self.state is not State.FAILED)

    def may_be_complete_after(self, error: TransportError) -> bool:
        """Return whether the reply may be complete although the connection has ended; the next call then raises."""
        if self.state is State.ASKING:  # the server will not receive the rest of the question
            self._accept_held()
        server_closed = not self._real_time or error.close_code == CloseCode.NORMAL_CLOSURE
        return self.state in (State.GREETING, State.ANSWERING, State.FAILED) and self.has_all_audio and server_closed

    def take_next_turn(self) -> list[Event]:
        """Remove and return the events of the next turn: those after the audio, from the start of speech on."""
        after_audio = range(self._messages_before_audio, len(self.messages) if self._chunks else 0)
        talking = (index for index in after_audio if self._kind(self.messages[index]) is Kind.TALKING)
        index = next(talking, len(self.messages))
        rest, self.messages = self.messages[index:], self.messages[:index]
        return rest

    def take(self, *, idle: bool) -> tuple[bytes, tuple[Event, ...], bool]:
        """Remove and return the audio, the messages, and whether they are complete: ended by being idle."""
        reply = b"".join(self._audio), tuple(self.messages), idle and self.state is not State.FAILED
        if idle or self.state is State.GREETING:
            self._end()
        self.messages = []
        self._clear_reply()
        return reply

    def clear(self) -> None:
        """Forget what was kept, since the caller has received it event by event."""
        self._audio.clear()
        self.messages.clear()

    def stop_waiting(self) -> None:
        """Stop waiting for the rest of the reply."""
        if self.state is not State.ASKING:
            self._end()
        self._clear_turn()

    def _kind(self, event: Event) -> Kind:
        return self._classifier.observe(event, self.state, has_audio=self._chunks > 0)

    def _end(self) -> None:
        self.state = State.IDLE if self.state in (State.IDLE, State.GREETING) else State.ASKED

    def _clear_turn(self) -> None:
        """Forget all that was kept, except reports of new connections."""
        self.messages = [event for event in self.messages + self._held if isinstance(event, Reconnected)]
        self._held = []
        self._held_before_quiet = math.inf
        self._clear_reply()

    def _clear_reply(self) -> None:
        if self.state is State.ANNOUNCED and not self._chunks:
            self._classifier.reply_cut()
        self._audio: list[bytes] = []
        self._chunks = 0  # pieces of audio
        self._announced = 0
        self._messages_before_audio = 0  # messages that came before the last piece of audio
