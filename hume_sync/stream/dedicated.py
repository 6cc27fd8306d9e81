"""The provider of a socket made by ``client.connect(...)``: one connection at a time, used by that socket alone."""

from __future__ import annotations

import os

from ..errors import ConnectionLost, MisuseError
from ..net import clock, fork
from ..net.call_lock import CallLock
from ..net.condition import Latch
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.pending import Pending
from ..net.retry import RetryPolicy
from .breaker import CircuitBreaker
from .connection import Connect, Connection
from .limits import Limits
from .provider import ConnectionProvider

__all__ = ["DedicatedProvider"]

_MIN_CLOSE_TIMEOUT = 0.05
"""Seconds for the closing handshake when waiting for another thread has used up the time."""


class DedicatedProvider(ConnectionProvider):
    """The provider of one dedicated connection. Its lock guards everything but `close` and `before_call`."""

    def __init__(self, connect: Connect, policy: RetryPolicy, limits: Limits, name: str = "") -> None:
        self._limits = limits
        self.breaker = CircuitBreaker(policy, name)
        self.lock = CallLock()
        self._connect = connect
        self._connection: Connection | None = None
        self._pending: Pending | None = None  # the sockets of the connection, being opened or in use
        self._closing = Latch()
        self._pid: int | None = None  # the process that connected

    @property
    def closing(self) -> bool:
        """Whether the socket is closed."""
        return self._closing.is_set()

    def before_call(self) -> None:
        """Raise `MisuseError` if the socket is closed, or was opened before a fork."""
        if self._closing.is_set():
            raise _closed()
        if self._pid is not None and self._pid != os.getpid():
            self.release_after_fork(hooked=False)
            raise MisuseError("this StreamSocket was opened before the process was forked: open one in the child")

    def acquire(self, deadline: Deadline) -> Connection:
        """Return the connection; open another one if there is none or it is not usable."""
        connection = self._connection
        if connection is not None and connection.usable and self._is_alive(connection, deadline):
            return connection
        try:
            self._connection = connection = self.breaker.connect(self._open, self, deadline)
        except BaseException:
            self._release()
            raise
        if self._closing.is_set():  # closed meanwhile, and `close` could not see this connection
            connection.discard()
            raise _closed()
        return connection

    def _is_alive(self, connection: Connection, deadline: Deadline) -> bool:
        now = connection.checked_out_at = clock.boottime()
        if self._limits.expired(connection, now):
            connection.close_nowait()
            return False
        try:
            self._limits.check_alive(connection, deadline)
        except ConnectionLost as exc:
            if from_outside(exc):
                raise
            return False  # closed while idle: nothing was sent, so reconnecting is safe
        return True

    def _open(self, deadline: Deadline) -> Connection:
        self._pid = os.getpid()
        fork.register(self)
        self._release()  # in case a signal interrupted the last attempt
        return self._connect(deadline, self._watch)

    def _release(self) -> None:
        """Close the connection, complete or not."""
        if self._connection is not None:
            self._connection.usable = False
        if self._pending is not None:
            self._pending.release()

    def _watch(self, pending: Pending) -> None:
        self._pending = pending
        if self._closing.is_set():
            raise _closed()

    def wait(self, delay: float) -> None:
        """Wait before a retry; raise `MisuseError` as soon as the socket is closed."""
        if self._closing.wait(delay):
            raise _closed()

    def close(self, timeout: float) -> None:
        """Close, from any thread: with the closing handshake, or by aborting the call that does not end in time."""
        if self._pid is not None and self._pid != os.getpid():
            self.release_after_fork(hooked=False)
            return
        deadline = Deadline(timeout)
        self._closing.set()
        self.breaker.shut_down(_closed())
        mine = False
        try:
            mine = self.lock.acquire(deadline)
            if mine and self._connection:
                self._connection.close(max(deadline.remaining(), _MIN_CLOSE_TIMEOUT))
            elif not mine:
                self.abort()  # the call in progress fails at once and releases the connection
        finally:
            if mine:
                self._release()
            self.lock.release()

    def abort(self) -> None:
        """Abort the call in progress, from any thread."""
        if self._pending is not None:
            self._pending.abort()

    def release_after_fork(self, *, hooked: bool) -> None:
        """Release the parent's connection in a forked child."""
        if self._connection is not None:
            self._connection.release_after_fork(close=hooked)
            self._connection = None


def _closed() -> MisuseError:
    return MisuseError("this StreamSocket is closed: make another with client.connect(...)")
