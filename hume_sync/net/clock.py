"""The one clock of deadlines, back-off, idle times and keep-alives; what tests do to `time` does not stop it.

freezegun, and tests that patch ``time.monotonic``, replace that name wherever they find it; a connection whose clock
stands still would wait for ever. `time.clock_gettime` is what neither freezegun nor time-machine changes for this
clock, and it is bound here, at import. A call costs some 30 ns more than ``time.monotonic`` itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

__all__ = ["monotonic", "wall"]

monotonic: Final[Callable[[], float]] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
"""Return seconds on the clock that never goes back."""

wall: Final[Callable[[], float]] = partial(time.clock_gettime, time.CLOCK_REALTIME)
"""Return seconds since 1970, for comparing with a date that a server sent. (time-machine does change this one.)"""
