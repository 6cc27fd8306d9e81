"""The reconnect gate: when a server cannot be reached, one thread tries and the others wait for it.

The gate is open while things work. A failure that may be tried again, on a connection that has never answered, closes
it. From then on one thread at a time, the prober, dials and tries, with back-off; the others wait here, each under its
own deadline. A good reply opens the gate for all (a dial that succeeds does not: a server may accept and then fail). A
failure that will not go away, a refused key for one, is given to all who wait. A prober that gives up hands on.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TypeVar

from ..errors import HumeClientException, Timeout, copy_of
from . import clock
from .deadline import Deadline
from .interrupts import from_outside
from .retry import RetryPolicy

__all__ = ["Gate"]

_T = TypeVar("_T")


class Gate:
    """One for each pool, or for each socket of its own.

    Args:
        policy: whose back-off is used between probes.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        # Guards everything below; never held over I/O. Re-entrant: a signal handler may call `end` anywhere.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._failures = 0  # in a row, since the last good reply; above zero the gate is closed
        self._last: HumeClientException = _too_late()  # the failure that keeps it closed
        self._prober: object | None = None
        self._not_before = -math.inf  # monotonic time of the next probe
        self._fatal: tuple[int, HumeClientException] | None = None  # the last, and its round
        self._round = 0  # counts openings, so that an old fatal error is not given to newcomers
        self._ended: HumeClientException | None = None

    @property
    def is_open(self) -> bool:
        """Whether dialling is free for all."""
        return self._failures == 0

    def enter(self, caller: object, deadline: Deadline) -> None:
        """Come through, at once while the gate is open; else as the prober, or when another one has opened it.

        Raises:
            Timeout: the deadline passed (``phase="connect"``).
            HumeClientException: the failure that closed the gate, where its back-off leaves no time to try; what
                the prober learned will not go away; or the gate was ended.
        """
        if self._failures == 0 and self._ended is None:  # the usual way takes no lock
            return
        with self._lock:
            arrived = self._round
            while True:
                if self._ended is not None:
                    raise copy_of(self._ended)
                if self._fatal is not None and self._fatal[0] == arrived:
                    raise copy_of(self._fatal[1])
                if self._failures == 0:
                    return
                if self._prober is None:
                    self._prober = caller
                wait = deadline.remaining()
                if self._prober is caller:
                    pause = self._not_before - clock.monotonic()
                    if pause <= 0:
                        return
                    if pause >= wait:
                        self._hand_on(caller)
                        raise copy_of(self._last)  # a wait that does not fit is not begun: this is why
                    wait = pause
                elif wait == 0.0:
                    raise _too_late()
                self._changed.wait(min(wait, threading.TIMEOUT_MAX))

    def dial(self, connect: Callable[[Deadline], _T], caller: object, deadline: Deadline) -> _T:
        """Come through, connect, and let the gate know if that fails."""
        self.enter(caller, deadline)
        try:
            return connect(deadline)
        except HumeClientException as exc:
            if from_outside(exc):
                raise
            if self._policy.allows(exc):
                self.failed(caller, exc)
            else:
                self.condemn(caller, exc)
            raise

    def failed(self, caller: object, error: HumeClientException) -> None:
        """A connection that had never answered failed in a way that may be tried again: close the gate."""
        if self._policy.max_attempts == 1:
            return  # who never tries again has nobody wait
        with self._lock:
            self._last = copy_of(error)
            if self._prober is None:
                self._prober = caller
            now = clock.monotonic()
            if self._prober is caller:
                self._failures += 1  # the prober's alone: many that fail at once are one failure of the server
                self._not_before = now + self._policy.delay(self._failures, error)
            elif error.retry_after is not None:
                self._not_before = max(self._not_before, now + error.retry_after)

    def delay(self, caller: object) -> float:
        """Seconds until this caller may try, as prober: 0 where another one is, for whom it then waits."""
        with self._lock:
            return max(0.0, self._not_before - clock.monotonic()) if self._prober in (None, caller) else 0.0

    def open(self) -> None:
        """A good reply has come."""
        if self._failures == 0:  # the usual way takes no lock
            return
        with self._lock:
            self._reopen()

    def condemn(self, caller: object, error: HumeClientException) -> None:
        """The failure will not go away: give it to all who wait. Newcomers may try for themselves."""
        with self._lock:
            if self._failures and self._prober is caller:
                self._fatal = (self._round, copy_of(error))
                self._reopen()

    def leave(self, caller: object) -> None:
        """This caller will not try again: if it was the prober, the next one is."""
        if self._prober is caller:
            with self._lock:
                self._hand_on(caller)

    def end(self, error: HumeClientException) -> None:
        """Nobody comes through any more: wake all who wait."""
        with self._lock:
            self._ended = error
            self._changed.notify_all()

    def _reopen(self) -> None:
        self._failures = 0
        self._prober = None
        self._round += 1
        self._changed.notify_all()

    def _hand_on(self, caller: object) -> None:
        if self._prober is caller:
            self._prober = None
            self._changed.notify_all()


def _too_late() -> Timeout:
    return Timeout("no time left waiting for the server to come back", phase="connect")
