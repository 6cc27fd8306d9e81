"""The connections of a pool: which one serves a stream, which ones have had their time.

All methods expect the pool's lock to be held, and do no I/O: connections to be closed are handed back to the caller,
who closes them without the lock.
"""

from __future__ import annotations

import math

from ..net import clock
from .connection import Connection
from .executor import Stream
from .limits import Limits

__all__ = ["PooledConnections", "ToClose"]

ToClose = list[tuple[Connection, str]]
"""Connections to be closed, each with the reason, as the statistics name it."""


_BEST_RANK = 3
"""Of a connection that the thread used last, and that need not be checked."""


class PooledConnections:
    """The connections that no lease has, and the count of all there are.

    Args:
        size: the most connections there may be, being dialled included.
        limits: how long they may be idle, and live.
    """

    def __init__(self, size: int, limits: Limits) -> None:
        self._size = size
        self._limits = limits
        self._next_expiry = math.inf  # the time before which nothing here can have had its time
        self.idle: dict[Connection, None] = {}  # in the order of their last use
        self.in_use: dict[Connection, object] = {}  # with the lease that each was taken for
        self.closing: dict[Connection, str] = {}
        """Handed out to be closed, until they are: so that a signal cannot make the pool forget one."""
        self.connecting: set[object] = set()  # the leases for which one is being made

    @property
    def size(self) -> int:
        """Connections that are open or being made."""
        return len(self.idle) + len(self.in_use) + len(self.connecting)

    def checkout(
        self, stream: Stream, thread: object, lease: object, *, unchecked: bool = False
    ) -> tuple[Connection | None, ToClose]:
        """The best connection for a stream, now leased; None: one may be dialled, and counts from now on.

        The one that holds the stream, else the one this thread used last, else the one used last at all; of these
        two, rather one that need not be checked first.

        Args:
            stream: the stream.
            thread: who asks.
            lease: for what.
            unchecked: pass over those that have to be checked first.
        """
        now = clock.boottime()
        closed = [] if now < self._next_expiry else self._pop_expired(now)
        best = self._best(stream, thread, now, unchecked=unchecked)
        if best is not None:
            del self.idle[best]
            self.in_use[best] = lease
            best.last_thread, best.checked_out_at = thread, now
            return best, closed
        if self.size >= self._size:
            # Every lease has a slot, and each other one has at most one connection: so one is here.
            victim = next(iter(self.idle))
            self.closing[victim] = "evicted"
            del self.idle[victim]
            closed.append((victim, "evicted"))
        self.connecting.add(lease)
        return None, closed

    def _best(self, stream: Stream, thread: object, now: float, *, unchecked: bool) -> Connection | None:
        best, best_rank, check_after = None, -1, self._limits.check_after
        for connection in reversed(self.idle):
            may_be_dead = connection.needs_ping(now, check_after)
            if unchecked and may_be_dead:
                continue
            if stream.connection is not None and _holds(connection, stream):
                return connection
            if connection.clock is None:
                continue  # nobody knows how much audio the server has counted: its times make sense to no other
            rank = (0 if may_be_dead else 2) + (connection.last_thread is thread)
            if rank > best_rank:
                best, best_rank = connection, rank
                if rank == _BEST_RANK and stream.connection is None:  # nothing can hold it
                    break
        return best

    def add(self, connection: Connection | None, thread: object, lease: object) -> None:
        """A dial has ended: with a connection, now leased, or without one."""
        self.connecting.discard(lease)
        if connection is not None:
            connection.last_thread = thread
            self.in_use[connection] = lease

    def remove(self, connection: Connection) -> None:
        """A leased connection is no more."""
        self.in_use.pop(connection, None)

    def abandon(self, connection: Connection) -> None:
        """A signal has struck while it changed hands."""
        self.closing[connection] = "error"
        self.idle.pop(connection, None)
        self.in_use.pop(connection, None)

    def checkin(self, connection: Connection, stream: Stream, *, kept: bool) -> ToClose:
        """A lease has ended; ``kept`` says whether its stream will come again."""
        why = None
        if not connection.usable:
            why = "error"
        elif connection.faces_of is not None:
            why = "faces"  # the server would tell the next one of them
        elif connection.clock is None and not (kept and _holds(connection, stream)):
            why = "clock"
        if why is not None:
            self.closing[connection] = why
            self.in_use.pop(connection, None)
            return [(connection, why)]
        self.idle[connection] = None
        self.in_use.pop(connection, None)
        if self._next_expiry == math.inf or self._limits.max_lifetime != math.inf:
            self._next_expiry = min(self._next_expiry, self._limits.expires_at(connection))
        now = clock.boottime()
        return [] if now < self._next_expiry else self._pop_expired(now)

    def reclaim(self, lease: object, connection: Connection | None) -> ToClose:
        """A call was interrupted: take out what it had half taken, but not the connection its lease has."""
        self.connecting.discard(lease)
        left = [other for other, taken_for in self.in_use.items() if taken_for is lease and other is not connection]
        self.closing.update(dict.fromkeys(left, "error"))
        for other in left:
            del self.in_use[other]
        return [(other, "error") for other in left]

    def pop_idle(self) -> list[Connection]:
        """Take out all that are idle."""
        self.closing.update(dict.fromkeys(self.idle, "pool"))
        idle, self.idle = list(self.idle), {}
        return idle

    def _pop_expired(self, now: float) -> ToClose:
        """Take out those that have had their time. Not called before one can have."""
        closed = [(connection, why) for connection in self.idle if (why := self._limits.expired(connection, now))]
        self.closing.update(closed)
        for connection, _ in closed:
            del self.idle[connection]
        self._next_expiry = min(map(self._limits.expires_at, self.idle), default=math.inf)
        return closed


def _holds(connection: Connection, stream: Stream) -> bool:
    return connection.holds is not None and connection.holds[0] is stream.token
