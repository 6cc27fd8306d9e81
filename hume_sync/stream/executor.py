"""One request of a stream, whatever connection it takes: bring the connection up to date, send, remember.

A *stream* is the caller's: its window, its clock. A *connection* is a WebSocket, and the server keeps context with it.
The stream outlives the connection; this module makes the one fit the other, so that the server hears the same as if
nothing had happened.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Protocol

from ..errors import (
    CloseCode,
    ConnectionLost,
    HumeClientException,
    RequestError,
    Timeout,
    TransportError,
    is_server_error,
)
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.retry import AttemptCounter, RetryPolicy, brief, retry
from .breaker import CircuitBreaker
from .connection import Connection
from .duration import Length
from .requests import RESET_STREAM, JSONParts, Request, ServerEffect
from .responses import StreamResponse
from .window import StreamWindow, WindowItem

__all__ = ["CONNECT", "RequestExecutor", "ConnectionProvider", "Stream"]

_log = logging.getLogger("hume_sync.retry")

CONNECT = Request((), ServerEffect())
"""What asks for nothing but a connection that is ready; the reply is empty."""

_NO_TIME = Fraction(0)

_GONE_WHILE_IDLE = frozenset({None, CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY})
"""How a connection ends that was just not needed for too long: no failure of the server's."""


class Stream:
    """The caller's state. Whoever holds the lock of its socket is its only user.

    Args:
        window_ms: length of the server's window; None: its default.
        preserve: whether the window is kept, so that it can be replayed.
    """

    __slots__ = (
        "__weakref__", "_preserve", "_window", "_window_ms", "clock", "connection", "context_lost", "sent", "token",
    )  # fmt: skip

    def __init__(self, window_ms: float | None = None, *, preserve: bool = True) -> None:
        self._window_ms = window_ms
        self._preserve = preserve
        self._window: StreamWindow | None = None  # made when it is asked for: text and faces have none
        self.context_lost = False
        """Whether its window was dropped while it was not in use: its next audio is heard without context."""
        self.clock: Fraction | None = _NO_TIME
        """Seconds of audio accepted; None after audio whose length nobody knows."""
        self.token = object()
        """Its name on connections, which must not keep its media alive."""
        self.connection: Connection | None = None
        """What served it last. None: no server knows of it."""
        self.sent = 0
        """Requests sent, replays aside; whoever keeps statistics takes them out."""

    @property
    def window(self) -> StreamWindow:
        """What would be replayed on a new connection."""
        if self._window is None:
            self._window = StreamWindow(self._window_ms, preserve=self._preserve)
            if self.context_lost:
                self._window.mark_lost()  # the next reply to audio says so
                self.context_lost = False
        return self._window

    @property
    def preserves(self) -> bool:
        """Whether its window is kept, so that it can be replayed."""
        return self._preserve

    @property
    def memory(self) -> int:
        """Bytes of memory that its window takes, about."""
        return 0 if self._window is None else self._window.memory

    def drop_window(self) -> None:
        """Free the window; the clock runs on. No connection knows the stream any more."""
        if self._window is not None:
            self.context_lost = self._window.has_context
            self._window = None
        self.token = object()
        self.connection = None

    def begin(self) -> None:
        """Begin again as a new stream, of which no connection knows anything."""
        self._window = None
        self.context_lost = False
        self.clock = _NO_TIME
        self.token = object()

    @property
    def epoch(self) -> int | None:
        """The number of the connection it was last on, while that is sound."""
        connection = self.connection
        return connection.epoch if connection is not None and connection.sound else None

    def needs_replay_on(self, connection: Connection) -> bool:
        """Whether there is context that this connection does not hold."""
        holds = connection.holds
        return bool(self._window) and (holds is None or holds[0] is not self.token)


class ConnectionProvider(Protocol):
    """Where connections come from: a socket's own, or a pool."""

    @property
    def policy(self) -> RetryPolicy:
        """What is tried again."""

    @property
    def breaker(self) -> CircuitBreaker:
        """What holds calls back while the server is away."""

    @property
    def closing(self) -> bool:
        """Whether it was closed meanwhile: nothing is tried again then."""

    def acquire(self, stream: Stream, caller: object, deadline: Deadline) -> Connection:
        """A connection that was just polled, for this stream alone. One that is no longer sound is not given again."""

    def wait(self, delay: float) -> None:
        """Wait, or raise as soon as the source is closed."""

    def add_stats(self, **changes: float) -> None:
        """Add to statistics."""


