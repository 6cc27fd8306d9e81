"""The connections of a pool: which to reuse, and which have expired.

All methods require the pool's lock and do no I/O: they return the connections to close, and the caller closes them
after releasing the lock.
"""

from __future__ import annotations

import math

from ..net import clock
from .connection import Connection
from .limits import Limits
from .stream import Stream

__all__ = ["PooledConnections", "ToClose"]

ToClose = list[tuple[Connection, str]]
"""Connections to close, each with the reason as named in the statistics."""

_BEST_RANK = 3
"""The rank of a connection that this thread used last and that needs no ping."""


class PooledConnections:
    """The idle connections, those in use, and those being opened.

    Args:
        size: The maximum number of connections, those being opened included.
        limits: How long a connection may be idle, and live.
    """

    def __init__(self, size: int, limits: Limits) -> None:
        self._size = size
        self._limits = limits
        self._next_expiry = math.inf  # no idle connection expires before this time
        self.idle: dict[Connection, None] = {}  # least recently used first
        self.in_use: dict[Connection, object] = {}  # with their leases
        self.closing: dict[Connection, str] = {}
        """Connections being closed; kept until they are, so that a signal cannot lose one."""
        self.connecting: set[object] = set()  # the leases for which a connection is being opened

    @property
    def size(self) -> int:
        """The number of connections that are open or being opened."""
        return len(self.idle) + len(self.in_use) + len(self.connecting)

    def checkout(
        self, stream: Stream, thread: object, lease: object, *, skip_if_ping_needed: bool = False
    ) -> tuple[Connection | None, ToClose]:
        """Take the best connection for a stream, or reserve the place of a new one.

        The best one holds the stream. Else one that needs no ping precedes one that does; then this thread's last
        precedes others; then the most recently used one is taken.

        Args:
            stream: The stream to serve.
            thread: The calling thread.
            lease: The lease that gets the connection.
            skip_if_ping_needed: Whether to pass over connections that have to be pinged first.

        Returns:
            The connection, now in use, and the connections to close. Without a connection, the caller has to open one,
            which is counted from now on.
        """
        now = clock.boottime()
        closed = [] if now < self._next_expiry else self._pop_expired(now)
        best = self._best(stream, thread, now, skip_if_ping_needed=skip_if_ping_needed)
        if best is not None:
            del self.idle[best]
            self.in_use[best] = lease
            best.last_thread, best.checked_out_at = thread, now
            return best, closed
        if self.size >= self._size:
            # At most `size` leases exist and each holds at most one connection, so at least one is idle.
            victim = next(iter(self.idle))
            self.closing[victim] = "evicted"
            del self.idle[victim]
            closed.append((victim, "evicted"))
        self.connecting.add(lease)
        return None, closed

    def _best(self, stream: Stream, thread: object, now: float, *, skip_if_ping_needed: bool) -> Connection | None:
        best, best_rank, check_after = None, -1, self._limits.check_after
        for connection in reversed(self.idle):
            may_be_dead = connection.needs_ping(now, check_after)
            if skip_if_ping_needed and may_be_dead:
                continue
            if stream.connection is not None and connection.server_state.holds(stream.token):
                return connection
            if connection.server_state.audio_clock is None:
                continue  # its audio clock is unknown, so times would be wrong for any other stream
            rank = (0 if may_be_dead else 2) + (connection.last_thread is thread)
            if rank > best_rank:
                best, best_rank = connection, rank
                if rank == _BEST_RANK and stream.connection is None:  # no connection holds this stream
                    break
        return best

    def add(self, connection: Connection | None, thread: object, lease: object) -> None:
        """Record the end of an attempt to open a connection, which is now in use, or None if it failed."""
        self.connecting.discard(lease)
        if connection is not None:
            connection.last_thread = thread
            self.in_use[connection] = lease

    def remove(self, connection: Connection) -> None:
        """Remove a connection in use that is being closed."""
        self.in_use.pop(connection, None)

    def abandon(self, connection: Connection) -> None:
        """Remove a connection whose hand-over was interrupted by a signal."""
        self.closing[connection] = "error"
        self.idle.pop(connection, None)
        self.in_use.pop(connection, None)

    def checkin(self, connection: Connection, stream: Stream, *, kept: bool) -> ToClose:
        """Return a connection at the end of its lease; ``kept`` says whether the stream has a name to return by."""
        why = None
        if not connection.usable:
            why = "error"
        elif connection.server_state.faces_token is not None:
            why = "faces"  # the server would report this stream's face ids to the next user
        elif connection.server_state.audio_clock is None and not (kept and connection.server_state.holds(stream.token)):
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
        """Remove what an interrupted call had taken, except the connection that its lease has."""
        self.connecting.discard(lease)
        left = [other for other, taken_for in self.in_use.items() if taken_for is lease and other is not connection]
        self.closing.update(dict.fromkeys(left, "error"))
        for other in left:
            del self.in_use[other]
        return [(other, "error") for other in left]

    def pop_idle(self) -> list[Connection]:
        """Remove and return all idle connections."""
        self.closing.update(dict.fromkeys(self.idle, "pool"))
        idle, self.idle = list(self.idle), {}
        return idle

    def _pop_expired(self, now: float) -> ToClose:
        """Remove and return the expired connections."""
        closed = [(connection, why) for connection in self.idle if (why := self._limits.expired(connection, now))]
        self.closing.update(closed)
        for connection, _ in closed:
            del self.idle[connection]
        self._next_expiry = min(map(self._limits.expires_at, self.idle), default=math.inf)
        return closed
