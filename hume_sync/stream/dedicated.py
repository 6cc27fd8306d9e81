"""The connection of a socket that was made by ``client.connect(...)``: one at a time, the socket's own."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..errors import ConnectionLost, MisuseError
from ..net import clock, fork
from ..net.call_lock import CallLock
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.latch import Latch
from ..net.pending import Pending, Watch
from ..net.retry import RetryPolicy
from .breaker import CircuitBreaker
from .connection import Connection
from .executor import Stream
from .limits import Limits

__all__ = ["Connect", "DedicatedProvider"]

Connect = Callable[[Deadline, Watch], Connection]
"""Makes a connection; the second argument is told of it before there is anything of it."""

_LEAST_CLOSE_TIMEOUT = 0.05
"""Seconds for a goodbye when waiting for another thread has used up the time."""


class DedicatedProvider:
    """Keeps the connection of one socket. Its lock guards all but `close` and `before_call`."""

    def __init__(self, connect: Connect, policy: RetryPolicy, limits: Limits, name: str = "") -> None:
        self.policy = policy
        self._limits = limits
        self.breaker = CircuitBreaker(policy, name)
        self.lock = CallLock()
        self._connect = connect
        self._connection: Connection | None = None
        self._pending: Pending | None = None  # the sockets of the connection, while it is dialled and then in use
        self._closing = Latch()
        self._pid: int | None = None  # of the process that connected

    @property
    def closing(self) -> bool:
        """Whether it was closed meanwhile."""
        return self._closing.is_set()

    def before_call(self) -> None:
        """Raise `MisuseError` where a call can never be right: closed, or opened before a fork."""
        if self._closing.is_set():
            raise _closed()
        if self._pid is not None and self._pid != os.getpid():
            self.release_after_fork(hooked=False)
            raise MisuseError("this StreamSocket was opened before the process was forked: open one in the child")

    def after_call(self) -> None:
        """A call is over: nothing to do."""

    def acquire(self, stream: Stream, caller: object, deadline: Deadline) -> Connection:
        """The connection, made anew where there is none that is sound."""
        connection = self._connection
        if connection is not None and connection.usable and self._is_usable(connection, deadline):
            return connection
        try:
            self._connection = connection = self.breaker.connect(self._dial, caller, deadline)
        except BaseException:
            self._release()
            raise
        if self._closing.is_set():  # closed while it was being made: nobody else will let go of it
            connection.discard()
            raise _closed()
        return connection

    def _is_usable(self, connection: Connection, deadline: Deadline) -> bool:
        now = connection.checked_out_at = clock.boottime()
        if self._limits.expired(connection, now):
            connection.close_nowait()
            return False
        try:
            self._limits.check_alive(connection, deadline)
        except ConnectionLost as exc:
            if from_outside(exc):
                raise
            return False  # gone while idle: nothing was sent, so a new one does just as well
        return True

    def _dial(self, deadline: Deadline) -> Connection:
        self._pid = os.getpid()
        fork.register(self)
        self._release()  # what a signal may have left
        return self._connect(deadline, self._watch)

    def _release(self) -> None:
        """Close the connection, whole or half made."""
        if self._connection is not None:
            self._connection.usable = False
        if self._pending is not None:
            self._pending.release()

    def _watch(self, pending: Pending) -> None:
        self._pending = pending
        if self._closing.is_set():
            raise _closed()

    def wait(self, delay: float) -> None:
        """Wait, unless the socket is closed meanwhile."""
        if self._closing.wait(delay):
            raise _closed()

    def add_stats(self, **changes: float) -> None:
        """A socket of its own keeps no statistics."""

    def close(self, timeout: float) -> None:
        """Close, from any thread: in order if the lock comes free in time, else by ending the call that holds it."""
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
                self._connection.close(max(deadline.remaining(), _LEAST_CLOSE_TIMEOUT))
            elif not mine:
                self.abort()  # whoever waits on it fails at once, and lets go of it
        finally:
            if mine:
                self._release()
            self.lock.release()

    def abort(self) -> None:
        """End whatever is under way, from any thread."""
        if self._pending is not None:
            self._pending.abort()

    def release_after_fork(self, *, hooked: bool) -> None:
        """In a forked child: the connection is the parent's."""
        if self._connection is not None:
            self._connection.release_after_fork(close=hooked)
            self._connection = None


def _closed() -> MisuseError:
    return MisuseError("this StreamSocket is closed: make another with client.connect(...)")
