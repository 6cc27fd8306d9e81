"""The clock by which idleness and age are measured."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

__all__ = ["boottime"]

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux: CLOCK_MONOTONIC stops while the machine sleeps. (On macOS it does not; elsewhere there is no better one.)"""


boottime: Callable[[], float] = functools.partial(time.clock_gettime, _CLOCK)
"""Returns monotonic seconds that go on while the machine sleeps, as the clocks of servers and routers do. (A partial
and no function: it is called before each request.)"""
