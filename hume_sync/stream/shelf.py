"""The connections of a pool: which one serves a stream, which ones have had their time.

All methods expect the pool's lock to be held, and do no I/O: connections to be closed are handed back to the caller,
who closes them without the lock.
"""

from __future__ import annotations

import math
import time

from ..net.connection import Connection
from .exchange import Stream

__all__ = ["Closed", "Shelf"]

Closed = list[tuple[Connection, str]]
"""Connections to be closed, each with the reason, as the statistics name it."""


class Shelf:
    """Idle connections, and the count of all there are.

    Args:
        size: the most connections there may be, being dialled included.
        max_idle: seconds without use after which a connection is closed.
        max_lifetime: seconds after which it is closed, in use or not; None: never.
    """

    def __init__(self, size: int, max_idle: float, max_lifetime: float | None) -> None:
        self._size = size
        self._max_idle = max_idle
        self._max_lifetime = math.inf if max_lifetime is None else max_lifetime
        self._look_at = math.inf  # the monotonic time before which no idle connection can have had its time
        self.idle: dict[Connection, None] = {}  # in the order of their last use
        self.busy: set[Connection] = set()
        self.dialling: set[object] = set()  # the threads that dial

    @property
    def total(self) -> int:
        """Connections that are open or being made."""
        return len(self.idle) + len(self.busy) + len(self.dialling)

    def pick(self, stream: Stream, thread: object, last: Connection | None) -> tuple[Connection | None, Closed]:
        """The best connection for a stream, now busy; None: one may be dialled, and counts from now on.

        The one that holds the stream (faces before audio, for only audio can be brought to another), else the one
        this thread used last, else the one used last at all. All of these are ``last``, the one this stream was served
        by last, if nobody has used it since: so a lease that asks again need not search.
        """
        now = time.monotonic()
        closed = self._expired(now) if now >= self._look_at else []
        best = last if last in self.idle and last.last_user is thread else self._best(stream, thread)
        if best is not None:
            del self.idle[best]
            self.busy.add(best)
            best.last_user = thread
            return best, closed
        if self.total >= self._size:
            # Every lease has a slot, and each other one keeps at most one connection from us: so one is idle.
            victim = next(c for c in self.idle if c.faces_of is None or c.faces_of is stream.token)
            del self.idle[victim]
            closed.append((victim, "evicted"))
        self.dialling.add(thread)
        return None, closed

    def _best(self, stream: Stream, thread: object) -> Connection | None:
        latest_first = (connection for connection in reversed(self.idle) if _serves(connection, stream))
        if stream.served:
            return max(latest_first, key=lambda connection: _rank(connection, stream, thread), default=None)
        best = None
        for connection in latest_first:  # no server knows of the stream, so the first of this thread's is the best
            if connection.last_user is thread:
                return connection
            best = best or connection
        return best

    def dialled(self, connection: Connection | None, thread: object) -> None:
        """A dial has ended: with a connection, now busy, or without one."""
        self.dialling.discard(thread)
        if connection is not None:
            connection.last_user = thread
            self.busy.add(connection)

    def put_back(self, connection: Connection) -> Closed:
        """A call has ended."""
        self.busy.discard(connection)
        if not connection.sound:
            return [(connection, "error")]
        connection.idle_since = now = time.monotonic()
        self.idle[connection] = None
        if self._look_at == math.inf or self._max_lifetime != math.inf:
            self._look_at = min(self._look_at, self._ends(connection))
        return self._expired(now) if now >= self._look_at else []

    def drop(self, connection: Connection) -> None:
        """A busy connection was found to have gone while it was idle."""
        self.busy.discard(connection)

    def left_by(self, thread: object) -> Closed:
        """A call was interrupted: take out what it has kept from being given back."""
        self.dialling.discard(thread)
        left = [connection for connection in self.busy if connection.last_user is thread]
        self.busy.difference_update(left)
        return [(connection, "error") for connection in left]

    def end_of(self, stream: Stream, last: Connection | None, *, kept: bool) -> Closed:
        """A lease has ended: take out what nobody else may use of the connection that served it last.

        ``kept``: whether its stream will come again.
        """
        if last not in self.idle:
            return []
        if last.faces_of is stream.token:
            why = "faces"
        elif last.clock is None and _holds(last, stream) and not kept:
            why = "clock"
        else:
            return []
        del self.idle[last]
        return [(last, why)]

    def clear(self) -> list[Connection]:
        """Take out all that are idle."""
        idle, self.idle = list(self.idle), {}
        return idle

    def _expired(self, now: float) -> Closed:
        closed = []
        for connection in self.idle:
            if now - connection.born > self._max_lifetime:
                closed.append((connection, "lifetime"))
            elif now - connection.idle_since > self._max_idle:
                closed.append((connection, "idle"))
        for connection, _ in closed:
            del self.idle[connection]
        self._look_at = min(map(self._ends, self.idle), default=math.inf)
        return closed

    def _ends(self, connection: Connection) -> float:
        return min(connection.born + self._max_lifetime, connection.idle_since + self._max_idle)


def _rank(connection: Connection, stream: Stream, thread: object) -> tuple[bool, bool, bool]:
    return connection.faces_of is stream.token, _holds(connection, stream), connection.last_user is thread


def _holds(connection: Connection, stream: Stream) -> bool:
    return connection.holds is not None and connection.holds[0] is stream.token


def _serves(connection: Connection, stream: Stream) -> bool:
    """Whether a stream may use a connection at all."""
    if connection.faces_of is not None and connection.faces_of is not stream.token:
        return False  # the server knows faces of somebody else
    # Where nobody knows how much audio the server has counted, only that stream can make sense of its times.
    return connection.clock is not None or _holds(connection, stream)
