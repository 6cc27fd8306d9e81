"""Leases of a pool: who may use it, whose turn it is, and which stream a lease goes on with.

A lease takes one of the pool's slots and does no I/O. Waiters are served in the order they came, each as soon as there
is a slot and nobody else holds the stream it asks for. All methods expect the pool's lock to be held by the caller,
but for `Waiter.wait`.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterator

import attrs

from ..errors import HumeClientException, MisuseError, PoolFull
from .exchange import Stream

__all__ = ["Lease", "Leases", "ThreadMark", "Waiter"]


class ThreadMark:
    """A thread, as the pool knows it: kept in its ``threading.local`` alone, so that it ends with the thread.

    (Thread identifiers are given again to later threads; under gevent a greenlet has its own.)
    """

    lease: Lease | None = None

    def __init__(self) -> None:
        self.name = object()
        """The thread's name on connections, which must not keep the mark alive."""


@attrs.define(eq=False)
class Lease:
    """The right to one stream and one slot, for one thread."""

    key: Hashable | None
    stream: Stream
    thread: weakref.ref[ThreadMark]
    where: str
    """File and line that asked for it, for errors."""
    active: bool = True
    busy: bool = False
    """Whether a call is under way."""
    ending: bool = False
    """Whether it was given back while a call was under way: the call's end is its end."""


@attrs.define(eq=False)
class Waiter:
    """One who waits for a lease. The pool sets either field, under its lock, and then the event."""

    key: Hashable | None
    came: threading.Event = attrs.field(factory=threading.Event)
    granted: bool = False
    lease: Lease | None = None
    """What the wait has become."""
    refused: HumeClientException | None = None

    def wait(self, seconds: float) -> bool:
        """Wait until there is an answer; without the pool's lock."""
        return self.came.wait(min(seconds, threading.TIMEOUT_MAX))


@attrs.define(eq=False)
class _Kept:
    """A stream with a name, between its leases."""

    stream: Stream
    used: float
    held: bool = False


class Leases:
    """Slots, waiters and named streams.

    Args:
        size: slots.
        max_waiting: how many may wait; None: any number.
        max_stream_idle: seconds without use after which a named stream is forgotten.
        new_stream: makes a stream.
    """

    def __init__(
        self, size: int, max_waiting: int | None, max_stream_idle: float, new_stream: Callable[[], Stream]
    ) -> None:
        self._free = size
        self._max_waiting = max_waiting
        self._max_stream_idle = max_stream_idle
        self._new_stream = new_stream
        self._waiters: deque[Waiter] = deque()
        self._kept: dict[Hashable, _Kept] = {}
        self.held = 0
        """Leases out now."""

    @property
    def waiting(self) -> int:
        """Callers that wait now."""
        return len(self._waiters)

    def ask(self, waiter: Waiter, mark: ThreadMark) -> None:
        """Queue up. The answer may be there at once.

        Raises:
            MisuseError: this thread has a lease already.
            PoolFull: too many wait.
        """
        if mark.lease is not None:
            raise MisuseError(
                f"this thread has a lease of this pool already, taken at {mark.lease.where}: end that one first"
            )
        self._waiters.append(waiter)
        self.serve()
        if not waiter.granted and self._max_waiting is not None and self.waiting > self._max_waiting:
            self._waiters.remove(waiter)
            raise PoolFull(f"max_waiting is {self._max_waiting}, and as many wait for a lease already")

    def serve(self) -> None:
        """Give free slots to those who wait, in the order they came."""
        for waiter in list(self._waiters):
            if not self._free:
                return
            kept = self._kept.get(waiter.key) if waiter.key is not None else None
            if kept is None or not kept.held:
                self._free -= 1
                self._waiters.remove(waiter)
                self._hold(waiter.key)
                waiter.granted = True
                waiter.came.set()

    def _hold(self, key: Hashable | None) -> None:
        if key is not None:
            kept = self._kept.setdefault(key, _Kept(self._new_stream(), time.monotonic()))
            kept.held = True

    def begin(self, waiter: Waiter, mark: ThreadMark, where: str, on_death: Callable[[Lease], None]) -> Lease:
        """Turn a granted wait into a lease."""
        assert waiter.granted
        stream = self._kept[waiter.key].stream if waiter.key is not None else self._new_stream()
        lease = Lease(waiter.key, stream, weakref.ref(mark), where)
        # The callback runs wherever the thread's mark dies: it may only append to a deque (see StreamPool).
        lease.thread = weakref.ref(mark, lambda _: on_death(lease))
        waiter.lease = mark.lease = lease
        self.held += 1
        return lease

    def leave_queue(self, waiter: Waiter) -> None:
        """Stop waiting; what had been granted in the same instant is given back."""
        if waiter.lease is not None:
            self.end(waiter.lease)
        elif waiter.granted:
            self._return_slot(waiter.key)
        elif waiter in self._waiters:
            self._waiters.remove(waiter)

    def end(self, lease: Lease) -> bool:
        """Give a lease back; False if that was done before, or waits for a call to end."""
        if not lease.active:
            return False
        if lease.busy:
            lease.ending = True
            return False
        lease.active = False
        self.held -= 1
        mark = lease.thread()
        if mark is not None:
            lease.thread = weakref.ref(mark)  # without the callback, which would keep the stream's media alive
            if mark.lease is lease:
                mark.lease = None
        self._return_slot(lease.key)
        return True

    def _return_slot(self, key: Hashable | None) -> None:
        self._free += 1
        if key is not None and (kept := self._kept.get(key)):
            kept.held = False
            kept.used = time.monotonic()
        self.serve()

    def forget(self, key: Hashable) -> None:
        """Forget a named stream; one that is held goes on, and is new for its next holder."""
        kept = self._kept.get(key)
        if kept is None:
            return
        if kept.held:
            self._kept[key] = _Kept(self._new_stream(), time.monotonic(), held=True)
        else:
            del self._kept[key]

    def forget_idle(self) -> None:
        """Forget the named streams that nobody has used for too long."""
        limit = time.monotonic() - self._max_stream_idle
        for key in [key for key, kept in self._kept.items() if not kept.held and kept.used < limit]:
            del self._kept[key]

    def refuse_all(self, error: Callable[[], HumeClientException]) -> None:
        """Send everybody away who waits."""
        for waiter in self._waiters:
            waiter.refused = error()
            waiter.came.set()
        self._waiters.clear()

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._kept)
