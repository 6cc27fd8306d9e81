"""Faults scheduled in advance, and the rate limit of handshakes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import frozen

from ..locks import make_lock
from ..reprs import safe_repr
from .faults import PayloadError


@safe_repr
@frozen
class Rejection:
    """An HTTP status that rejects a handshake, and the seconds of its Retry-After header."""

    status: int
    retry_after: float | None = None


class ScriptedFaults:
    """A thread-safe queue of rejections and errors for the next handshakes and requests."""

    def __init__(self) -> None:
        self._lock = make_lock()
        self._rejections: deque[Rejection] = deque()
        self._errors: deque[tuple[str, str]] = deque()

    def add_rejection(self, rejection: Rejection, times: int) -> None:
        """Reject the next ``times`` handshakes."""
        with self._lock:
            self._rejections.extend([rejection] * times)

    def add_error(self, code: str, text: str, times: int) -> None:
        """Answer the next ``times`` requests with an error."""
        with self._lock:
            self._errors.extend([(code, text)] * times)

    def next_rejection(self) -> Rejection | None:
        """Remove and return the rejection for this handshake, or None."""
        with self._lock:
            return self._rejections.popleft() if self._rejections else None

    def next_error(self) -> PayloadError | None:
        """Remove and return the error for this request, or None."""
        with self._lock:
            return PayloadError(*self._errors.popleft()) if self._errors else None


class TokenBucket:
    """A rate limit, for use by one thread. The bucket holds at least one token and starts full.

    Args:
        per_second: Tokens added each second.
        clock: Returns the time in seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._room = max(1.0, per_second)
        self._tokens = self._room
        self._filled_at = clock()

    def try_acquire(self) -> bool:
        """Take a token, and return whether there was one."""
        now = self._clock()
        self._tokens = min(self._room, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
