"""How long a connection may be idle, or live: when it is used as it is, checked first, or replaced."""

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
    """The limits of a pool's connections, or of a socket's own, in seconds; ``math.inf``: none."""

    check_after: float = 15.0
    """Silence after which the server is pinged before a request goes out."""
    max_idle: float = 50.0
    """Time without use after which a connection is replaced."""
    max_lifetime: float = math.inf
    """Age at which it is replaced."""

    def is_fresh(self, connection: Connection) -> bool:
        """Take a connection for use; return whether it can be used as it is."""
        now = connection.checked_out_at = clock.boottime()
        return (
            connection.route.suspect_before < connection.last_received_at
            and now - connection.last_received_at < self.check_after
            and now - connection.last_used_at <= self.max_idle
            and now - connection.created_at <= self.max_lifetime
        )

    def expired(self, connection: Connection, now: float) -> str | None:
        """Return why a connection is to be replaced, if it is."""
        if now - connection.last_used_at > self.max_idle:
            return "idle"
        return "lifetime" if now - connection.created_at > self.max_lifetime else None

    def check_alive(self, connection: Connection, deadline: Deadline) -> None:
        """Make sure that a connection that was taken for use is as it was left, pinging the server where needed.

        Raises:
            ConnectionLost: it is not, and was discarded.
        """
        if connection.needs_ping(connection.checked_out_at, self.check_after):
            connection.ping(deadline)
        else:
            connection.check_state()

    def expires_at(self, connection: Connection) -> float:
        """Return the time at which an idle connection is to be replaced."""
        return min(connection.created_at + self.max_lifetime, connection.last_used_at + self.max_idle)
