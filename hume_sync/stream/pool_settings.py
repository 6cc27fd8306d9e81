"""What a client hands to its pools."""

from __future__ import annotations

import attrs

from ..net.retry import RetryPolicy
from ..reprs import safe_repr
from .dedicated import Connect
from .executor import Stream
from .limits import Limits

__all__ = ["PoolSettings"]


@safe_repr
@attrs.frozen
class PoolSettings:
    """What a client hands to its pools; times in seconds."""

    name: str
    """Of the pool and its server, for the log."""
    fail_fast: bool
    """Whether calls fail at once while the server is known to be away."""
    connect: Connect
    policy: RetryPolicy
    call_timeout: float
    max_size: int
    max_waiting: int | None
    timeout: float
    limits: Limits
    max_stream_idle: float
    max_streams: float
    """``math.inf``: no limit; so for the next."""
    max_stream_bytes: float
    preserve_window: bool
    window_ms: float | None
    """Length of the server's window."""

    def new_stream(self) -> Stream:
        """A stream nobody has used."""
        return Stream(self.window_ms, preserve=self.preserve_window)
