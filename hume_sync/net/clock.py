"""The clocks of this library; what tests do to `time` does not stop them.

freezegun, and tests that patch ``time.monotonic``, replace that name wherever they find it; a connection whose clock
stands still would wait for ever. `time.clock_gettime` is what neither freezegun nor time-machine changes for the clocks
that never go back, and it is bound here, at import. A call costs some 30 ns more than ``time.monotonic`` itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

__all__ = ["boottime", "monotonic", "wall"]

_Clock = Callable[[], float]

monotonic: Final[_Clock] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
"""Return seconds on the clock that never goes back: for deadlines."""

boottime: _Clock = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Return monotonic seconds that go on while the machine sleeps, as the clocks of servers and routers do: for idle times
and ages. (Linux: CLOCK_MONOTONIC stops then. On macOS it does not; elsewhere there is no better one.)"""

wall: Final[_Clock] = partial(time.clock_gettime, time.CLOCK_REALTIME)
"""Return seconds since 1970, for comparing with a date that a server sent. (time-machine does change this one.)"""
