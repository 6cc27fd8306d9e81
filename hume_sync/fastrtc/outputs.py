"""The additional outputs of a handler as a stream: what it gives besides audio, as server-sent events."""

from __future__ import annotations

import math
import os
import warnings
import weakref
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn, Self

from ..errors import HookError, HumeClientException, MisuseError, Timeout, TransportError, clone_error
from ..net import fork
from ..net.call_lock import CallLock
from ..net.deadline import Deadline, seconds
from ..net.interrupts import from_outside
from ..reprs import safe_repr
from .app_http import StreamingResponse
from .events import json_or_text
from .hooks import output_too_large
from .opening import Opening
from .sse import TOO_LARGE, ServerSentEvent, SSEParser

__all__ = ["OutputStream"]


@safe_repr
class OutputStream:
    """Iterates over the additional outputs of one connection, as they come: JSON where it is JSON, else text.

    The first `receive`, or step of an iteration, asks for them; until then servers keep what a handler gives out. The
    answer need not begin before the first output: while it does not, a call waits as it does between two outputs, and
    the next goes on with the same request. Where the application answers with an error, it comes from the call that
    waits, and has ended the stream.

    The iterator ends when the stream does, soon after its connection, and at once when `close` is called, from any
    thread. Between outputs it waits without limit, since servers say nothing while there are none; `receive` waits as
    long as it is told. Where the network forgets its connection alone, the system's probes notice within a minute. What
    a signal handler or another thread raises in a call ends the stream, since something may be missing. A stream that
    is dropped is closed, or the server would go on handing outputs to it.

    Args:
        opening: of the stream of events.
        max_size: bytes of an output; a larger one is an error in its place.
        ended_by: what has ended the connection; None while it lives. The stream then ends about a second later, should
            the server not end it: what the handler gave out before still comes.
    """

    def __init__(
        self,
        opening: Opening,
        *,
        max_size: int = 16 * 2**20,
        ended_by: Callable[[], HumeClientException | None] = lambda: None,
    ) -> None:
        self._opening = opening
        self._max_size = max_size
        self._ended_by = ended_by
        self._last_second: Deadline | None = None  # runs since the connection was seen to have ended
        self._parser = SSEParser(max_size)
        self._ready: deque[ServerSentEvent | None] = deque()
        self._lock = CallLock()  # held by the thread that reads
        self._pid = os.getpid()
        self._closed = False
        self._ended = False
        self.last_event: ServerSentEvent | None = None
        """The event that the last output came in: its name, its identifier, its data as text."""
        self._forgotten = weakref.finalize(self, _forgotten, opening, self._pid)
        fork.register(self)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: the stream has ended, or was closed."""
        return self._closed or (self._ended and not self._ready)

    def receive(self, default: Any = None, *, timeout: float = math.inf) -> Any:
        """The next output; ``default`` once ``timeout`` seconds have passed, or the stream has `ended`.

        Raises:
            InputError: ``timeout`` is no number above zero.
            OutputTooLarge: an output is larger than the limit. The stream goes on: the next call gives the next one.
            HookError: the application answered with an error (``status``), with something else than a stream of events,
                or not at all.
            Timeout: it could not be reached within the client's ``timeout``.
            ConfigurationError: headers would go unencrypted to another machine.
            ConnectionLost: the stream was cut off; or the session's connection ended before the outputs were asked for,
                and took them along.
            ProtocolError: it is not put together as HTTP/1.1 says.
            MisuseError: the process was forked meanwhile.
        """
        if self._pid != os.getpid():
            raise MisuseError("these outputs were opened before the process was forked: open a session in the child")
        deadline = Deadline(seconds("timeout", timeout))
        if self._closed:
            return default
        try:
            if not self._lock.acquire(deadline):
                return default  # another thread has waited all the time
            event = self._next_event(deadline)
        finally:
            self._lock.release()
            if self._closed or self._ended:
                self._release()
        if event is TOO_LARGE:
            raise output_too_large(self._max_size)
        return default if event is _NOTHING else json_or_text(event.data)

    def close(self) -> None:
        """End it; whoever waits for an output gets the end of the iterator. Idempotent, from any thread."""
        if self._pid != os.getpid():
            return
        self._closed = True
        self._opening.abort()
        self._release()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        output = self.receive(_NOTHING)
        if output is _NOTHING:
            raise StopIteration
        return output

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except BaseException:
            self.close()  # a signal struck in the middle of it
            raise

    def __repr__(self) -> str:
        return f"<OutputStream{' ended' if self.ended else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an OutputStream is neither copied nor pickled: open one where it is used")

    def release_after_fork(self, *, hooked: bool) -> None:
        """In a forked child: the stream is the parent's. No lock is taken: its holder may not exist here."""
        self._closed = True
        self._opening.release_after_fork(close=hooked)

    def _next_event(self, deadline: Deadline) -> Any:
        """The next event, `TOO_LARGE`, or `_NOTHING`."""
        try:
            while not self._closed:
                if self._ready:
                    event = self._ready.popleft()
                    self.last_event = event or self.last_event
                    return event
                if self._ended:
                    break
                self._read(deadline)
                if deadline.expired() and not self._ready:  # comments that drip for ever are no time-out by themselves
                    break
        except BaseException as exc:
            self._ended = True  # whatever it was, something may be missing
            if not self._closed or not isinstance(exc, TransportError | HookError) or from_outside(exc):
                raise
        return _NOTHING

    def _read(self, deadline: Deadline) -> None:
        """Take in what comes next, or nothing for a moment: then it is time to ask whether anything can."""
        if self._last_second is None and (error := self._ended_by()) is not None:
            if not self._opening.begun:
                self._ended = True
                if isinstance(error, TransportError):
                    raise clone_error(error)
                return
            self._last_second = Deadline(_SECOND)
        moment = (self._last_second or deadline).capped_at(min(_MOMENT, deadline.remaining()))
        response = self._opening.result(moment)
        if response is not None:
            self._read_from(response, moment)
        self._ended |= self._last_second is not None and self._last_second.expired()

    def _read_from(self, response: StreamingResponse, moment: Deadline) -> None:
        try:
            data = response.read(moment)
        except Timeout as exc:
            if from_outside(exc):
                raise
            return  # nothing is lost: the next call goes on
        self._ended = not data
        self._ready.extend(self._parser.feed(data))

    def _release(self) -> None:
        """Give the descriptor back, unless a thread is reading: that one does it when it is done."""
        self._forgotten.detach()
        if self._lock.try_acquire():
            try:
                self._opening.close()
            finally:
                self._lock.release()


def _forgotten(opening: Opening, pid: int) -> None:
    """A stream was dropped, or the interpreter ends, without `close`."""
    if pid != os.getpid():
        opening.release_after_fork(close=False)
        return
    if opening.closed:
        return
    opening.release()
    warnings.warn("a stream of outputs was not closed", ResourceWarning, stacklevel=1)


_NOTHING = object()

_SECOND = 1.0
_MOMENT = 0.25
