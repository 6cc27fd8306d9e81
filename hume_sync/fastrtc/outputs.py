"""The additional outputs of a handler as a stream of server-sent events."""

from __future__ import annotations

import math
import os
import re
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import attrs

from ..errors import HookError, HumeClientException, MisuseError, OutputTooLarge, Timeout, TransportError, clone_error
from ..locks import make_lock
from ..net import fork
from ..net.call_lock import CallLock
from ..net.condition import MAX_WAIT, Condition
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.pending import Pending, Watch
from ..net.validation import to_seconds
from ..reprs import safe_repr
from .app_http import StreamingResponse
from .events import json_or_text

__all__ = ["TOO_LARGE", "OpeningResponse", "OutputStream", "SSEParser", "ServerSentEvent", "output_too_large"]

TOO_LARGE: Final = None
"""Stands for an event that was larger than the limit."""

_END: Final = object()

_LINGER: Final = 1.0
"""Seconds for which a stream is still read once its connection has ended."""

_POLL_INTERVAL: Final = 0.25
"""Seconds of waiting before checking whether the connection has ended."""

_JOIN_TIMEOUT: Final = 1.0
"""Seconds in which the thread ends once it is aborted. Only a name look-up takes longer, and that ends by itself."""

_LINE_END: Final = re.compile(rb"\r\n?|\n")
_BOM: Final = b"\xef\xbb\xbf"
_MAX_DIGITS: Final = 9
"""Digits of a ``retry`` field; Python itself refuses to parse thousands."""
_MAX_FIELD_NAME: Final = 16
"""Bytes of a line besides its value: ``data: ``, and a byte order mark."""


@safe_repr
class OutputStream:
    """Iterates over the additional outputs of one connection, as they come: as JSON if they are JSON, else as text.

    The first `receive`, or step of an iteration, makes the request; until then servers keep the handler's outputs. The
    response need not begin before the first output: until it does, a call waits as between two outputs, and the next
    call continues with the same request. If the application responds with an error, the waiting call raises it, and the
    stream has ended.

    The iterator ends with the stream, soon after the session's connection ends, and at once when any thread calls
    `close`. It waits for outputs without a limit, since servers send nothing while there are none; `receive` takes a
    timeout. If the network drops only the stream's connection, the system's keep-alive probes detect that within a
    minute. An exception that a signal handler or another thread raises during a call ends the stream, since an output
    may be missing. A stream that is dropped is closed.

    Args:
        opening: The response.
        max_size: Bytes of an output; a larger one is an error in its place.
        connection_error: Returns the error that ended the session's connection; None while it is open. The stream then
            ends about a second later, if the server does not end it: earlier outputs still come.

    Attributes:
        last_event: The event of the last output: its name, its identifier, its data as text.
    """

    def __init__(
        self,
        opening: OpeningResponse,
        *,
        max_size: int = 16 * 2**20,
        connection_error: Callable[[], HumeClientException | None] = lambda: None,
    ) -> None:
        self._opening = opening
        self._max_size = max_size
        self._connection_error = connection_error
        self._linger_deadline: Deadline | None = None  # set once the connection was seen to have ended
        self._parser = SSEParser(max_size)
        self._ready: deque[ServerSentEvent | None] = deque()
        self._lock = CallLock()  # held by the thread that reads
        self._pid = os.getpid()
        self._closed = False
        self._ended = False
        self.last_event: ServerSentEvent | None = None
        self._finalizer = weakref.finalize(self, _on_garbage_collected, opening, self._pid)
        fork.register(self)

    @property
    def ended(self) -> bool:
        """Whether no further outputs will come: the stream has ended, or was closed."""
        return self._closed or (self._ended and not self._ready)

    def receive(self, default: Any = None, *, timeout: float = math.inf) -> Any:
        """Return the next output, or ``default`` after ``timeout`` seconds or once the stream has `ended`.

        Raises:
            InputError: ``timeout`` is not a number above zero.
            OutputTooLarge: An output is larger than the limit. The next call returns the next one.
            HookError: The application responded with an error (``status``), with something other than a stream of
                events, or not at all.
            Timeout: The application could not be reached within the client's ``timeout``.
            ConfigurationError: Headers would go unencrypted to another machine.
            ConnectionLost: The stream was cut off; or the session's connection ended before the request was made, and
                its outputs with it.
            ProtocolError: The response is not framed as HTTP/1.1 requires.
            MisuseError: The process was forked since.
        """
        if self._pid != os.getpid():
            raise MisuseError("these outputs were opened before the process was forked: open a session in the child")
        deadline = Deadline(to_seconds("timeout", timeout))
        if self._closed:
            return default
        try:
            if not self._lock.acquire(deadline):
                return default  # another thread has been reading all the time
            event = self._next_event(deadline)
        finally:
            self._lock.release()
            if self._closed or self._ended:
                self._release()
        if event is TOO_LARGE:
            raise output_too_large(self._max_size)
        return default if event is _END else json_or_text(event.data)

    def close(self) -> None:
        """End the stream, and the iteration of a thread that is waiting. Idempotent; for any thread."""
        if self._pid != os.getpid():
            return
        self._closed = True
        self._opening.abort()
        self._release()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        output = self.receive(_END)
        if output is _END:
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
            self.close()  # a signal handler interrupted the first call
            raise

    def __repr__(self) -> str:
        return f"<OutputStream{' ended' if self.ended else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an OutputStream is neither copied nor pickled: open one where it is used")

    def release_after_fork(self, *, hooked: bool) -> None:
        """Release the parent's stream in a forked child. No lock is taken: its holder may not exist here."""
        self._closed = True
        self._opening.release_after_fork(close=hooked)

    def _next_event(self, deadline: Deadline) -> Any:
        """Return the next event, `TOO_LARGE`, or `_END`."""
        try:
            while not self._closed:
                if self._ready:
                    event = self._ready.popleft()
                    self.last_event = event or self.last_event
                    return event
                if self._ended:
                    break
                self._read(deadline)
                if deadline.expired() and not self._ready:  # comments alone never let a read time out
                    break
        except BaseException as exc:
            self._ended = True  # an event may be missing
            if not self._closed or not isinstance(exc, TransportError | HookError) or from_outside(exc):
                raise
        return _END

    def _read(self, deadline: Deadline) -> None:
        """Read what comes within a moment. Then the caller checks the deadline and the connection again."""
        if self._linger_deadline is None and (error := self._connection_error()) is not None:
            if not self._opening.started:
                self._ended = True
                if isinstance(error, TransportError):
                    raise clone_error(error)
                return
            self._linger_deadline = Deadline(_LINGER)
        moment = (self._linger_deadline or deadline).capped_at(min(_POLL_INTERVAL, deadline.remaining()))
        response = self._opening.result(moment)
        if response is not None:
            self._read_from(response, moment)
        self._ended |= self._linger_deadline is not None and self._linger_deadline.expired()

    def _read_from(self, response: StreamingResponse, moment: Deadline) -> None:
        try:
            data = response.read(moment)
        except Timeout as exc:
            if from_outside(exc):
                raise
            return  # nothing is lost: the next call continues
        self._ended = not data
        self._ready.extend(self._parser.feed(data))

    def _release(self) -> None:
        """Close the response, unless a thread is reading: that one does it when it is done."""
        self._finalizer.detach()
        if self._lock.try_acquire():
            try:
                self._opening.close()
            finally:
                self._lock.release()


