"""Additional inputs and outputs: what a handler gets and gives besides audio, by the application's own URLs."""

from __future__ import annotations

import math
import os
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NoReturn, Self

from ..errors import HookError, InputError, MisuseError, Timeout, TransportError, described
from ..net import fork
from ..net.deadline import Deadline, seconds
from ..net.interrupts import from_outside
from ..net.lock import CallLock
from ..net.pending import Watch, unwatched
from ..reprs import safe_repr
from .events import json_or_text
from .http import Answer, Http, OpenResponse
from .sse import ServerSentEvent, SSEParser

__all__ = ["OutputStream", "latest", "post_input"]


@safe_repr
class OutputStream:
    """Iterates over the additional outputs of one connection, as they come: JSON where it is JSON, else text.

    The iterator ends when the stream does, soon after its connection, and at once when `close` is called, from any
    thread. Between outputs it waits without limit, since servers say nothing while there are none; `receive` waits as
    long as it is told. Where the network forgets its connection alone, the system's probes notice within a minute. What
    a signal handler or another thread raises in a call ends the stream, since something may be missing. A stream that
    is dropped is closed, or the server would go on handing outputs to it.

    Args:
        http: the application.
        url: its outputs URL; asked with ``?webrtc_id=ID``.
        webrtc_id: of the connection. (Servers never answer for one that has ended: the stream stays silent.)
        deadline: of opening the stream, which is done here.
        watch: told, while the stream is opened, how to interrupt that from another thread.
        is_over: whether the connection has ended. The stream then ends about a second later, should the server not end
            it: what the handler gave out before still comes.

    Raises:
        HookError: the URL answered with another status than 200, or with something else than a stream of events.
        ConfigurationError, ConnectError, ConnectionLost, Timeout, ProtocolError: as `Http.stream`.
    """

    def __init__(
        self,
        http: Http,
        url: str,
        webrtc_id: str,
        deadline: Deadline,
        *,
        watch: Watch = unwatched,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        url = http.resolve(url, name="outputs")
        response = http.stream(url, {"webrtc_id": webrtc_id}, deadline, watch=watch)
        _check_events(response, deadline)
        self._response = response
        self._is_over = is_over
        self._last_second: Deadline | None = None  # runs since the connection was seen to have ended
        self._parser = SSEParser()
        self._ready: deque[ServerSentEvent] = deque()
        self._lock = CallLock()  # held by the thread that reads
        self._pid = os.getpid()
        self._closed = False
        self._ended = False
        self.last_event: ServerSentEvent | None = None
        """The event that the last output came in: its name, its identifier, its data as text."""
        try:
            self._forgotten = weakref.finalize(self, _forgotten, response, self._pid)
            fork.watch(self)
        except BaseException:
            response.close()  # a signal struck: this one is not the caller's to close
            raise

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: the stream has ended, or was closed."""
        return self._closed or (self._ended and not self._ready)

    def receive(self, default: Any = None, *, timeout: float = math.inf) -> Any:
        """The next output; ``default`` once ``timeout`` seconds have passed, or the stream has `ended`.

        Raises:
            InputError: ``timeout`` is no number above zero.
            ConnectionLost: the stream was cut off; it has ended then.
            ProtocolError: a line above 1 MiB, an event above 16 MiB, or something else that is no stream of events.
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
                self._let_go()
        return default if event is None else json_or_text(event.data)

    def close(self) -> None:
        """End it; whoever waits for an output gets the end of the iterator. Idempotent, from any thread."""
        if self._pid != os.getpid():
            return
        self._closed = True
        self._response.abort()
        self._let_go()

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

    def let_go(self, *, hooked: bool) -> None:
        """In a forked child: the stream is the parent's. No lock is taken: its holder may not exist here."""
        self._closed = True
        self._response.let_go(close=hooked)

    def _next_event(self, deadline: Deadline) -> ServerSentEvent | None:
        try:
            while not self._closed:
                if self._ready:
                    self.last_event = self._ready.popleft()
                    return self.last_event
                if self._ended:
                    break
                self._read(deadline)
                if deadline.expired() and not self._ready:  # comments that drip for ever are no time-out by themselves
                    break
        except BaseException as exc:
            self._ended = True  # whatever it was, something may be missing
            if not self._closed or not isinstance(exc, TransportError) or from_outside(exc):
                raise
        return None

    def _read(self, deadline: Deadline) -> None:
        """Take in what comes next, or nothing for a moment: then it is time to ask whether anything can."""
        if self._last_second is None and self._is_over():
            self._last_second = Deadline(_SECOND)
        try:
            data = self._response.read((self._last_second or deadline).within(min(_MOMENT, deadline.remaining())))
        except Timeout as exc:
            if from_outside(exc):
                raise  # else nothing is lost: the next call goes on
        else:
            self._ended = not data
            self._ready.extend(self._parser.feed(data))
        self._ended |= self._last_second is not None and self._last_second.expired()

    def _let_go(self) -> None:
        """Give the descriptor back, unless a thread is reading: that one does it when it is done."""
        self._forgotten.detach()
        if self._lock.seize():
            try:
                self._response.close()
            finally:
                self._lock.release()


def _forgotten(response: OpenResponse, pid: int) -> None:
    """A stream was dropped, or the interpreter ends, without `close`."""
    if pid != os.getpid():
        response.let_go(close=False)
        return
    if response.closed:
        return
    response.close()
    warnings.warn("a stream of outputs was not closed", ResourceWarning, stacklevel=1)


_NOTHING = object()

_SECOND = 1.0
_MOMENT = 0.25


def latest(
    http: Http,
    url: str,
    webrtc_id: str,
    deadline: Deadline,
    *,
    watch: Watch = unwatched,
) -> Any:
    """Ask the ``latest`` URL for the oldest output that nobody has fetched: JSON where it is JSON, else text.

    Raises:
        HookError: any status but 2xx: servers that wait in vain, 10 s by default, give 500.
        ConfigurationError, ConnectError, ConnectionLost, Timeout, ProtocolError: as `Http.get`.
    """
    url = http.resolve(url, name="latest")
    answer = http.get(url, {"webrtc_id": webrtc_id}, deadline, watch=watch)
    return json_or_text(_checked("latest", answer).text)


def post_input(  # noqa: PLR0917 - in the order in which they are told
    http: Http,
    url: str,
    webrtc_id: str,
    fields: Mapping[str, Any],
    shape: Callable[[str, Mapping[str, Any]], Any] | None,
    deadline: Deadline,
    *,
    watch: Watch = unwatched,
) -> Answer:
    """Give a connection's handler additional inputs: POST them to the application's hook.

    Args:
        http: the application.
        url: its hook.
        webrtc_id: of the connection.
        fields: the inputs.
        shape: makes the JSON of both; None: ``{"webrtc_id": id, **fields}``.
        deadline: of all of it.
        watch: told how to interrupt it from another thread.

    Raises:
        InputError: no mapping, a field called webrtc_id without a ``shape`` of one's own, or nothing JSON can hold.
        HookError: any status but 2xx.
        ConfigurationError, ConnectError, ConnectionLost, Timeout, ProtocolError: as `Http.post_json`.
    """
    url = http.resolve(url, name="input_hook")
    if not isinstance(fields, Mapping):
        raise InputError(f"additional inputs must be a mapping of fields, got {described(fields)}")
    if shape is not None:
        payload = shape(webrtc_id, fields)
    elif "webrtc_id" in fields:
        raise InputError("additional inputs must not hold webrtc_id: the connection's own is sent")
    else:
        payload = {"webrtc_id": webrtc_id, **fields}
    return _checked("input_hook", http.post_json(url, payload, deadline, watch=watch))


def _checked(name: str, answer: Answer) -> Answer:
    if not 200 <= answer.status < 300:
        raise _refusal(name, answer.status, answer.sentence)
    return answer


def _check_events(response: OpenResponse, deadline: Deadline) -> None:
    """Let the response go unless it is a stream of events."""
    try:
        if response.status != 200:
            try:
                sentence = response.answer(deadline).sentence
            except TransportError as exc:
                if from_outside(exc):
                    raise
                sentence = ""  # the status says enough
            raise _refusal("outputs", response.status, sentence)
        if response.content_type != "text/event-stream":
            raise HookError(
                f"the application's outputs URL answered with {described(response.content_type or 'nothing')}"
                " instead of a stream of events (text/event-stream)",
                status=response.status,
            )
    except BaseException:
        response.close()
        raise


def _refusal(name: str, status: int, sentence: str) -> HookError:
    return HookError(
        f"the application's {name} URL answered with HTTP {status}{f': {sentence}' if sentence else ''}", status=status
    )
