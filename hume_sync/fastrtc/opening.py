"""A response that is opened in a thread of its own, so that each wait for it has its own deadline.

An application behind a middleware that compresses, or a proxy that buffers, sends the head of its answer with the first
event. Until then the request must neither be given up, since the server would hand an output to the one that was, nor
keep its caller. A connection that is being made cannot be left and taken up again, so a thread makes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from ..locks import make_lock
from ..net.condition import TICK, Condition
from ..net.deadline import Deadline
from ..net.pending import Pending, Watch
from .http import OpenResponse

__all__ = ["Opening"]

_GRACE: Final = 1.0
"""Seconds in which the thread ends once it is aborted. Only a name look-up takes longer, and that ends by itself."""


class Opening:
    """Opens one response, once it is asked for. One thread at a time waits for it; `abort` is for any.

    Args:
        open_response: opens it; called in the thread, at most once.
    """

    def __init__(self, open_response: Callable[[Watch], OpenResponse]) -> None:
        self._open = open_response
        self._thread: threading.Thread | None = None
        # A signal's handler may close what its own thread is waiting for.
        self._lock = make_lock()
        self._changed = Condition(self._lock)
        self._pending: list[Pending] = []  # what the thread has acquired
        self._response: OpenResponse | None = None
        self._error: BaseException | None = None
        self._aborted = False

    @property
    def begun(self) -> bool:
        """Whether it was asked for."""
        return self._thread is not None

    @property
    def closed(self) -> bool:
        """Whether nothing is open, nor will be."""
        if self._thread is None or self._aborted:
            return True
        return self._response is not None and self._response.closed

    def result(self, deadline: Deadline) -> OpenResponse | None:
        """Wait for the response; None once the deadline has passed. Whatever has prevented it is raised, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hume_sync outputs", daemon=True)
            self._thread.start()
        return self._changed.wait_for(self._take, deadline)

    def abort(self) -> None:
        """From any thread: end it; whoever waits for the response, or reads it, goes on."""
        with self._lock:
            self._aborted = True
            pending, response = [*self._pending], self._response
        for one in pending:
            one.abort()
        if response is not None:
            response.abort()

    def close(self) -> None:
        """End it, release the connection, and wait for the thread; nobody may be reading. Idempotent."""
        self.release()
        self._join()

    def release(self) -> None:
        """As `close`, without waiting: for finalisers."""
        self.abort()
        if self._response is not None:
            self._response.close()

    def let_go(self, *, close: bool) -> None:
        """In a forked child: release the descriptor without a word to the server. No lock is taken."""
        if self._response is not None:
            self._response.let_go(close=close)

    def _take(self) -> OpenResponse | None:
        error, self._error = self._error, None  # an error and an object that holds it would keep each other
        try:
            if error is not None:
                raise error
        finally:
            del error
        return self._response

    def _join(self) -> None:
        thread = self._thread
        if thread is None or thread is threading.current_thread():  # finalisers run anywhere
            return
        deadline = Deadline(_GRACE)
        while thread.is_alive() and (left := deadline.remaining()):
            thread.join(min(left, TICK))

    # --- the thread

    def _run(self) -> None:
        try:
            response = self._open(self._watch)
        except BaseException as exc:  # noqa: BLE001 - `result` raises it
            for one in reversed(self._pending):
                one.release()
            self._settle(None, exc)
        else:
            self._settle(response, None)

    def _watch(self, pending: Pending) -> None:
        with self._lock:
            self._pending.append(pending)
            aborted = self._aborted
        if aborted:
            pending.abort()

    def _settle(self, response: OpenResponse | None, error: BaseException | None) -> None:
        with self._lock:
            self._pending.clear()
            self._response, self._error = response, error
            aborted = self._aborted
            self._changed.notify_all()
        if aborted and response is not None:
            response.close()
