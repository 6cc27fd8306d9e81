"""Leases of a pool: who may use it, whose turn it is, and which stream a lease goes on with.

A lease takes one of the pool's slots and does no I/O. Waiters are served in the order they came, each as soon as there
is a slot and nobody else holds the stream it asks for. All methods expect the pool's lock to be held by the caller,
but for `Waiter.wait`.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable

import attrs

from ..errors import HumeClientException, PoolFull
from ..net import clock
from ..net.connection import Connection
from ..net.latch import Latch
from ..net.lock import CallLock
from ..net.pending import Pending
from ..reprs import safe_repr
from .exchange import Stream

__all__ = ["Lease", "Leases", "Place", "ThreadMark", "Waiter"]

Place = tuple[str, int]
"""File and line."""


class ThreadMark:
    """A thread, as the pool knows it: kept in its ``threading.local`` alone, so that it ends with the thread.

    (Thread identifiers are given again to later threads; under gevent a greenlet has its own.)

    Args:
        left: takes the lease of a thread that has ended. That happens anywhere, so it takes no lock and calls nobody.
    """

    lease: Lease | None = None  # of the class: what a signal has left half made is finalised, too

    def __init__(self, left: deque[Lease]) -> None:
        self.name = object()
        """The thread's name on connections, which must not keep the mark alive."""
        self.weakly = weakref.ref(self)
        self._left = left

    def __del__(self) -> None:
        if self.lease is not None:
            self._left.append(self.lease)


class Lease:
    """The right to one stream and one slot, for one thread.

    Args:
        key: the stream's name, if it has one.
        stream: the stream.
        mark: the thread.
        where: what asked for it, for errors.
    """

    # Defaults live in the class: a lease that is used for one request only sets little.
    connection: Connection | None = None
    """Its own for as long as the lease lasts: a request looks for none, and takes no lock of the pool."""
    pending: Pending | None = None
    """The connection that is being made for it."""
    active = True
    ending = False
    """Whether it was given back: the end of the call under way is its end."""
    interrupted = False
    """Whether a call may have left a connection half taken."""
    flagged = False
    """Whether there is something to be looked at before or after its next call."""

    def __init__(self, key: Hashable | None, stream: Stream, mark: ThreadMark, where: Place) -> None:
        self.key = key
        self.stream = stream
        self.thread = mark.weakly
        self.owner = mark.name
        self.where = where
        self.lock = CallLock()
        """Held by the call under way; guards ``connection``. Taken before the pool's lock, never behind it."""


@safe_repr
@attrs.define(eq=False)
class Waiter:
    """One who waits for a lease. The pool sets one of the last two fields, under its lock, and then the event."""

    key: Hashable | None
    mark: ThreadMark
    where: Place
    came: Latch = attrs.field(factory=Latch)
    lease: Lease | None = None
    refused: HumeClientException | None = None

    def wait(self, seconds: float) -> bool:
        """Wait until there is an answer; without the pool's lock."""
        return self.came.wait(min(seconds, threading.TIMEOUT_MAX))


class Leases:
    """Slots, waiters and named streams.

    Args:
        size: slots.
        max_waiting: how many may wait; None: any number.
        max_stream_idle: seconds without use after which a named stream is forgotten.
        new_stream: makes a stream.
    """

    def __init__(
        self,
        size: int,
        max_waiting: int | None,
        max_stream_idle: float,
        new_stream: Callable[[], Stream],
    ) -> None:
        self._size = size
        self._max_waiting = max_waiting
        self._max_stream_idle = max_stream_idle
        self._new_stream = new_stream
        self._waiters: deque[Waiter] = deque()
        self._resting: dict[Hashable, tuple[Stream, float]] = {}  # since when, the longest first
        self._held: dict[Hashable, Stream | None] = {}  # None: forgotten meanwhile
        self.out: set[Lease] = set()
        """Leases out now."""

    @property
    def waiting(self) -> int:
        """Callers that wait now."""
        return len(self._waiters)

    @property
    def streams(self) -> int:
        """Named streams that are remembered."""
        return len(self._resting) + len(self._held)

    def begin(self, key: Hashable | None, mark: ThreadMark, where: Place) -> Lease | None:
        """A lease, where it is to be had at once; the thread must have none."""
        return None if self._waiters else self._begin(key, mark, where)

    def _begin(self, key: Hashable | None, mark: ThreadMark, where: Place) -> Lease | None:
        if len(self.out) >= self._size or (key is not None and key in self._held):
            return None
        if key is None:
            stream = self._new_stream()
        else:
            resting = self._resting.pop(key, None)
            self._held[key] = stream = resting[0] if resting else self._new_stream()
        lease = mark.lease = Lease(key, stream, mark, where)
        self.out.add(lease)
        return lease

    def queue(self, waiter: Waiter) -> None:
        """Wait for a turn.

        Raises:
            PoolFull: too many wait.
        """
        if self._max_waiting is not None and self.waiting >= self._max_waiting:
            raise PoolFull(f"max_waiting is {self._max_waiting}, and as many wait for a lease already")
        self._waiters.append(waiter)

    def leave_queue(self, waiter: Waiter) -> None:
        """Wait no longer."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def _serve(self) -> None:
        """Give free slots to those who wait, in the order they came."""
        for waiter in list(self._waiters):
            if len(self.out) >= self._size:
                return
            lease = self._begin(waiter.key, waiter.mark, waiter.where)
            if lease is not None:
                waiter.lease = lease
                self._waiters.remove(waiter)
                waiter.came.set()

    def end(self, lease: Lease) -> bool:
        """Give a lease back, no call of which is under way; False if that was done before."""
        if not lease.active:
            return False
        lease.flagged = True
        mark = lease.thread()
        if mark is not None and mark.lease is lease:
            mark.lease = None
        self.out.discard(lease)
        if lease.key is not None:
            stream = self._held.get(lease.key)
            if stream is not None:
                self._resting[lease.key] = stream, clock.boottime()
            self._held.pop(lease.key, None)
        lease.active = False  # last: what a signal interrupts is done again
        if self._waiters:
            self._serve()
        return True

    def forget(self, key: Hashable) -> None:
        """Forget a named stream; one that is held goes on, and is new for its next holder."""
        self._resting.pop(key, None)
        if key in self._held:
            self._held[key] = None

    def forget_idle(self) -> None:
        """Forget the named streams that nobody has used for too long."""
        if not self._resting:
            return
        limit = clock.boottime() - self._max_stream_idle
        while self._resting:
            oldest = next(iter(self._resting))
            if self._resting[oldest][1] >= limit:
                return
            del self._resting[oldest]

    def refuse_all(self, error: Callable[[], HumeClientException]) -> None:
        """Send everybody away who waits."""
        for waiter in self._waiters:
            waiter.refused = error()
            waiter.came.set()
        self._waiters.clear()
