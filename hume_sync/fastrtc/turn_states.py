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
from typing import Final

from .events import AudioChunk, EndStream, ErrorMessage, Event, LogMessage

__all__ = ["NO_AUDIO_AFTER", "OF_A_REPLY", "TABLE", "Action", "EventClassifier", "Kind", "State"]


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


NO_AUDIO_AFTER: Final = 2.0
"""Seconds after which a reply that was announced and brought no audio is known to have none."""

OF_A_REPLY: Final = (Kind.PAUSE, Kind.ANNOUNCEMENT, Kind.AUDIO, Kind.STALE)
"""The kinds of events that belong to one reply."""


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

    def observe(self, event: Event, state: State, *, has_audio: bool) -> Kind:
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
