"""A pool in one process: its leases, its connections, its gate, its counts, and their one lock."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable

import attrs

from ..errors import ConnectionLost, PoolClosed, PoolTimeout
from ..net import fork
from ..net.connection import Connection
from ..net.deadline import Deadline
from ..net.gate import Gate
from ..net.retry import RetryPolicy
from .exchange import Stream
from .leases import Lease, Leases, ThreadMark, Waiter
from .shelf import Closed, Shelf
from .sole import Connect
from .window import StreamWindow

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
        self.calm = threading.Condition(self.lock)  # told whenever a connection stops being busy
        self.closing = threading.Event()
        self.patient = True  # False once closing has run out of time: no new socket is begun
        self.gate = Gate(settings.policy)
        self.shelf = Shelf(settings.max_size, settings.max_idle, settings.max_lifetime)
        self.returned: deque[Lease] = deque()  # finalisers put leases here: they may take no lock
        self.counts: defaultdict[str, float] = defaultdict(float)
        self._marks = threading.local()
        self._aborts: dict[object, Callable[[], None]] = {}  # of sockets being dialled, by the call that dials
        self.leases = Leases(
            settings.max_size, settings.max_waiting, settings.max_stream_idle, functools.partial(_new_stream, self)
        )
        fork.watch(self)

    # --- leases

    def acquire(self, key: Hashable | None, deadline: Deadline, where: str) -> Lease:
        """Wait for a lease."""
        mark = self.mark()
        waiter = Waiter(key)
        began = time.monotonic()
        try:
            with self.lock:
                if self.closing.is_set():
                    raise closed_error()
                closed = self.drain()
                self.leases.forget_idle()
                self.leases.ask(waiter, mark)
            self.close_all(closed)
            self._wait(waiter, deadline)
            with self.lock:
                if waiter.refused is not None:
                    raise waiter.refused
                return self.leases.begin(waiter, mark, where, self.returned.append)
        except BaseException:  # Ctrl-C too: whatever it had come to is given back
            with self.lock:
                self.leases.leave_queue(waiter)
            raise
        finally:
            self.count(wait_seconds=time.monotonic() - began)

    def _wait(self, waiter: Waiter, deadline: Deadline) -> None:
        while not waiter.wait(min(deadline.remaining(), _DRAIN_EVERY)):
            with self.lock:
                closed = self.drain()
                granted, held, waiting = waiter.granted, self.leases.held, self.leases.waiting
            self.close_all(closed)
            if not granted and deadline.expired():
                raise PoolTimeout(f"no lease came free in time ({held} are held, {waiting} callers wait)")

    def mark(self) -> ThreadMark:
        """The calling thread, as this pool knows it."""
        mark: ThreadMark | None = getattr(self._marks, "mark", None)
        if mark is None:
            mark = self._marks.mark = ThreadMark()
        return mark

    def end_lease(self, lease: Lease) -> None:
        """Give a lease back, from any thread."""
        with self.lock:
            closed = self.take_back(lease) + self.drain()
        self.close_all(closed)

    def end_call(self, lease: Lease, thread: ThreadMark) -> None:
        """A call is over; where the lease was given back meanwhile, so is the lease."""
        with self.lock:
            closed = self.shelf.left_by(thread.name)
            lease.busy = False
            if lease.ending:
                closed += self.take_back(lease)
            if closed:
                self.calm.notify_all()
        self.close_all(closed)

    def count(self, **changes: float) -> None:
        """Add to the statistics."""
        with self.lock:
            for name, change in changes.items():
                self.counts[name] += change

    def take_back(self, lease: Lease) -> Closed:
        """End a lease; returns what is to be closed. The caller holds the lock."""
        return self.shelf.end_of(lease.stream, kept=lease.key is not None) if self.leases.end(lease) else []

    def drain(self) -> Closed:
        """Take back the leases that finalisers and dead threads have left; returns what is to be closed.

        The caller holds the lock.
        """
        closed: Closed = []
        while self.returned:
            lease = self.returned.popleft()
            lease.busy = False  # its socket or its thread is gone, so no call of it is under way
            closed += self.take_back(lease)
        return closed

    # --- connections

    def take(self, lease: Lease, caller: object, deadline: Deadline) -> Connection:
        """A connection for an exchange, polled, from the shelf or dialled."""
        thread = self.mark().name
        while True:
            with self.lock:
                if self.closing.is_set() and not lease.busy:
                    raise closed_error()
                connection, closed = self.shelf.pick(lease.stream, thread)
            self.close_all(closed)
            if connection is None:
                return self._dial(caller, thread, deadline)
            try:
                connection.poll()
            except ConnectionLost:
                with self.lock:
                    self.shelf.drop(connection)
                    self.counts["closed_stale"] += 1
            else:
                return connection

    def _dial(self, caller: object, thread: object, deadline: Deadline) -> Connection:
        connection: Connection | None = None
        try:
            connection = self.gate.dial(functools.partial(self._connect, caller), caller, deadline)
            return connection
        finally:
            with self.lock:
                self._aborts.pop(caller, None)
                self.shelf.dialled(connection, thread)
                self.counts["created"] += connection is not None
                self.calm.notify_all()

    def _connect(self, caller: object, deadline: Deadline) -> Connection:
        def watch(abort: Callable[[], None]) -> None:
            with self.lock:
                if self.closing.is_set() and not self.patient:
                    raise closed_error()
                self._aborts[caller] = abort

        return self.settings.connect(deadline, watch)

    def give_back(self, connection: Connection) -> None:
        """An exchange is over."""
        with self.lock:
            closed = self.shelf.put_back(connection)
            if not self.patient:  # `close` is over: nobody else will let go of it
                closed += [(connection, "pool") for connection in self.shelf.clear()]
            self.calm.notify_all()
        self.close_all(closed)

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


def _new_stream(state: PoolState) -> Stream:
    return Stream(StreamWindow(state.settings.window_ms, preserve=state.settings.preserve_window))


def closed_error() -> PoolClosed:
    """What everybody gets once the pool is closed."""
    return PoolClosed("the pool is closed")
