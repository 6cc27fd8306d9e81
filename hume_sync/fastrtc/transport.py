"""The transport of a session: its protocol, and a transport that reconnects."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import attrs

from ..errors import (
    ConnectError,
    ConnectionLost,
    HumeClientException,
    MisuseError,
    Timeout,
    TransportError,
    clone_error,
)
from ..locks import make_lock
from ..net.call_lock import CallLock
from ..net.condition import Condition
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.pending import Pending, Watch
from ..net.retry import AttemptCounter, RetryPolicy, retry
from ..reprs import safe_repr
from .events import Event, Reconnected

__all__ = ["Connect", "Mark", "OnReconnect", "ReconnectingTransport", "Sleep", "Transport", "connect_with_retry"]

_T = TypeVar("_T")

Sleep = Callable[[float], None]
"""Waits that many seconds, or raises if the wait was cancelled."""

_RECONNECT_CODES = frozenset({None, 1001, 1006, 1011, 1012, 1013})
"""Close codes after which to reconnect. (1000: the server ended the session.)"""


@safe_repr
@attrs.frozen
class Mark:
    """A position in the audio that was sent. It is received among the events once the server has got to it.

    Attributes:
        number: The number of the audio, counted by `AudioSender`.
        begins: Whether a new question begins here, in front of the audio. False: it is the audio's end.
        quiet: Whether all audio behind this position is quiet. Only sent over WebRTC.
    """

    number: int
    begins: bool = False
    quiet: bool = False


class Transport(Protocol):
    """A connection that the server has registered. One thread sends and one receives; the rest is for any thread.

    Attributes:
        webrtc_id: The id by which hooks and outputs know this connection, a new one for each connection.
    """

    webrtc_id: str

    @property
    def real_time(self) -> bool:
        """Whether audio is sent and received as it plays.

        True: in frames, which announcements do not count; the server reports a handler's error. False: as fast as
        possible, in the pieces that the handler yields, each of them announced.
        """

    @property
    def queued_seconds(self) -> float:
        """Seconds of audio that are queued and not sent yet; 0 unless in real time."""

    @property
    def error(self) -> HumeClientException | None:
        """The error that ended the connection; None while it is open. Earlier events can still be received."""

    def send_audio(self, samples: bytes, deadline: Deadline) -> None:
        """Send audio (s16le, mono, at the handler's input rate), waiting for room.

        Raises:
            Timeout: No room before the deadline; part of it may have been sent.
            ConnectionLost: The connection has ended; part of it may have been sent.
        """

    def send(self, message: str | bytes, deadline: Deadline) -> None:
        """Send a message of the application's own: a str as text, bytes as a binary message. For any thread.

        Raises:
            InputError: It is larger than the server accepts.
            Timeout: No room before the deadline; nothing of it was sent.
            ConnectionLost: The connection has ended.
        """

    def send_mark(self, mark: Mark, deadline: Deadline, *, before: int = 0) -> None:
        """Have `receive` return this mark once the server has got as far as what was sent until now.

        Over WebSocket an answer of the server proves that. Over WebRTC the audio has been sent in real time, and the
        server receives it a moment later.

        Args:
            mark: The mark.
            deadline: The deadline for sending it.
            before: Bytes of the samples sent last that the mark stands in front of; only in real time.

        Raises:
            Timeout: No room before the deadline.
            ConnectionLost: The connection has ended.
        """

    def receive(self, deadline: Deadline) -> Event | Mark | None:
        """Return the next event or mark; None once the deadline has passed.

        Raises:
            ConnectionLost: The connection has ended, and all earlier events have been received. ``close_code`` 1000:
                the server ended it.
            InboxOverflow: More events came than were received.
        """

    def close(self, timeout: float) -> None:
        """Close the connection in order, waiting at most ``timeout`` seconds for the server. Idempotent."""

    def abort(self) -> None:
        """End the connection at once. For any thread."""


class Connect(Protocol):
    """Opens a `Transport`."""

    def __call__(self, deadline: Deadline, watch: Watch, sleep: Sleep) -> Transport:
        """Open one before the deadline.

        Args:
            deadline: The deadline for all of it.
            watch: Receives what is opened, so that another thread can abort it.
            sleep: Waits between two attempts.
        """


def connect_with_retry(
    connect: Callable[[], Transport], policy: RetryPolicy, deadline: Deadline, sleep: Sleep
) -> Transport:
    """Connect, and retry as the policy says.

    Raises:
        HumeClientException: The last failure, with ``attempts`` set.
    """
    attempts = AttemptCounter()
    try:
        try:
            return connect()
        except HumeClientException as first:
            if from_outside(first) or policy.max_attempts == 1 or not policy.allows(first):
                raise
            return retry(
                policy,
                first,
                connect,
                sleep=sleep,
                wait=lambda error, failures: policy.delay(failures, error),
                deadline=deadline,
                attempts=attempts,
                is_free=lambda _: False,
                tell=policy.tell,
            )
    except HumeClientException as exc:
        if not from_outside(exc):
            exc.attempts = attempts.number
        raise


class OnReconnect(Protocol):
    """Restores on a new transport what the lost one had."""

    def __call__(self, connection: ReconnectingTransport, transport: Transport, deadline: Deadline, /) -> None:
        """Restore it on this transport before the deadline."""


class ReconnectingTransport:
    """A transport that is replaced by a new one when it is cut. `close` interrupts every blocking call.

    Args:
        connect: Opens a transport.
        timeout: Seconds that may take.
        reconnect: Whether to reconnect.
        on_reconnect: Called with the new transport, before another thread can use it.

    Attributes:
        transport: The present transport; any thread's call may replace it.
    """

    def __init__(self, connect: Connect, *, timeout: float, reconnect: bool, on_reconnect: OnReconnect) -> None:
        self._connect = connect
        self._timeout = timeout
        self._reconnects = reconnect
        self._on_reconnect = on_reconnect
        self._pid = os.getpid()
        self._closing = False
        self._lock = make_lock()
        self._closed = Condition(self._lock)  # wakes a thread that sleeps between two attempts
        self._aborts: set[Pending] = set()  # what running requests have opened
        self._pending: deque[Event | Mark] = deque()  # received before what the transport has
        self._receive_lock = CallLock()  # held while events are taken off a transport or out of `_pending`
        self._reconnect_lock = CallLock()  # held while reconnecting, and by calls that must not overlap with it
        self.transport = self._open(Deadline(timeout))

    @property
    def closed(self) -> bool:
        """Whether this side has closed it."""
        return self._closing

    @property
    def in_owner_process(self) -> bool:
        """Whether this process opened it."""
        return self._pid == os.getpid()

    def check(self) -> None:
        """Raise `MisuseError` if it was closed, or opened by another process."""
        if not self.in_owner_process:
            raise MisuseError("this session was opened before the process was forked: open one in the child")
        if self.closed:
            raise _closed_error()

    def call(
        self, function: Callable[[Transport], _T], deadline: Deadline, *, transport: Transport | None = None
    ) -> _T:
        """Call a function with the transport. If that is cut, reconnect if wanted, and raise in any case.

        Args:
            function: The function.
            deadline: The deadline for reconnecting.
            transport: The transport, which may have been replaced since. Default: the present one.

        Returns:
            What the function returns.

        Raises:
            ConnectionLost: The transport was cut.
            ConnectError: Reconnecting failed.
            MisuseError: It was closed meanwhile.
        """
        transport = self.transport if transport is None else transport
        try:
            return function(transport)
        except ConnectionLost as exc:
            if from_outside(exc):
                raise
            if self.closed:  # closing does not wait for the server
                raise _closed_error() from None
            if self._reconnects and exc.close_code in _RECONNECT_CODES:
                self._reconnect(transport, exc, deadline.capped_at(self._timeout))
            raise

    def receive(
        self, until: Deadline, deadline: Deadline, *, ignore: Callable[[TransportError], bool] = lambda _: False
    ) -> Event | Mark | None:
        """Return the next event or mark; None once ``until`` has passed.

        Args:
            until: The deadline for the event.
            deadline: The deadline for reconnecting.
            ignore: Decides whether to return None for an error that ended the transport. The next call raises it.

        Raises:
            ConnectionLost: The connection has ended.
        """

        def receive(transport: Transport) -> Event | Mark | None:
            try:
                if not self._receive_lock.acquire(until):
                    return None
                return self._pending.popleft() if self._pending else transport.receive(until)
            except TransportError as exc:
                if not from_outside(exc) and ignore(exc):
                    return None
                raise
            finally:
                self._receive_lock.release()

        return self.call(receive, deadline)

    def push_back(self, events: Iterable[Event | Mark]) -> None:
        """Return these events to the front of the queue, in their order."""
        self._pending.extendleft(reversed([*events]))

    def has_queued_events(self) -> bool:
        """Return whether an event can be received without asking the transport."""
        return bool(self._pending)

    def reconnect_is_queued(self) -> bool:
        """Return whether the event received last is from a transport that was replaced since."""
        return any(isinstance(event, Reconnected) for event in tuple(self._pending))

    def run_cancellable(self, request: Callable[[Watch], _T]) -> _T:
        """Make a request that `close` interrupts.

        Raises:
            MisuseError: It was closed meanwhile.
        """
        opened: list[Pending] = []

        def watch(pending: Pending) -> None:
            opened.append(pending)
            self._aborts.add(pending)
            if self.closed:  # `close` may have run before this one was added
                raise _closed_error()

        try:
            answer = request(watch)
            self._aborts.difference_update(opened)
        except BaseException as exc:
            for pending in reversed(opened):  # what depends on the others comes first
                pending.release()
            self._aborts.difference_update(opened)
            if self.closed and isinstance(exc, TransportError) and not from_outside(exc):
                raise _closed_error() from None
            raise
        return answer

    def require_open(self, deadline: Deadline) -> Transport:
        """Return the transport, or raise the error that ended it."""

        def require_open(transport: Transport) -> Transport:
            if (error := transport.error) is not None:
                raise clone_error(error)
            return transport

        return self.call(require_open, deadline)

    def call_locked(self, function: Callable[[Transport], _T], deadline: Deadline) -> _T:
        """Call a function with the transport while no other thread reconnects, or calls anything `call_locked`.

        Raises:
            MisuseError: Called from inside such a call, by its callback or a signal handler.
            Timeout: Other threads took all the time.
        """
        self._reconnect_lock.raise_if_reentrant()
        try:
            if not self._reconnect_lock.acquire(deadline):
                raise Timeout("timed out waiting for another thread that is using this connection", phase="lock")
            self.check()
            return function(self.transport)
        finally:
            self._reconnect_lock.release()

    def cancel_waits(self) -> None:
        """Mark it as closed, and interrupt every wait except those of the transport. For any thread."""
        with self._lock:
            self._closing = True
            self._closed.notify_all()
        for pending in list(self._aborts):
            pending.abort()

    def close(self, timeout: float, before: Callable[[], None]) -> None:
        """Interrupt all waits, call ``before``, and close the transport within ``timeout`` seconds. Idempotent."""
        if self.in_owner_process:
            try:
                self.cancel_waits()
                before()
                self.transport.close(timeout)
            except BaseException:
                self.transport.abort()
                raise

    def abort(self) -> None:
        """Close it at once, without a close frame."""
        if self.in_owner_process:
            self.cancel_waits()  # first, so that no thread reconnects
            self.transport.abort()

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds; raise `MisuseError` once it is closed."""
        if self._closed.wait_for(lambda: self._closing or None, Deadline(seconds)):
            raise _closed_error()

    def _reconnect(self, lost: Transport, error: ConnectionLost, deadline: Deadline) -> None:
        def reconnect(transport: Transport) -> None:
            if transport is not lost:
                return  # another thread has reconnected
            self._drain(lost, deadline)
            new: Transport | None = None
            try:
                new = self._open(deadline)
                self._on_reconnect(self, new, deadline)
                self._swap(new, error, deadline)
                self.check()  # `close` may have run meanwhile, and not have seen this transport
            except BaseException as exc:
                if new is not None:
                    new.abort()  # the inputs could not be restored: the next call reconnects and tries again
                elif isinstance(exc, ConnectionLost) and not from_outside(exc):
                    raise _reconnect_error(exc) from exc
                raise

        self.call_locked(reconnect, deadline)

    def _swap(self, new: Transport, error: ConnectionLost, deadline: Deadline) -> None:
        try:
            if not self._receive_lock.acquire(deadline):
                raise Timeout("timed out waiting for another thread that is receiving", phase="lock")
            self._pending.append(Reconnected(new.webrtc_id, str(error)))  # received before anything of the new one
            self.transport = new
        finally:
            self._receive_lock.release()

    def _drain(self, lost: Transport, deadline: Deadline) -> None:
        """Queue what the lost transport still has, since a sender may notice the loss before a receiver does."""
        at_once = Deadline(0.0)
        try:  # a thread that is receiving leaves at once, since its transport has ended
            if self._receive_lock.acquire(deadline):
                while (event := lost.receive(at_once)) is not None:
                    self._pending.append(event)
        except HumeClientException as exc:
            if from_outside(exc):
                raise
            # Otherwise it is the end of the transport.
        finally:
            self._receive_lock.release()

    def _open(self, deadline: Deadline) -> Transport:
        opened: list[Transport] = []

        def connect(watch: Watch) -> Transport:
            opened.append(self._connect(deadline, watch, self.sleep))
            return opened[0]

        try:
            return self.run_cancellable(connect)
        except BaseException:
            for transport in opened:
                transport.abort()
            raise


def _reconnect_error(cause: ConnectionLost) -> ConnectError:
    """Return an error of another class: `ConnectionLost` means that the session has reconnected."""
    return ConnectError(
        f"could not reconnect: {cause}",
        phase="connect",
        close_code=cause.close_code,
        close_reason=cause.close_reason,
    )


def _closed_error() -> MisuseError:
    return MisuseError("this session is closed: make another with client.connect()")
