"""A pool in one process: its leases, its connections, its gate, its counts, and their one lock."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable

import attrs

from ..errors import ConnectionLost, MisuseError, PoolClosed, PoolTimeout
from ..net import fork
from ..net.connection import Connection
from ..net.deadline import Deadline
from ..net.gate import Gate
from ..net.retry import RetryPolicy
from .exchange import Stream
from .leases import Lease, Leases, Place, ThreadMark, Waiter
from .shelf import Closed, Shelf
from .sole import Connect

__all__ = ["PoolSettings", "PoolState", "closed_error"]

_DRAIN_EVERY = 1.0
"""Seconds between two looks at what finalisers have given back, while somebody waits."""


@attrs.frozen
class PoolSettings:
    """What a client hands to its pools; times in seconds."""

    connect: Connect
    policy: RetryPolicy
    call_timeout: float
    max_size: int
    max_waiting: int | None
    timeout: float
    max_idle: float
    max_lifetime: float | None
    max_stream_idle: float
    preserve_window: bool
    window_ms: float | None
    """Length of the server's window."""


class PoolState:
    """A pool in one process. `lock` guards it all, and is never held over I/O or a caller's code."""

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.calm = threading.Condition(self.lock)  # told, once closing, whenever a connection stops being busy
        self.closing = threading.Event()
        self.patient = True  # False once closing has run out of time: no new socket is begun
        self.gate = Gate(settings.policy)
        self.shelf = Shelf(settings.max_size, settings.max_idle, settings.max_lifetime)
        self.returned: deque[Lease] = deque()  # finalisers put leases here: they may take no lock
        self.counts: defaultdict[str, float] = defaultdict(float)
        self._marks = threading.local()
        self._aborts: dict[object, Callable[[], None]] = {}  # of sockets being dialled, by the call that dials
        self.leases = Leases(
            settings.max_size,
            settings.max_waiting,
            settings.max_stream_idle,
            functools.partial(_new_stream, settings),
        )
        fork.watch(self)

    # --- leases

    def acquire(self, key: Hashable | None, timeout: float, where: Place) -> Lease:
        """Wait for a lease."""
        mark = self.mark()
        if mark.lease is not None:
            self._refuse_second(mark)
        waiter = None
        try:
            with self.lock:
                if self.closing.is_set():
                    raise closed_error()
                closed = self.drain() if self.returned else []
                self.leases.forget_idle()
                lease = self.leases.begin(key, mark, where)
                if lease is None:
                    waiter = Waiter(key, mark, where)
                    self.leases.queue(waiter)
            self.close_all(closed)
            return lease if waiter is None else self._wait(waiter, Deadline(timeout))  # type: ignore[return-value]  # one of them
        except BaseException:  # Ctrl-C too: whatever it had come to is given back
            with self.lock:
                if waiter is not None:
                    self.leases.leave_queue(waiter)
                if mark.lease is not None:
                    self.leases.end(mark.lease)
            raise

    def _refuse_second(self, mark: ThreadMark) -> None:
        with self.lock:
            closed = self.drain()  # a socket that was just dropped is no lease any more
            lease = mark.lease
        self.close_all(closed)
        if lease is not None:
            file, line = lease.where
            raise MisuseError(
                f"this thread has a lease of this pool already, taken at {file}:{line}: end that one first"
            )

    def _wait(self, waiter: Waiter, deadline: Deadline) -> Lease:
        began = time.monotonic()
        try:
            while not waiter.wait(min(deadline.remaining(), _DRAIN_EVERY)):
                with self.lock:
                    closed = self.drain()
                    answered, held, waiting = waiter.came.is_set(), len(self.leases.out), self.leases.waiting
                self.close_all(closed)
                if not answered and deadline.expired():
                    raise PoolTimeout(f"no lease came free in time ({held} are held, {waiting} callers wait)")
        finally:
            self.count(wait_seconds=time.monotonic() - began)
        if waiter.refused is not None:
            raise waiter.refused
        assert waiter.lease is not None
        return waiter.lease

    def mark(self) -> ThreadMark:
        """The calling thread, as this pool knows it."""
        try:
            return self._marks.mark  # type: ignore[no-any-return]
        except AttributeError:
            mark = self._marks.mark = ThreadMark(self.returned)
            return mark

    def end_lease(self, lease: Lease) -> None:
        """Give a lease back, from any thread."""
        with self.lock:
            closed = self._take_back(lease)
            if self.returned:
                closed += self.drain()
        self.close_all(closed)

    def end_call(self, lease: Lease, *, interrupted: bool) -> None:
        """A call is over; where the lease was given back meanwhile, so is the lease."""
        with self.lock:
            lease.busy = False
            closed = self._give_back(lease)
            if interrupted or lease.ending or self.closing.is_set():
                closed += self._settle(lease, interrupted=interrupted)
        if closed:
            self.close_all(closed)

    def _settle(self, lease: Lease, *, interrupted: bool) -> Closed:
        """Do what has waited for the end of a call; returns what is to be closed. The caller holds the lock."""
        closed = self.shelf.left_by(lease.owner) if interrupted else []
        if lease.ending:
            closed += self._take_back(lease)
        if self.closing.is_set():
            if not self.patient:  # `close` is over: nobody else will let go of it
                closed += [(idle, "pool") for idle in self.shelf.clear()]
            self.calm.notify_all()
        return closed

    def _give_back(self, lease: Lease) -> Closed:
        """Put what an exchange has used on the shelf; returns what is to be closed. The caller holds the lock."""
        connection = lease.connection
        if connection in self.shelf.busy and connection.last_user is lease.owner:
            return self.shelf.put_back(connection)
        return []  # there was none, or it is another lease's by now

    def count(self, **changes: float) -> None:
        """Add to the statistics."""
        with self.lock:
            for name, change in changes.items():
                self.counts[name] += change

    def _take_back(self, lease: Lease) -> Closed:
        """End a lease; returns what is to be closed. The caller holds the lock."""
        if not self.leases.end(lease):
            return []
        self.counts["requests"] += lease.stream.sent
        lease.stream.sent = 0
        connection, lease.connection = lease.connection, None
        return self.shelf.end_of(lease.stream, connection, kept=lease.key is not None)

    def drain(self) -> Closed:
        """Take back the leases that finalisers and dead threads have left; returns what is to be closed.

        The caller holds the lock.
        """
        closed: Closed = []
        while self.returned:
            lease = self.returned.popleft()
            lease.busy = False  # its socket or its thread is gone, so no call of it is under way
            closed += self._take_back(lease)
        return closed

    # --- connections

    def take(self, lease: Lease, caller: object, deadline: Deadline) -> Connection:
        """A connection for an exchange, polled, from the shelf or dialled.

        Raises:
            MisuseError, PoolClosed: the lease has ended, or the pool is closed; a call that has begun may go on.
        """
        stream, before = lease.stream, lease.connection
        while True:
            failed: Closed = []
            with self.lock:
                if lease.busy:
                    failed = self._give_back(lease)  # of the attempt before
                elif not lease.active:
                    raise MisuseError("this lease has ended: its socket was given back to the pool")
                elif self.closing.is_set():
                    raise closed_error()
                lease.busy = True
                connection, closed = self.shelf.pick(stream, lease.owner, lease.connection)
                lease.connection = connection
            if failed or closed:
                self.close_all(failed + closed)
            if connection is None:
                connection = self._dial(lease, caller, deadline)
            else:
                try:
                    connection.poll()
                except ConnectionLost:
                    with self.lock:
                        self.shelf.drop(connection)
                        self.counts["closed_stale"] += 1
                    continue
            if connection is not before and stream.is_elsewhere(connection):
                self.count(reconnects=1)
            return connection

    def _dial(self, lease: Lease, caller: object, deadline: Deadline) -> Connection:
        connection: Connection | None = None
        try:
            connection = self.gate.dial(functools.partial(self._connect, caller), caller, deadline)
            return connection
        finally:
            with self.lock:
                self._aborts.pop(caller, None)
                self.shelf.dialled(connection, lease.owner)
                lease.connection = connection
                self.counts["created"] += connection is not None
                if self.closing.is_set():
                    self.calm.notify_all()

    def _connect(self, caller: object, deadline: Deadline) -> Connection:
        def watch(abort: Callable[[], None]) -> None:
            with self.lock:
                if self.closing.is_set() and not self.patient:
                    raise closed_error()
                self._aborts[caller] = abort

        return self.settings.connect(deadline, watch)

    def close_all(self, closed: Closed) -> None:
        """Close what the shelf has taken out. Without the lock."""
        if not closed:
            return
        for connection, _ in closed:
            connection.retire()
        for _, reason in closed:
            self.count(**{f"closed_{reason}": 1})

    # --- the end

    def close(self, timeout: float) -> None:
        """See `StreamPool.close`."""
        deadline = Deadline(timeout)
        with self.lock:
            self.closing.set()
            self.leases.refuse_all(closed_error)
            closed = self.drain()
            idle = self.shelf.clear()
            self.counts["closed_pool"] += len(idle)
        self.close_all(closed)
        self.gate.end(closed_error())
        for connection in idle:
            connection.close(max(min(deadline.remaining(), 1.0), 0.05))
        with self.lock:
            while self.shelf.busy or self.shelf.dialling:
                left = deadline.remaining()
                if left == 0.0:
                    break
                self.calm.wait(min(left, threading.TIMEOUT_MAX))
            self.patient = False
            late = [connection.abort for connection in self.shelf.busy] + list(self._aborts.values())
        for abort in late:
            abort()
        with self.lock:
            idle = self.shelf.clear()
            self.counts["closed_pool"] += len(idle)
        for connection in idle:
            connection.retire()

    def let_go(self, *, hooked: bool) -> None:
        """In a forked child: none of this is ours. No lock is taken: its holder may not exist here."""
        for connection in [*self.shelf.idle, *self.shelf.busy]:
            connection.let_go(close=hooked)
        self.shelf.idle.clear()
        self.shelf.busy.clear()


def _new_stream(settings: PoolSettings) -> Stream:
    return Stream(settings.window_ms, preserve=settings.preserve_window)


def closed_error() -> PoolClosed:
    """What everybody gets once the pool is closed."""
    return PoolClosed("the pool is closed")
