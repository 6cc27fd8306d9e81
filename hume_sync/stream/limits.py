"""Limits on the idle time and the age of connections: when one is used as it is, pinged first, or replaced."""

from __future__ import annotations

import math

import attrs

from ..net import clock
from ..net.deadline import Deadline
from ..reprs import safe_repr
from .connection import Connection

__all__ = ["Limits"]


@safe_repr
@attrs.frozen
class Limits:
    """The limits for connections, in seconds; ``math.inf`` for none."""

    check_after: float = 15.0
    """Silence after which the server is pinged before a request goes out."""
    max_idle: float = 50.0
    """Time without use after which a connection is replaced."""
    max_lifetime: float = math.inf
    """Age at which it is replaced."""

    def is_fresh(self, connection: Connection) -> bool:
        """Take a connection for use; return whether it needs no check."""
        now = connection.checked_out_at = clock.boottime()
        return (
            connection.route.maybe_dead_since < connection.last_received_at
            and now - connection.last_received_at < self.check_after
            and now - connection.last_used_at <= self.max_idle
            and now - connection.created_at <= self.max_lifetime
        )

    def expired(self, connection: Connection, now: float) -> str | None:
        """Return why a connection has to be replaced; None if it has not."""
        if now - connection.last_used_at > self.max_idle:
            return "idle"
        return "lifetime" if now - connection.created_at > self.max_lifetime else None

    def check_alive(self, connection: Connection, deadline: Deadline) -> None:
        """Verify that a connection taken for use is alive, with a ping if it was silent for too long.

        Raises:
            ConnectionLost: The connection is dead and was discarded.
        """
        if connection.needs_ping(connection.checked_out_at, self.check_after):
            connection.ping(deadline)
        else:
            connection.drain_idle_messages()

    def expires_at(self, connection: Connection) -> float:
        """Return the time at which an idle connection expires."""
        return min(connection.created_at + self.max_lifetime, connection.last_used_at + self.max_idle)
