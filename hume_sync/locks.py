"""Locks that Ctrl-C cannot leave held, on any supported Python."""

from __future__ import annotations

import sys
import threading
from typing import Any

__all__ = ["make_lock"]

_RLock: Any = type(threading.RLock())


class _SignalSafeRLock(_RLock):  # type: ignore[misc]  # typeshed knows no `_is_owned`
    """A reentrant lock that a ``with`` statement never leaves held, even if a signal handler raises.

    Since Python 3.14 signal handlers may run between the call of ``__enter__`` and the block of a ``with`` statement
    if that method is written in C. If it is written in Python they run inside it, where the lock can still be released.
    The ``__exit__`` is that of the base class: one in Python could be interrupted before it releases the lock.
    """

    def __enter__(self) -> bool:
        owned = self._is_owned()
        try:
            self.acquire()
        except BaseException:  # a handler has raised: during the wait, or once the lock was acquired
            if owned or self._is_owned():  # a lock that was owned already is acquired without a wait
                self.release()
            raise
        return True


def make_lock() -> threading.RLock:
    """Return a reentrant lock for ``with`` statements."""
    lock = threading.RLock()
    if sys.version_info >= (3, 14) and type(lock) is _RLock:  # gevent puts another class in its place
        return _SignalSafeRLock()  # type: ignore[no-any-return]  # for mypy its base is Any
    return lock
