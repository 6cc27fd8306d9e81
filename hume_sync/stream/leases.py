"""Leases of a pool: whose turn it is, and which stream a lease goes on with.

A lease takes one of the pool's slots and does no I/O. Waiters are served in the order they came, each as soon as there
is a slot and nobody else holds the stream it asks for. All methods expect the pool's lock to be held by the caller,
but for `WaitingClient.wait`.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from types import FrameType

from ..errors import HumeClientException
from ..net import clock
from ..net.call_lock import CallLock
from ..net.pending import Pending
from ..reprs import safe_repr
from .connection import Connection
from .executor import Stream
from .named_streams import NamedStreams

__all__ = ["Lease", "LeaseQueue", "PoolThread", "ThreadToken", "WaitingClient"]


class ThreadToken:
    """Kept in a ``threading.local`` alone, so that it ends with its thread."""


@safe_repr
class PoolThread:
    """A thread, as a pool knows it.

    (Thread identifiers are given again to later threads; under gevent a greenlet has its own.)
    """

    __slots__ = ("_token", "name")

    def __init__(self, life: ThreadToken) -> None:
        self.name = threading.current_thread().name
        self._token = weakref.ref(life)

    @property
    def ended(self) -> bool:
        """Whether the thread has ended."""
        return self._token() is None


class Lease:
    """The right to one stream and one slot. It belongs to a ``with`` block: any thread may use it, or end it.

    Args:
        key: the stream's name, if it has one.
        thread: the thread that asks for it.
        frame: what asks for it: where the ``with`` block is. It is not kept.
    """

    # Defaults live in the class: a lease that is used for one request only sets little.
    connection: Connection | None = None
    """Its own for as long as the lease lasts: a request looks for none, and takes no lock of the pool."""
    pending: Pending | None = None
    """The connection that is being made for it."""
    active = False
    """Whether it was given, and not yet given back."""
    releasing = False
    """Whether it was given back: the end of the call under way is its end."""
    abandoned = False
    """Whether its socket is gone: there can be no call any more."""
    interrupted = False
    """Whether a call may have left a connection half taken."""
    has_pending = False
    """Whether there is something to be looked at before or after its next call."""
    shared = False
    """Whether another thread than the one that took it was seen to use it."""
    gc_checked = False
    """Whether its socket was looked for in vain after its thread had ended."""
    stream: Stream
    """Set when it is given."""

    def __init__(self, key: Hashable | None, thread: PoolThread, frame: FrameType) -> None:
        self.key = key
        self.thread = thread
        self.code = frame.f_code
        self.instruction = frame.f_lasti
        self.frame_id = id(frame)
        """Tells the frame from others as long as it is there, which it is while its ``with`` block is."""
        self.acquired_at = clock.monotonic()
        """When it was asked for, then when it was given."""
        self.lock = CallLock()
        """Held by the call under way; guards ``connection``. Taken before the pool's lock, never behind it."""


@safe_repr
class WaitingClient:
    """One who waits for a lease. The answer is that the lease is active, or an error."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.error: HumeClientException | None = None
        self._answer = threading.Lock()  # released, once, by whoever answers: nothing to be left half done by a signal
        self._answer.acquire()

    @property
    def ready(self) -> bool:
        """Whether there is an answer. The pool's lock is held."""
        return self.lease.active or self.error is not None

    def wake(self) -> None:
        """Let `wait` return: there is an answer."""
        self._answer.release()

    def wait(self, seconds: float) -> bool:
        """Wait until there is an answer; without the pool's lock."""
        return self._answer.acquire(timeout=seconds)


class LeaseQueue:
    """Slots and waiters.

    Args:
        size: slots.
        max_waiting: how many may wait; None: any number.
        new_stream: makes a stream.
        named: the streams that have a name.
    """

    def __init__(
        self, size: int, max_waiting: int | None, new_stream: Callable[[], Stream], named: NamedStreams
    ) -> None:
        self.size = size
        self.named = named
        self._max_waiting = max_waiting
        self._new_stream = new_stream
        self._waiters: deque[WaitingClient] = deque()
        self.active: set[Lease] = set()
        """LeaseQueue out now."""

    @property
    def waiting(self) -> int:
        """Callers that wait now."""
        return len(self._waiters)

    @property
    def is_full(self) -> bool:
        """Whether as many wait as may."""
        return self._max_waiting is not None and self.waiting >= self._max_waiting

    def try_acquire(self, lease: Lease) -> bool:
        """Give a lease, where it is to be had at once."""
        return not self._waiters and self._grant(lease)

    def _grant(self, lease: Lease) -> bool:
        key = lease.key
        if len(self.active) >= self.size or (key is not None and self.named.is_in_use(key)):
            return False
        lease.active = True  # first: what a signal interrupts can be ended
        self.active.add(lease)
        lease.stream = self._new_stream() if key is None else self.named.checkout(key)
        return True

    def enqueue(self, lease: Lease) -> WaitingClient:
        """Wait for a turn."""
        waiter = WaitingClient(lease)
        self._waiters.append(waiter)
        return waiter

    def cancel(self, waiter: WaitingClient) -> None:
        """Wait no longer."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def blocking(self, lease: Lease) -> list[Lease]:
        """Return the leases of which one has to end before this one, which waits, can be given."""
        if lease.key is not None and self.named.is_in_use(lease.key):
            return [other for other in self.active if other.key == lease.key]
        return list(self.active) if len(self.active) >= self.size else []

    def _grant_waiting(self) -> None:
        """Give free slots to those who wait, in the order they came."""
        for waiter in list(self._waiters):
            if len(self.active) >= self.size:
                return
            if self._grant(waiter.lease):
                waiter.lease.acquired_at = clock.monotonic()
                self._waiters.remove(waiter)
                waiter.wake()

    def release(self, lease: Lease) -> bool:
        """Give a lease back, no call of which is under way; False if that was done before."""
        if not lease.active:
            return False
        self.active.discard(lease)
        if lease.key is not None:
            self.named.checkin(lease.key)
        lease.active, lease.has_pending = False, True  # last: what a signal interrupts is done again
        if self._waiters:
            self._grant_waiting()
        return True

    def fail_all(self, error: Callable[[], HumeClientException]) -> None:
        """Send everybody away who waits."""
        while self._waiters:
            waiter = self._waiters.popleft()
            waiter.error = error()
            waiter.wake()
