"""The configuration of a pool."""

from __future__ import annotations

import attrs

from ..net.retry import RetryPolicy
from ..reprs import safe_repr
from .connection import Connect
from .limits import Limits
from .stream import Stream

__all__ = ["PoolSettings"]


@safe_repr
@attrs.frozen
class PoolSettings:
    """The configuration of a `StreamPool`; times are in seconds."""

    name: str
    """The name of the pool and its server, for the log."""
    fail_fast: bool
    """Whether calls fail at once while the server is known to be unavailable."""
    connect: Connect
    policy: RetryPolicy
    call_timeout: float
    max_size: int
    max_waiting: int | None
    timeout: float
    limits: Limits
    max_stream_idle: float
    max_streams: float
    """``math.inf`` for no limit, as in the next field."""
    max_stream_bytes: float
    preserve_window: bool
    window_ms: float | None
    """The length of the server's window; None for its default."""

    def new_stream(self) -> Stream:
        """Create an unused stream."""
        return Stream(self.window_ms, preserve=self.preserve_window)
