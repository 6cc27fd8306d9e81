"""Turns of a conversation: which audio answers which question, and when an answer is over.

Servers mark neither. What they say is ``started_talking`` and ``pause_detected`` when they hear speech and its end, and
``response_starting`` for each piece of audio their handler yields; some handlers say nothing of all this. What is known
on this side is how far the server has got with what was sent (`Spoken`). One table decides by state and event:

=========  ==========  =========  ========  ==========  ==========  ==========  =========  =======
state      new         spoken     talking   pause       announced   audio       error,     other
           question                                                             end        message
=========  ==========  =========  ========  ==========  ==========  ==========  =========  =======
IDLE       ASKING (f)  ASKED      keep      PAUSED (r)  drop        drop        keep       keep
GREETING   stay        stay       keep      over        keep        keep        keep       keep
ASKING     ASKING (f)  ASKED (h)  hold (r)  hold (r)    hold        hold        hold       hold
ASKED      ASKING (f)  stay       keep      PAUSED (r)  drop        ANSWERING   keep       keep
PAUSED     ASKING (f)  stay       keep      PAUSED (r)  ANNOUNCED   ANSWERING   FAILED     keep
ANNOUNCED  ASKING (f)  stay       keep      PAUSED (r)  keep        ANSWERING   FAILED     keep
ANSWERING  stay        stay       keep      over        keep        keep        FAILED     keep
FAILED     stay        stay       keep      over        keep        keep        keep       keep
=========  ==========  =========  ========  ==========  ==========  ==========  =========  =======

- *keep*: the event is part of the turn. *drop*: it is part of none. *over*: the turn ends before it.
- *(f)*: forget all that was kept. *(r)*: restart: forget audio and announcements, and keep the message.
- *hold*: while a question is being spoken, what comes may belong to an earlier one, or to a pause inside this one. Each
  pause, or speech, drops what was held before it. *(h)*: what is still held then goes through the row of ASKED. (Over
  WebRTC without audio that no pause precedes, unless it came to the silence behind the last word.)
- Audio that was made before the answer is dropped in any state: see `kinds.Kinds`.
- Over WebRTC the end of the stream makes any turn without audio FAILED: none will come.
- Barge-in: the server goes on with its answer until it hears the pause behind the new speech, and so does the turn.
  That pause ends it, incomplete, and begins the next.

Without an event a turn is over after some time of quiet: ANSWERING (and GREETING) after ``idle`` seconds, once as many
pieces have come as were announced; ANNOUNCED after at least 2 s, for a handler that yields outputs alone announces
once, and no audio; FAILED after ``idle``, incomplete. A deadline, or the end of the connection, leaves it incomplete.
A new connection is IDLE.
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["TABLE", "Action", "Kind", "State"]


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


class Kind(enum.Enum):
    """What an event is to a turn: the columns of the table."""

    QUESTION, SPOKEN, TALKING, PAUSE, ANNOUNCEMENT, AUDIO, STALE, ERROR, END, OTHER = range(10)


class Action(enum.Enum):
    """What is done with an event that is no part of the turn."""

    DROP, OVER = range(2)


IDLE, GREETING, ASKING, ASKED, PAUSED, ANNOUNCED, ANSWERING, FAILED = State
QUESTION, SPOKEN, TALKING, PAUSE, ANNOUNCEMENT, AUDIO, STALE, ERROR, END, OTHER = Kind
DROP, OVER = Action

TABLE: Final[dict[State, dict[Kind, State | Action]]] = {  # what is not in it is kept, and changes no state
    IDLE: {QUESTION: ASKING, SPOKEN: ASKED, PAUSE: PAUSED, ANNOUNCEMENT: DROP, AUDIO: DROP, END: FAILED},
    GREETING: {PAUSE: OVER, END: FAILED},
    ASKING: {QUESTION: ASKING},
    ASKED: {QUESTION: ASKING, PAUSE: PAUSED, ANNOUNCEMENT: DROP, AUDIO: ANSWERING, END: FAILED},
    PAUSED: {QUESTION: ASKING, ANNOUNCEMENT: ANNOUNCED, AUDIO: ANSWERING, ERROR: FAILED, END: FAILED},
    ANNOUNCED: {QUESTION: ASKING, PAUSE: PAUSED, AUDIO: ANSWERING, ERROR: FAILED, END: FAILED},
    ANSWERING: {PAUSE: OVER, ERROR: FAILED},
    FAILED: {PAUSE: OVER},
}
