"""Sessions with handlers whose answers tell by their pitch which question they answer (see questions.py)."""

from __future__ import annotations

import functools
from typing import Any

import attrs

from hume_sync.fastrtc import FastRTCClient, LogMessage, Reply, ReplyTimeout, Session

from ..rtcfake import hertz
from .sound import speech as make_speech

RATE = 16000
GREETING = 1500
LONG = 1.2
"""Seconds of an answer, and of the greeting."""
IDLE = 0.5
ENCODED = RATE // 100
"""Samples at the beginning of an answer in which Opus still has the end of what was played before (6.5 ms)."""

speech = functools.partial(functools.cache(make_speech), RATE)
QUESTION_SECONDS = 0.9


@attrs.frozen
class Talk:
    """With one server, over one transport."""

    url: str
    transport: str

    @property
    def real_time(self) -> bool:
        return self.transport == "webrtc"

    @property
    def question(self) -> bytes:
        """A short one."""
        return speech(QUESTION_SECONDS)

    def connect(self, path: str, **options: Any) -> Session:
        rates: dict[str, Any] = {"input_sample_rate": RATE, "output_sample_rate": RATE}
        client = FastRTCClient(self.url, path=path, proxy=False, timeout=20.0, **rates, **options)
        return client.connect(self.transport)

    def is_whole(self, reply: Reply, seconds: float = LONG) -> bool:
        """Whether it is so long; over WebRTC a little is held back."""
        if not self.real_time:
            return reply.complete and reply.seconds == seconds
        return reply.complete and seconds - 0.25 < reply.seconds < seconds + 0.25


def ask(session: Session, question: bytes, **options: Any) -> Reply:
    """Ask; and once more if the server has lost the question.

    A handler that greets forgets what it has heard when its greeting ends: it has then heard talking, but no pause.
    """
    try:
        return session.ask(question, **{"timeout": 6.0, "idle": IDLE, **options})
    except ReplyTimeout as exc:
        if LogMessage("started_talking") not in exc.messages or LogMessage("pause_detected") in exc.messages:
            raise
    return session.ask(question, idle=IDLE)


def pitches(reply: Reply) -> list[int]:
    """Of what is heard in it, one behind the other, to 100 Hz."""
    values = memoryview(reply.audio).cast("h")
    block = RATE // 20
    found: list[int] = []
    for start in range(ENCODED, len(values) - block + 1, block):
        parts = [values[place : place + block // 5] for place in range(start, start + block, block // 5)]
        if all(max(map(abs, part)) > 2000 for part in parts):  # the edges of a tone have no pitch
            pitch = round(hertz(values[start : start + block].tobytes(), RATE), -2)
            if found[-1:] != [pitch]:
                found.append(int(pitch))
    return found


def answer(number: int) -> list[int]:
    """The pitch of the answer to this question of a connection, the first being 1."""
    return [300 + 100 * number]
