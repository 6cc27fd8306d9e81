"""A FastRTC connection over WebSocket: mu-law audio and control messages as JSON.

There are two routes, that of applications (``/websocket/offer``) and that of telephones (``/telephone/handler``). They
differ in the connection's id, in the first message, and in one field of the other messages. By telephone, messages have
the form of Twilio's media streams, and audio has 8000 samples a second both ways at any rates of the handler.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Self

import attrs
import orjson
import pybase64

from ..errors import (
    AuthenticationError,
    CloseCode,
    ConnectError,
    ConnectionLost,
    HandshakeRejected,
    HumeClientException,
    InboxOverflow,
    Timeout,
)
from ..formats import mulaw
from ..net.deadline import Deadline
from ..net.duplex import Duplex, Heartbeat, Message
from ..net.endpoint import Endpoint
from ..net.interrupts import from_outside
from ..net.pending import Watch
from ..reprs import safe_repr
from .app_http import shorten_url
from .events import AudioChunk, ConnectFields, Custom, Event, check_size, json_or_text, to_event
from .rejections import rejection_from_message, rejection_from_response
from .transport import Mark

__all__ = [
    "TELEPHONE_RATE",
    "MakeFormat",
    "MessageFormat",
    "WebSocketTransport",
    "application_route",
    "telephone_route",
]

TELEPHONE_RATE: Final = 8000

_PING: Final = b'{"event":"ping"}'

_PING_INTERVAL: Final = 5.0
"""Seconds between pings. A server notices only with the next message that its handler has closed the stream, and drops
clients that are silent for 40 seconds."""

_MIN_PINGS: Final = 4
"""Pings that must remain unanswered before a connection counts as lost."""

_MAX_PONG_SIZE: Final = 100

_MAX_PENDING: Final = 16 * 2**20
"""Limit on the bytes buffered before the first pong, or one message of the largest size. Servers may send a greeting
first."""

_INBOX: Final = 64 * 2**20
"""Bytes of messages that may wait to be received, or four of the largest size."""

_MESSAGE_OVERHEAD: Final = 128
"""Bytes that a message counts in addition to its own."""

_MAX_CHUNK: Final = 8 * 2**20
"""Bytes of audio in one message: as base64 well below the 16 MiB at which servers drop the connection."""


@safe_repr
@attrs.frozen
class MessageFormat:
    """The messages of one connection.

    Attributes:
        id: The connection's id. Each connection needs a new one, since rejecting a second one frees the first one's
            slot.
        start: The first message.
        suffix: The end of every other message of the session's own, after its last value.
    """

    id: str
    start: bytes = attrs.field(repr=False)
    suffix: bytes


MakeFormat = Callable[[ConnectFields], MessageFormat]
"""Makes the route of a new connection; the fields are sent in its first message."""


def application_route(fields: ConnectFields) -> MessageFormat:
    """Make a route for ``/websocket/offer``."""
    websocket_id = str(uuid.uuid4())
    start = {"event": "start", "websocket_id": websocket_id}
    return MessageFormat(websocket_id, orjson.dumps(fields.merged_into(start)), b"}")


def telephone_route(fields: ConnectFields) -> MessageFormat:
    """Make a route for ``/telephone/handler``."""
    stream_sid = f"MZ{uuid.uuid4().hex}"
    call = {
        "streamSid": stream_sid,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": TELEPHONE_RATE, "channels": 1},
    }
    start = {"start": call} | fields.merged_into({"event": "start", "streamSid": stream_sid})
    return MessageFormat(stream_sid, orjson.dumps(start), b',"streamSid":"%b"}' % stream_sid.encode())


class WebSocketTransport:
    """A `Transport` over WebSocket. Audio is sent as fast as the server takes it."""

    real_time = False
    queued_seconds = 0.0

    def __init__(self, duplex: Duplex, route: MessageFormat, sample_rate: int, max_size: int) -> None:
        self.webrtc_id = route.id
        self._duplex = duplex
        self._route = route
        self._sample_rate = sample_rate  # of received audio
        self._max_size = max_size  # of the application's own messages
        self._pending: deque[Message] = deque()  # received before the first pong

    @classmethod
    def open(
        cls,
        endpoint: Endpoint,
        *,
        sample_rate: int,
        deadline: Deadline,
        watch: Watch,
        patience: float = 20.0,
        fields: ConnectFields | None = None,
        route: MakeFormat = application_route,
    ) -> Self:
        """Connect and register. Messages are handled in order, so a pong proves that the first message was handled.

        Args:
            endpoint: The server and the path of the route.
            sample_rate: The rate of the audio that the handler sends; the protocol does not include it.
            deadline: The deadline of the whole call.
            watch: Receives what is opened, so that another thread can abort it.
            patience: Seconds without data from the server after which the connection counts as lost.
            fields: Additional fields of the first message.
            route: Makes the route.

        Raises:
            TooManyConnections: The handler's limit is reached.
            ConnectionAlreadyExists: The server has a connection of this id.
            AuthenticationError: The server rejects the credentials.
            HandshakeRejected: The server rejects the connection otherwise.
            ConnectionLost: The server ended the connection instead of registering it.
            InboxOverflow: The server sent too much before the first pong.
            ConnectError: The server cannot be reached.
            ProtocolError: The server does not follow the protocol.
            Timeout: The deadline passed.
        """
        duplex: Duplex | None = None
        try:
            interval = min(_PING_INTERVAL, patience / _MIN_PINGS)
            beat = Heartbeat(_PING, interval=interval, timeout=patience, is_answer=_is_pong)
            inbox = max(_INBOX, 4 * endpoint.max_message_size)
            duplex = Duplex.open(endpoint, deadline, beat=beat, inbox=inbox, watch=watch)
            transport = cls(duplex, route(fields or ConnectFields(None)), sample_rate, endpoint.max_message_size)
            max_pending = max(_MAX_PENDING, endpoint.max_message_size + _MESSAGE_OVERHEAD)
            transport._register(deadline, max_pending, endpoint.redact)
        except BaseException as exc:
            if duplex is not None:
                duplex.abort()
            if isinstance(exc, AuthenticationError | HandshakeRejected) and duplex is None and not from_outside(exc):
                raise _translate_rejection(exc, endpoint) from None
            if isinstance(exc, ConnectError) and exc.url is None and not from_outside(exc):
                exc.url = shorten_url(endpoint.url)
            raise
        return transport

    @property
    def error(self) -> HumeClientException | None:
        """The error that ended the connection; None while it is open."""
        error = self._duplex.error
        return _translate_close(error) if isinstance(error, ConnectionLost) else error

    def _register(self, deadline: Deadline, max_pending: int, redact: Callable[[str], str]) -> None:
        try:
            self._duplex.send([self._route.start], deadline)
            self._duplex.send_heartbeat(Mark(0), deadline)
        except ConnectionLost as exc:
            if from_outside(exc):
                raise
            # The server's last messages, which may say why, can still be received.
        self._wait_for_pong(deadline, max_pending, redact)

    def _wait_for_pong(self, deadline: Deadline, max_pending: int, redact: Callable[[str], str]) -> None:
        size = 0
        while not deadline.expired():  # receive() never times out while the server keeps sending, so check here
            received = self._next(deadline)
            if received is None:
                break
            if isinstance(received, Mark):
                return
            if received.is_text and (error := rejection_from_message(json_or_text(received.data), redact)) is not None:
                raise error
            self._pending.append(received)
            size += len(received.data) + _MESSAGE_OVERHEAD
            if size > max_pending:
                raise InboxOverflow(
                    f"more than {max_pending} bytes, and no answer to the first message", phase="connect"
                )
        raise Timeout("the server did not register the connection in time", phase="connect")

    def send_audio(self, samples: bytes, deadline: Deadline) -> None:
        """Send audio (s16le, mono, at the handler's input rate), waiting for room."""
        view = memoryview(samples)
        try:
            for start in range(0, len(view), 2 * _MAX_CHUNK):
                encoded = pybase64.b64encode(mulaw.encode(view[start : start + 2 * _MAX_CHUNK]))
                parts = [b'{"event":"media","media":{"payload":"', encoded, b'"}', self._route.suffix]
                self._duplex.send(parts, deadline)
        except ConnectionLost as exc:
            raise _translate_close(exc) from None

    def send(self, message: str | bytes, deadline: Deadline) -> None:
        """Send a message of the application's own: a str as text, bytes as a binary message."""
        data = message.encode() if isinstance(message, str) else message
        check_size(len(data), self._max_size, "the max_message_size of the client")
        try:
            self._duplex.send([data], deadline, binary=isinstance(message, bytes))
        except ConnectionLost as exc:
            raise _translate_close(exc) from None

    def send_mark(self, mark: Mark, deadline: Deadline, *, before: int = 0) -> None:  # noqa: ARG002 - not in real time
        """Send a ping, at whose pong `receive` returns this mark."""
        try:
            self._duplex.send_heartbeat(mark, deadline)
        except ConnectionLost as exc:
            raise _translate_close(exc) from None

    def receive(self, deadline: Deadline) -> Event | Mark | None:
        """Return the next event or mark; None once the deadline has passed."""
        received = self._pending.popleft() if self._pending else self._next(deadline)
        return self._to_event(received) if isinstance(received, Message) else received

    def _next(self, deadline: Deadline) -> Message | Mark | None:
        try:
            received = self._duplex.receive(deadline)
        except ConnectionLost as exc:
            raise _translate_close(exc) from None
        assert isinstance(received, Message | Mark | None)
        return received

    def _to_event(self, received: Message) -> Event:
        message = json_or_text(received.data) if received.is_text else received.data
        if isinstance(message, dict) and message.get("event") == "media":
            media = message.get("media")
            payload: Any = media.get("payload") if isinstance(media, dict) else None
            try:
                samples = mulaw.decode(pybase64.b64decode(payload, validate=True))
                return AudioChunk(samples, self._sample_rate, arrived=received.arrived)
            except (TypeError, ValueError) as exc:
                if from_outside(exc):
                    raise
                return Custom("media", media)  # an application's own message; it must not end the session
        return to_event(message)

    def close(self, timeout: float) -> None:
        """Send ``stop`` and close the connection, waiting at most ``timeout`` seconds for the server."""
        self._duplex.close(timeout, last=[b'{"event":"stop"', self._route.suffix])

    def abort(self) -> None:
        """End the connection at once."""
        self._duplex.abort()


def _is_pong(message: bytes) -> bool:
    """Return whether this is FastRTC's answer to a ping. (The length rules out most messages.)"""
    if len(message) > _MAX_PONG_SIZE:
        return False
    answer = json_or_text(message)
    return isinstance(answer, dict) and answer.get("event") == "pong"


def _translate_close(error: ConnectionLost) -> ConnectionLost:
    """Return an error that says what close code 1000 means from a FastRTC server; other errors unchanged."""
    if error.close_code != CloseCode.NORMAL_CLOSURE or from_outside(error):
        return error
    return ConnectionLost(
        "the server ended the session: its handler has closed the stream, or could not read a message",
        close_code=CloseCode.NORMAL_CLOSURE,
        close_reason=error.close_reason,
    )


def _translate_rejection(rejected: AuthenticationError | HandshakeRejected, endpoint: Endpoint) -> HumeClientException:
    """Return an error that says what a rejected handshake means from a FastRTC server."""
    body = rejected.body if isinstance(rejected, HandshakeRejected) else ""
    return rejection_from_response(
        rejected.status or 0, body, retry_after=rejected.retry_after, asked="websocket", url=shorten_url(endpoint.url)
    )
