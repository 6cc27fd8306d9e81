"""Receiving: how a session waits for a reply, a greeting or the next event."""

from __future__ import annotations

import math
from typing import Final

from ..errors import ConnectionLost, MisuseError, ReplyTimeout
from ..net.clock import monotonic
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from .app import AdditionalData, AppConfig
from .events import AudioChunk, EndStream, ErrorMessage, Event, LogMessage, Reconnected, SendInput
from .reply import Reply
from .sender import AudioSender
from .transport import Mark, ReconnectingTransport
from .turn import Turn
from .turn_states import State

__all__ = ["DEFAULT_IDLE", "TurnReader"]

DEFAULT_IDLE: Final = 1.0
"""Seconds without audio after which a reply that may be complete is complete."""

_MAX_EXCERPT: Final = 200
"""Characters of a handler's message in an error's text."""

_RESPONSE_STARTING: Final = LogMessage("response_starting")


class TurnReader:
    """Receives events, adds them to the `Turn`, and answers handlers that ask for inputs."""

    def __init__(
        self, config: AppConfig, connection: ReconnectingTransport, additional: AdditionalData, sender: AudioSender
    ) -> None:
        self._config = config
        self._connection = connection
        self._additional = additional
        self._sender = sender
        self._turn = Turn(real_time=connection.transport.real_time)

    def reply(self, deadline: Deadline, idle: float, *, audio: bool) -> Reply:
        """Wait for the reply to the audio sent last, as `Session.reply` says."""
        self._turn.expect_reply(self._sender.number)
        return self._wait(deadline, idle, audio=audio)

    def greeting(self, deadline: Deadline, idle: float) -> Reply:
        """Wait for what the handler says before any question, as `Session.greeting` says."""
        if self._sender.transport is self._connection.transport:
            raise MisuseError("a greeting comes before any question, and one was asked already: call greeting() first")
        self._turn.expect_greeting()
        return self._wait(deadline, idle, audio=True)

    def event(self, deadline: Deadline) -> Event | None:
        """Return the next event; None once the deadline has passed."""
        while True:
            event = self._receive(deadline)
            if event is None:
                return None
            if isinstance(event, Reconnected):
                self._reset_turn()
            if not isinstance(event, Mark):
                self._additional.answer_input_request(self._connection, [event], Deadline(self._config.timeout))
            if not self._turn.add(event):
                self._turn.add(event)  # as the first of the next turn
            self._turn.clear()
            if not isinstance(event, Mark):
                return event

    def discard(self) -> None:
        """Discard what has come and was not received, and the rest of the current reply."""
        while self.event(Deadline(0.0)) is not None:
            pass
        self._turn.stop_waiting()

    def _wait(self, deadline: Deadline, idle: float, *, audio: bool) -> Reply:
        """Wait for the end of the turn, and return its reply."""
        turn = self._turn
        try:
            is_idle = self._read_turn(deadline, idle, audio=audio)
        except ConnectionLost as exc:
            if not from_outside(exc) and self._sender.transport is not self._connection.transport:
                self._sender.transport = None  # nothing was asked on the new connection yet
                turn.reset(self._sender.number)
            raise
        if not turn.has_reply(idle=is_idle):
            raise self._reply_timeout(idle=is_idle)
        self._connection.push_back(turn.take_next_turn())
        samples, messages, complete = turn.take(idle=is_idle)
        return Reply(samples, self._config.output_sample_rate, messages, complete)

    def _read_turn(self, deadline: Deadline, idle: float, *, audio: bool) -> bool:
        """Add events to the turn until it ends. Return whether it ended by being idle."""
        turn, connection = self._turn, self._connection
        idle_since = monotonic()
        while not deadline.expired():
            timeout = turn.idle_timeout(idle, audio=audio)
            left = math.inf if timeout is None else idle_since + timeout - monotonic()
            if left <= 0:
                return True
            event = connection.receive(deadline.capped_at(left), deadline, ignore=turn.may_be_complete_after)
            if event is None:
                return timeout is not None and idle_since + timeout <= monotonic()
            if isinstance(event, Reconnected) and not self._continues_after(event):
                return False
            if not isinstance(event, Mark):
                deadline = self._additional.answer_input_request(connection, [event], deadline)
            if not turn.add(event):
                connection.push_back([event])
                return False
            if timeout is None or _extends_reply(event):
                idle_since = monotonic()
        return False

    def _continues_after(self, event: Reconnected) -> bool:
        """Return whether the turn continues on the new connection.

        Returns:
            False if the turn has ended with a reply; the event is then received next.

        Raises:
            ConnectionLost: The reply was lost with the old connection.
        """
        lost = ConnectionLost(event.error, phase="receive", maybe_processed=True)
        if self._turn.may_be_complete_after(lost):
            self._connection.push_back([event])
            return False
        asked_on = self._sender.transport
        has_events = self._turn.has_reply(idle=False) or bool(self._turn.messages)
        if (asked_on is None and has_events) or asked_on not in (None, self._connection.transport):
            self._connection.push_back([event])
            raise lost
        self._reset_turn()
        return True

    def _reset_turn(self) -> None:
        """Reset the turn for a new connection, which replies to nothing that was asked before."""
        asked_again = self._sender.transport is self._connection.transport
        if not asked_again:
            self._sender.transport = None
        self._turn.reset(self._sender.number - asked_again)
        self._turn.expect_reply(self._sender.number)

    def _receive(self, deadline: Deadline) -> Event | Mark | None:
        while True:
            self._connection.check()
            try:
                return self._connection.receive(deadline, deadline)
            except ConnectionLost as exc:
                if not self._connection.has_queued_events() or from_outside(exc):
                    raise
                # It has reconnected, and one of the pending events says so.

    def _reply_timeout(self, *, idle: bool) -> ReplyTimeout:
        state = self._turn.state
        _, messages, _ = self._turn.take(idle=idle)
        texts = [event.text for event in messages if isinstance(event, ErrorMessage | EndStream)]
        what = "the handler ended without sending audio" if idle else "no audio came in time"
        if texts:
            reason = f": the handler says {self._config.http.redact(texts[-1])[:_MAX_EXCERPT]!r}"
        else:
            reason = f"; {self._likely_cause(state, messages)}"
        error = ReplyTimeout(f"{what}{reason}", phase="receive", maybe_processed=True)
        error.messages = messages
        return error

    def _likely_cause(self, state: State, messages: tuple[Event, ...]) -> str:
        """Return why there may be no reply, judging by how far the turn has got."""
        rate = self._config.input_sample_rate
        match state:
            case State.IDLE | State.GREETING:
                return "nothing was asked on this connection"
            case State.ASKING:
                return "the question has not been sent to its end"
            case State.ASKED if LogMessage("started_talking") in messages:
                return (
                    "the server has heard speech, and no pause after it: it needs silence that is longer than the"
                    " audio_chunk_duration of its handler (0.6 s, unless set otherwise), as end=True appends"
                )
            case State.ASKED:
                return (
                    f"the server has heard no speech: is {rate} Hz the handler's input_sample_rate, and the audio"
                    " speech? (Handlers that detect no pauses do not report speech.)"
                )
        return "the handler has heard the question: it takes longer than this, or has failed without reporting it"


def _extends_reply(event: Event | Mark) -> bool:
    """Return whether the event shows that the handler is still replying; other events do not put off the end."""
    return isinstance(event, AudioChunk | EndStream | ErrorMessage | SendInput) or event == _RESPONSE_STARTING
