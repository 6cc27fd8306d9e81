"""A lock that is waited for under a deadline, and that Ctrl-C cannot leave held."""

from __future__ import annotations

import sys
import threading
from types import FrameType

from ..errors import MisuseError
from .condition import MAX_WAIT
from .deadline import Deadline

__all__ = ["CallLock"]


class CallLock:
    """Held by one thread for the length of a call.

    A signal may strike between the moment a lock is taken and the moment a program knows it. So this lock is one that
    knows its owner: `release` frees every level that the calling thread holds, and does nothing if it holds none. It
    may therefore stand in a ``finally`` that also covers `acquire`. If a signal
    interrupts `release` itself, the next release by the same thread frees the remaining levels.
    """

    __slots__ = ("_lock", "holder")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.holder: FrameType | None = None
        """The call that holds it; None: no call is under way."""

    def raise_if_reentrant(self) -> None:
        """Raise `MisuseError` in a callback or signal handler of the call that holds the lock."""
        if self._called_from_holder():
            raise MisuseError("a stream cannot be called from inside its own call (a callback, a signal handler)")

    def _called_from_holder(self) -> bool:
        """Return True if the holding call is on the caller's stack, which a signal cannot leave out of date."""
        holder = self.holder
        frame = sys._getframe(2) if holder is not None else None
        while frame is not None:
            if frame is holder:
                return True
            frame = frame.f_back
        return False

    def acquire(self, deadline: Deadline) -> bool:
        """Wait for the lock, for the caller's frame; False when the deadline has passed."""
        if not self._lock.acquire(False):
            while not self._lock.acquire(timeout=min(deadline.remaining(), MAX_WAIT)):
                if deadline.expired():
                    return False
        self.holder = sys._getframe(1)
        return True

    def try_acquire(self) -> bool:
        """Take the lock if it is free, without waiting; return False during a call, also of the same thread."""
        return not self._called_from_holder() and self._lock.acquire(False)

    def release(self) -> None:
        """Release the lock if this thread holds it."""
        is_mine = self._lock._is_owned  # type: ignore[attr-defined]  # what threading.Condition asks it, too
        if is_mine():
            self.holder = None
            self._lock.release()
            while is_mine():
                self._lock.release()
