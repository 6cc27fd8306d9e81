"""A pool in one process: its leases, its connections, its gate, its counts, and their one lock."""

from __future__ import annotations

import functools
import os
import threading
from collections import defaultdict, deque
from collections.abc import Hashable

from ..errors import ConnectionLost, MisuseError, PoolClosed, PoolTimeout
from ..net import clock, fork
from ..net.connection import Connection
from ..net.deadline import Deadline
from ..net.gate import Gate
from ..net.interrupts import from_outside
from ..net.latch import Latch
from ..net.pending import Pending
from .leases import Lease, Leases, Place, ThreadMark, Waiter
from .settings import PoolSettings
from .shelf import Closed, Shelf

__all__ = ["PoolState", "closed_error"]

_DRAIN_EVERY = 1.0
"""Seconds between two looks at what finalisers have given back, while somebody waits."""


class PoolState:
    """A pool in one process.

    `lock` guards it all, but for what a lease has of its own, and is never held over I/O or a caller's code. Who needs
    both takes the lease's lock first.
    """

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.calm = threading.Condition(self.lock)  # told, once closing, whenever a connection stops being busy
        self.closing = Latch()
        self.patient = True  # False once closing has run out of time: no new socket is begun
        self.gate = Gate(settings.policy)
        self.shelf = Shelf(settings.max_size, settings.limits)
        self.returned: deque[Lease] = deque()  # finalisers put leases here: they may take no lock
        self.counts: defaultdict[str, float] = defaultdict(float)
        self._marks = threading.local()
        self.leases = Leases(
            settings.max_size,
            settings.max_waiting,
            settings.max_stream_idle,
            settings.new_stream,
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
            if closed:
                self.close_all(closed)
            return lease or self._wait(waiter, Deadline(timeout))
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

    def _wait(self, waiter: Waiter | None, deadline: Deadline) -> Lease:
        assert waiter is not None
        began = clock.monotonic()
        try:
            while not waiter.wait(min(deadline.remaining(), _DRAIN_EVERY)):
                with self.lock:
                    closed = self.drain()
                    answered, held, waiting = waiter.came.is_set(), len(self.leases.out), self.leases.waiting
                self.close_all(closed)
                if not answered and deadline.expired():
                    raise PoolTimeout(f"no lease came free in time ({held} are held, {waiting} callers wait)")
        finally:
            self.count(wait_seconds=clock.monotonic() - began)
        if waiter.refused is not None:
            raise waiter.refused
        assert waiter.lease is not None
        return waiter.lease

    def mark(self) -> ThreadMark:
        """The calling thread, as this pool knows it."""
        try:
            return self._marks.mark  # type: ignore[no-any-return]  # a thread-local has no types
        except AttributeError:
            mark = self._marks.mark = ThreadMark(self.returned)
            return mark

    def check(self, lease: Lease) -> None:
        """Before a call on a lease that was flagged.

        Raises:
            MisuseError, PoolClosed: it may not begin.
        """
        if not lease.active or lease.ending:
            raise MisuseError("this lease has ended: its socket was given back to the pool")
        if self.closing.is_set():
            raise closed_error()

    def end_lease(self, lease: Lease) -> None:
        """Give a lease back, from any thread; where a call is under way, at its end."""
        if lease.lock.holder is not None or lease.owner is not self.mark().name:
            lease.ending = lease.flagged = True
            self.settle(lease)
            return
        with self.lock:  # its own thread, which is in no call: nobody else can begin one
            closed = self._take_back(lease)
            if self.returned:
                closed += self.drain()
        if closed:
            self.close_all(closed)

    def settle(self, lease: Lease) -> None:
        """Do what a lease was flagged for, unless a call is under way: the end of that one comes here too."""
        while lease.lock.seize():
            try:
                with self.lock:
                    closed = self._settle(lease)
            finally:
                lease.lock.release()
            if closed:
                self.close_all(closed)
            # Whoever flags it while we hold its lock cannot take that, and so leaves it to us.
            if not (lease.ending and lease.active) and not (lease.connection and self.closing.is_set()):
                return

    def _settle(self, lease: Lease) -> Closed:
        """The same, for the holder of both locks; returns what is to be closed."""
        closed = self.drain() if self.returned else []
        lease.flagged = False  # before it is looked at: who flags it from now on is seen above
        if lease.interrupted:
            lease.interrupted = False
            closed += self.shelf.left_by(lease.owner, lease.connection)
        if lease.ending:
            closed += self._take_back(lease)
        if self.closing.is_set():
            lease.flagged = True
            closed += self._unhand(lease)
            if not self.patient:  # `close` is over: nobody else will let go of it
                closed += [(idle, "pool") for idle in self.shelf.clear()]
            self.calm.notify_all()
        return closed

    def count(self, **changes: float) -> None:
        """Add to the statistics."""
        with self.lock:
            for name, change in changes.items():
                self.counts[name] += change

    def _take_back(self, lease: Lease) -> Closed:
        """End a lease; returns what is to be closed. The caller holds the lock."""
        if not lease.active:
            return []
        self.counts["requests"] += lease.stream.sent
        lease.stream.sent = 0
        closed = self._unhand(lease)
        self.leases.end(lease)
        return closed

    def _unhand(self, lease: Lease) -> Closed:
        """Part a lease from its connection; returns what is to be closed. The caller holds the lock."""
        connection, lease.connection = lease.connection, None
        if connection is None:
            return []
        try:
            return self.shelf.put_back(connection, lease.stream, kept=lease.key is not None)
        except BaseException:
            self.shelf.abandon(connection)
            raise

    def drain(self) -> Closed:
        """Take back the leases that finalisers and dead threads have left; returns what is to be closed.

        The caller holds the lock, and no call of these can be under way: its socket or its thread is gone.
        """
        closed: Closed = []
        while self.returned:
            closed += self._take_back(self.returned.popleft())
        return closed

    # --- connections

    def take(self, lease: Lease, caller: object, deadline: Deadline) -> Connection:
        """The connection for an exchange, polled: the lease's own, else one from the shelf, else a new one."""
        connection, checked = lease.connection, False
        if connection is not None:
            now = connection.taken = clock.boottime()
            why = self.settings.limits.expired(connection, now) if connection.sound else "error"
            if why is not None:
                self._drop(lease, connection, why)
            elif self._is_there(lease, connection, deadline):
                return connection
            else:
                checked = connection.may_be_dead(now, self.settings.limits.check_after)
        try:
            found = self._find(lease, caller, deadline, checked=checked)
        except BaseException:
            lease.interrupted = lease.flagged = True  # a signal may have left something half taken
            raise
        if lease.stream.is_elsewhere(found):
            self.count(reconnects=1)
        return found

    def _is_there(self, lease: Lease, connection: Connection, deadline: Deadline) -> bool:
        try:
            self.settings.limits.confirm(connection, deadline)
        except ConnectionLost as exc:
            self._drop(lease, connection, "stale")
            if from_outside(exc):
                raise
            return False
        return True

    def _drop(self, lease: Lease, connection: Connection, why: str) -> None:
        """Take a connection from its lease, which cannot go on with it."""
        with self.lock:
            lease.connection = None
            self.shelf.drop(connection)
        self.close_all([(connection, why)])

    def _find(self, lease: Lease, caller: object, deadline: Deadline, *, checked: bool) -> Connection:
        """Find or dial a connection. After a check in vain no other is checked: a call waits for one pong at most."""
        check_after = self.settings.limits.check_after
        while True:
            with self.lock:
                if not lease.active:  # a signal handler has just ended it
                    self.check(lease)
                if not self.patient:
                    raise closed_error()
                connection, closed = self.shelf.pick(lease.stream, lease.owner, unchecked=checked)
                lease.connection = connection
            if closed:
                self.close_all(closed)
            if connection is None:
                return self._dial(lease, caller, deadline)
            suspect = connection.may_be_dead(connection.taken, check_after)
            if (not suspect and connection.is_quiet()) or self._is_there(lease, connection, deadline):
                return connection
            checked = checked or suspect

    def _dial(self, lease: Lease, caller: object, deadline: Deadline) -> Connection:
        connection: Connection | None = None
        try:
            connection = self.gate.dial(functools.partial(self._connect, lease), caller, deadline)
            self._dialled(lease, connection)
        except BaseException:
            if lease.pending is not None:
                lease.pending.release()
            if connection is not None:
                connection.discard()
            self._dialled(lease, None)
            raise
        return connection

    def _dialled(self, lease: Lease, connection: Connection | None) -> None:
        """A dial has ended, with a connection or without one."""
        with self.lock:
            self.shelf.dialled(connection, lease.owner)
            lease.connection = connection
            lease.pending = None
            self.counts["created"] += connection is not None
            if self.closing.is_set():
                self.calm.notify_all()

    def _connect(self, lease: Lease, deadline: Deadline) -> Connection:
        def watch(pending: Pending) -> None:
            with self.lock:
                if self.closing.is_set() and not self.patient:
                    raise closed_error()
                lease.pending = pending

        return self.settings.connect(deadline, watch)

    def close_all(self, closed: Closed) -> None:
        """Close what the shelf has taken out. Without the lock."""
        if not closed:
            return
        for connection, _ in closed:
            connection.retire()
            self.shelf.doomed.pop(connection, None)
        for _, reason in closed:
            self.count(**{f"closed_{reason}": 1})

    # --- the end

    def close(self, timeout: float) -> None:
        """See `StreamPool.close`."""
        deadline = Deadline(timeout)
        with self.lock:
            for lease in self.leases.out:
                lease.flagged = True  # before `closing` is to be seen
            self.closing.set()
            self.leases.refuse_all(closed_error)
            closed = self.drain()
            out = list(self.leases.out)
        self.close_all(closed)
        self.gate.end(closed_error())
        for lease in out:
            self.settle(lease)
        for connection in self._clear():
            connection.close(max(min(deadline.remaining(), 1.0), 0.05))
            self.shelf.doomed.pop(connection, None)
        with self.lock:
            while self.shelf.leased or self.shelf.dialling:
                left = deadline.remaining()
                if left == 0.0:
                    break
                self.calm.wait(min(left, threading.TIMEOUT_MAX))
            self.patient = False
            late = [connection.abort for connection in self.shelf.leased]
            late += [lease.pending.abort for lease in self.leases.out if lease.pending is not None]
        for abort in late:
            abort()
        for connection in self._clear():
            connection.retire()
            self.shelf.doomed.pop(connection, None)

    def _clear(self) -> list[Connection]:
        """Take out what is idle, and what a signal has kept from being closed."""
        with self.lock:
            self.counts["closed_pool"] += len(self.shelf.clear())
            return list(self.shelf.doomed)

    @property
    def running(self) -> int:
        """Connections in use this very moment, or being dialled. The caller holds the lock."""
        leases = [lease for lease in self.leases.out if lease.connection and lease.lock.holder]
        return len(leases) + len(self.shelf.dialling)

    def let_go(self, *, hooked: bool) -> None:
        """In a forked child: none of this is ours. No lock is taken: its holder may not exist here."""
        for connection in [*self.shelf.idle, *self.shelf.leased]:
            connection.let_go(close=hooked)
        self.shelf.idle.clear()
        self.shelf.leased.clear()


def closed_error() -> PoolClosed:
    """What everybody gets once the pool is closed."""
    return PoolClosed("the pool is closed")
