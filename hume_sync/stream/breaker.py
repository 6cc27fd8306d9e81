"""The circuit breaker of a pool or socket: when a server cannot be reached, one call tries and the others wait or fail.

The breaker is closed while things work. It opens in two ways:

- *Unavailable.* A retryable failure on a connection that has never answered. One call at a time, the prober, then
  connects and tries, with back-off. The others wait, each under its own deadline, or fail at once with
  ``fail_fast``. If the prober stops trying, the next waiting caller probes.
- *Refused.* A failure to connect that no retry can mend, such as a rejected key. For 5 s, doubling up to 60, every call
  gets that error at once and none connects; after that one call tries.

A reply closes it. Connecting alone does not: a server may accept and then fail. Requests on healthy connections
go on in any state.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ..errors import ConnectError, HumeClientException, Timeout, clone_error
from ..locks import make_lock
from ..net import clock
from ..net.condition import Condition
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.retry import RetryPolicy, brief

__all__ = ["CircuitBreaker"]

_log = logging.getLogger("hume_sync.retry")

_T = TypeVar("_T")

_FIRST_REFUSAL_PAUSE = 5.0
"""Seconds for which a refusal is remembered; each further one in a row doubles them."""

_MIN_ATTEMPT_TIME = 1.0
"""Least seconds that a connection attempt must have had before its timeout counts as a failure of the server."""

_MAX_REFUSAL_PAUSE = 60.0


class CircuitBreaker:
    """The circuit breaker of one pool or of one unpooled socket.

    Args:
        policy: The policy whose back-off separates the probes.
        name: The name of the pool or socket and its server, for the log.
        fail_fast: Whether calls fail at once, rather than wait, while the server is unavailable.
    """

    def __init__(self, policy: RetryPolicy, name: str = "", *, fail_fast: bool = False) -> None:
        self.name = name
        self.fail_fast = fail_fast
        self.policy = policy
        # Guards everything below; never held over I/O. Re-entrant: a signal handler may call `shut_down` anywhere.
        self._lock = make_lock()
        self._changed = Condition(self._lock)
        self._version = 0  # incremented by every change of the fields below
        self._failures = 0  # in a row, since the last reply; above zero the breaker is open
        self._last_error: HumeClientException = _too_late()  # the failure that keeps the breaker open
        self._prober: object | None = None
        self._next_probe_at = -math.inf  # monotonic time of the next probe
        self._refusal: HumeClientException | None = None  # while the server refuses connections
        self._refused_until = -math.inf
        self._refusals = 0  # in a row
        self._fatal: tuple[int, HumeClientException] | None = None  # the last fatal error and its generation
        self._generation = 0  # counts resets, so that later callers do not get an old fatal error
        self._shutdown_error: HumeClientException | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether every call may connect."""
        return self._failures == 0 and self._refusal is None

    @property
    def cause(self) -> HumeClientException | None:
        """A copy of the failure that keeps the breaker open; None while it is closed."""
        with self._lock:
            if self._refusal is not None:
                over = clock.monotonic() >= self._refused_until  # due for another try
                return None if over else clone_error(self._refusal)
            return clone_error(self._last_error) if self._failures else None

    def wait_for_turn(self, caller: object, deadline: Deadline) -> None:
        """Wait until the caller may connect: at once while the breaker is closed, else as the prober or once it closes.

        Raises:
            HumeClientException: The failure that keeps the breaker open, if it is a refusal, with ``fail_fast``, or if
                no time is left to wait; or the error given to `shut_down`.
        """
        if self._failures == 0 and self._shutdown_error is None and self._refusal is None:  # fast path: no lock
            return
        arrived = self._generation
        while (wait := self._try_enter(caller, arrived, deadline)) is not None:
            seen, pause = wait
            self._changed.wait_for(partial(self._has_changed, seen), Deadline(pause))

    def _has_changed(self, seen: int) -> bool | None:
        return self._version != seen or None

    def _try_enter(self, caller: object, arrived: int, deadline: Deadline) -> tuple[int, float] | None:
        """Return None if the caller may connect, else the current version and the seconds to wait for a change."""
        with self._lock:
            if self._shutdown_error is not None:
                raise clone_error(self._shutdown_error)
            if self._fatal is not None and self._fatal[0] == arrived:
                raise clone_error(self._fatal[1])
            if self._refusal is not None:
                if self._prober not in (None, caller) or clock.monotonic() < self._refused_until:
                    raise clone_error(self._refusal)
                self._prober = caller
                return None
            if self._failures == 0:
                return None
            if self._prober is None:
                self._prober = caller
            wait = 0.0 if self.fail_fast else deadline.remaining()
            if self._prober is caller:
                pause = self._next_probe_at - clock.monotonic()
                if pause <= 0:
                    return None
                if pause >= wait:
                    self._release_probe(caller)
                    raise clone_error(
                        self._last_error
                    )  # the back-off exceeds the deadline: fail now with the last error
                wait = pause
            elif wait == 0.0:
                raise clone_error(self._last_error)
            return self._version, wait

    def connect(self, connect: Callable[[Deadline], _T], caller: object, deadline: Deadline) -> _T:
        """Wait for a turn, connect, and record a failure to do so."""
        self.wait_for_turn(caller, deadline)
        began = clock.monotonic()
        try:
            return connect(deadline)
        except HumeClientException as exc:
            if from_outside(exc):
                raise
            if isinstance(exc, Timeout) and deadline.expired() and clock.monotonic() - began < _MIN_ATTEMPT_TIME:
                self.release_probe(caller)  # so short a timeout says nothing about the server
            elif self.policy.allows(exc):
                self.record_failure(caller, exc)
            else:
                self.record_fatal(caller, exc)
            raise

    def record_failure(self, caller: object, error: HumeClientException) -> None:
        """Record a retryable failure of a connection that had never answered: open the breaker."""
        if self.policy.max_attempts == 1 and not self.fail_fast:
            return  # without retries, one caller's failure must not block the others
        with self._lock:
            was_closed = self.is_healthy
            self._last_error = clone_error(error)
            if self._prober is None:
                self._prober = caller
            now = clock.monotonic()
            if self._prober is caller:
                self._refusal = None
                self._failures += 1  # the prober's alone: simultaneous failures count once
                self._next_probe_at = now + self.policy.delay(self._failures, error)
            elif error.retry_after is not None:
                self._next_probe_at = max(self._next_probe_at, now + error.retry_after)
        if was_closed:
            _log.warning("%s: circuit breaker open: %s", self.name, brief(error))

    def retry_delay(self, caller: object) -> float:
        """Return the seconds until this caller may probe; 0 if another one is the prober and has to be waited for."""
        with self._lock:
            return max(0.0, self._next_probe_at - clock.monotonic()) if self._prober in (None, caller) else 0.0

    def record_success(self) -> None:
        """Record a reply: close the breaker."""
        if self._failures == 0 and self._refusal is None:  # fast path: no lock
            return
        with self._lock:
            was_closed, self._refusal, self._refusals = self.is_healthy, None, 0
            self._reset()
        if not was_closed:
            _log.warning("%s: circuit breaker closed: the server answers", self.name)

    def record_fatal(self, caller: object, error: HumeClientException) -> None:
        """Record a permanent failure: raise it in all waiting callers, and a refusal in later ones for a while."""
        pause = 0.0
        with self._lock:
            now = clock.monotonic()
            if isinstance(error, ConnectError) and (self._refusal is None or now >= self._refused_until):
                pause = min(_FIRST_REFUSAL_PAUSE * 2.0 ** min(self._refusals, 30), _MAX_REFUSAL_PAUSE)
                self._refusals += 1
                self._refusal, self._refused_until = clone_error(error), now + pause
                self._wake_waiting()
            if self._prober is caller:
                self._fatal = (self._generation, clone_error(error))
                self._reset()
        if pause:
            _log.warning("%s: circuit breaker open for %.0f s: %s", self.name, pause, brief(error))

    def release_probe(self, caller: object) -> None:
        """Let the next waiting caller probe, if this caller was the prober."""
        if self._prober is caller:
            with self._lock:
                self._release_probe(caller)

    def shut_down(self, error: HumeClientException) -> None:
        """Fail all waiting and later callers with this error."""
        with self._lock:
            self._shutdown_error = error
            self._wake_waiting()

    def _reset(self) -> None:
        self._failures = 0
        self._prober = None
        self._generation += 1
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _release_probe(self, caller: object) -> None:
        if self._prober is caller:
            self._prober = None
            self._wake_waiting()


def _too_late() -> Timeout:
    return Timeout("timed out waiting for the server to become available", phase="connect")
