"""Turns of a conversation: which audio answers which question, and when a reply is complete.

Servers say neither. They send ``started_talking`` and ``pause_detected`` when they detect speech and its end, and
``response_starting`` for each piece of audio that the handler yields; some handlers send none of these. On this side it
is known how far the server has got with the audio that was sent (`Mark`). One table decides by state and event:

=========  ==========  =========  ========  ==========  ==========  ==========  =========  =======
state      new         question   talking   pause       announced   audio       error,     other
           question    received                                                 end        message
=========  ==========  =========  ========  ==========  ==========  ==========  =========  =======
IDLE       ASKING (f)  ASKED      keep      PAUSED (r)  drop        drop        keep       keep
GREETING   stay        stay       keep      end         keep        keep        keep       keep
ASKING     ASKING (f)  ASKED (h)  hold (r)  hold (r)    hold        hold        hold       hold
ASKED      ASKING (f)  stay       keep      PAUSED (r)  drop        ANSWERING   keep       keep
PAUSED     ASKING (f)  stay       keep      PAUSED (r)  ANNOUNCED   ANSWERING   FAILED     keep
ANNOUNCED  ASKING (f)  stay       keep      PAUSED (r)  keep        ANSWERING   FAILED     keep
ANSWERING  stay        stay       keep      end         keep        keep        FAILED     keep
FAILED     stay        stay       keep      end         keep        keep        keep       keep
=========  ==========  =========  ========  ==========  ==========  ==========  =========  =======

- *keep*: the event is part of the turn. *drop*: it is part of no turn. *end*: the turn ends before the event.
- *(f)*: forget all that was kept. *(r)*: restart: forget audio and announcements, and keep the message.
- *hold*: while a question is being sent, events may belong to an earlier one, or to a pause inside this one. Each
  pause, and each start of speech, drops what was held before it. *(h)*: what is still held then goes through the row of
  ASKED. (Over WebRTC without audio that no pause precedes, unless it came during the silence at the question's end.)
- Audio that was made before the reply (`Kind.STALE`) is dropped in any state: see `EventClassifier`.
- Over WebRTC the end of the stream makes any turn without audio FAILED: none will come.
- Barge-in: the server continues its reply until it detects the pause after the new speech, and so does the turn. That
  pause ends it, incomplete, and begins the next.

Without an event a turn ends after some idle time: ANSWERING (and GREETING) after ``idle`` seconds, once as many pieces
have come as were announced; ANNOUNCED after at least 2 s, since a handler that only yields outputs announces once and
sends no audio; FAILED after ``idle``, incomplete. A deadline, or the end of the connection, leaves it incomplete. A new
connection is IDLE.
"""

from __future__ import annotations

import enum
import math
from typing import Final

from ..errors import CloseCode, TransportError
from .events import AudioChunk, EndStream, ErrorMessage, Event, LogMessage, Reconnected
from .transport import Mark

__all__ = ["TABLE", "Action", "EventClassifier", "Kind", "State", "Turn"]


class State(enum.Enum):
    """The state of a turn."""

    IDLE = "nothing was asked on this connection"
    GREETING = "waiting for what the handler says before any question"
    ASKING = "the question is being sent"
    ASKED = "the server has received the question"
    PAUSED = "the server has detected the pause after the question"
    ANNOUNCED = "the handler has announced its reply"
    ANSWERING = "audio of the reply has come"
    FAILED = "the handler has failed; audio that it yielded before may still come"


class Kind(enum.Enum):
    """The kind of an event for a turn: the columns of the table."""

    QUESTION, RECEIVED, TALKING, PAUSE, ANNOUNCEMENT, AUDIO, STALE, ERROR, END, OTHER = range(10)


class Action(enum.Enum):
    """The action for an event that is not part of the turn: drop the event, or end the turn before it."""

    DROP, END_TURN = range(2)


IDLE, GREETING, ASKING, ASKED, PAUSED, ANNOUNCED, ANSWERING, FAILED = State
QUESTION, RECEIVED, TALKING, PAUSE, ANNOUNCEMENT, AUDIO, STALE, ERROR, END, OTHER = Kind
DROP, END_TURN = Action

TABLE: Final[dict[State, dict[Kind, State | Action]]] = {  # events not listed are kept, and change no state
    IDLE: {QUESTION: ASKING, RECEIVED: ASKED, PAUSE: PAUSED, ANNOUNCEMENT: DROP, AUDIO: DROP, END: FAILED},
    GREETING: {PAUSE: END_TURN, END: FAILED},
    ASKING: {QUESTION: ASKING},
    ASKED: {QUESTION: ASKING, PAUSE: PAUSED, ANNOUNCEMENT: DROP, AUDIO: ANSWERING, END: FAILED},
    PAUSED: {QUESTION: ASKING, ANNOUNCEMENT: ANNOUNCED, AUDIO: ANSWERING, ERROR: FAILED, END: FAILED},
    ANNOUNCED: {QUESTION: ASKING, PAUSE: PAUSED, AUDIO: ANSWERING, ERROR: FAILED, END: FAILED},
    ANSWERING: {PAUSE: END_TURN, ERROR: FAILED},
    FAILED: {PAUSE: END_TURN},
}

_SIGNALS: Final = {
    "started_talking": Kind.TALKING,
    "pause_detected": Kind.PAUSE,
    "response_starting": Kind.ANNOUNCEMENT,
}
"""The kinds of the log messages by which handlers report turns."""

_DELAYED_FRAMES: Final = 6
"""Frames of an interrupted reply that come after the next announcement: the five that aiortc keeps until later ones
push them out (see `rtc_media.TrackFilter`), and one that was under way."""

