"""The circuit breaker of a pool or socket: when a server cannot be reached, one call tries and the others wait or fail.

The breaker is closed while things work. It opens in two ways:

- *Away.* A failure that may be tried again, on a connection that has never answered. One call at a time, the prober,
  then dials and tries, with back-off. The others wait here, each under its own deadline, or with ``fail_fast`` get the
  failure at once. A prober that gives up hands on.
- *Refused.* A failure to connect that no retry mends, a refused key above all. For 5 s, doubling to 60, every call gets
  that error at once, and nothing is dialled; after that one call tries.

A good reply closes it for all. A dial that succeeds does not: a server may accept and then fail. Exchanges on
connections that are healthy go on all the while.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ..errors import ConnectError, HumeClientException, Timeout, copy_of
from ..locks import make_lock
from . import clock
from .condition import Condition
from .deadline import Deadline
from .interrupts import from_outside
from .retry import RetryPolicy, brief

__all__ = ["Gate"]

_log = logging.getLogger("hume_sync.retry")

_T = TypeVar("_T")

_REFUSED = 5.0
"""Seconds for which a refusal counts; each further one in a row doubles them."""

_FAIR = 1.0
"""Seconds that a server is to be given for a connection, before its silence counts as a failure."""

_REFUSED_AT_MOST = 60.0


class Gate:
    """One for each pool, or for each socket of its own.

    Args:
        policy: whose back-off is used between probes.
        name: of the pool or socket and its server, for the log.
        fail_fast: whether calls fail at once, rather than wait, while the server is away.
    """

    def __init__(self, policy: RetryPolicy, name: str = "", *, fail_fast: bool = False) -> None:
        self.name = name
        self.fail_fast = fail_fast
        self._policy = policy
        # Guards everything below; never held over I/O. Re-entrant: a signal handler may call `end` anywhere.
        self._lock = make_lock()
        self._changed = Condition(self._lock)
        self._version = 0  # of all below
        self._failures = 0  # in a row, since the last good reply; above zero the gate is closed
        self._last: HumeClientException = _too_late()  # the failure that keeps it closed
        self._prober: object | None = None
        self._not_before = -math.inf  # monotonic time of the next probe
        self._refusal: HumeClientException | None = None  # while the server refuses connections
        self._refused_until = -math.inf
        self._refusals = 0  # in a row
        self._fatal: tuple[int, HumeClientException] | None = None  # the last, and its round
        self._round = 0  # counts openings, so that an old fatal error is not given to newcomers
        self._ended: HumeClientException | None = None

    @property
    def is_open(self) -> bool:
        """Whether dialling is free for all."""
        return self._failures == 0 and self._refusal is None

    @property
    def cause(self) -> HumeClientException | None:
        """A copy of the failure that keeps calls from dialling; None while dialling is free."""
        with self._lock:
            if self._refusal is not None:
                over = clock.monotonic() >= self._refused_until  # it is being looked whether it still stands
                return None if over else copy_of(self._refusal)
            return copy_of(self._last) if self._failures else None

    def enter(self, caller: object, deadline: Deadline) -> None:
        """Come through, at once while the gate is open; else as the prober, or when another one has opened it.

        Raises:
            HumeClientException: the failure that keeps calls from dialling, where it is a refusal, calls are to fail
                fast, or no time is left to wait; or the error that the gate was ended with.
        """
        if self._failures == 0 and self._ended is None and self._refusal is None:  # the usual way takes no lock
            return
        arrived = self._round
        while (wait := self._pass(caller, arrived, deadline)) is not None:
            seen, pause = wait
            self._changed.wait_for(partial(self._has_changed, seen), Deadline(pause))

    def _has_changed(self, seen: int) -> bool | None:
        return self._version != seen or None

    def _pass(self, caller: object, arrived: int, deadline: Deadline) -> tuple[int, float] | None:
        """Come through, or raise; else how things are, and how long to wait for a change of them."""
        with self._lock:
            if self._ended is not None:
                raise copy_of(self._ended)
            if self._fatal is not None and self._fatal[0] == arrived:
                raise copy_of(self._fatal[1])
            if self._refusal is not None:
                if self._prober not in (None, caller) or clock.monotonic() < self._refused_until:
                    raise copy_of(self._refusal)
                self._prober = caller
                return None
            if self._failures == 0:
                return None
            if self._prober is None:
                self._prober = caller
            wait = 0.0 if self.fail_fast else deadline.remaining()
            if self._prober is caller:
                pause = self._not_before - clock.monotonic()
                if pause <= 0:
                    return None
                if pause >= wait:
                    self._hand_on(caller)
                    raise copy_of(self._last)  # a wait that does not fit is not begun: this is why
                wait = pause
            elif wait == 0.0:
                raise copy_of(self._last)
            return self._version, wait

    def dial(self, connect: Callable[[Deadline], _T], caller: object, deadline: Deadline) -> _T:
        """Come through, connect, and let the gate know if that fails."""
        self.enter(caller, deadline)
        began = clock.monotonic()
        try:
            return connect(deadline)
        except HumeClientException as exc:
            if from_outside(exc):
                raise
            if isinstance(exc, Timeout) and deadline.expired() and clock.monotonic() - began < _FAIR:
                self.leave(caller)  # the caller's patience says nothing of the server
            elif self._policy.allows(exc):
                self.failed(caller, exc)
            else:
                self.condemn(caller, exc)
            raise

    def failed(self, caller: object, error: HumeClientException) -> None:
        """A connection that had never answered failed in a way that may be tried again: close the gate."""
        if self._policy.max_attempts == 1 and not self.fail_fast:
            return  # who never tries again has nobody wait
        with self._lock:
            opened = self.is_open
            self._last = copy_of(error)
            if self._prober is None:
                self._prober = caller
            now = clock.monotonic()
            if self._prober is caller:
                self._refusal = None
                self._failures += 1  # the prober's alone: many that fail at once are one failure of the server
                self._not_before = now + self._policy.delay(self._failures, error)
            elif error.retry_after is not None:
                self._not_before = max(self._not_before, now + error.retry_after)
        if opened:
            _log.warning("%s: circuit breaker open: %s", self.name, brief(error))

    def delay(self, caller: object) -> float:
        """Seconds until this caller may try, as prober: 0 where another one is, for whom it then waits."""
        with self._lock:
            return max(0.0, self._not_before - clock.monotonic()) if self._prober in (None, caller) else 0.0

    def open(self) -> None:
        """A good reply has come."""
        if self._failures == 0 and self._refusal is None:  # the usual way takes no lock
            return
        with self._lock:
            was_open, self._refusal, self._refusals = self.is_open, None, 0
            self._reopen()
        if not was_open:
            _log.warning("%s: circuit breaker closed: the server answers", self.name)

    def condemn(self, caller: object, error: HumeClientException) -> None:
        """The failure will not go away: give it to all who wait, and a refusal to all who come within its time."""
        pause = 0.0
        with self._lock:
            now = clock.monotonic()
            if isinstance(error, ConnectError) and (self._refusal is None or now >= self._refused_until):
                pause = min(_REFUSED * 2.0 ** min(self._refusals, 30), _REFUSED_AT_MOST)
                self._refusals += 1
                self._refusal, self._refused_until = copy_of(error), now + pause
                self._tell()
            if self._prober is caller:
                self._fatal = (self._round, copy_of(error))
                self._reopen()
        if pause:
            _log.warning("%s: circuit breaker open for %.0f s: %s", self.name, pause, brief(error))

    def leave(self, caller: object) -> None:
        """This caller will not try again: if it was the prober, the next one is."""
        if self._prober is caller:
            with self._lock:
                self._hand_on(caller)

    def end(self, error: HumeClientException) -> None:
        """Nobody comes through any more: wake all who wait."""
        with self._lock:
            self._ended = error
            self._tell()

    def _reopen(self) -> None:
        self._failures = 0
        self._prober = None
        self._round += 1
        self._tell()

    def _tell(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _hand_on(self, caller: object) -> None:
        if self._prober is caller:
            self._prober = None
            self._tell()


def _too_late() -> Timeout:
    return Timeout("no time left waiting for the server to come back", phase="connect")
