"""How a session waits for what its handler says: for an answer, a greeting, or the next event."""

from __future__ import annotations

import math

from ..errors import ConnectionLost, MisuseError, ReplyTimeout
from ..net.clock import monotonic
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from .additional_data import AdditionalData
from .app import AppConfig
from .audio_sender import AudioSender
from .events import AudioChunk, EndStream, ErrorMessage, Event, LogMessage, Reconnected, SendInput
from .reconnecting import ReconnectingTransport
from .reply import Reply
from .states import State
from .transport import Spoken
from .turn import Turn

__all__ = ["IDLE", "TurnReader"]

IDLE = 1.0
"""Seconds of quiet after which an answer that may be complete is."""

_SENTENCE = 200
"""Characters of a handler's own words in an error's text."""


class TurnReader:
    """Receives events, feeds them to the `Turn`, and answers handlers that ask for inputs."""

    def __init__(
        self, server: AppConfig, line: ReconnectingTransport, additional: AdditionalData, speaker: AudioSender
    ) -> None:
        self._server = server
        self._line = line
        self._additional = additional
        self._speaker = speaker
        self._turn = Turn(real_time=line.link.real_time)

    def reply(self, deadline: Deadline, idle: float, *, audio: bool) -> Reply:
        """See `Session.reply`."""
        self._turn.expect(self._speaker.number)
        return self._wait(deadline, idle, audio=audio)

    def greeting(self, deadline: Deadline, idle: float) -> Reply:
        """See `Session.greeting`."""
        if self._speaker.link is self._line.link:
            raise MisuseError("a greeting comes before any question, and one was asked already: call greeting() first")
        self._turn.greet()
        return self._wait(deadline, idle, audio=True)

    def event(self, deadline: Deadline) -> Event | None:
        """The next event; None once the deadline has passed."""
        while True:
            event = self._receive(deadline)
            if event is None:
                return None
            if isinstance(event, Reconnected):
                self._renew()
            if not isinstance(event, Spoken):
                self._additional.answer(self._line, [event], Deadline(self._server.timeout))
            if not self._turn.add(event):
                self._turn.add(event)  # it begins the next
            self._turn.hand_out()
            if not isinstance(event, Spoken):
                return event

    def discard(self) -> None:
        """See `Session.discard`."""
        while self.event(Deadline(0.0)) is not None:
            pass
        self._turn.give_up()

    def _wait(self, deadline: Deadline, idle: float, *, audio: bool) -> Reply:
        """Wait for the end of the turn."""
        turn = self._turn
        try:
            rested = self._hear(deadline, idle, audio=audio)
        except ConnectionLost as exc:
            if not from_outside(exc) and self._speaker.link is not self._line.link:  # else it was asked again meanwhile
                self._speaker.link = None
                turn.renew(self._speaker.number)
            raise
        if not turn.has_come(rested=rested):
            raise self._without_reply(rested=rested)
        self._line.put_back(turn.split())
        samples, messages, complete = turn.take(rested=rested)
        return Reply(samples, self._server.output_sample_rate, messages, complete)

    def _hear(self, deadline: Deadline, idle: float, *, audio: bool) -> bool:
        """Feed the turn until it is over; whether it is because nothing more came for a while."""
        turn, line = self._turn, self._line
        quiet_since = monotonic()
        while not deadline.expired():
            rest = turn.rests_after(idle, audio=audio)
            left = math.inf if rest is None else quiet_since + rest - monotonic()
            if left <= 0:
                return True
            event = line.receive(deadline.capped_at(left), deadline, spared=turn.outlives)
            if event is None:
                return rest is not None and quiet_since + rest <= monotonic()
            if isinstance(event, Reconnected) and not self._goes_on_after(event):
                return False
            if not isinstance(event, Spoken):
                deadline = self._additional.answer(line, [event], deadline)
            if not turn.add(event):
                line.put_back([event])
                return False
            if rest is None or _tells_of_more(event):
                quiet_since = monotonic()
        return False

    def _goes_on_after(self, event: Reconnected) -> bool:
        """The connection was made anew: whether the turn goes on there; else it is over, if not lost."""
        lost = ConnectionLost(event.error, phase="receive", maybe_processed=True)
        if self._turn.outlives(lost):
            self._line.put_back([event])
            return False
        asked = self._speaker.link
        if (asked is None and (self._turn.has_come(rested=False) or self._turn.messages)) or asked not in (
            None,
            self._line.link,
        ):
            self._line.put_back([event])
            raise lost
        self._renew()
        return True

    def _renew(self) -> None:
        """Nothing of what was asked before is answered by the new connection."""
        asked_anew = self._speaker.link is self._line.link
        if not asked_anew:
            self._speaker.link = None
        self._turn.renew(self._speaker.number - asked_anew)
        self._turn.expect(self._speaker.number)

    def _receive(self, deadline: Deadline) -> Event | Spoken | None:
        while True:
            self._line.check()
            try:
                return self._line.receive(deadline, deadline)
            except ConnectionLost as exc:
                if not self._line.has_waiting() or from_outside(exc):
                    raise  # else it was made anew, and one of the next events says so

    def _without_reply(self, *, rested: bool) -> ReplyTimeout:
        state = self._turn.state
        _, messages, _ = self._turn.take(rested=rested)
        texts = [event.text for event in messages if isinstance(event, ErrorMessage | EndStream)]
        told = f": the handler says {self._server.http.redact(texts[-1])[:_SENTENCE]!r}" if texts else ""
        what = "no audio came, and none will" if rested else "no audio came in time"
        cause = "" if texts else f"; {self._cause(state, messages)}"
        error = ReplyTimeout(f"{what}{told}{cause}", phase="receive", maybe_processed=True)
        error.messages = messages
        return error

    def _cause(self, state: State, messages: tuple[Event, ...]) -> str:
        """Why there may be no answer, as far as the server has got."""
        rate = self._server.input_sample_rate
        match state:
            case State.IDLE | State.GREETING:
                return "nothing was asked on this connection"
            case State.ASKING:
                return "the question has not been spoken to its end"
            case State.ASKED if LogMessage("started_talking") in messages:
                return (
                    "the server has heard speech, and no pause behind it: it needs silence that is longer than the"
                    " audio_chunk_duration of its handler (0.6 s, unless set otherwise), as end=True appends"
                )
            case State.ASKED:
                return (
                    f"the server has heard no speech: is {rate} Hz the handler's input_sample_rate, and the audio"
                    " speech? (Handlers that detect no pauses do not tell.)"
                )
        return "the handler has heard the question: it takes longer than this, or has failed without a word"


def _tells_of_more(event: Event | Spoken) -> bool:
    """Whether the event shows that a handler still replies: others do not put off the end of an answer."""
    return isinstance(event, AudioChunk | EndStream | ErrorMessage | SendInput) or event == _STARTING


_STARTING = LogMessage("response_starting")
