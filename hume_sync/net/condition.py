"""A condition variable that stays consistent if an asynchronous exception is raised at any line.

`threading.Condition` is written in Python: a signal handler, or another thread, that raises between two of its lines
leaves the lock held for ever, or released twice, which replaces the exception by another one. Here the lock is a
lock of the interpreter's, held in ``with`` blocks alone, and it is not held while a thread waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from .deadline import Deadline

__all__ = ["TICK", "Condition"]

_T = TypeVar("_T")

TICK: Final = 0.5
"""Seconds of one wait at most. An exception that another thread raises here (``PyThreadState_SetAsyncExc``) does not
interrupt a wait, so it comes out between two."""


class Condition:
    """Lets threads wait for a change of what a lock guards.

    Args:
        lock: Guards the state that is waited for. Several conditions may share one.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._waiters: set[threading.Lock] = set()

    def wait_for(self, attempt: Callable[[], _T | None], deadline: Deadline) -> _T | None:
        """Run ``attempt``, with the lock held, at each change until it returns something else than None.

        Returns:
            That, or None once the deadline has passed; it is tried once in any case.
        """
        while True:
            with self._lock:
                result = attempt()
                if result is not None:
                    return result
                left = deadline.remaining()
                if left == 0.0:
                    return None
                waiter = threading.Lock()
                waiter.acquire()
                self._waiters.add(waiter)
            try:
                waiter.acquire(timeout=min(left, TICK))
            finally:
                with self._lock:
                    self._waiters.discard(waiter)

    def notify_all(self) -> None:
        """Wake all that wait; the lock must be held."""
        while self._waiters:
            self._waiters.pop().release()
