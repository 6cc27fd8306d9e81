"""A lock that is waited for under a deadline, and that Ctrl-C cannot leave held."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..errors import MisuseError
from .deadline import Deadline

__all__ = ["CallLock"]


class CallLock:
    """Held by one thread for the length of a call.

    A signal may strike between the moment a lock is taken and the moment a program knows it. So this lock is one that
    knows its owner: `release` lets go of all the calling thread holds, and does nothing where that is nothing. It may
    therefore stand in a ``finally`` that also covers `acquire`; and what a signal has left held all the same, in the
    very middle of `release`, the same thread's next call takes along.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._calling_back: int | None = None  # the thread on which a callback of the call under way runs

    def refuse_in_callback(self) -> None:
        """Raise `MisuseError` on a thread that runs a callback of the very call that holds the lock."""
        if self._calling_back == threading.get_ident():
            self._calling_back = None  # one error for one misuse
            raise MisuseError("a stream cannot be called from a callback of its own call")

    def acquire(self, deadline: Deadline) -> bool:
        """Wait for the lock; False when the deadline has passed."""
        return self._lock.acquire(timeout=deadline.for_lock())

    def release(self) -> None:
        """Let go, if this thread holds it."""
        try:
            while True:
                self._lock.release()
        except RuntimeError:
            pass  # not ours, or no longer

    def call_back(self, callback: Callable[[], object]) -> None:
        """Run a caller's code inside the call that holds the lock; what it raises is raised."""
        self._calling_back = threading.get_ident()
        try:
            callback()
        finally:
            self._calling_back = None
