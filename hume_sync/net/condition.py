"""A condition variable that stays consistent if an asynchronous exception is raised at any line.

`threading.Condition` is written in Python: a signal handler, or another thread, that raises between two of its lines
leaves the lock held for ever, or released twice, which replaces the exception by another one. Here the lock is a
lock of the interpreter's, held in ``with`` blocks alone, and it is not held while a thread waits.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from .deadline import Deadline

__all__ = ["MAX_WAIT", "Condition", "Latch"]

_T = TypeVar("_T")

MAX_WAIT: Final = 0.5
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
                waiter.acquire(timeout=min(left, MAX_WAIT))
            finally:
                with self._lock:
                    self._waiters.discard(waiter)

    def notify_all(self) -> None:
        """Wake all that wait; the lock must be held."""
        while self._waiters:
            self._waiters.pop().release()


class Latch:
    """Set once and for all, from any thread, signal handler or finaliser.

    `threading.Event` guards its flag by a lock that it takes and releases in Python code: where a signal handler raises
    in between, the lock stays locked, and the next `set` waits for ever. Here nothing is ever held.
    (The queue's class is looked up late: gevent may have replaced it since this module was imported, as it does under
    gunicorn's ``--preload``.)
    """

    __slots__ = ("_is_set", "_token")

    def __init__(self) -> None:
        self._is_set = False
        self._token: queue.SimpleQueue[None] = queue.SimpleQueue()  # one; each waiter passes it on

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake all who wait."""
        self._is_set = True
        self._token.put(None)

    def wait(self, timeout: float) -> bool:
        """Wait until it is set, at most ``timeout`` seconds; whether it is set."""
        if not self.is_set():
            try:
                self._token.get(timeout=timeout)
            except queue.Empty:
                pass  # not set, or just now
            finally:
                if self.is_set():
                    self._token.put(None)
        return self.is_set()