class RequestExecutor:
    """The requests of one stream, one after another. The gate knows its caller by this object."""

    __slots__ = ("_stale", "source", "stream")

    def __init__(self, stream: Stream, source: ConnectionProvider) -> None:
        self.stream = stream
        self.source = source
        # Whether the last attempt failed for a connection that had gone unnoticed, which is not the server's failure:
        self._stale = False

    def execute(self, request: Request, deadline: Deadline) -> StreamResponse:
        """Send a request and return its reply, as often as the source's policy allows.

        Raises:
            HumeClientException: the last failure, with ``attempts`` set.
        """
        if request is RESET_STREAM:
            self.stream.window.reset()  # before the first byte: the caller wants it gone, whatever becomes of this
        elif request.begins_stream:
            self._leave_known_faces()
        try:
            return self._attempt(request, deadline)
        except BaseException as first:
            if not isinstance(first, HumeClientException) or from_outside(first):
                self.source.breaker.release_probe(self)
                raise
            return self._retry(first, request, deadline)

    def _leave_known_faces(self) -> None:
        """Close a connection on which the server knows faces of the stream that ends: no reset makes it forget them."""
        connection = self.stream.connection
        if connection is not None and connection.faces_of is self.stream.token:
            connection.close_nowait()

    def _attempt(self, request: Request, deadline: Deadline) -> StreamResponse:
        stream, source = self.stream, self.source
        stream.connection = connection = source.acquire(stream, self, deadline)
        try:
            if not connection.answered:
                return self._attempt_on_new(connection, request, deadline)
            try:
                return _perform(stream, request, connection, source, deadline)
            except BaseException as exc:
                self._stale = isinstance(exc, ConnectionLost) and exc.close_code in _GONE_WHILE_IDLE
                if not isinstance(exc, HumeClientException) or from_outside(exc):
                    connection.discard()  # Ctrl-C: what it holds is no longer known
                raise
        finally:
            if connection.skipped:
                source.add_stats(skipped=connection.skipped)
                connection.skipped = 0

    def _attempt_on_new(self, connection: Connection, request: Request, deadline: Deadline) -> StreamResponse:
        """An attempt on a connection that has yet to prove that the server is well."""
        gate, self._stale = self.source.breaker, False
        try:
            reply = _perform(self.stream, request, connection, self.source, deadline)
        except BaseException as exc:
            if not isinstance(exc, HumeClientException) or from_outside(exc):
                connection.discard()
            elif self.source.policy.allows(exc) and not isinstance(exc, RequestError):
                gate.record_failure(
                    self, exc
                )  # (a reply proves that the server is there, whatever it says of a payload)
            raise
        finally:
            if connection.answered:
                gate.record_success()  # a reply: the server is back
        gate.release_probe(self)
        return reply

    def _retry(self, first: HumeClientException, request: Request, deadline: Deadline) -> StreamResponse:
        """After a first failure: try again where the policy allows, and say how often it was."""
        source = self.source
        attempts = AttemptCounter()
        try:
            away = source.breaker.fail_fast and not source.breaker.is_healthy
            if away or source.closing or source.policy.max_attempts == 1 or not source.policy.allows(first):
                raise first
            reply = retry(
                source.policy,
                first,
                lambda: self._attempt(request, deadline),
                sleep=source.wait,
                wait=self._retry_delay,
                deadline=deadline,
                attempts=attempts,
                is_free=lambda _: self._stale,
                tell=source.policy.tell,
                name=source.breaker.name,
            )
        except HumeClientException as exc:
            if not from_outside(exc):
                exc.attempts = attempts.number
                if exc.retryable and (attempts.number > 1 or exc.phase != "connect"):
                    _log.warning("%s: giving up after attempt %d: %s", source.breaker.name, attempts.number, brief(exc))
            raise
        finally:
            del first  # whose traceback keeps the frames of this call: dropped, its socket is to go at once
            source.breaker.release_probe(self)
        reply.attempts = attempts.number
        return reply

    def _retry_delay(self, error: HumeClientException, failures: int) -> float:
        """Seconds until the next attempt."""
        if not self.source.breaker.is_healthy:
            return self.source.breaker.retry_delay(self)
        return self.source.policy.delay(failures, error)


def _perform(
    stream: Stream, request: Request, connection: Connection, source: ConnectionProvider, deadline: Deadline
) -> StreamResponse:
    """One attempt on one connection."""
    effect = request.effect
    if effect is None:
        return _send_request(stream, request.members, connection, deadline, any_reply=request.any_reply)
    if request is CONNECT:
        return StreamResponse()
    state, reset = None, effect.reset or request.begins_stream
    if effect.audio:
        state = "warm"  # what a new stream has to know is nothing
        if not reset:
            state, reset = _restore_window(stream, connection, source, deadline)
    if effect.identifies:
        connection.faces_of = stream.token
    if reset:
        connection.holds = None  # the server forgets even where it then refuses the payload
    members = request.with_reset() if reset and not effect.reset else request.members
    try:
        reply = _send_request(stream, members, connection, deadline, any_reply=request.any_reply)
    except RequestError as exc:
        if effect.audio and is_server_error(exc.code):
            connection.discard()  # nobody knows whether it has kept the payload
        raise
    if request.begins_stream:
        stream.begin()  # not before its first payload was accepted: a refused one leaves the stream as it was
    if effect.audio:
        reply.window_state = state
        _record_accepted(stream, request.members, effect.length, connection, reply)
    elif reset:
        connection.holds = (stream.token, stream.window.number)
    return reply


