"""The rate limit of a run: how fast items are handed out, on any executor."""

from __future__ import annotations

import math
from typing import Final, Literal

from ..errors import InputError, short_repr
from ..net.clock import monotonic
from ..net.validation import plain_number

__all__ = ["Pace", "RateUnit"]

RateUnit = Literal["requests", "items"]


_LONGEST: Final = 86_400.0
"""Seconds to wait at one time: system calls refuse centuries."""


class Pace:
    """Says when the next item may be handed out.

    An item counts as one request when it is handed out; those it needed beyond that are added once it is done, so the
    mean rate of the run stays below the limit on any executor.

    Args:
        limit: Items or requests a second; None for no limit.
        unit: Which of them.

    Raises:
        InputError: The limit is no number above zero, or there is no such unit.
    """

    def __init__(self, limit: float | None, unit: RateUnit) -> None:
        if unit not in ("requests", "items"):
            raise InputError(f'rate_unit must be "requests" or "items", got {short_repr(unit)}')
        number = math.inf if limit is None else plain_number(limit)
        if number is None or not number > 0:
            raise InputError(f"rate_limit must be a number above zero, or None for no limit; got {short_repr(limit)}")
        self._interval = 1.0 / number
        self._per_request = unit == "requests"
        self._next = -math.inf

    def wait(self) -> float:
        """Return the seconds until the next item may be handed out."""
        return min(max(0.0, self._next - monotonic()), _LONGEST) if self._interval else 0.0

    def start(self) -> None:
        """Count an item that is handed out."""
        self._next = max(self._next, monotonic()) + self._interval

    def finish(self, requests: int) -> None:
        """Count the requests of an item that is done."""
        if self._per_request:
            self._next += self._interval * (requests - 1)
