"""A conversation with a FastRTC handler, in plain calls."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Any, NoReturn, Self

from ..errors import ConnectionLost, InputError, MisuseError, ReplyTimeout, Timeout, copy_of, described
from ..net.deadline import Deadline, seconds
from .audio import silence, to_samples
from .events import EndStream, ErrorMessage, Event, Reconnected, SendInput
from .line import Line
from .link import Connect, Link
from .outputs import OutputStream
from .reply import Reply, Turn, goes_on
from .server import Server

__all__ = ["Inputs", "Session"]

Inputs = Callable[[], Mapping[str, Any]]
"""Makes the fields that answer a handler that waits for additional inputs."""

_PAUSE = 1.2
"""Seconds of silence that a pause needs: a server looks at 0.6 s at a time, and the first of these may hold speech."""

_IDLE = 1.0


class Session:
    """A connection that the server has registered. Built by ``client.connect(...)``.

    ::

        with client.connect() as session:
            session.send_audio("question.wav", end=True)
            reply = session.reply(timeout=10)

    One thread may send while another receives (`reply`, or a ``for`` loop over the session's events). `set_input`,
    `outputs`, `latest_output` and `close` may be called from any thread.
    """

    def __init__(self, server: Server, connect: Connect, inputs: Inputs | None, reconnect: bool) -> None:
        self._server = server
        self._inputs = inputs
        self._fields: dict[str, Any] | None = None  # of the last `set_input`; changed `steadily`
        self._streams: weakref.WeakSet[OutputStream] = weakref.WeakSet()  # one that its caller forgets is to end
        self._streams_lock = threading.RLock()  # a signal's handler may close the session that its thread is using
        self._answering: Link | None = None  # the one that the last reply came from
        self._interrupted = False  # that reply, by the next turn
        self._asked: Link | None = None  # the one that audio was last sent on, until a loss of it was told
        self._line = Line(connect, timeout=server.timeout, reconnect=reconnect, renewed=self._renewed)

    @property
    def webrtc_id(self) -> str:
        """The name under which hooks and outputs know this connection; another one after a reconnect."""
        return self._line.link.webrtc_id

    def send_audio(self, audio: Any, *, end: bool = False, timeout: float | None = None) -> None:
        """Send audio.

        Args:
            audio: s16le mono samples at the client's ``input_sample_rate`` as bytes, or as an int16 array; or a WAV
                file, by its path or as a binary file object (any rate and channels, 16 bits).
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

    def reply(self, *, timeout: float | None = None, idle: float = _IDLE) -> Reply:
        """Wait for the end of one turn. (See `Turn`: servers do not mark it.)

        What belongs to the next turn already is left to the next call, as is the end of a session that the server has
        ended in order behind a reply.

        Args:
            timeout: seconds until the end of the reply, without those that the ``inputs`` of `connect` take; None: the
                client's, and, over WebRTC, as long as what was sent before is still to be spoken. An answer is spoken
                there, too: allow for how long it plays.
            idle: seconds without audio, or word of more, after which a reply that may be over is.

        Raises:
            ReplyTimeout: no audio came in time: over WebSocket a handler that has failed says nothing. Over WebRTC it
                does, and nothing more is waited for than ``idle``. ``messages`` holds what came instead.
            ConnectionLost: the connection ended in the middle of the turn, or between the question and the answer.
            ConnectError, HookError, Timeout: with ``reconnect``: it could not be made anew, or not given its inputs.
            HookError, ...: inputs could not be given, or whatever ``inputs`` raises. What had come of the turn waits
                for the next call, which asks for them again.
        """
        deadline, idle = self._begin(timeout), seconds("idle", idle)
        link = self._line.link
        if timeout is None:
            deadline = deadline.later(link.backlog)
        first = self._answering is not link
        turn = Turn(
            self._server.output_sample_rate,
            real_time=link.real_time,
            first=first,
            interrupting=self._interrupted and not first,
        )
        try:
            rested = self._hear(turn, deadline, idle)
        except ConnectionLost:
            self._asked = None
            raise
        if not turn.heard:
            raise self._without_reply(turn)
        self._line.put_back(turn.split())
        self._answering, self._interrupted = link, turn.interrupted
        return turn.reply(rested=rested)

    def __iter__(self) -> Iterator[Event]:
        """All events as they come, until the session is closed on this side.

        Raises:
            ConnectionLost: the connection ended; with ``reconnect`` a `Reconnected` event comes instead, where it can,
                and else ConnectError, HookError or Timeout.
        """
        endless = Deadline(math.inf)
        while True:
            try:
                self._line.check()
                event = self._receive(endless)
                if event is not None:
                    self._answer([event], Deadline(self._server.timeout))
            except MisuseError:
                if self._line.closed:
                    return
                raise
            if event is not None:
                yield event

    def set_input(self, /, **fields: Any) -> None:
        """Give the handler additional inputs, through the application's hook.

        Raises:
            HookError: it answered with an error.
            ConfigurationError: the client was made without a hook.
            ConnectionLost: the connection has ended: servers ignore inputs for such a one, without an error.
            ConnectError, Timeout: with ``reconnect``, as `reply`.
        """
        deadline = self._begin(None)
        self._living(deadline)

        def give(link: Link) -> None:
            self._post(link, fields, deadline)
            self._fields = fields

        self._line.steadily(give, deadline)

    def outputs(self) -> OutputStream:
        """The handler's additional outputs as they come: JSON where it is JSON, else text. Ends with the connection.

        Servers hand each output out once: of two readers each gets a part. A stream that was dropped reads no more.

        Raises:
            HookError: the application answered with an error.
            ConfigurationError: the client was made without an outputs URL.
            ConnectionLost: the connection has ended: servers never answer for such a one.
        """
        deadline = self._begin(None)
        while True:
            link = self._living(deadline)
            stream = self._open_outputs(link, deadline)
            with self._streams_lock:
                if self._line.link is link and not self._line.closed:
                    self._streams.add(stream)
                    return stream
            stream.close()  # it is of a connection that is none any more, and nobody else would end it
            self._line.check()

    def latest_output(self, *, timeout: float | None = None) -> Any:
        """Ask the application's ``latest`` URL for the oldest output that nobody has fetched.

        Raises:
            HookError: there was none, as far as servers say: they wait for 10 s and fail with status 500.
            ConfigurationError: the client was made without a ``latest`` URL.
            ConnectionLost: the connection has ended, and its outputs with it.
        """
        deadline = self._begin(timeout)
        link = self._living(deadline)
        return self._line.ask(lambda watch: self._server.latest(link.webrtc_id, deadline, watch))

    def close(self, timeout: float = 1.0) -> None:
        """Say ``stop``, and let go. Idempotent, from any thread."""
        timeout = seconds("timeout", timeout)
        if self._line.is_mine:
            self._line.interrupt()
            self._close_streams()
            self._line.link.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception) and self._line.is_mine:
            self._line.interrupt()  # first: nobody is to make it anew
            self._line.link.abort()  # Ctrl-C: do not wait for a server's goodbye
        self.close()

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
            if self._is_lost(event) or not turn.add(event):
                self._line.put_back([event])
                if isinstance(event, Reconnected):
                    lost = ConnectionLost(event.error, phase="receive", maybe_processed=True)
                    if not turn.outlives(lost):
                        raise lost
                break
            came.append(event)
            deadline = self._answer(came, deadline)
            if goes_on(event) or not ripe:
                quiet = Deadline(idle)
        return False

    def _is_lost(self, event: Event) -> bool:
        """Whether this tells that a question was lost: another thread has noticed, and nothing was asked since."""
        return isinstance(event, Reconnected) and self._asked is not None and self._asked is not self._line.link

    def _receive(self, deadline: Deadline) -> Event | None:
        try:
            return self._line.receive(deadline, deadline)
        except ConnectionLost:
            if self._line.has_waiting():
                return None  # it was made anew, and the next event says so
            raise

    def _living(self, deadline: Deadline) -> Link:
        """The link; raises what has ended it."""

        def living(link: Link) -> Link:
            if (error := link.ended) is not None:
                raise copy_of(error)
            return link

        return self._line.use(living, deadline)

    def _open_outputs(self, link: Link, deadline: Deadline) -> OutputStream:
        def is_over() -> bool:
            return link.ended is not None

        return self._line.ask(lambda watch: self._server.outputs(link.webrtc_id, deadline, watch, is_over=is_over))

    def _renewed(self, link: Link, deadline: Deadline) -> None:
        """The connection was made anew: nothing but the last inputs goes over to it."""
        self._close_streams()
        if self._fields is not None:
            self._post(link, self._fields, deadline)

    def _close_streams(self) -> None:
        with self._streams_lock:
            streams = list(self._streams)
            self._streams.clear()
        for stream in streams:
            stream.close()

    def _answer(self, came: Sequence[Event], deadline: Deadline) -> Deadline:
        """In the caller's thread: give a handler that waits for inputs what the caller makes of it.

        Args:
            came: the last of it may say that a handler waits. Should it get nothing, all of this comes again.
            deadline: for giving it.

        Returns:
            The deadline, put off for as long as the caller took for that.
        """
        if not isinstance(came[-1], SendInput) or self._inputs is None or self._line.is_behind():
            return deadline  # a connection that is gone waits for nothing
        try:
            began = monotonic()
            fields = self._inputs()
            if not isinstance(fields, Mapping):
                raise InputError(f"inputs must return a mapping of fields, got {described(fields)}")
            deadline = deadline.later(monotonic() - began)
            self._post(self._line.link, dict(fields), deadline)
        except BaseException:
            self._line.put_back(came)
            raise
        return deadline

    def _post(self, link: Link, fields: Mapping[str, Any], deadline: Deadline) -> None:
        self._line.ask(lambda watch: self._server.post_input(link.webrtc_id, fields, deadline, watch))

    def _without_reply(self, turn: Turn) -> ReplyTimeout:
        texts = [event.text for event in turn.messages if isinstance(event, ErrorMessage | EndStream)]
        told = f": the handler says {self._server.http.scrub(texts[-1])[:_SENTENCE]!r}" if texts else ""
        what = "no audio came, and none will" if turn.is_hopeless else "no audio came in time"
        error = ReplyTimeout(what + told, phase="receive", maybe_processed=True)
        error.messages = turn.messages
        return error


_SENTENCE = 200
"""Characters of a handler's own words in an error's text."""
