"""A conversation with a FastRTC handler, in plain calls."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NoReturn, Self

from ..errors import ConnectionLost, MisuseError, ReplyTimeout, Timeout
from ..net.deadline import Deadline, seconds
from ..net.interrupts import from_outside
from ..net.tracebacks import hides_locals
from ..reprs import safe_repr
from .additional import Additional, Inputs
from .audio import silence, to_samples
from .events import EndStream, ErrorMessage, Event, Reconnected
from .line import Line
from .link import Connect, Link
from .outputs import OutputStream
from .reply import Reply, Turn, goes_on, is_pause
from .server import Server

__all__ = ["Inputs", "Session"]

_PAUSE = 1.2
"""Seconds of silence that a pause needs: a server looks at 0.6 s at a time, and the first of these may hold speech."""

_IDLE = 1.0


@safe_repr
class Session:
    """A connection that the server has registered. Built by ``client.connect(...)``.

    ::

        with client.connect() as session:
            session.send_audio("question.wav", end=True)
            reply = session.reply(timeout=10)

    One thread may send while another receives (`reply`, or a ``for`` loop over the session's events). `set_input`,
    `outputs`, `latest_output` and `close` may be called from any thread.

    What a signal handler or another thread raises in a call, as a time limit by ``signal.alarm`` does, comes out of it
    as it is; nothing is sent again for it. The session stays usable: `reply` has then given its turn up, as after a
    time-out; of the audio of `send_audio` a part may have been sent; and a hook that was being asked may have acted.
    Only `connect`, `close` and a stream of outputs end by it, and a reconnect under way is left to the next call.

    A connection whose network has failed without a word is noticed whether or not anybody calls: over WebSocket after
    the client's ``patience`` (20 s), over WebRTC after 40 s at most. Time for which the machine sleeps does not count.
    """

    def __init__(self, server: Server, connect: Connect, inputs: Inputs | None, reconnect: bool) -> None:
        self._server = server
        self._additional = Additional(server, inputs)
        # By whoever receives:
        self._first = True  # no turn of the connection has been received yet
        self._lingers = False  # see `Turn.lingers`, of the last one
        self._asked: Link | None = None  # that audio was last sent on, unless its loss was received since
        self._line = Line(connect, timeout=server.timeout, reconnect=reconnect, renewed=self._additional.renew)

    @property
    def webrtc_id(self) -> str:
        """The name under which hooks and outputs know this connection; another one after a reconnect."""
        return self._line.link.webrtc_id

    @hides_locals
    def send_audio(self, audio: Any, *, end: bool = False, timeout: float | None = None) -> None:
        """Send audio.

        Args:
            audio: s16le mono samples at the client's ``input_sample_rate`` as bytes, or as an int16 array; or a WAV
                file, by its path or as a binary file object (any rate and channels, 16 bits), which is read without a
                limit of time.
            end: append the silence that makes a handler which replies on pauses reply.
            timeout: seconds, of bringing a file to the client's rate, too; None: the client's, and over WebRTC, where
                audio is sent as it sounds, as long as it plays. (Up to 10 s of it are queued on return.)

        Raises:
            InputError, OSError: nothing was sent.
            Timeout, ConnectionLost: part of it may have been sent.
            ConnectError, HookError: with ``reconnect``, as `reply`.
        """
        deadline = self._begin(timeout)
        rate = self._server.input_sample_rate

        def check() -> None:
            self._line.check()
            if deadline.expired():
                raise Timeout("no time left while the audio was brought to the handler's rate", phase="send")

        # Apart: a server looks at each message as a whole, and the speech in it hides the silence.
        pieces = [to_samples(audio, rate, check=check), *([silence(_PAUSE, rate)] if end else [])]
        if timeout is None and self._line.link.real_time:
            deadline = deadline.later(sum(map(len, pieces)) / 2 / rate)

        def send(link: Link) -> None:
            self._asked = link
            for samples in pieces:
                link.send_audio(samples, deadline)

        self._line.use(send, deadline)

    @hides_locals
    def reply(self, *, timeout: float | None = None, idle: float = _IDLE) -> Reply:
        """Wait for the end of one turn. (See `Turn`: servers do not mark it.)

        What belongs to the next turn already is left to the next call, as is the end of a connection behind a reply
        that may be all. A turn that was not waited for is given up: what still comes of it is dropped once the next
        begins. (Iterate, to miss nothing.)

        Args:
            timeout: seconds until the end of the reply, without those that the ``inputs`` of `connect` take; None: the
                client's, and, over WebRTC, as long as what was sent before is still to be spoken. An answer is spoken
                there, too: allow for how long it plays.
            idle: seconds without audio, or word of more, after which a reply that may be over is.

        Raises:
            ReplyTimeout: no audio came in time: over WebSocket a handler that has failed says nothing. Over WebRTC it
                does, and nothing more is waited for than ``idle``. ``messages`` holds what came instead.
            ConnectionLost: the connection ended in the middle of the turn, or since audio was last sent; over WebRTC
                also behind it, unless the server has ended it. With ``reconnect`` it was made anew, and the question is
                to be asked anew.
            ConnectError, ProtocolError, HookError, Timeout: with ``reconnect``: it could not be made anew, or not given
                its inputs.
            HookError, ...: inputs could not be given, or whatever ``inputs`` raises. What had come of the turn waits
                for the next call, which asks for them again.
        """
        deadline, idle = self._begin(timeout), seconds("idle", idle)
        link = self._line.link
        if timeout is None:
            deadline = deadline.later(link.backlog)
        rate = self._server.output_sample_rate
        turn = Turn(rate, real_time=link.real_time, first=self._first, interrupting=self._lingers)
        try:
            rested = self._hear(turn, deadline, idle)
        except ConnectionLost as exc:
            if not from_outside(exc) and self._asked is not self._line.link:  # else it was asked again meanwhile
                self._asked = None
            raise
        self._lingers = turn.lingers
        if not turn.heard:
            raise self._without_reply(turn)
        self._line.put_back(turn.split())
        self._first = False
        return turn.reply(rested=rested)

    def __iter__(self) -> Iterator[Event]:
        """All events as they come, until the session is closed on this side.

        Raises:
            ConnectionLost: the connection ended; with ``reconnect`` a `Reconnected` event comes instead, where it can,
                and else ConnectError, ProtocolError, HookError or Timeout.
            HookError, ...: inputs could not be given, or whatever ``inputs`` raises. Another iteration begins with the
                handler's request for them.
        """
        endless = Deadline(math.inf)
        while True:
            try:
                self._line.check()
                event = self._receive(endless)
                if event is not None:
                    self._additional.answer(self._line, [event], Deadline(self._server.timeout))
            except MisuseError as exc:
                if self._line.closed and not from_outside(exc):
                    return
                raise
            if event is not None:
                self._note(event)
                yield event

    @hides_locals
    def set_input(self, /, **fields: Any) -> None:
        """Give the handler additional inputs, through the application's hook.

        Raises:
            InputError: a field called webrtc_id, unless the client has a ``shape``, or nothing that JSON can hold.
            HookError: it answered with an error (``status``), or not at all.
            ConfigurationError: the client was made without a hook.
            ConnectionLost: the connection has ended: servers ignore inputs for such a one, without an error.
            Timeout: no answer within the client's ``timeout``.
            ConnectError, ProtocolError: with ``reconnect``, as `reply`.
        """
        self._additional.give(self._line, fields, self._begin(None))

    @hides_locals
    def outputs(self) -> OutputStream:
        """The handler's additional outputs as they come: JSON where it is JSON, else text. Ends with the connection.

        The call asks for nothing: the stream's first ``receive``, or the first step of an iteration, does, and gives
        what the handler put out before, too. See `OutputStream.receive` for its errors. (A ``receive`` with a short
        ``timeout`` has it opened early: the outputs then outlive a connection that the handler ends.)

        Servers hand each output out once: of two readers each gets a part. A stream that is dropped without ``close``
        once it was opened is closed, with a ResourceWarning.

        Raises:
            ConfigurationError: the client was made without an outputs URL, or the extra is not installed.
            ConnectionLost: the connection has ended: servers never answer for such a one.
        """
        return self._additional.outputs(self._line, self._begin(None))

    @hides_locals
    def latest_output(self, *, timeout: float | None = None) -> Any:
        """Ask the application's ``latest`` URL for the oldest output that nobody has fetched.

        Raises:
            HookError: there was none, as far as servers say: they wait for 10 s and fail with status 500; another
                error; or no answer at all.
            OutputTooLarge: it is larger than the client's ``max_output_size``.
            ConfigurationError: the client was made without a ``latest`` URL.
            ConnectionLost: the connection has ended, and its outputs with it.
        """
        return self._additional.latest(self._line, self._begin(timeout))

    def close(self, timeout: float = 1.0) -> None:
        """Say ``stop``, and let go. Idempotent, from any thread."""
        timeout = seconds("timeout", timeout)
        if self._line.is_mine:
            try:
                self._line.interrupt()
                self._additional.close()
                self._line.link.close(timeout)
            except BaseException:
                self._line.link.abort()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is not None and not issubclass(kind, Exception) and self._line.is_mine:
                self._line.interrupt()  # first: nobody is to make it anew
                self._line.link.abort()  # Ctrl-C: do not wait for a server's goodbye
            self.close()
        except BaseException:
            self.close()  # a signal struck in the middle of it
            raise

    def __repr__(self) -> str:
        return f"<Session {self.webrtc_id}{' closed' if self._line.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Session is neither copied nor pickled: make one where it is used")

    def _begin(self, timeout: float | None) -> Deadline:
        self._line.check()
        return Deadline(self._server.timeout if timeout is None else seconds("timeout", timeout))

    def _hear(self, turn: Turn, deadline: Deadline, idle: float) -> bool:
        """Add what comes to the turn until it is over; whether it is because nothing more came for a while."""
        came: list[Event] = []
        quiet = Deadline(math.inf)
        while not deadline.expired():
            ripe = turn.may_be_over or turn.is_hopeless
            until = deadline.within(quiet.remaining()) if ripe else deadline
            event = self._line.receive(until, deadline, spared=turn.outlives)
            if event is None:
                return quiet.expired()
            if isinstance(event, Reconnected):
                lost = ConnectionLost(event.error, phase="receive", maybe_processed=True)
                if turn.outlives(lost):
                    self._line.put_back([event])
                    break
                if (self._asked is None and turn.has_begun) or self._asked not in (None, self._line.link):
                    self._line.put_back([event])
                    raise lost
                came.clear()  # nothing was asked for before, or it was asked for again
            if not turn.add(event):
                self._line.put_back([event])
                break
            self._note(event)
            came.append(event)
            deadline = self._additional.answer(self._line, came, deadline)
            if goes_on(event) or not ripe:
                quiet = Deadline(idle)
            elif quiet.expired():  # but messages come faster than they are looked at
                return True
        return False

    def _note(self, event: Event) -> None:
        """An event was received: what of it concerns the turns behind this one."""
        if isinstance(event, Reconnected):
            self._first, self._lingers = True, False
            if self._asked is not self._line.link:
                self._asked = None
        elif is_pause(event):
            self._first = False

    def _receive(self, deadline: Deadline) -> Event | None:
        try:
            return self._line.receive(deadline, deadline)
        except ConnectionLost as exc:
            if self._line.has_waiting() and not from_outside(exc):
                return None  # it was made anew, and one of the next events says so
            raise

    def _without_reply(self, turn: Turn) -> ReplyTimeout:
        texts = [event.text for event in turn.messages if isinstance(event, ErrorMessage | EndStream)]
        told = f": the handler says {self._server.http.scrub(texts[-1])[:_SENTENCE]!r}" if texts else ""
        what = "no audio came, and none will" if turn.is_hopeless else "no audio came in time"
        error = ReplyTimeout(what + told, phase="receive", maybe_processed=True)
        error.messages = turn.messages
        return error


_SENTENCE = 200
"""Characters of a handler's own words in an error's text."""
