"""The connections of a pool: which one serves a stream, which ones have had their time.

All methods expect the pool's lock to be held, and do no I/O: connections to be closed are handed back to the caller,
who closes them without the lock.
"""

from __future__ import annotations

import time

from ..net.connection import Connection
from .exchange import Stream

__all__ = ["Shelf"]

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
        self._max_lifetime = max_lifetime
        self.idle: list[Connection] = []  # the one used last stands last
        self.busy: set[Connection] = set()
        self.dialling: set[object] = set()  # the threads that dial

    @property
    def total(self) -> int:
        """Connections that are open or being made."""
        return len(self.idle) + len(self.busy) + len(self.dialling)

    def pick(self, stream: Stream, thread: object) -> tuple[Connection | None, Closed]:
        """The best connection for a stream, now busy; None: one may be dialled, and counts from now on.

        The one that holds the stream (faces before audio, for only audio can be brought to another), else the one
        this thread used last, else the one used last at all.
        """
        closed = self._expired()
        able = [connection for connection in self.idle if _serves(connection, stream)]
        best = max(able, key=lambda c: _rank(c, stream, thread), default=None)
        if best is not None:
            self.idle.remove(best)
            self.busy.add(best)
            best.last_user = thread
            return best, closed
        if self.total >= self._size:
            # Every lease has a slot, and each other lease keeps at most one connection from us: so one is idle.
            victim = next(c for c in self.idle if c.faces_of is None or c.faces_of is stream.token)
            self.idle.remove(victim)
            closed.append((victim, "evicted"))
        self.dialling.add(thread)
        return None, closed

    def dialled(self, connection: Connection | None, thread: object) -> None:
        """A dial has ended: with a connection, now busy, or without one."""
        self.dialling.discard(thread)
        if connection is not None:
            connection.last_user = thread
            self.busy.add(connection)

    def put_back(self, connection: Connection) -> Closed:
        """An exchange has ended."""
        self.busy.discard(connection)
        connection.idle_since = time.monotonic()
        if not connection.sound:
            return [(connection, "error")]
        self.idle.append(connection)
        return self._expired()

    def drop(self, connection: Connection) -> None:
        """A busy connection was found to have gone while it was idle."""
        self.busy.discard(connection)

    def left_by(self, thread: object) -> Closed:
        """A call has ended: take out what a signal has kept it from giving back."""
        self.dialling.discard(thread)
        left = [connection for connection in self.busy if connection.last_user is thread]
        self.busy.difference_update(left)
        return [(connection, "error") for connection in left]

    def end_of(self, stream: Stream, *, kept: bool) -> Closed:
        """A lease has ended: take out what nobody else may use."""
        closed: Closed = []
        for connection in list(self.idle):
            if connection.faces_of is stream.token:
                closed.append((connection, "faces"))
            elif connection.clock is None and _holds(connection, stream) and not kept:
                closed.append((connection, "clock"))
        for connection, _ in closed:
            self.idle.remove(connection)
        return closed

    def clear(self) -> list[Connection]:
        """Take out all that are idle."""
        idle, self.idle = self.idle, []
        return idle

    def _expired(self) -> Closed:
        now = time.monotonic()
        closed: Closed = []
        for connection in self.idle:
            if self._max_lifetime is not None and now - connection.born > self._max_lifetime:
                closed.append((connection, "lifetime"))
            elif now - connection.idle_since > self._max_idle:
                closed.append((connection, "idle"))
        for connection, _ in closed:
            self.idle.remove(connection)
        return closed


def _rank(connection: Connection, stream: Stream, thread: object) -> tuple[bool, bool, bool, float]:
    return (
        connection.faces_of is stream.token,
        _holds(connection, stream),
        connection.last_user is thread,
        connection.idle_since,
    )


def _holds(connection: Connection, stream: Stream) -> bool:
    return connection.holds is not None and connection.holds[0] is stream.token


def _serves(connection: Connection, stream: Stream) -> bool:
    """Whether a stream may use a connection at all."""
    if connection.faces_of is not None and connection.faces_of is not stream.token:
        return False  # the server knows faces of somebody else
    # Where nobody knows how much audio the server has counted, only that stream can make sense of its times.
    return connection.clock is not None or _holds(connection, stream)