_NO_AUDIO_AFTER: Final = 2.0
"""Seconds after which a reply that was announced and brought no audio is known to have none."""

_OF_A_REPLY: Final = (Kind.PAUSE, Kind.ANNOUNCEMENT, Kind.AUDIO, Kind.STALE)


class EventClassifier:
    """Classifies events, and remembers which signals the handler of this connection sends.

    Audio is *stale*, made before the reply, if it comes before the pause and the handler reports pauses; if it comes
    before the announcement and the handler announces; and if aiortc has delayed it since before the pause. (Over WebRTC
    messages overtake audio.)

    Args:
        real_time: See `Transport`.
    """

    def __init__(self, *, real_time: bool) -> None:
        self._real_time = real_time
        self._signals: set[Kind] = set()
        self._overtaken = 0  # frames to come, at most, that were sent before the pause

    @property
    def reports_turns(self) -> bool:
        """Whether the handler has ever sent a signal."""
        return bool(self._signals)

    def classify(self, event: Event, state: State, *, has_audio: bool) -> Kind:
        """Return the kind of an event.

        Args:
            event: The event.
            state: The state of the turn.
            has_audio: Whether audio of the reply has come.
        """
        match event:
            case AudioChunk():
                return Kind.STALE if self._is_stale(event, state) else Kind.AUDIO
            case LogMessage(text) if text in _SIGNALS:
                self._signals.add(_SIGNALS[text])
                return _SIGNALS[text]
            case ErrorMessage():
                return Kind.ERROR
            case EndStream() if self._real_time and not has_audio:
                return Kind.END
        return Kind.OTHER

    def reply_announced(self) -> None:
        """Note the first announcement after a pause: audio since that pause was of an interrupted reply."""
        if self._overtaken:
            self._overtaken = _DELAYED_FRAMES

    def reply_cut(self) -> None:
        """Note that an announced reply has ended before any audio of it came, as one does that is all delayed."""
        if self._real_time:
            self._overtaken = 1

    def _is_stale(self, chunk: AudioChunk, state: State) -> bool:
        match state:
            case State.ASKED:
                return chunk.delayed or self.reports_turns
            case State.PAUSED if Kind.ANNOUNCEMENT in self._signals:
                self._overtaken = 1 if self._real_time else 0
                return True
            case State.PAUSED | State.ANNOUNCED:
                is_stale = chunk.delayed or self._overtaken > 0
                self._overtaken = 0 if chunk.delayed else max(0, self._overtaken - 1)
                return is_stale
        return False


class Turn:
    """The current turn: `add` it every event, and `take` the reply when it is complete.

    Args:
        real_time: Whether the transport is in real time; then announcements do not count pieces of audio.

    Attributes:
        state: The state.
        messages: Events of the turn that are not audio.
    """

    def __init__(self, *, real_time: bool) -> None:
        self.state = State.IDLE
        self.messages: list[Event] = []
        self._real_time = real_time
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
        self._forget()

    def expect_reply(self, number: int) -> None:
        """Wait for the reply to this audio, and to all that was sent before it."""
        if number > self._number:
            self._number = number
            self._forget()
            self.state = State.ASKED if self._received >= number else State.ASKING

    def expect_greeting(self) -> None:
        """Wait for a greeting."""
        self.state = State.GREETING

    def add(self, event: Event | Mark) -> bool:
        """Add an event. Return False if the turn has ended before it; the event is then part of the next turn."""
        if isinstance(event, Mark):
            self._reach(event)
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

    def _reach(self, mark: Mark) -> None:
        """Note that the server has got to this mark."""
        if mark.begins:
            if TABLE[self.state].get(Kind.QUESTION) is State.ASKING:
                self._forget()
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
            self._held = [other for other in self._held if self._kind(other) not in _OF_A_REPLY]
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
            self._restart()
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
        """Return the seconds without an event after which the turn ends; None: it does not.

        Args:
            idle: See `Session.reply`.
            audio: See `Session.reply`.
        """
        match self.state:
            case State.GREETING | State.ANSWERING if self.has_all_audio:
                return idle
            case State.FAILED if self._chunks or self._real_time:
                return idle
            case State.ANNOUNCED:
                return max(idle, _NO_AUDIO_AFTER) if audio else 0.0
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

    def survives(self, error: TransportError) -> bool:
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
        """Remove and return the audio, the messages, and whether they are complete.

        Args:
            idle: Whether the turn ended by being idle.
        """
        reply = b"".join(self._audio), tuple(self.messages), idle and self.state is not State.FAILED
        if idle or self.state is State.GREETING:
            self._end()
        self.messages = []
        self._restart()
        return reply

    def clear(self) -> None:
        """Forget what was kept, since the caller has received it event by event."""
        self._audio.clear()
        self.messages.clear()

    def abandon(self) -> None:
        """Stop waiting for the rest of the reply."""
        if self.state is not State.ASKING:
            self._end()
        self._forget()

    def _kind(self, event: Event) -> Kind:
        return self._classifier.classify(event, self.state, has_audio=self._chunks > 0)

    def _end(self) -> None:
        self.state = State.IDLE if self.state in (State.IDLE, State.GREETING) else State.ASKED

    def _forget(self) -> None:
        """Forget all that was kept, except reports of new connections."""
        self.messages = [event for event in self.messages + self._held if isinstance(event, Reconnected)]
        self._held = []
        self._held_before_quiet = math.inf
        self._restart()

    def _restart(self) -> None:
        if self.state is State.ANNOUNCED and not self._chunks:
            self._classifier.reply_cut()
        self._audio: list[bytes] = []
        self._chunks = 0  # pieces of audio
        self._announced = 0
        self._messages_before_audio = 0  # messages that came before the last piece of audio
