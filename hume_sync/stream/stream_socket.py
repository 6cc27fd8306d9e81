"""The public socket: the methods of the official `StreamSocket`, blocking."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, NoReturn, Self

from ..errors import HumeClientException, Timeout
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.tracebacks import clears_locals
from ..net.validation import to_seconds
from ..reprs import safe_repr
from .configs import ModelConfigBase, model_name
from .executor import CONNECT, RequestRunner
from .media import name_of, read_file, read_media
from .provider import ConnectionProvider
from .requests import GET_JOB_DETAILS, RESET_STREAM, Request, RequestBuilder
from .responses import StreamResponse
from .stream import Stream
from .window import StreamWindow

__all__ = ["StreamSocket"]

_Configs = Iterable[ModelConfigBase] | None


@safe_repr
class StreamSocket:
    """A socket that sends media and returns the measurements: one request, one reply, in order.

    Built by ``client.connect(...)``, or leased from a pool. The former connects when entered, or at the first call,
    and may be shared by threads: calls are then served one after another.

    One socket is one *stream*: one continuous recording. The server's audio models look back on the last seconds of
    it, and times count from its beginning. Send unrelated inputs on separate sockets or leases, or begin a new stream
    on this one: every ``send_*`` takes ``reset=True`` for that, which needs no extra request. A payload that is refused
    leaves the stream unchanged.

    Every call takes ``timeout``, in seconds, for all it does: waiting for other threads, connecting, sending,
    receiving. None is the client's default, ``math.inf`` no limit. ``configs`` replace the socket's for that call.

    Every method but `close` may raise these errors. After `ConnectError`, `ConnectionLost`, `Timeout` and
    `ProtocolError` the request was retried as often as the client's `RetryPolicy` allows (``attempts``) and the
    connection discarded; the next call opens another one and replays the server's sliding window on it. After the
    others the socket stays usable.

    Raises:
        InputError: An argument was refused; nothing was sent.
        OSError: A file is not readable; nothing was sent.
        RequestError: The server answered with an error (``code``).
        ConnectError: The connection could not be opened.
        ConnectionLost: The connection was lost.
        Timeout: The deadline passed.
        ProtocolError: The server violated the protocol.
        MisuseError: The socket is closed, was opened before a fork, or is called from within its own call.
    """

    __slots__ = ("__weakref__", "_close_timeout", "_closed", "_executor", "_models", "_provider", "_timeout")

    def __init__(
        self,
        provider: ConnectionProvider,
        models: RequestBuilder,
        stream: Stream,
        *,
        timeout: float,
        close_timeout: float = 5.0,
    ) -> None:
        self._provider = provider
        self._models = models
        self._executor = RequestRunner(stream, provider)
        self._timeout = timeout
        self._close_timeout = close_timeout
        self._closed = False

    @clears_locals
    def send_file(
        self, filepath: Any, configs: _Configs = None, *, reset: bool = False, timeout: float | None = None
    ) -> StreamResponse:
        """Send a media file and return the measurements.

        Audio is measured as the continuation of what this socket sent before: one socket is one recording. For an
        unrelated file pass ``reset=True``, or use another socket or lease.

        Args:
            filepath: A path, or a binary file object, which is read from its current position (reading it is not
                covered by the timeout). `InputError` is raised for a path whose content cannot be what its name says:
                NUL bytes only, a pointer of Git LFS, DVC or git-annex, or a text, such as an HTML page, named as audio,
                video or an image.
            configs: The model configurations for this call only.
            reset: Whether to begin a new stream with this payload, in the same request.
            timeout: Seconds.
        """
        models = self._models.with_configs(configs)
        deadline = self._deadline(timeout)
        # (Not in a variable: what was read is freed as soon as it is encoded.)
        request = models.media(read_file(filepath, models.max_payload_size), name_of(filepath))
        return self._request(request.beginning_stream(reset), deadline)

    @clears_locals
    def send_media(
        self, data: Any, configs: _Configs = None, *, reset: bool = False, timeout: float | None = None
    ) -> StreamResponse:
        """Send raw media: bytes as they are in a file, or a binary file object."""
        models = self._models.with_configs(configs)
        deadline = self._deadline(timeout)
        return self._request(models.media(read_media(data, models.max_payload_size)).beginning_stream(reset), deadline)

    @clears_locals
    def send_bytes(
        self, bytes_data: bytes, configs: _Configs = None, *, reset: bool = False, timeout: float | None = None
    ) -> StreamResponse:
        """Send media that is base64 already, as with the official SDK. For raw media see `send_media`."""
        models = self._models.with_configs(configs)
        deadline = self._deadline(timeout)
        return self._request(models.base64_media(bytes_data).beginning_stream(reset), deadline)

    @clears_locals
    def send_text(
        self, text: str, configs: _Configs = None, *, reset: bool = False, timeout: float | None = None
    ) -> StreamResponse:
        """Send plain text to the language model; every configuration must be a `LanguageConfig`."""
        models = self._models.with_configs(configs)
        deadline = self._deadline(timeout)
        return self._request(models.text(text).beginning_stream(reset), deadline)

    @clears_locals
    def send_facemesh(
        self, landmarks: Any, configs: _Configs = None, *, reset: bool = False, timeout: float | None = None
    ) -> StreamResponse:
        """Send facemesh landmarks; every configuration must be a `FacemeshConfig`.

        Args:
            landmarks: Of shape (n, 478, 3) for 1 to 100 faces, or (478, 3): nested sequences, a numpy array, or
                MediaPipe's results.
            configs: The model configurations for this call only.
            reset: Whether to begin a new stream with this payload, in the same request.
            timeout: Seconds.
        """
        models = self._models.with_configs(configs)
        deadline = self._deadline(timeout)
        return self._request(models.facemesh(landmarks).beginning_stream(reset), deadline)

    @clears_locals
    def reset_stream(self, *, timeout: float | None = None) -> StreamResponse:
        """Empty the server's sliding window, so that no context is carried from one source to the next.

        This sends a request, and timestamps keep counting. ``send_*(..., reset=True)`` needs no extra request, and
        restarts them at zero.
        """
        return self._request(RESET_STREAM, self._deadline(timeout))

    @clears_locals
    def get_job_details(self, *, timeout: float | None = None) -> StreamResponse:
        """Ask for the server's id of this connection: ``reply["job_details"]["job_id"]``."""
        return self._request(GET_JOB_DETAILS, self._deadline(timeout))

    @property
    def epoch(self) -> int | None:
        """The number of the connection used last, unique in the process; None if it is no longer usable."""
        return None if self._closed else self._executor.stream.epoch

    @property
    def window(self) -> StreamWindow:
        """The audio that would be replayed on a new connection."""
        return self._executor.stream.window

    def close(self) -> None:
        """Close the socket, or return a leased one to its pool. Idempotent; may be called from any thread.

        A dedicated connection is closed with the closing handshake within the client's ``close_timeout``. A call in
        progress in another thread may end until then; after that it fails with `ConnectionLost`. Later calls raise
        `MisuseError`.
        """
        self._closed = True
        self._provider.close(self._close_timeout)

    @clears_locals
    def __enter__(self) -> Self:
        """Connect now rather than at the first call."""
        deadline = self._deadline(None)
        try:
            self._request(CONNECT, deadline)
        except BaseException as exc:
            if not isinstance(exc, HumeClientException) or from_outside(exc):
                self.close()  # the block is not entered, so __exit__ will not run
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is not None and not issubclass(kind, Exception):
                self._provider.abort()  # Ctrl-C: do not wait for the server's close frame
            self.close()
        except BaseException:
            self.close()  # interrupted by a signal: repeat
            raise

    def __repr__(self) -> str:
        models = ", ".join(map(model_name, self._models.configs))
        state = "closed" if self._closed else "not connected" if self.epoch is None else f"epoch {self.epoch}"
        return f"<StreamSocket [{models}] {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a StreamSocket is neither copied nor pickled: make one where it is used")

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else to_seconds("timeout", timeout))

    def _request(self, request: Request, deadline: Deadline) -> StreamResponse:
        """Execute one request, alone on this socket, under the deadline."""
        provider = self._provider
        lock = provider.lock
        if lock.holder is not None:
            lock.raise_if_reentrant()
        provider.before_call()
        try:
            if not lock.acquire(deadline):
                raise Timeout("timed out waiting for another thread using this socket", phase="lock")
            # Critical section: from the first byte of the request to the decoded reply.
            return self._executor.execute(request, deadline)
        except HumeClientException as exc:
            if not from_outside(exc):
                provider.add_stats(errors=1)
            raise
        finally:
            lock.release()
            provider.after_call()
