"""The clock by which idleness and age are measured."""

from __future__ import annotations

import time

__all__ = ["boottime"]

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux: CLOCK_MONOTONIC stops while the machine sleeps. (On macOS it does not; elsewhere there is no better one.)"""


def boottime() -> float:
    """Return monotonic seconds that go on while the machine sleeps, as the clocks of servers and routers do."""
    return time.clock_gettime(_CLOCK)
