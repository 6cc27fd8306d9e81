"""The socket callers hold: the calls of the official `StreamSocket`, blocking."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import attrs

from ..errors import MisuseError, RequestError, Timeout
from ..net.connection import Connection
from ..net.deadline import Deadline, seconds
from .configs import ModelConfigBase
from .media import read_file, read_media
from .payloads import GET_JOB_DETAILS, RESET_STREAM, Members, Models
from .responses import StreamResponse

__all__ = ["SocketSettings", "StreamSocket"]

_LEAST_CLOSE_TIMEOUT = 0.05
"""Seconds for a goodbye when waiting for another thread has used up the time."""

_Configs = Iterable[ModelConfigBase] | None


@attrs.frozen
class SocketSettings:
    """What a client hands to its sockets."""

    connect: Callable[[Deadline], Connection]
    timeout: float
    """Seconds a call may take by default."""
    close_timeout: float
    """Seconds a close may take."""


class StreamSocket:
    """Sends media and returns what is measured in it: one request, one reply, in order.

    Built by ``client.connect(...)``. It connects when entered, or at the first call. It may be shared by threads:
    calls are then served one after another.

    Every call takes ``timeout``, in seconds, for all it does: waiting for other threads, connecting, sending,
    receiving. None is the client's default, ``math.inf`` no limit. ``configs`` replace the socket's for that call.

    Every call but `close` raises:
        InputError, OSError: an argument was refused, a file not readable; nothing was sent, the socket is usable.
        RequestError: the server answered with an error (``code``); the socket is usable.
        ConnectError, ConnectionLost, Timeout, ProtocolError: the connection was discarded. The next call makes a
            new one, on which the server's sliding window starts empty; `epoch` tells connections apart.
        MisuseError: the socket was closed.
    """

    def __init__(self, settings: SocketSettings, models: Models) -> None:
        self._settings = settings
        self._models = models
        self._lock = threading.Lock()  # held for a whole exchange; guards the two below
        self._connection: Connection | None = None
        self._closed = False

    def send_file(self, filepath: Any, configs: _Configs = None, *, timeout: float | None = None) -> StreamResponse:
        """Send a media file.

        Args:
            filepath: path, or binary file object, which is read from where it stands (reading it is not covered
                by the timeout).
            configs: model configurations for this call alone.
            timeout: seconds.
        """
        models = self._models.replaced_by(configs)
        deadline = self._deadline(timeout)
        return self._exchange(models.media(read_file(filepath, models.max_payload_size)), deadline)

    def send_media(self, data: Any, configs: _Configs = None, *, timeout: float | None = None) -> StreamResponse:
        """Send raw media: bytes as they are in a file, or a binary file object."""
        models = self._models.replaced_by(configs)
        deadline = self._deadline(timeout)
        return self._exchange(models.media(read_media(data, models.max_payload_size)), deadline)

    def send_bytes(
        self, bytes_data: bytes, configs: _Configs = None, *, timeout: float | None = None
    ) -> StreamResponse:
        """Send media that is base64 already, as with the official SDK. For raw media see `send_media`."""
        models = self._models.replaced_by(configs)
        deadline = self._deadline(timeout)
        return self._exchange(models.encoded(bytes_data), deadline)

    def send_text(self, text: str, configs: _Configs = None, *, timeout: float | None = None) -> StreamResponse:
        """Send plain text to the language model; every configuration must be a `LanguageConfig`."""
        models = self._models.replaced_by(configs)
        deadline = self._deadline(timeout)
        return self._exchange(models.text(text), deadline)

    def send_facemesh(
        self, landmarks: Any, configs: _Configs = None, *, timeout: float | None = None
    ) -> StreamResponse:
        """Send facemesh landmarks; every configuration must be a `FacemeshConfig`.

        Args:
            landmarks: (n, 478, 3) for 1 to 100 faces, or (478, 3): nested sequences, a numpy array, or
                MediaPipe's results.
            configs: model configurations for this call alone.
            timeout: seconds.
        """
        models = self._models.replaced_by(configs)
        deadline = self._deadline(timeout)
        return self._exchange(models.facemesh(landmarks), deadline)

    def reset_stream(self, *, timeout: float | None = None) -> StreamResponse:
        """Empty the server's sliding window, so that no context crosses from one source to the next."""
        return self._exchange(RESET_STREAM, self._deadline(timeout))

    def get_job_details(self, *, timeout: float | None = None) -> StreamResponse:
        """Ask for the server's id of this connection: ``reply["job_details"]["job_id"]``."""
        return self._exchange(GET_JOB_DETAILS, self._deadline(timeout))

    @property
    def epoch(self) -> int | None:
        """The number of the connection in use, unique in the process; None while there is none."""
        connection = self._connection
        return connection.epoch if connection and connection.sound else None

    def close(self) -> None:
        """Close the connection, in order where the server plays along, at most the client's ``close_timeout`` long.

        A call under way in another thread may end until then; after that it fails with `ConnectionLost`. Later
        calls raise `MisuseError`. Idempotent.
        """
        deadline = Deadline(self._settings.close_timeout)
        self._closed = True  # from here on nobody connects; seen by whoever gets the lock next
        if not self._lock.acquire(timeout=deadline.for_lock()):
            if connection := self._connection:
                connection.abort()  # whoever waits on it fails at once, and lets go of it
            return
        try:
            if self._connection:
                self._connection.close(max(deadline.remaining(), _LEAST_CLOSE_TIMEOUT))
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        """Connect now rather than at the first call."""
        deadline = self._deadline(None)
        self._acquire(deadline)
        try:
            self._sound_connection(deadline)
        finally:
            self._lock.release()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception) and self._connection:
            self._connection.abort()  # Ctrl-C: do not wait for a server's goodbye
        self.close()

    def __repr__(self) -> str:
        models = ", ".join(config.get_model_type().value for config in self._models.configs)
        state = "closed" if self._closed else "not connected" if self.epoch is None else f"epoch {self.epoch}"
        return f"<StreamSocket [{models}] {state}>"

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._settings.timeout if timeout is None else seconds("timeout", timeout))

    def _exchange(self, members: Members, deadline: Deadline) -> StreamResponse:
        self._acquire(deadline)
        # Critical section: from the first byte of the request to the decoded reply.
        try:
            connection = self._sound_connection(deadline)
            reply = StreamResponse(connection.exchange(members, deadline))
            reply.emulated = connection.header("x-hume-emulator") is not None
        finally:
            self._lock.release()
        if "error" in reply:
            raise _request_error(reply)
        return reply

    def _acquire(self, deadline: Deadline) -> None:
        if not self._lock.acquire(timeout=deadline.for_lock()):
            raise Timeout("no time left waiting for another thread's call on this socket", phase="lock")

    def _sound_connection(self, deadline: Deadline) -> Connection:
        """The connection, made anew where there is none that is sound. The caller holds the lock."""
        assert self._lock.locked()
        self._refuse_if_closed()
        if self._connection is None or not self._connection.sound:
            self._connection = self._settings.connect(deadline)
            try:
                self._refuse_if_closed()
            except MisuseError:  # closed while it was being made: nobody else will let go of it
                self._connection.discard()
                raise
        return self._connection

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise MisuseError("this StreamSocket is closed: make another with client.connect(...)")


def _request_error(reply: StreamResponse) -> RequestError:
    code, text = reply.get("code"), reply["error"]
    return RequestError.from_error(None if code is None else str(code), text if isinstance(text, str) else repr(text))
