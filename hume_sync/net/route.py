"""What a client has learned of the way to its server."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["Route", "SocketAddress"]

SocketAddress = tuple[int, Any]
"""Address family, and the address as sockets of that family take it."""


class Route:
    """The address that works, and when connections were last found dead. All connections of a client share one.

    Threads may use it at the same time: each attribute is replaced as a whole, and a report that is lost in a race
    costs a moment, not correctness.
    """

    __slots__ = ("address", "maybe_dead_since")

    def __init__(self) -> None:
        self.address: SocketAddress | None = None
        """The one that was connected to last: tried first the next time."""
        self.maybe_dead_since = -math.inf
        """Connections without data since this time (`clock.boottime`) may be dead, as others were found to be."""

    def mark_maybe_dead(self, before: float) -> None:
        """Note that a connection was found dead by a request that was sent at this time.

        What made it vanish (a router that forgot it, a network that was left, a server that crashed) has happened to
        the others too, unless they received data since.
        """
        self.maybe_dead_since = max(self.maybe_dead_since, before)

    def forget(self, address: SocketAddress) -> None:
        """Try an address that failed no longer before the others."""
        if self.address == address:
            self.address = None
