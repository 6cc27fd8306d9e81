"""A conversation with a FastRTC handler, in plain calls."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from ..errors import ConnectionLost, InputError, MisuseError, ReplyTimeout, Timeout, TransportError, described
from ..net.deadline import Deadline, seconds
from ..net.dial import Watch
from ..net.lock import CallLock
from .audio import silence, to_samples
from .events import Event, Reconnected, SendInput
from .link import Link
from .outputs import OutputStream
from .reply import Reply, Turn
from .server import Server

__all__ = ["Inputs", "Session"]

_T = TypeVar("_T")

Inputs = Callable[[], Mapping[str, Any]]
"""Makes the fields that answer a handler that waits for additional inputs."""

_PAUSE = 1.2
"""Seconds of silence that a pause needs: a server looks at 0.6 s at a time, and the first of these may hold speech."""

_IDLE = 1.0

_CUT = frozenset({None, 1001, 1006, 1011, 1012, 1013})
"""How a connection ends that is worth making anew. (1000: the server has ended it.)"""


class Session:
    """A connection that the server has registered. Built by ``client.connect(...)``.

    ::

        with client.connect() as session:
            session.send_audio("question.wav", end=True)
            reply = session.reply(timeout=10)

    One thread may send while another receives (`reply`, or a ``for`` loop over the session's events). `set_input`,
    `outputs`, `latest_output` and `close` may be called from any thread.
    """

    def __init__(
        self, server: Server, connect: Callable[[Deadline], Link], inputs: Inputs | None, reconnect: bool
    ) -> None:
        self._server = server
        self._connect = connect
        self._inputs = inputs
        self._reconnect = reconnect
        self._pid = os.getpid()
        self._closed = False
        self._events: deque[Event] = deque()  # of this side: they come before what the server says
        self._fields: dict[str, Any] | None = None  # of the last `set_input`
        self._streams: list[OutputStream] = []
        self._requests: set[Callable[[], None]] = set()  # how to interrupt those that are under way
        self._making = CallLock()  # held while a lost connection is made anew
        self._link = connect(Deadline(server.timeout))

    @property
    def webrtc_id(self) -> str:
        """The name under which hooks and outputs know this connection; another one after a reconnect."""
        return self._link.webrtc_id

    def send_audio(self, audio: Any, *, end: bool = False, timeout: float | None = None) -> None:
        """Send audio.

        Args:
            audio: s16le mono samples at the client's ``input_sample_rate`` as bytes, or as an int16 array; or a WAV
                file, by its path or as a binary file object (any rate and channels, 16 bits).
            end: append the silence that makes a handler which replies on pauses reply.
            timeout: seconds; None: the client's.

        Raises:
            InputError, OSError: nothing was sent.
            Timeout, ConnectionLost: part of it may have been sent.
        """
        deadline = self._begin(timeout)
        samples = to_samples(audio, self._server.input_sample_rate)
        self._guarded(lambda link: link.send_audio(samples, deadline), deadline)
        if end:
            pause = silence(_PAUSE, self._server.input_sample_rate)
            self._guarded(lambda link: link.send_audio(pause, deadline), deadline)

    def reply(self, *, timeout: float | None = None, idle: float = _IDLE) -> Reply:
        """Wait for the end of one turn. (See `Turn`: servers do not mark it.)

        Args:
            timeout: seconds; None: the client's.
            idle: seconds without anything after which a reply that may be over is.

        Raises:
            ReplyTimeout: no audio came in time: a handler that has failed says nothing, over WebSocket.
            ConnectionLost: the connection ended in the middle of the turn.
        """
        deadline, idle = self._begin(timeout), seconds("idle", idle)
        turn = Turn(self._server.output_sample_rate)
        while True:
            event = self._receive(deadline.within(idle) if turn.may_be_over else deadline, deadline)
            if event is not None:
                turn.add(event)
                self._answer(event, deadline)
            elif turn.heard:
                return turn.reply()
            else:
                raise ReplyTimeout("no audio came in time", phase="receive", maybe_processed=True)

    def __iter__(self) -> Iterator[Event]:
        """All events as they come, until the session is closed on this side.

        Raises:
            ConnectionLost: the connection ended; with ``reconnect`` a `Reconnected` event comes instead, where it can.
        """
        endless = Deadline(float("inf"))
        while not self._ended():
            try:
                event = self._receive(endless, endless)
            except ConnectionLost:
                if not self._events:
                    raise
                continue  # it was made anew, and the event says so
            except MisuseError:
                if self._ended():
                    return
                raise
            if event is not None:
                self._answer(event, Deadline(self._server.timeout))
                yield event

    def set_input(self, **fields: Any) -> None:
        """Give the handler additional inputs, through the application's hook.

        Raises:
            HookError: it answered with an error.
            ConfigurationError: the client was made without a hook.
        """
        deadline = self._begin(None)
        self._ask(lambda watch: self._server.post_input(self.webrtc_id, fields, deadline, watch))
        self._fields = fields

    def outputs(self) -> OutputStream:
        """The handler's additional outputs as they come: JSON where it is JSON, else text. Ends with the session.

        (Servers hand each output out once: of two readers each gets a part.)

        Raises:
            HookError: the application answered with an error.
            ConfigurationError: the client was made without an outputs URL.
        """
        deadline = self._begin(None)
        stream = self._ask(lambda watch: self._server.outputs(self.webrtc_id, deadline, watch))
        self._streams = [*(other for other in self._streams if not other.ended), stream]
        if self._closed:  # meanwhile: nobody else will end it
            stream.close()
        return stream

    def latest_output(self, *, timeout: float | None = None) -> Any:
        """Ask the application's ``latest`` URL for the oldest output that nobody has fetched.

        Raises:
            HookError: there was none, as far as servers say: they wait for 10 s and fail with status 500.
            ConfigurationError: the client was made without a ``latest`` URL.
        """
        deadline = self._begin(timeout)
        return self._ask(lambda watch: self._server.latest(self.webrtc_id, deadline, watch))

    def close(self, timeout: float = 1.0) -> None:
        """Say ``stop``, and let go. Idempotent, from any thread."""
        if self._pid != os.getpid():
            return
        self._closed = True
        for end in [stream.close for stream in self._streams] + list(self._requests):
            end()
        self._link.close(seconds("timeout", timeout))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self._link.abort()  # Ctrl-C: do not wait for a server's goodbye
        self.close()

    def __repr__(self) -> str:
        return f"<Session {self.webrtc_id}{' closed' if self._closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Session is neither copied nor pickled: make one where it is used")

    def _ended(self) -> bool:
        return self._closed  # by whatever thread, at any time

    def _begin(self, timeout: float | None) -> Deadline:
        if self._pid != os.getpid():
            raise MisuseError("this session was opened before the process was forked: open one in the child")
        if self._closed:
            raise _closed()
        return Deadline(self._server.timeout if timeout is None else seconds("timeout", timeout))

    def _ask(self, request: Callable[[Watch], _T]) -> _T:
        """Make a request of the application's, which `close` interrupts."""
        interrupts: list[Callable[[], None]] = []

        def watch(abort: Callable[[], None]) -> None:
            interrupts.append(abort)
            self._requests.add(abort)
            if self._closed:
                abort()

        try:
            return request(watch)
        except TransportError:
            if self._closed:
                raise _closed() from None
            raise
        finally:
            self._requests.difference_update(interrupts)

    def _receive(self, until: Deadline, deadline: Deadline) -> Event | None:
        if self._events:
            return self._events.popleft()
        return self._guarded(lambda link: link.receive(until), deadline)

    def _guarded(self, work: Callable[[Link], _T], deadline: Deadline) -> _T:
        """Do something on the link; where that is lost, make it anew if that is wanted, and raise all the same."""
        link = self._link
        try:
            return work(link)
        except ConnectionLost as exc:
            if self._reconnect and not self._closed and exc.close_code in _CUT:
                self._make_anew(link, exc, deadline.within(self._server.timeout))
            raise

    def _make_anew(self, link: Link, lost: ConnectionLost, deadline: Deadline) -> None:
        try:
            if not self._making.acquire(deadline):
                raise Timeout("no time left waiting for another thread to connect anew", phase="connect") from lost
            # Critical section: of two threads whose link is lost, one makes another, and both wait for that.
            if self._link is not link:
                return  # the other one has
            for stream in self._streams:
                stream.close()  # they are the old connection's
            self._link = link = self._connect(deadline)
            if self._ended():  # meanwhile: nobody else will close it
                link.abort()
                raise _closed() from lost
            self._events.append(Reconnected(self.webrtc_id, str(lost)))  # also if the hook now fails
            if self._fields is not None:
                fields = self._fields
                self._ask(lambda watch: self._server.post_input(self.webrtc_id, fields, deadline, watch))
        finally:
            self._making.release()

    def _answer(self, event: Event, deadline: Deadline) -> None:
        """In the caller's thread: give a handler that waits for inputs what the caller makes of it."""
        if not isinstance(event, SendInput) or self._inputs is None:
            return
        fields = self._inputs()
        if not isinstance(fields, Mapping):
            raise InputError(f"inputs must return a mapping of fields, got {described(fields)}")
        self._ask(lambda watch: self._server.post_input(self.webrtc_id, dict(fields), deadline, watch))


def _closed() -> MisuseError:
    return MisuseError("this session is closed: make another with client.connect()")
