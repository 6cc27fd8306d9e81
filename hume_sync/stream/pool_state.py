"""The state of a pool in one process: leases, connections, circuit breaker and statistics, under one lock."""

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
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.pending import Pending
from .breaker import CircuitBreaker
from .connection import Connection
from .connections import PooledConnections, ToClose
from .lease_report import LeaseReport
from .leases import Lease, LeaseQueue, PoolThread, ThreadToken, WaitingClient
from .named_streams import NamedStreams
from .pool_settings import PoolSettings

__all__ = ["PoolState", "closed_error"]

_log = logging.getLogger("hume_sync.pool")

_CHECK_INTERVAL = 0.5
"""Seconds between two checks for abandoned leases and for closing while a caller waits."""

_FIRST_CHECK = 0.1
"""Seconds until the first check: another thread that was handed a lease uses it by then."""


_COUNTERS = (
    "requests", "errors", "created", "closed_error", "closed_idle", "closed_lifetime", "closed_stale",
    "closed_evicted", "closed_faces", "closed_clock", "closed_pool", "reconnects", "replays", "replayed_bytes",
    "skipped", "wait_seconds", "timeouts", "rejected",
)  # fmt: skip


class PoolState:
    """The state of a pool in one process.

    `lock` guards all fields except those of a lease, and is never held during I/O or a caller's code. Lock order: the
    lock of a lease, then this one. Finalisers and signal handlers may run in the thread that holds the lock; methods
    they call check that (`_is_inside`) and defer their work.
    """

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self.pid = os.getpid()
        self.lock = make_lock()
        self.changed = Condition(self.lock)  # notified when closing starts, then each time a connection becomes idle
        self.closing = False
        self.accepts_connects = True  # False once `close` is over, or after `abort`
        self.breaker = CircuitBreaker(settings.policy, settings.name, fail_fast=settings.fail_fast)
        self.connections = PooledConnections(settings.max_size, settings.limits)
        self.abandoned: deque[Lease] = deque()  # appended to by finalisers, which may take no lock
        self.counters: defaultdict[str, float] = defaultdict(float)
        self._threads = threading.local()
        self.leases = LeaseQueue(
            settings.max_size,
            settings.max_waiting,
            settings.new_stream,
            NamedStreams(
                settings.new_stream, settings.max_stream_idle, settings.max_streams, settings.max_stream_bytes
            ),
        )
        fork.register(self)

    # --- leases

    def acquire(self, key: Hashable | None, timeout: float, frame: FrameType) -> Lease:
        """Acquire a lease for the ``with`` block in that frame, waiting if necessary."""
        lease, waiter, full = Lease(key, self.thread(), frame), None, None
        try:
            with self.lock:
                if self.closing:
                    raise closed_error()
                to_close = self.reclaim_abandoned() if self.abandoned else None
                self.leases.named.expire()
                if not self.leases.try_acquire(lease):
                    if self.settings.fail_fast and (cause := self.breaker.cause):
                        raise cause
                    if self.leases.is_full:
                        full = LeaseReport.create(lease, self.leases)
                        self.counters["rejected"] += 1
                    else:
                        waiter = self.leases.enqueue(lease)
            if to_close:
                self.close_connections(to_close)
            if full is not None:
                raise full.full()
            if waiter is not None:
                self._wait_for_lease(waiter, Deadline(timeout))
        except BaseException:  # Ctrl-C too: undo what was done
            with self.lock:
                if waiter is not None:
                    self.leases.cancel(waiter)
                self.leases.release(lease)
            raise
        return lease

    def _wait_for_lease(self, waiter: WaitingClient, deadline: Deadline) -> None:
        began, pause = clock.monotonic(), _FIRST_CHECK
        usage: object = None
        try:
            while not waiter.wait(min(deadline.remaining(), pause)):
                pause = _CHECK_INTERVAL
                self._collect_garbage()
                with self.lock:
                    to_close = self.reclaim_abandoned()
                    if waiter.ready:  # (a signal interrupted `wake`)
                        break
                    if self.closing:
                        raise closed_error()
                    report = LeaseReport.create(waiter.lease, self.leases)
                self.close_connections(to_close)
                last_usage, usage = usage, report.usage
                if report.is_deadlock and (report.entered_by_with or usage == last_usage):
                    raise self._timed_out(report.deadlock())
                if cause := self.breaker.cause:
                    if self.settings.fail_fast or deadline.expired():
                        raise cause from report.timeout()  # the reason why no lease is released
                elif deadline.expired():
                    raise self._timed_out(report.timeout())
        finally:
            self.add_stats(wait_seconds=clock.monotonic() - began)
        if waiter.error is not None:
            raise waiter.error

    def _timed_out(self, error: PoolTimeout) -> PoolTimeout:
        self.add_stats(timeouts=1)
        return error

    def _collect_garbage(self) -> None:
        """Collect garbage once for each lease whose thread has ended: its socket may be unreachable."""
        with self.lock:
            lost = [lease for lease in self.leases.active if not lease.gc_checked and lease.thread.ended]
            for lease in lost:
                lease.gc_checked = True
        if lost:
            gc.collect()

    def thread(self) -> PoolThread:
        """Return the calling thread as known to this pool."""
        try:
            return self._threads.thread  # type: ignore[no-any-return]  # a thread-local has no types
        except AttributeError:
            life = self._threads.life = ThreadToken()
            thread = self._threads.thread = PoolThread(life)
            return thread

    def check_lease(self, lease: Lease) -> None:
        """Check whether a call on a lease with pending work may begin.

        Raises:
            MisuseError: The lease was released.
            PoolClosed: The pool is closed.
        """
        if not lease.active or lease.releasing:
            raise MisuseError("this lease has ended: its socket was given back to the pool")
        if self.closing:
            raise closed_error()

    def _is_inside(self) -> bool:
        """Return whether this thread holds the pool's lock, so that a finaliser or signal handler is running."""
        return self.lock._is_owned()  # type: ignore[attr-defined, no-any-return]  # what threading.Condition asks it

    def release(self, lease: Lease) -> None:
        """Release a lease, from any thread; a call in progress ends first."""
        lease.releasing = lease.has_pending = True
        if self._is_inside():
            self.abandoned.append(lease)
        else:
            self.process_pending(lease)

    def process_pending(self, lease: Lease) -> None:
        """Process the pending work of a lease, unless a call is in progress: its end comes here too."""
        while lease.lock.try_acquire():
            try:
                with self.lock:
                    to_close = self._process_pending(lease)
            finally:
                lease.lock.release()
            if to_close:
                self.close_connections(to_close)
            # A thread that adds work while we hold the lock cannot process it; check again before returning.
            if not (lease.releasing and lease.active) and not (lease.connection and self.closing):
                return

    def _process_pending(self, lease: Lease) -> ToClose:
        """Process the pending work of a lease; return the connections to close. Requires both locks."""
        to_close = self.reclaim_abandoned() if self.abandoned else []
        lease.has_pending = False  # first, so that work added from now on is seen by the caller
        if lease.interrupted:
            lease.interrupted = False
            to_close += self.connections.reclaim(lease, lease.connection)
        if lease.releasing:
            to_close += self._release(lease)
        if self.closing:
            lease.has_pending = True
            to_close += self._detach(lease)
            if not self.accepts_connects:  # `close` has returned, so close idle connections here
                to_close += [(idle, "pool") for idle in self.connections.pop_idle()]
            self.changed.notify_all()
        return to_close

    def forget(self, key: Hashable) -> None:
        """Forget the stream of that name."""
        with self.lock:
            self.leases.named.forget(key)

    def stats(self) -> dict[str, float]:
        """Return the statistics, as `StreamPool.stats` describes them."""
        with self.lock:
            to_close = self.reclaim_abandoned()
        self.close_connections(to_close)
        with self.lock:
            active, named, busy = self.leases.active, self.leases.named, self.busy
            counters = {**dict.fromkeys(_COUNTERS, 0.0), **self.counters}
            counters["requests"] += sum(lease.stream.sent for lease in active)
            return {
                **counters,
                "busy": busy,
                "idle": self.connections.size - busy,
                "waiting": self.leases.waiting,
                "leases": len(active),
                "streams": len(named),
                "stream_bytes": named.bytes,
                "evicted_streams": named.evicted,
            }

    def add_stats(self, **changes: float) -> None:
        """Add to the statistics."""
        with self.lock:
            for name, change in changes.items():
                self.counters[name] += change

    def _release(self, lease: Lease) -> ToClose:
        """End a lease; return the connections to close. Requires the lock."""
        if not lease.active:
            return []
        self.counters["requests"] += lease.stream.sent
        lease.stream.sent = 0
        to_close = self._detach(lease)
        self.leases.release(lease)
        return to_close

    def _detach(self, lease: Lease) -> ToClose:
        """Return a lease's connection to the pool; return the connections to close. Requires the lock."""
        connection, lease.connection = lease.connection, None
        if connection is None:
            return []
        try:
            return self.connections.checkin(connection, lease.stream, kept=lease.key is not None)
        except BaseException:
            self.connections.abandon(connection)
            raise

    def reclaim_abandoned(self) -> ToClose:
        """Release the leases that finalisers have left; return the connections to close. Requires the lock."""
        to_close: ToClose = []
        while self.abandoned:
            lease = self.abandoned.popleft()
            if lease.abandoned:  # no call can be in progress
                to_close += self._release(lease)
            elif lease.lock.try_acquire():  # else it is released at the end of the call
                try:
                    to_close += self._release(lease)
                finally:
                    lease.lock.release()
        return to_close

    # --- connections

    def connection_for(self, lease: Lease, caller: object, deadline: Deadline) -> Connection:
        """Return a checked connection: the lease's own, else an idle one, else a new one."""
        connection, ping_failed = lease.connection, False
        if connection is not None:
            now = connection.checked_out_at = clock.boottime()
            why = self.settings.limits.expired(connection, now) if connection.usable else "error"
            if why is not None:
                self._discard(lease, connection, why)
            elif self._is_alive(lease, connection, deadline):
                return connection
            else:
                ping_failed = connection.needs_ping(now, self.settings.limits.check_after)
        try:
            found = self._checkout_or_connect(lease, caller, deadline, ping_failed=ping_failed)
        except BaseException:
            lease.interrupted = lease.has_pending = True  # a signal may have interrupted the hand-over
            raise
        if lease.stream.needs_replay_on(found):
            self.add_stats(reconnects=1)
        return found

    def _is_alive(self, lease: Lease, connection: Connection, deadline: Deadline) -> bool:
        try:
            self.settings.limits.check_alive(connection, deadline)
        except ConnectionLost as exc:
            self._discard(lease, connection, "stale")
            if from_outside(exc):
                raise
            return False
        return True

    def _discard(self, lease: Lease, connection: Connection, why: str) -> None:
        """Remove a connection that is no longer usable from its lease, and close it."""
        with self.lock:
            lease.connection = None
            self.connections.remove(connection)
        self.close_connections([(connection, why)])

    def _checkout_or_connect(
        self, lease: Lease, caller: object, deadline: Deadline, *, ping_failed: bool
    ) -> Connection:
        """Check out or open a connection. After a failed ping no other is pinged: a call waits for one pong at most."""
        check_after, thread = self.settings.limits.check_after, self.thread()
        if thread is not lease.thread:
            lease.shared = True
        while True:
            with self.lock:
                if not lease.active:  # just released by another thread or a signal handler
                    self.check_lease(lease)
                connection, to_close = self.connections.checkout(
                    lease.stream, thread, lease, skip_if_ping_needed=ping_failed
                )
                lease.connection = connection
            if connection is not None:
                _log.debug("%s: reusing connection %d", self.settings.name, connection.epoch)
            if to_close:
                self.close_connections(to_close)
            if not self.accepts_connects:  # checked after it is published: `abort` closes only what it can see
                raise closed_error()
            if connection is None:
                return self._connect_for(lease, thread, caller, deadline)
            suspect = connection.needs_ping(connection.checked_out_at, check_after)
            if (not suspect and connection.is_quiet()) or self._is_alive(lease, connection, deadline):
                return connection
            ping_failed = ping_failed or suspect

    def _connect_for(self, lease: Lease, thread: PoolThread, caller: object, deadline: Deadline) -> Connection:
        connection: Connection | None = None
        try:
            connection = self.breaker.connect(functools.partial(self._connect, lease), caller, deadline)
            self._connect_finished(lease, thread, connection)
        except BaseException:
            if lease.pending is not None:
                lease.pending.release()
            if connection is not None:
                connection.discard()
            self._connect_finished(lease, thread, None)
            raise
        return connection

    def _connect_finished(self, lease: Lease, thread: PoolThread, connection: Connection | None) -> None:
        """Record the end of an attempt to open a connection; None if it failed."""
        with self.lock:
            self.connections.add(connection, thread, lease)
            lease.connection = connection
            lease.pending = None
            self.counters["created"] += connection is not None
            if self.closing:
                self.changed.notify_all()

    def _connect(self, lease: Lease, deadline: Deadline) -> Connection:
        def watch(pending: Pending) -> None:
            lease.pending = pending
            if not self.accepts_connects:  # checked after it is published: `abort` closes only what it can see
                raise closed_error()

        return self.settings.connect(deadline, watch)

    def close_connections(self, to_close: ToClose) -> None:
        """Close connections that were removed. Called without the lock."""
        if not to_close:
            return
        for connection, reason in to_close:
            _log.debug("%s: closing connection %d: %s", self.settings.name, connection.epoch, reason)
            connection.close_nowait()
            self.connections.closing.pop(connection, None)
        for _, reason in to_close:
            self.add_stats(**{f"closed_{reason}": 1})

    # --- the end

    def close(self, timeout: float) -> None:
        """Close the pool, letting running calls end until the timeout."""
        deadline = Deadline(timeout)
        self._refuse_new_calls()
        for connection in self._pop_idle():
            connection.close(max(min(deadline.remaining(), 1.0), 0.05))
            self.connections.closing.pop(connection, None)
        self.changed.wait_for(lambda: True if self.is_idle or not self.accepts_connects else None, deadline)
        self.accepts_connects = False
        self._abort_calls()
        for connection in self._pop_idle():
            connection.close_nowait()
            self.connections.closing.pop(connection, None)

    def abort(self) -> None:
        """Close the pool at once. May be called by a signal handler or a finaliser."""
        self.closing = True
        self.accepts_connects = False
        self._abort_calls()
        if self._is_inside():
            return  # waiting callers check twice a second; idle connections end with the pool
        idle = self._pop_idle()
        self._refuse_new_calls()
        for connection in idle:
            connection.discard()
            self.connections.closing.pop(connection, None)
        self._abort_calls()  # calls that began meanwhile

    def _refuse_new_calls(self) -> None:
        with self.lock:
            for lease in self.leases.active:
                lease.has_pending = True  # before `closing` becomes visible
            self.closing = True
            self.leases.fail_all(closed_error)
            to_close = self.reclaim_abandoned()
            out = list(self.leases.active)
            self.changed.notify_all()
        self.close_connections(to_close)
        self.breaker.shut_down(closed_error())
        for lease in out:
            self.process_pending(lease)

    def _abort_calls(self) -> None:
        """Abort the calls in progress. Takes no lock: each step is atomic."""
        for connection in list(self.connections.in_use):
            connection.abort()
        for lease in list(self.leases.active):
            if (pending := lease.pending) is not None:
                pending.abort()

    @property
    def is_idle(self) -> bool:
        """Whether no connection is in use or being opened. Requires the lock."""
        return not self.connections.in_use and not self.connections.connecting

    def wait(self, seconds: float) -> None:
        """Wait before a retry; raise `PoolClosed` as soon as the pool is closed."""
        if self.changed.wait_for(lambda: self.closing or None, Deadline(seconds)):
            raise closed_error()

    def _pop_idle(self) -> list[Connection]:
        """Remove and return the idle connections, and those whose closing a signal has interrupted."""
        with self.lock:
            self.counters["closed_pool"] += len(self.connections.pop_idle())
            return list(self.connections.closing)

    @property
    def busy(self) -> int:
        """The number of connections serving a call or being opened. Requires the lock."""
        leases = [lease for lease in self.leases.active if lease.connection and lease.lock.holder]
        return len(leases) + len(self.connections.connecting)

    def drop(self) -> list[Connection]:
        """Close all connections of a garbage-collected pool and return them. Takes no lock and never waits."""
        if self.closing or self.pid != os.getpid():
            return []
        dropped = self.connections.pop_idle()
        for connection in dropped:
            connection.discard()
        for lease in list(self.leases.active):
            if lease.connection is not None:
                dropped.append(lease.connection)
                if lease.lock.holder is None:
                    lease.connection.discard()
                else:
                    lease.connection.abort()  # in use by a daemon thread at exit
        return dropped

    def release_after_fork(self, *, hooked: bool) -> None:
        """Release the parent's connections in a forked child. Takes no lock: its holder may not exist here."""
        for connection in [*self.connections.idle, *self.connections.in_use]:
            connection.release_after_fork(close=hooked)
        self.connections.idle.clear()
        self.connections.in_use.clear()


def closed_error() -> PoolClosed:
    """Return the error for calls on a closed pool."""
    return PoolClosed("the pool is closed")
