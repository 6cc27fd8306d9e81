"""The leases of a pool and the queue of callers that wait for one.

A lease takes one of the pool's slots and does no I/O. Waiting callers are served in order, each as soon as a slot is
free and the stream it asks for is not in use. All methods but `WaitingClient.wait` require the pool's lock.
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
from .named_streams import NamedStreams
from .stream import Stream

__all__ = ["Lease", "LeaseQueue", "PoolThread", "ThreadToken", "WaitingClient"]


class ThreadToken:
    """An object referenced by a ``threading.local`` only, so that it is collected when its thread ends."""


@safe_repr
class PoolThread:
    """A thread that uses a pool. (Thread identifiers are reused, so they cannot name one.)"""

    __slots__ = ("_token", "name")

    def __init__(self, life: ThreadToken) -> None:
        self.name = threading.current_thread().name
        self._token = weakref.ref(life)

    @property
    def ended(self) -> bool:
        """Whether the thread has ended."""
        return self._token() is None


class Lease:
    """The use of one stream and one slot for a ``with`` block. Any thread may use it or release it.

    Args:
        key: The name of the stream; None for an unnamed one.
        thread: The thread that asks for it.
        frame: The frame of the ``with`` block. It is not kept.
    """

    # Defaults are class attributes, which makes creating a lease cheap.
    connection: Connection | None = None
    """The connection kept for the whole lease, so that later requests do not take the pool's lock."""
    pending: Pending | None = None
    """The sockets of a connection that is being opened for it."""
    active = False
    """Whether it was granted and not yet released."""
    releasing = False
    """Whether its release was requested; it takes effect at the end of the call in progress."""
    abandoned = False
    """Whether its socket was garbage-collected, so that no call can be in progress."""
    interrupted = False
    """Whether a call was interrupted while it acquired a connection."""
    has_pending = False
    """Whether the pool has pending work for this lease."""
    shared = False
    """Whether a thread other than the one that acquired it has used it."""
    gc_checked = False
    """Whether garbage was collected once after its thread had ended."""
    stream: Stream
    """Set when it is granted."""

    def __init__(self, key: Hashable | None, thread: PoolThread, frame: FrameType) -> None:
        self.key = key
        self.thread = thread
        self.code = frame.f_code
        self.instruction = frame.f_lasti
        self.frame_id = id(frame)
        """Identifies the frame of the ``with`` block while that exists."""
        self.acquired_at = clock.monotonic()
        """The time of the request; once granted, that of the grant."""
        self.lock = CallLock()
        """Held by the call in progress; guards ``connection``. Lock order: this lock, then the pool's."""


@safe_repr
class WaitingClient:
    """A caller waiting for a lease, until the lease is active or there is an error."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.error: HumeClientException | None = None
        self._answer = threading.Lock()  # released once: atomic, so a signal cannot interrupt it
        self._answer.acquire()

    @property
    def ready(self) -> bool:
        """Whether the wait is over. Requires the pool's lock."""
        return self.lease.active or self.error is not None

    def wake(self) -> None:
        """Let `wait` return."""
        self._answer.release()

    def wait(self, seconds: float) -> bool:
        """Wait until woken, without the pool's lock; return False after the timeout."""
        return self._answer.acquire(timeout=seconds)


class LeaseQueue:
    """The active leases and the callers waiting for one.

    Args:
        size: The number of slots.
        max_waiting: How many callers may wait; None for no limit.
        new_stream: Creates a stream.
        named: The named streams.
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
        """The leases in use."""

    @property
    def waiting(self) -> int:
        """The number of waiting callers."""
        return len(self._waiters)

    @property
    def is_full(self) -> bool:
        """Whether as many callers wait as allowed."""
        return self._max_waiting is not None and self.waiting >= self._max_waiting

    def try_acquire(self, lease: Lease) -> bool:
        """Grant a lease if that is possible without waiting."""
        return not self._waiters and self._grant(lease)

    def _grant(self, lease: Lease) -> bool:
        key = lease.key
        if len(self.active) >= self.size or (key is not None and self.named.is_in_use(key)):
            return False
        lease.active = True  # first, so that an interrupted grant can be released
        self.active.add(lease)
        lease.stream = self._new_stream() if key is None else self.named.checkout(key)
        return True

    def enqueue(self, lease: Lease) -> WaitingClient:
        """Append a caller to the queue."""
        waiter = WaitingClient(lease)
        self._waiters.append(waiter)
        return waiter

    def cancel(self, waiter: WaitingClient) -> None:
        """Remove a caller from the queue."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def blocking(self, lease: Lease) -> list[Lease]:
        """Return the leases of which one has to be released before this one can be granted."""
        if lease.key is not None and self.named.is_in_use(lease.key):
            return [other for other in self.active if other.key == lease.key]
        return list(self.active) if len(self.active) >= self.size else []

    def _grant_waiting(self) -> None:
        """Grant free slots to waiting callers, in order."""
        for waiter in list(self._waiters):
            if len(self.active) >= self.size:
                return
            if self._grant(waiter.lease):
                waiter.lease.acquired_at = clock.monotonic()
                self._waiters.remove(waiter)
                waiter.wake()

    def release(self, lease: Lease) -> bool:
        """Release a lease without a call in progress; return False if it was released before."""
        if not lease.active:
            return False
        self.active.discard(lease)
        if lease.key is not None:
            self.named.checkin(lease.key)
        lease.active, lease.has_pending = False, True  # last, so that an interrupted release is repeated
        if self._waiters:
            self._grant_waiting()
        return True

    def fail_all(self, error: Callable[[], HumeClientException]) -> None:
        """Fail all waiting callers."""
        while self._waiters:
            waiter = self._waiters.popleft()
            waiter.error = error()
            waiter.wake()
