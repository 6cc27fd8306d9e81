"""A lock that is waited for under a deadline, and that Ctrl-C cannot leave held."""

from __future__ import annotations

import threading

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
        self.calling_back = False
        """Whether a caller's code runs now, inside the call that holds the lock: its owner says so."""

    def acquire(self, deadline: Deadline) -> bool:
        """Wait for the lock; False when the deadline has passed.

        Raises:
            MisuseError: this thread is in a callback of the very call that holds the lock.
        """
        if not self._lock.acquire(timeout=deadline.for_lock()):
            return False
        if self.calling_back:
            self.calling_back = False  # one error for one misuse
            self._lock.release()
            raise MisuseError("a stream cannot be called from a callback of its own call")
        return True

    def release(self) -> None:
        """Let go, if this thread holds it."""
        try:
            while True:
                self._lock.release()
        except RuntimeError:
            pass  # not ours, or no longer