def _send_request(
    stream: Stream, members: JSONParts, connection: Connection, deadline: Deadline, *, any_reply: bool
) -> StreamResponse:
    """Send a request of the caller's; an error in its reply is raised."""
    stream.sent += 1
    reply = StreamResponse.received(connection.request(members, deadline, any_reply=any_reply))
    if connection.emulated:
        reply.emulated = True
    if reply.get("error") is not None:
        error = _request_error(reply, connection)
        connection.answered = True  # whatever it objects to
        try:
            raise error
        finally:
            del error  # as in `RequestExecutor._retry`
    connection.answered = True
    return reply


def _restore_window(
    stream: Stream, connection: Connection, source: ConnectionProvider, deadline: Deadline
) -> tuple[str, bool]:
    """Replay what the connection lacks of the stream's window.

    Returns:
        The window state, and whether the payload itself must empty the server's window first.
    """
    heard = connection.holds[1] if connection.holds and connection.holds[0] is stream.token else None
    plan = stream.window.replay_plan(heard)
    reset = plan.reset and connection.touched
    if not plan.complete:
        _notify_of_loss(stream, source, "it is not kept any more")
        stream.window.mark_lost()
        return "cold", reset
    if plan.replay:
        _log.debug(
            "%s: replaying %d payloads on connection %d", source.breaker.name, len(plan.replay), connection.epoch
        )
    for item in plan.replay:
        _check_deadline(deadline)
        if not _replay_item(stream, item, connection, source, deadline, reset=reset):
            _notify_of_loss(stream, source, "the server refused a payload of it")
            stream.window.mark_lost()  # never a partial window
            return "cold", True
        reset = False
    if plan.replay:
        _check_deadline(deadline)
    return "rebuilt" if plan.replay else "warm", reset


def _notify_of_loss(stream: Stream, source: ConnectionProvider, why: str) -> None:
    level = logging.WARNING if stream.preserves else logging.DEBUG
    _log.log(level, "%s: a stream has gone cold, its window cannot be replayed: %s", source.breaker.name, why)


def _check_deadline(deadline: Deadline) -> None:
    """Between two items the connection is good, and holds what it has heard: the next call goes on there."""
    if deadline.expired():
        raise Timeout("no time left to replay the window", phase="replay")


def _replay_item(
    stream: Stream,
    item: WindowItem,
    connection: Connection,
    source: ConnectionProvider,
    deadline: Deadline,
    *,
    reset: bool,
) -> bool:
    """Send one payload of the window again and swallow its reply; False for an error reply."""
    connection.holds = None
    connection.touched = True
    members = (*RESET_STREAM.members, b",", *item.members) if reset else item.members
    source.add_stats(replays=1, replayed_bytes=item.size)
    try:
        reply = connection.request(members, deadline)
        if reply.get("error") is None:
            connection.check_state()  # a second reply to one item must not become the reply to the next
    except TransportError as exc:
        if not from_outside(exc):
            exc.phase, exc.maybe_processed = "replay", False  # the request itself has not been sent
        raise
    if reply.get("error") is not None:
        if is_server_error(reply.get("code")):
            connection.clock = None  # nobody knows whether it has counted the payload
        return False
    connection.answered = True
    connection.holds = (stream.token, item.number)
    connection.clock = _add_lengths(connection.clock, item.length)
    return True


def _record_accepted(
    stream: Stream, members: JSONParts, length: Length | None, connection: Connection, reply: StreamResponse
) -> None:
    """The server has accepted a payload of audio: so do window and clocks."""
    if stream.clock is None or connection.clock is None:
        reply.clock_offset = None
    else:
        reply.shift_times(stream.clock - connection.clock)
    stream.window.append(members, length)
    stream.clock = _add_lengths(stream.clock, length)
    connection.clock = _add_lengths(connection.clock, length)
    connection.touched = True
    connection.holds = (stream.token, stream.window.number)


def _add_lengths(clock: Fraction | None, length: Length | None) -> Fraction | None:
    return None if clock is None or length is None else clock + length.seconds


def _request_error(reply: StreamResponse, connection: Connection) -> RequestError:
    code, text = reply.get("code"), reply["error"]
    text = text if isinstance(text, str) else repr(text)
    return RequestError.from_reply(None if code is None else connection.redact(str(code)), connection.redact(text))