def _on_garbage_collected(opening: OpeningResponse, pid: int) -> None:
    """Close a stream that was dropped, or is open when the interpreter exits, and warn."""
    if pid != os.getpid():
        opening.release_after_fork(close=False)
        return
    if opening.closed:
        return
    opening.release()
    warnings.warn("a stream of outputs was not closed", ResourceWarning, stacklevel=1)


def output_too_large(limit: int) -> OutputTooLarge:
    """Return the error for an output beyond the limit."""
    error = OutputTooLarge(
        f"an additional output is larger than {limit} bytes and was dropped; a larger max_output_size allows it"
    )
    error.limit = limit
    return error


class OpeningResponse:
    """A response that a thread of its own opens, so that each wait for it can have its own deadline.

    An application behind a middleware that compresses, or a proxy that buffers, sends the head of its response with the
    first event. Until then the request must not be cancelled, since the server would send an output to the cancelled
    one, and must not block its caller. One thread at a time waits for the response; any thread may `abort`.

    Args:
        open_response: Opens it; called in the thread, at most once.
    """

    def __init__(self, open_response: Callable[[Watch], StreamingResponse]) -> None:
        self._open = open_response
        self._thread: threading.Thread | None = None
        # Reentrant: a signal handler may close what its own thread is waiting for.
        self._lock = make_lock()
        self._changed = Condition(self._lock)
        self._pending: list[Pending] = []  # what the thread has opened
        self._response: StreamingResponse | None = None
        self._error: BaseException | None = None
        self._aborted = False

    @property
    def started(self) -> bool:
        """Whether the thread was started."""
        return self._thread is not None

    @property
    def closed(self) -> bool:
        """Whether nothing is open, nor will be."""
        if self._thread is None or self._aborted:
            return True
        return self._response is not None and self._response.closed

    def result(self, deadline: Deadline) -> StreamingResponse | None:
        """Wait for the response, and return it; None once the deadline has passed. Raise its error once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hume_sync outputs", daemon=True)
            self._thread.start()
        return self._changed.wait_for(self._take_result, deadline)

    def abort(self) -> None:
        """End the request, and wake a thread that waits for the response or reads it. For any thread."""
        with self._lock:
            self._aborted = True
            pending, response = [*self._pending], self._response
        for one in pending:
            one.abort()
        if response is not None:
            response.abort()

    def close(self) -> None:
        """Abort, close the connection, and wait for the thread. No thread may be reading. Idempotent."""
        self.release()
        self._join()

    def release(self) -> None:
        """Close as `close` does, without waiting. For finalizers."""
        self.abort()
        if self._response is not None:
            self._response.close()

    def release_after_fork(self, *, close: bool) -> None:
        """Release the descriptor in a forked child, without sending anything to the server. No lock is taken."""
        if self._response is not None:
            self._response.release_after_fork(close=close)

    def _take_result(self) -> StreamingResponse | None:
        error, self._error = self._error, None  # an error and an object that holds it would form a cycle
        try:
            if error is not None:
                raise error
        finally:
            del error
        return self._response

    def _join(self) -> None:
        thread = self._thread
        if thread is None or thread is threading.current_thread():  # finalizers run in any thread
            return
        deadline = Deadline(_JOIN_TIMEOUT)
        while thread.is_alive() and (left := deadline.remaining()):
            thread.join(min(left, MAX_WAIT))

    # In the thread:

    def _run(self) -> None:
        try:
            response = self._open(self._watch)
        except BaseException as exc:  # noqa: BLE001 - `result` raises it
            for one in reversed(self._pending):
                one.release()
            self._finish(None, exc)
        else:
            self._finish(response, None)

    def _watch(self, pending: Pending) -> None:
        with self._lock:
            self._pending.append(pending)
            aborted = self._aborted
        if aborted:
            pending.abort()

    def _finish(self, response: StreamingResponse | None, error: BaseException | None) -> None:
        with self._lock:
            self._pending.clear()
            self._response, self._error = response, error
            aborted = self._aborted
            self._changed.notify_all()
        if aborted and response is not None:
            response.close()


@safe_repr
@attrs.frozen
class ServerSentEvent:
    """One event of a stream.

    Attributes:
        data: Its lines, joined by line feeds.
        event: Its name.
        id: The last identifier that the stream has named, with this event or before it.
        retry: Milliseconds to wait before reconnecting, if this event names them.
    """

    data: str
    event: str = "message"
    id: str | None = None
    retry: int | None = None


class SSEParser:
    """An incremental parser of server-sent events (HTML standard, 9.2.6).

    It does no I/O, so that a timeout between any two bytes loses nothing, and holds at most one line and one event of
    the largest size.

    Args:
        max_event: Bytes of the data of one event, and of any line.
    """

    def __init__(self, max_event: int = 16 * 2**20) -> None:
        self._max_event = max_event
        self._events: list[ServerSentEvent | None] = []
        self._line = bytearray()  # without its end yet
        self._skips_line = False  # the rest of a line that is too long
        self._skips_event = False  # the rest of an event that is too large
        self._first = True  # no line has ended yet: a byte order mark may stand before it
        self._after_cr = False  # a line feed that comes next belongs to the previous line end
        self._data = bytearray()
        self._event = ""
        self._id: str | None = None
        self._retry: int | None = None

    def feed(self, data: bytes) -> list[ServerSentEvent | None]:
        """Return the events that these bytes complete, and `TOO_LARGE` for one as soon as it exceeds the limit.

        An event that is incomplete when the stream ends is dropped.
        """
        if not data:
            return []
        start = 1 if self._after_cr and data.startswith(b"\n") else 0
        for end in _LINE_END.finditer(data, start):
            self._extend_line(data[start : end.start()])
            start = end.end()
            self._end_line()
        self._extend_line(data[start:])
        self._after_cr = data.endswith(b"\r")
        events, self._events = self._events, []
        return events

    def _extend_line(self, piece: bytes) -> None:
        if self._skips_line:
            return
        self._line += piece
        if len(self._line) > self._max_event + _MAX_FIELD_NAME:
            self._skips_line = True
            if not self._line.startswith(b":"):  # comments are skipped anyway
                self._drop_event()
            self._line.clear()

    def _end_line(self) -> None:
        line, skipped = bytes(self._line), self._skips_line
        self._line.clear()
        self._skips_line = False
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if line:
            self._parse_line(line)
        elif not skipped:
            self._dispatch()

    def _drop_event(self) -> None:
        if not self._skips_event:
            self._skips_event = True
            self._events.append(TOO_LARGE)
        self._data.clear()

    def _parse_line(self, line: bytes) -> None:
        """Parse one line. Unknown fields are ignored, and so are comments, whose field name is empty."""
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            if self._skips_event or len(self._data) + len(value) > self._max_event:
                self._drop_event()
            else:
                self._data += value + b"\n"
        elif field == b"event":
            self._event = _decode(value)
        elif field == b"id" and b"\0" not in value:
            self._id = _decode(value)
        elif field == b"retry" and value.isdigit() and len(value) <= _MAX_DIGITS:
            self._retry = int(value)

    def _dispatch(self) -> None:
        """End the event at an empty line; without data there is none."""
        if self._data:
            event = ServerSentEvent(_decode(self._data[:-1]), self._event or "message", self._id, self._retry)
            self._events.append(event)
        self._data.clear()
        self._skips_event = False
        self._event = ""
        self._retry = None


def _decode(value: bytes | bytearray) -> str:
    # A line end is never part of a character, so lines can be decoded one by one.
    return value.decode("utf-8", "replace")
