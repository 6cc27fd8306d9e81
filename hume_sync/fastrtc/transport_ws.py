"""A FastRTC connection over WebSocket: mu-law audio and control messages as JSON."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Self

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
from ..net.deadline import Deadline
from ..net.duplex import Duplex, Heartbeat, Message
from ..net.endpoint import Endpoint
from ..net.interrupts import from_outside
from ..net.pending import Watch
from . import mulaw
from .events import AudioChunk, Custom, Event, json_or_text, to_event
from .fields import OwnFields
from .messages import check_size
from .rejections import refusal, refused
from .request import shown
from .route import MakeRoute, Route, application
from .transport import Spoken

__all__ = ["WebSocketTransport"]

_PING: Final = b'{"event":"ping"}'

_BEAT: Final = 5.0
"""Seconds from ping to ping: a server notices that its handler has closed the stream only when the next message comes,
and drops clients it does not hear of for 40 seconds."""

_PINGS: Final = 4
"""As many at least go unanswered before a connection counts as lost."""

_EARLY: Final = 16 * 2**20
"""Bytes of messages before the pong that are kept, or one of the largest size; a server says a greeting there."""

_INBOX: Final = 64 * 2**20
"""Bytes of messages that may wait to be received, or four of the largest size."""

_PER_MESSAGE: Final = 128
"""Bytes that a message counts besides its own."""

_LONGEST_PONG: Final = 100

_MOST: Final = 8 * 2**20
"""Bytes of audio in one message: as base64 well below the 16 MiB at which servers drop the connection."""


class WebSocketTransport:
    """See `Transport`."""

    real_time = False
    backlog = 0.0

    def __init__(self, duplex: Duplex, route: Route, sample_rate: int, max_size: int) -> None:
        self.webrtc_id = route.id
        self._duplex = duplex
        self._route = route
        self._sample_rate = sample_rate  # of what comes
        self._max_size = max_size  # of the application's own messages
        self._early: deque[Message] = deque()  # came before the pong

    @classmethod
    def open(
        cls,
        endpoint: Endpoint,
        *,
        sample_rate: int,
        deadline: Deadline,
        watch: Watch,
        patience: float = 20.0,
        fields: OwnFields | None = None,
        route: MakeRoute = application,
    ) -> Self:
        """Connect, and be registered: messages are handled in order, so the pong proves that the start was.

        Args:
            endpoint: ``{path}/websocket/offer``, or where else the route leads.
            sample_rate: of the audio the handler sends; the protocol does not tell.
            deadline: of all of it.
            watch: told how to interrupt it from another thread.
            patience: seconds without a word of the server after which the connection counts as lost.
            fields: of the first message, beside its own.
            route: how the server is spoken to.

        Raises:
            TooManyConnections, ConnectionAlreadyExists, AuthenticationError, HandshakeRejected: the server refuses.
            ConnectionLost: the server ended the connection instead of answering.
            InboxOverflow: it talked without end instead.
            ConnectError, ProtocolError, Timeout: as `Duplex.open` does.
        """
        duplex: Duplex | None = None
        try:
            beat = Heartbeat(_PING, interval=min(_BEAT, patience / _PINGS), timeout=patience, is_answer=_is_pong)
            inbox = max(_INBOX, 4 * endpoint.max_message_size)
            duplex = Duplex.open(endpoint, deadline, beat=beat, inbox=inbox, watch=watch)
            # (watch knows how to interrupt the socket, whoever it belongs to now)
            link = cls(duplex, route(fields or OwnFields(None)), sample_rate, endpoint.max_message_size)
            most = max(_EARLY, endpoint.max_message_size + _PER_MESSAGE)
            link._register(deadline, most, endpoint.redact)
        except BaseException as exc:
            if duplex is not None:
                duplex.abort()
            if isinstance(exc, AuthenticationError | HandshakeRejected) and duplex is None and not from_outside(exc):
                raise _in_our_words(exc, endpoint) from None
            if isinstance(exc, ConnectError) and exc.url is None and not from_outside(exc):
                exc.url = shown(endpoint.url)
            raise
        return link

    @property
    def ended(self) -> HumeClientException | None:
        """See `Transport`."""
        error = self._duplex.ended
        return _explained(error) if isinstance(error, ConnectionLost) else error

    def _register(self, deadline: Deadline, most: int, redact: Callable[[str], str]) -> None:
        try:
            self._duplex.send([self._route.start], deadline)
            self._duplex.ping(Spoken(0), deadline)
        except ConnectionLost as exc:
            if from_outside(exc):
                raise  # else what the server said before it ended is still to be received
        self._await_pong(deadline, most, redact)

    def _await_pong(self, deadline: Deadline, most: int, redact: Callable[[str], str]) -> None:
        early = 0
        while not deadline.expired():  # which a server that says something all the time does not see to
            received = self._next(deadline)
            if received is None:
                break
            if isinstance(received, Spoken):
                return
            if received.is_text and (error := refusal(json_or_text(received.data), redact)) is not None:
                raise error
            self._early.append(received)
            early += len(received.data) + _PER_MESSAGE
            if early > most:
                raise InboxOverflow(f"more than {most} bytes, and no answer to the first message", phase="connect")
        raise Timeout("the server did not register the connection in time", phase="connect")

    def send_audio(self, samples: bytes, deadline: Deadline) -> None:
        """See `Transport`. Sent as fast as the server takes it: it needs no pacing."""
        view = memoryview(samples)
        try:
            for start in range(0, len(view), 2 * _MOST):
                encoded = pybase64.b64encode(mulaw.encode(view[start : start + 2 * _MOST]))
                parts = [b'{"event":"media","media":{"payload":"', encoded, b'"}', self._route.behind]
                self._duplex.send(parts, deadline)
        except ConnectionLost as exc:
            raise _explained(exc) from None

    def send(self, message: str | bytes, deadline: Deadline) -> None:
        """See `Transport`."""
        data = message.encode() if isinstance(message, str) else message
        check_size(len(data), self._max_size, "the max_message_size of the client")
        try:
            self._duplex.send([data], deadline, binary=isinstance(message, bytes))
        except ConnectionLost as exc:
            raise _explained(exc) from None

    def mark(self, place: Spoken, deadline: Deadline, *, before: int = 0) -> None:  # noqa: ARG002 - not in real time
        """See `Transport`."""
        try:
            self._duplex.ping(place, deadline)
        except ConnectionLost as exc:
            raise _explained(exc) from None

    def receive(self, deadline: Deadline) -> Event | Spoken | None:
        """See `Transport`."""
        received = self._early.popleft() if self._early else self._next(deadline)
        return self._to_event(received) if isinstance(received, Message) else received

    def _next(self, deadline: Deadline) -> Message | Spoken | None:
        """The next message, or place; None once the deadline has passed."""
        try:
            received = self._duplex.receive(deadline)
        except ConnectionLost as exc:
            raise _explained(exc) from None
        assert isinstance(received, Message | Spoken | None)
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
                    raise  # else it is an application's own idea of media, which is not to end the session
                return Custom("media", media)
        return to_event(message)

    def close(self, timeout: float) -> None:
        """See `Transport`."""
        self._duplex.close(timeout, last=[b'{"event":"stop"', self._route.behind])

    def abort(self) -> None:
        """See `Transport`."""
        self._duplex.abort()


def _is_pong(message: bytes) -> bool:
    """Whether this is FastRTC's answer to a ping. (Most messages are told apart by their length.)"""
    if len(message) > _LONGEST_PONG:
        return False
    answer = json_or_text(message)
    return isinstance(answer, dict) and answer.get("event") == "pong"


def _explained(error: ConnectionLost) -> ConnectionLost:
    """The end of a connection; where the server has ended it, as what that means here."""
    if error.close_code != CloseCode.NORMAL_CLOSURE or from_outside(error):
        return error
    return ConnectionLost(
        "the server ended the session: its handler has closed the stream, or could not read a message",
        close_code=CloseCode.NORMAL_CLOSURE,
        close_reason=error.close_reason,
    )


def _in_our_words(rejected: AuthenticationError | HandshakeRejected, endpoint: Endpoint) -> HumeClientException:
    """What a handshake's answer means here."""
    body = rejected.body if isinstance(rejected, HandshakeRejected) else ""
    url = shown(endpoint.url)
    return refused(rejected.status or 0, body, retry_after=rejected.retry_after, asked="websocket", url=url)
