"""The socket callers hold: the calls of the official `StreamSocket`, blocking."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self

from ..errors import HumeClientException, Timeout
from ..net.call_lock import CallLock
from ..net.deadline import Deadline, seconds
from ..net.interrupts import from_outside
from ..net.tracebacks import hides_locals
from ..reprs import safe_repr
from .configs import ModelConfigBase, model_name
from .executor import CONNECT, ConnectionProvider, RequestExecutor, Stream
from .media import name_of, read_file, read_media
from .requests import GET_JOB_DETAILS, RESET_STREAM, Request, RequestBuilder
from .responses import StreamResponse
from .window import StreamWindow

__all__ = ["SocketProvider", "StreamSocket"]

_Configs = Iterable[ModelConfigBase] | None


class SocketProvider(ConnectionProvider, Protocol):
    """A source of connections that knows who may use it, and when that is over."""

    lock: CallLock
    """Held for a whole call, reconnects and replays included; guards the stream and its connection."""

    def before_call(self) -> None:
        """Raise where a call can never be right."""

    def after_call(self) -> None:
        """The call is over."""

    def close(self, timeout: float) -> None:
        """Close, from any thread."""

    def abort(self) -> None:
        """End whatever is under way, from any thread."""


@safe_repr
class StreamSocket:
    """Sends media and returns what is measured in it: one request, one reply, in order.

    Built by ``client.connect(...)``, or leased from a pool. The former connects when entered, or at the first call,
    and may be shared by threads: calls are then served one after another.

    One socket is one *stream*: one continuous recording. The server's audio models look back on the last seconds of
    it, and times count from its beginning. Inputs that have nothing to do with each other go on sockets or leases of
    their own, or each begins a new stream on this one: every ``send_*`` takes ``reset=True`` for that. The order rides
    in the same request; a payload that is refused leaves the stream as it was.

    Every call takes ``timeout``, in seconds, for all it does: waiting for other threads, connecting, sending,
    receiving. None is the client's default, ``math.inf`` no limit. ``configs`` replace the socket's for that call.

    Every call but `close` raises:
        InputError, OSError: an argument was refused, a file not readable; nothing was sent, the socket is usable.
        RequestError: the server answered with an error (``code``); the socket is usable.
        ConnectError, ConnectionLost, Timeout, ProtocolError: the connection was discarded, and the request tried
            again as often as the client's `RetryPolicy` allows (``attempts``). The next call makes a new one, and
            replays the server's sliding window on it.
        MisuseError: the socket was closed, belongs to another thread, or was opened before a fork.
    """

    __slots__ = ("__weakref__", "_close_timeout", "_closed", "_executor", "_models", "_provider", "_timeout")

    def __init__(
        self,
        source: SocketProvider,
        models: RequestBuilder,
        stream: Stream,
        *,
        timeout: float,
        close_timeout: float = 5.0,
    ) -> None:
        self._provider = source
        self._models = models
        self._executor = RequestExecutor(stream, source)
        self._timeout = timeout
        self._close_timeout = close_timeout
        self._closed = False

    @hides_locals
    def send_file(
        self, filepath: Any, configs: _Configs = None, *, reset: bool = False, timeout: float | None = None
    ) -> StreamResponse:
        """Send a media file and return what is measured in it.

        Audio is heard as the continuation of what this socket sent before: one socket is one recording. For a file
        that has nothing to do with the one before pass ``reset=True``, or use a socket or lease of its own.

        Args:
            filepath: path, or binary file object, which is read from where it stands (reading it is not covered
                by the timeout). A path to what can never be what the file's name says is an `InputError`: nothing but
                NUL bytes, a pointer of Git LFS, DVC or git-annex, or a text, such as an HTML page, named as audio,
                video or an image.
            configs: model configurations for this call alone.
            reset: begin a new stream with this payload, in the same request.
            timeout: seconds.
        """
        models = self._models.with_configs(configs)
        deadline = self._deadline(timeout)
        # (Not by a variable: what was read is to go as soon as it is encoded.)
        request = models.media(read_file(filepath, models.max_payload_size), name_of(filepath))
        return self._request(request.beginning_stream(reset), deadline)

    @hides_locals
    def send_media(
        self, data: Any, configs: _Configs = None, *, reset: bool = False, timeout: float | None = None
    ) -> StreamResponse:
        """Send raw media: bytes as they are in a file, or a binary file object."""
        models = self._models.with_configs(configs)
        deadline = self._deadline(timeout)
        return self._request(models.media(read_media(data, models.max_payload_size)).beginning_stream(reset), deadline)

    @hides_locals
    def send_bytes(
        self, bytes_data: bytes, configs: _Configs = None, *, reset: bool = False, timeout: float | None = None
    ) -> StreamResponse:
        """Send media that is base64 already, as with the official SDK. For raw media see `send_media`."""
        models = self._models.with_configs(configs)
        deadline = self._deadline(timeout)
        return self._request(models.base64_media(bytes_data).beginning_stream(reset), deadline)

    @hides_locals
    def send_text(
        self, text: str, configs: _Configs = None, *, reset: bool = False, timeout: float | None = None
    ) -> StreamResponse:
        """Send plain text to the language model; every configuration must be a `LanguageConfig`."""
        models = self._models.with_configs(configs)
        deadline = self._deadline(timeout)
        return self._request(models.text(text).beginning_stream(reset), deadline)

    @hides_locals
    def send_facemesh(
        self, landmarks: Any, configs: _Configs = None, *, reset: bool = False, timeout: float | None = None
    ) -> StreamResponse:
        """Send facemesh landmarks; every configuration must be a `FacemeshConfig`.

        Args:
            landmarks: (n, 478, 3) for 1 to 100 faces, or (478, 3): nested sequences, a numpy array, or
                MediaPipe's results.
            configs: model configurations for this call alone.
            reset: begin a new stream with this payload, in the same request.
            timeout: seconds.
        """
        models = self._models.with_configs(configs)
        deadline = self._deadline(timeout)
        return self._request(models.facemesh(landmarks).beginning_stream(reset), deadline)

    @hides_locals
    def reset_stream(self, *, timeout: float | None = None) -> StreamResponse:
        """Empty the server's sliding window, so that no context crosses from one source to the next.

        This is a request of its own, and times go on counting. ``send_*(..., reset=True)`` needs none, and begins the
        times again at zero.
        """
        return self._request(RESET_STREAM, self._deadline(timeout))

    @hides_locals
    def get_job_details(self, *, timeout: float | None = None) -> StreamResponse:
        """Ask for the server's id of this connection: ``reply["job_details"]["job_id"]``."""
        return self._request(GET_JOB_DETAILS, self._deadline(timeout))

    @property
    def epoch(self) -> int | None:
        """The number of the connection used last, unique in the process; None while there is none that is sound."""
        return None if self._closed else self._executor.stream.epoch

    @property
    def window(self) -> StreamWindow:
        """What would be replayed on a new connection."""
        return self._executor.stream.window

    def close(self) -> None:
        """Close a socket of one's own, or give a leased one back to its pool. Idempotent, from any thread.

        The connection of a socket of one's own is closed in order where the server plays along, at most the
        client's ``close_timeout`` long. A call under way in another thread may end until then; after that it fails
        with `ConnectionLost`. Later calls raise `MisuseError`.
        """
        self._closed = True
        self._provider.close(self._close_timeout)

    @hides_locals
    def __enter__(self) -> Self:
        """Connect now rather than at the first call."""
        deadline = self._deadline(None)
        try:
            self._request(CONNECT, deadline)
        except BaseException as exc:
            if not isinstance(exc, HumeClientException) or from_outside(exc):
                self.close()  # nobody else will: a block that was not entered is not left
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is not None and not issubclass(kind, Exception):
                self._provider.abort()  # Ctrl-C: do not wait for a server's goodbye
            self.close()
        except BaseException:
            self.close()  # a signal struck in the middle of it
            raise

    def __repr__(self) -> str:
        models = ", ".join(map(model_name, self._models.configs))
        state = "closed" if self._closed else "not connected" if self.epoch is None else f"epoch {self.epoch}"
        return f"<StreamSocket [{models}] {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a StreamSocket is neither copied nor pickled: make one where it is used")

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else seconds("timeout", timeout))

    def _request(self, request: Request, deadline: Deadline) -> StreamResponse:
        """Do one thing on this socket, alone, under the deadline."""
        source = self._provider
        lock = source.lock
        if lock.holder is not None:
            lock.raise_if_reentrant()
        source.before_call()
        try:
            if not lock.acquire(deadline):
                raise Timeout("no time left waiting for another thread's call on this socket", phase="lock")
            # Critical section: from the first byte of the request to the decoded reply.
            return self._executor.execute(request, deadline)
        except HumeClientException as exc:
            if not from_outside(exc):
                source.add_stats(errors=1)
            raise
        finally:
            lock.release()
            source.after_call()
