"""A pool in one process: its leases, its connections, its gate, its counts, and their one lock."""

from __future__ import annotations

import functools
import gc
import logging
import os
import threading
from collections import defaultdict, deque
from collections.abc import Hashable
from types import FrameType

from ..errors import ConnectionLost, MisuseError, PoolClosed, PoolTimeout
from ..locks import make_lock
from ..net import clock, fork
from ..net.condition import Condition
from ..net.connection import Connection
from ..net.deadline import Deadline
from ..net.gate import Gate
from ..net.interrupts import from_outside
from ..net.pending import Pending
from .holders import Crowd
from .leases import Lease, Leases, PoolThread, ThreadLife, Waiter
from .named import NamedStreams
from .settings import PoolSettings
from .shelf import Closed, Shelf

__all__ = ["PoolState", "closed_error"]

_log = logging.getLogger("hume_sync.pool")

_LOOK_EVERY = 0.5
"""Seconds between two looks at what finalisers have given back, and at the pool's end, while somebody waits."""

_FIRST_LOOK = 0.1
"""Seconds until the first: another thread that was handed a lease has begun to use it by then."""


class PoolState:
    """A pool in one process.

    `lock` guards it all, but for what a lease has of its own, and is never held over I/O or a caller's code. Who needs
    both takes the lease's lock first. Finalisers and signal handlers may run in the middle of what it guards, in the
    very thread that holds it: what they call asks for that (`_is_inside`), and leaves the work to others then.
    """

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self.pid = os.getpid()
        self.lock = make_lock()
        self.changed = Condition(self.lock)  # told of the pool's end, and then when a connection stops being busy
        self.closing = False
        self.patient = True  # False once closing has run out of time: no new socket is begun
        self.gate = Gate(settings.policy, settings.name, fail_fast=settings.fail_fast)
        self.shelf = Shelf(settings.max_size, settings.limits)
        self.returned: deque[Lease] = deque()  # finalisers put leases here: they may take no lock
        self.counts: defaultdict[str, float] = defaultdict(float)
        self._threads = threading.local()
        self.leases = Leases(
            settings.max_size,
            settings.max_waiting,
            settings.new_stream,
            NamedStreams(
                settings.new_stream, settings.max_stream_idle, settings.max_streams, settings.max_stream_bytes
            ),
        )
        fork.watch(self)

    # --- leases

    def acquire(self, key: Hashable | None, timeout: float, frame: FrameType) -> Lease:
        """Wait for a lease, for the ``with`` block in that frame."""
        lease, waiter, full = Lease(key, self.thread(), frame), None, None
        try:
            with self.lock:
                if self.closing:
                    raise closed_error()
                closed = self.drain() if self.returned else None
                self.leases.named.forget_idle()
                if not self.leases.begin(lease):
                    if self.settings.fail_fast and (cause := self.gate.cause):
                        raise cause
                    if self.leases.is_full:
                        full = Crowd.around(lease, self.leases)
                        self.counts["rejected"] += 1
                    else:
                        waiter = self.leases.queue(lease)
            if closed:
                self.close_all(closed)
            if full is not None:
                raise full.full()
            if waiter is not None:
                self._wait(waiter, Deadline(timeout))
        except BaseException:  # Ctrl-C too: whatever it had come to is given back
            with self.lock:
                if waiter is not None:
                    self.leases.leave_queue(waiter)
                self.leases.end(lease)
            raise
        return lease

    def _wait(self, waiter: Waiter, deadline: Deadline) -> None:
        began, pause = clock.monotonic(), _FIRST_LOOK
        use: object = None
        try:
            while not waiter.wait(min(deadline.remaining(), pause)):
                pause = _LOOK_EVERY
                self._search()
                with self.lock:
                    closed = self.drain()
                    if waiter.answered:  # (its wake-up call was interrupted)
                        break
                    if self.closing:
                        raise closed_error()
                    crowd = Crowd.around(waiter.lease, self.leases)
                self.close_all(closed)
                before, use = use, crowd.use
                if crowd.would_wait_for_itself and (crowd.blocks or use == before):
                    raise self._timed_out(crowd.dead_lock())
                if cause := self.gate.cause:
                    if self.settings.fail_fast or deadline.expired():
                        raise cause from crowd.timeout()  # why nobody gives a lease back
                elif deadline.expired():
                    raise self._timed_out(crowd.timeout())
        finally:
            self.count(wait_seconds=clock.monotonic() - began)
        if waiter.refused is not None:
            raise waiter.refused

    def _timed_out(self, error: PoolTimeout) -> PoolTimeout:
        self.count(timeouts=1)
        return error

    def _search(self) -> None:
        """Have garbage collected, once, for each lease whose thread has ended: its socket may be part of it."""
        with self.lock:
            lost = [lease for lease in self.leases.out if not lease.searched and lease.thread.ended]
            for lease in lost:
                lease.searched = True
        if lost:
            gc.collect()

    def thread(self) -> PoolThread:
        """The calling thread, as this pool knows it."""
        try:
            return self._threads.thread  # type: ignore[no-any-return]  # a thread-local has no types
        except AttributeError:
            life = self._threads.life = ThreadLife()
            thread = self._threads.thread = PoolThread(life)
            return thread

    def check(self, lease: Lease) -> None:
        """Before a call on a lease that was flagged.

        Raises:
            MisuseError, PoolClosed: it may not begin.
        """
        if not lease.active or lease.ending:
            raise MisuseError("this lease has ended: its socket was given back to the pool")
        if self.closing:
            raise closed_error()

    def _is_inside(self) -> bool:
        """Whether this thread was interrupted, by a finaliser or a signal handler, while it holds the pool's lock."""
        return self.lock._is_owned()  # type: ignore[attr-defined, no-any-return]  # what threading.Condition asks it

    def end_lease(self, lease: Lease) -> None:
        """Give a lease back, from any thread; where a call is under way, at its end."""
        lease.ending = lease.flagged = True
        if self._is_inside():
            self.returned.append(lease)
        else:
            self.settle(lease)

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
            if not (lease.ending and lease.active) and not (lease.connection and self.closing):
                return

    def _settle(self, lease: Lease) -> Closed:
        """The same, for the holder of both locks; returns what is to be closed."""
        closed = self.drain() if self.returned else []
        lease.flagged = False  # before it is looked at: who flags it from now on is seen above
        if lease.interrupted:
            lease.interrupted = False
            closed += self.shelf.left_by(lease, lease.connection)
        if lease.ending:
            closed += self._take_back(lease)
        if self.closing:
            lease.flagged = True
            closed += self._unhand(lease)
            if not self.patient:  # `close` is over: nobody else will let go of it
                closed += [(idle, "pool") for idle in self.shelf.clear()]
            self.changed.notify_all()
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
        """Take back the leases that finalisers have left; returns what is to be closed. The caller holds the lock."""
        closed: Closed = []
        while self.returned:
            lease = self.returned.popleft()
            if lease.dropped:  # nobody can be in a call
                closed += self._take_back(lease)
            elif lease.lock.seize():  # else the end of the call under way is its end
                try:
                    closed += self._take_back(lease)
                finally:
                    lease.lock.release()
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
        check_after, thread = self.settings.limits.check_after, self.thread()
        if thread is not lease.thread:
            lease.shared = True
        while True:
            with self.lock:
                if not lease.active:  # another thread, or a signal handler, has just ended it
                    self.check(lease)
                connection, closed = self.shelf.pick(lease.stream, thread, lease, unchecked=checked)
                lease.connection = connection
            if connection is not None:
                _log.debug("%s: reusing connection %d", self.settings.name, connection.epoch)
            if closed:
                self.close_all(closed)
            if not self.patient:  # looked at last: `abort` does not see what is taken after it
                raise closed_error()
            if connection is None:
                return self._dial(lease, thread, caller, deadline)
            suspect = connection.may_be_dead(connection.taken, check_after)
            if (not suspect and connection.is_quiet()) or self._is_there(lease, connection, deadline):
                return connection
            checked = checked or suspect

    def _dial(self, lease: Lease, thread: PoolThread, caller: object, deadline: Deadline) -> Connection:
        connection: Connection | None = None
        try:
            connection = self.gate.dial(functools.partial(self._connect, lease), caller, deadline)
            self._dialled(lease, thread, connection)
        except BaseException:
            if lease.pending is not None:
                lease.pending.release()
            if connection is not None:
                connection.discard()
            self._dialled(lease, thread, None)
            raise
        return connection

    def _dialled(self, lease: Lease, thread: PoolThread, connection: Connection | None) -> None:
        """A dial has ended, with a connection or without one."""
        with self.lock:
            self.shelf.dialled(connection, thread, lease)
            lease.connection = connection
            lease.pending = None
            self.counts["created"] += connection is not None
            if self.closing:
                self.changed.notify_all()

    def _connect(self, lease: Lease, deadline: Deadline) -> Connection:
        def watch(pending: Pending) -> None:
            lease.pending = pending
            if not self.patient:  # looked at last: `abort` does not see what is taken after it
                raise closed_error()

        return self.settings.connect(deadline, watch)

    def close_all(self, closed: Closed) -> None:
        """Close what the shelf has taken out. Without the lock."""
        if not closed:
            return
        for connection, reason in closed:
            _log.debug("%s: closing connection %d: %s", self.settings.name, connection.epoch, reason)
            connection.retire()
            self.shelf.doomed.pop(connection, None)
        for _, reason in closed:
            self.count(**{f"closed_{reason}": 1})

    # --- the end

    def close(self, timeout: float) -> None:
        """See `StreamPool.close`."""
        deadline = Deadline(timeout)
        self._refuse_newcomers()
        for connection in self._clear():
            connection.close(max(min(deadline.remaining(), 1.0), 0.05))
            self.shelf.doomed.pop(connection, None)
        self.changed.wait_for(lambda: True if self.is_calm or not self.patient else None, deadline)
        self.patient = False
        self._cut_off()
        for connection in self._clear():
            connection.retire()
            self.shelf.doomed.pop(connection, None)

    def abort(self) -> None:
        """See `StreamPool.abort`. May be called by a signal handler or a finaliser, whatever that interrupts."""
        self.closing = True
        self.patient = False
        self._cut_off()
        if self._is_inside():
            return  # who waits looks twice a second; what is idle ends with the pool
        idle = self._clear()
        self._refuse_newcomers()
        for connection in idle:
            connection.discard()
            self.shelf.doomed.pop(connection, None)
        self._cut_off()  # what began meanwhile

    def _refuse_newcomers(self) -> None:
        with self.lock:
            for lease in self.leases.out:
                lease.flagged = True  # before `closing` is to be seen
            self.closing = True
            self.leases.refuse_all(closed_error)
            closed = self.drain()
            out = list(self.leases.out)
            self.changed.notify_all()
        self.close_all(closed)
        self.gate.end(closed_error())
        for lease in out:
            self.settle(lease)

    def _cut_off(self) -> None:
        """End the calls under way. Takes no lock: each step is a single one."""
        for connection in list(self.shelf.leased):
            connection.abort()
        for lease in list(self.leases.out):
            if (pending := lease.pending) is not None:
                pending.abort()

    @property
    def is_calm(self) -> bool:
        """Whether no connection is in use or being dialled. The caller holds the lock."""
        return not self.shelf.leased and not self.shelf.dialling

    def sleep(self, seconds: float) -> None:
        """Wait, or raise `PoolClosed` as soon as the pool is closed."""
        if self.changed.wait_for(lambda: self.closing or None, Deadline(seconds)):
            raise closed_error()

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
