"""Faults asked for in advance, and the gate that handshakes pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import frozen

from ..locks import make_lock
from ..reprs import safe_repr
from .faults import PayloadError


@safe_repr
@frozen
class Refusal:
    """A handshake answered by an HTTP status, and the seconds of a Retry-After header."""

    status: int
    retry_after: float | None = None


class Script:
    """Refusals and errors waiting for the next handshakes and requests, first come first; thread-safe."""

    def __init__(self) -> None:
        self._lock = make_lock()
        self._refusals: deque[Refusal] = deque()
        self._failures: deque[tuple[str, str]] = deque()

    def refuse(self, refusal: Refusal, times: int) -> None:
        """Refuse the next ``times`` handshakes."""
        with self._lock:
            self._refusals.extend([refusal] * times)

    def fail(self, code: str, text: str, times: int) -> None:
        """Answer the next ``times`` requests by an error."""
        with self._lock:
            self._failures.extend([(code, text)] * times)

    def next_refusal(self) -> Refusal | None:
        """Take the refusal of this handshake, if there is one."""
        with self._lock:
            return self._refusals.popleft() if self._refusals else None

    def next_failure(self) -> PayloadError | None:
        """Take the error of this request, if there is one."""
        with self._lock:
            return PayloadError(*self._failures.popleft()) if self._failures else None


class RateGate:
    """Lets so many through per second: a bucket of tokens, at least one, full at first. For one thread."""

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._room = max(1.0, per_second)
        self._tokens = self._room
        self._filled_at = clock()

    def passes(self) -> bool:
        """Take a token if there is one."""
        now = self._clock()
        self._tokens = min(self._room, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
