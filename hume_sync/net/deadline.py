"""One time budget per call, handed down through everything the call does."""

from __future__ import annotations

import math

from .clock import monotonic

__all__ = ["Deadline"]


class Deadline:
    """A point on the monotonic clock by which a call has to be over.

    Made once by the outermost call; each step asks what is left, so no step can outlive the call.
    """

    __slots__ = ("end",)

    def __init__(self, timeout: float) -> None:
        self.end = monotonic() + timeout
        """The monotonic time at which no time is left."""

    def remaining(self) -> float:
        """Seconds left, never below zero; ``math.inf`` without a limit."""
        return max(0.0, self.end - monotonic())

    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining() == 0.0

    def capped_at(self, timeout: float) -> Deadline:
        """Return this deadline, or one ``timeout`` seconds from now if that is earlier."""
        tighter = Deadline(timeout)
        return tighter if tighter.end < self.end else self

    def extended_by(self, seconds: float) -> Deadline:
        """Return a deadline so many seconds after this one."""
        other = Deadline(0.0)
        other.end = self.end + seconds
        return other

    def socket_timeout(self) -> float | None:
        """Return the remaining time for ``socket.settimeout`` (None: no limit).

        Raises:
            TimeoutError: Nothing is left. (Zero would mean non-blocking to a socket.)
        """
        left = self.remaining()
        if left == 0.0:
            raise TimeoutError("the deadline has passed")
        return None if left == math.inf else left
