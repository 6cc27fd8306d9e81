"""A flag that threads can wait for, and that a signal cannot break."""

from __future__ import annotations

import queue

__all__ = ["Latch"]


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
