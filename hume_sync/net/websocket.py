"""The blocking WebSocket, and the only module that imports websocket-client.

websocket-client writes the upgrade request, checks the accept key, builds control frames and validates close frames.
This module adds what it lacks: a deadline on every system call, a cap on messages before memory is taken for them,
fragments counted in, strict control frames, and an ending that cannot hang.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

import websocket
from websocket import ABNF

from ..errors import (
    AuthenticationError,
    CloseCode,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    HandshakeRejected,
    HumeClientException,
    MessageTooLarge,
    ProtocolError,
    Timeout,
    TransportError,
)
from .connect import open_stream
from .deadline import Deadline
from .endpoint import Endpoint
from .frame_parser import Event, FrameParser, protocol_violation
from .frames import CLOSE, PING, PONG, TEXT, FrameWriter, Part
from .handshake import HandshakeSocket
from .interrupts import from_outside, handlers_own
from .pending import Watch, unwatched
from .sockets import Received, SocketStream
from .tracebacks import clears_locals

__all__ = [
    "WebSocket",
    "build_control_frame",
    "check_websocket_client",
    "close_error",
    "upgrade",
]

_MAX_IDLE_EVENTS: Final = 32
"""Reads, messages and control frames allowed in one check of an idle connection."""

_TIMED_OUT: Final = (TimeoutError, websocket.WebSocketTimeoutException)
"""The deadline, and nothing else: `SocketStream` tells the system's own time-outs apart."""


class WebSocket:
    """A connected WebSocket for text messages. One thread at a time, but for `abort`."""

    def __init__(self, stream: SocketStream, headers: dict[str, str], endpoint: Endpoint) -> None:
        self._stream = stream
        self._redact = endpoint.redact
        self._parser = FrameParser(endpoint.max_message_size)
        self._writer = FrameWriter()
        self.headers = headers
        """Fields of the server's answer to the upgrade, names in lower case, without cookies."""

    @classmethod
    def open(cls, endpoint: Endpoint, deadline: Deadline, watch: Watch = unwatched) -> WebSocket:
        """Dial and upgrade; ``watch`` as for `open_stream`.

        Raises:
            ConfigurationError: The key may not go there unencrypted, or an unknown websocket-client is installed.
            AuthenticationError: The server answered with HTTP 401.
            HandshakeRejected: The server answered with another status than 101.
            ConnectError: No connection could be made (``phase="connect"``, as for the following).
            ProtocolError: The answer is no valid upgrade.
            Timeout: The deadline passed.
        """
        return cls(*upgrade(endpoint, deadline, watch), endpoint)

    def is_quiet(self) -> bool:
        """Return True if there is nothing to read, without waiting."""
        return not self._parser.unparsed and self._stream.is_quiet()

    def redact(self, text: str) -> str:
        """Return a text of the server with every secret removed."""
        return self._redact(text)

    def send(self, parts: Sequence[Part], deadline: Deadline) -> None:
        """Send one text message (UTF-8), given in parts: masked, in one frame, as one write.

        Raises:
            Timeout: With ``phase="send"``; the message cannot have been processed.
            ConnectionLost: With ``phase="send"``; the message cannot have been processed.
        """
        try:
            self._stream.send(self._writer.build(parts), deadline)
        except (OSError, TransportError) as exc:
            self._raise_translated(exc, phase="send")

    def receive(self, deadline: Deadline) -> Received:
        """Return the next text message, answering pings meanwhile.

        The bytes are not checked to be UTF-8: the JSON parser does that at a hundredth of the cost.

        Raises:
            Timeout: No message arrived before the deadline (``phase="receive"``, ``maybe_processed=True``).
            ConnectionLost: The connection ended (likewise).
            MessageTooLarge: The message exceeds ``max_message_size``; the server is sent close code 1009.
            ProtocolError: The server violated RFC 6455; it is sent close code 1002.
        """
        try:
            while True:
                opcode, data = self._next_event(deadline)
                if opcode == TEXT:
                    return data
                self._handle_control_frame(opcode, data, deadline)
                deadline.socket_timeout()  # frames that are in memory already need no system call, which would check it
        except (OSError, EOFError, websocket.WebSocketException, TransportError) as exc:
            self._raise_translated(exc, phase="receive")

    def _next_event(self, deadline: Deadline) -> Event:
        """Return the next message, control frame or fragment; wait for it if necessary."""
        event = self._parser.next_event() if self._parser.unparsed else None
        while event is None:
            event = self._read_event(deadline)
        return event

    def _read_event(self, deadline: Deadline) -> Event | None:
        """Read once; return the next message, control frame or fragment if it is complete then."""
        parser = self._parser
        if parser.payload_buffer:  # a large payload goes directly into its place
            size = self._stream.read_into(parser.payload_buffer, deadline)
            if size:
                parser.payload_received(size)
                return parser.next_event()
        elif data := self._stream.read(deadline):
            return parser.next_event(data)
        raise EOFError("the peer has ended the stream")

    def _handle_control_frame(self, opcode: int, data: Received, deadline: Deadline | None) -> None:
        """Answer a ping, ignore a pong, raise `ConnectionLost` for a close frame.

        Args:
            opcode: CLOSE, PING, PONG, or CONTINUATION for a fragment, which needs no answer.
            data: The payload.
            deadline: Of sending a pong; None: drop it if the socket does not take it at once.
        """
        payload = bytes(data)
        if opcode == PING:
            pong = build_control_frame(PONG, payload)
            if deadline is None:
                self._stream.send_nowait(pong)
            else:
                self._stream.send(pong, deadline)
        elif opcode == CLOSE:
            end = close_error(payload, self._redact)
            self._stream.send_nowait(build_control_frame(CLOSE, payload[:2]))
            try:
                raise end
            finally:
                del end  # as in `_raise_translated`

    def poll(self) -> Received | None:
        """Return the next text message that has come in full, without waiting; pings are answered.

        Returns:
            The message; None where nothing has come.

        Raises:
            ConnectionLost: The server closed the connection, sent an incomplete frame or message, violated the
                protocol, or sent 32 frames without a message (``phase="idle"``).
        """
        parser = self._parser
        at_once = Deadline(0.0)
        try:
            for _ in range(_MAX_IDLE_EVENTS):
                event = parser.next_event()
                if event is None:
                    if not self._stream.poll():
                        if parser.is_between_messages:
                            return None
                        break
                    event = parser.next_event(self._stream.read(at_once))
                if event is not None:
                    opcode, data = event
                    if opcode == TEXT:
                        return data
                    self._handle_control_frame(opcode, data, None)
        except (OSError, EOFError, websocket.WebSocketException, TransportError) as exc:
            _raise_idle_error(exc, "the connection ended while it was idle")
        raise _no_message()

    def ping(self, deadline: Deadline, on_message: Callable[[Received], None]) -> None:
        """Ping the peer of an idle connection and wait for its pong.

        Args:
            deadline: Of the pong.
            on_message: Called with each text message that comes before it; raises where that is one too many.

        Raises:
            ConnectionLost: No pong came before the deadline, or as `poll` says (``phase="idle"``).
        """
        payload = secrets.token_bytes(8)
        parser = self._parser
        try:
            self._stream.send(build_control_frame(PING, payload), deadline)
            for _ in range(_MAX_IDLE_EVENTS):
                event = parser.next_event() or self._read_event(deadline)
                if event is None:
                    continue
                opcode, data = event
                if opcode == TEXT:
                    on_message(data)
                    continue
                self._handle_control_frame(opcode, data, None)
                if opcode == PONG and data == payload and not parser.in_message:
                    return
        except (OSError, EOFError, websocket.WebSocketException, TransportError) as exc:
            timed_out = isinstance(exc, TimeoutError)
            _raise_idle_error(exc, f"the connection {'answered no ping' if timed_out else 'ended'} while it was idle")
        raise _no_message()

    def close(self, timeout: float) -> None:
        """Send a close frame, wait for the peer's for at most ``timeout`` seconds, and close.

        Never raises for what the peer does: the connection ends here one way or another.
        """
        deadline = Deadline(timeout)
        try:
            self._stream.send(build_control_frame(CLOSE, CloseCode.NORMAL_CLOSURE.to_bytes(2, "big")), deadline)
            while self._next_event(deadline)[0] != CLOSE:
                deadline.socket_timeout()  # frames that are in memory cost no system call
        except (OSError, EOFError, ProtocolError) as exc:
            if from_outside(exc):
                raise
            # Else the peer is gone, slow or confused; all the same to a connection that ends.
        finally:
            self.discard()

    def discard(self) -> None:
        """Close the connection at once, without a close frame. Idempotent."""
        self._stream.close()

    def release_after_fork(self, *, close: bool) -> None:
        """Release the inherited descriptor in a forked child, without sending anything."""
        self._stream.release_after_fork(close=close)

    def close_nowait(self) -> None:
        """Send a close frame without waiting for an answer, and close."""
        self._send_close_nowait(CloseCode.NORMAL_CLOSURE)
        self.discard()

    def abort(self) -> None:
        """Make calls that wait on this connection fail at once. Any thread may call it."""
        self._stream.abort()

    def _raise_translated(self, exc: Exception, *, phase: str) -> NoReturn:
        """Raise what happened in an exchange as an error of this library."""
        try:
            if from_outside(exc):
                raise exc
            sent = phase == "receive"
            if isinstance(exc, websocket.WebSocketProtocolException):
                exc = protocol_violation(str(exc))
            if isinstance(exc, ProtocolError):
                too_big = isinstance(exc, MessageTooLarge)
                self._send_close_nowait(CloseCode.MESSAGE_TOO_BIG if too_big else CloseCode.PROTOCOL_ERROR)
            if isinstance(exc, TransportError):
                exc.phase, exc.maybe_processed = phase, sent
                raise exc
            if isinstance(exc, _TIMED_OUT):
                waited = "a reply" if sent else "the server to take the request"
                raise Timeout(f"timed out waiting for {waited}", phase=phase, maybe_processed=sent) from exc
            why = (isinstance(exc, OSError) and exc.strerror) or "the server closed it without a close frame"
            raise ConnectionLost(f"the connection was lost: {why}", phase=phase, maybe_processed=sent) from exc
        finally:
            del exc  # an error and a frame that holds it keep each other, and the caller's media, until a collection

    def _send_close_nowait(self, code: int) -> None:
        self._stream.send_nowait(build_control_frame(CLOSE, code.to_bytes(2, "big")))


@clears_locals
def upgrade(endpoint: Endpoint, deadline: Deadline, watch: Watch = unwatched) -> tuple[SocketStream, dict[str, str]]:
    """Dial and upgrade; raises as `WebSocket.open` does.

    Returns:
        The stream, and the fields of the server's answer, names in lower case, without cookies.
    """
    check_websocket_client()
    stream = guard = None
    outer = sys.exception()
    try:
        stream = open_stream(endpoint, deadline, watch)
        guard = HandshakeSocket(stream, endpoint, deadline)
        ws = websocket.WebSocket(enable_multithread=False)
        ws.connect(  # type: ignore[no-untyped-call]  # websocket-client's annotations are incomplete
            endpoint.url,
            socket=guard,
            host=endpoint.authority,
            header=[f"{name}: {value}" for name, value in endpoint.headers],
            suppress_origin=True,
            redirect_limit=0,
        )
        fields = guard.head.fields if guard.head else ()
        return stream, {name: endpoint.redact(value) for name, value in fields if name != "set-cookie"}
    except BaseException as raised:  # noqa: BLE001 - it is raised again, or what caused it
        if stream is not None:
            stream.close()
        # websocket-client may have made another error of what the guard met; an interrupt behind that goes before it.
        interrupted = not isinstance(raised, Exception) or from_outside(raised)
        met: BaseException | None = guard.take_failure() if guard is not None else None
        if not interrupted and isinstance(raised, websocket.WebSocketException):
            met = handlers_own(raised, outer) or met  # it takes any ValueError for one of its own
        exc = raised if interrupted or met is None else met
    if not isinstance(exc, HandshakeRejected | AuthenticationError):
        endpoint.route.address = None  # a WebSocket server is not what answers there
    own = isinstance(exc, HumeClientException) or from_outside(exc)
    if isinstance(exc, OSError | EOFError | websocket.WebSocketException) and not own:
        exc = _connect_error(exc, endpoint)
    try:
        raise exc  # behind the handler: websocket-client's texts hold the whole answer, headers and all
    finally:
        del exc, met, outer  # as in `WebSocket._raise_translated`


def _raise_idle_error(exc: Exception, what: str) -> NoReturn:
    """Raise what happened to an idle connection as a `ConnectionLost`; what came from outside, as it is."""
    try:
        if from_outside(exc):
            raise exc
        if isinstance(exc, ConnectionLost):
            exc.phase = "idle"
            raise exc
        raise ConnectionLost(what, phase="idle") from exc
    finally:
        del exc  # as in `WebSocket._raise_translated`


def _no_message() -> ConnectionLost:
    return ConnectionLost("the server sent 32 frames without a complete message", phase="idle")


def build_control_frame(opcode: int, payload: bytes) -> bytes:
    """Return a masked control frame."""
    return ABNF.create_frame(payload, opcode).format()


def close_error(payload: bytes, redact: Callable[[str], str]) -> ConnectionLost:
    """Return the error for a server's close frame.

    Raises:
        ProtocolError: It is no valid one.
    """
    try:
        ABNF(1, 0, 0, 0, CLOSE, 0, payload).validate(skip_utf8_validation=True)
    except websocket.WebSocketProtocolException as exc:
        raise protocol_violation(str(exc)) from None
    code = int.from_bytes(payload[:2], "big") if payload else CloseCode.NO_STATUS_RCVD
    reason = redact(payload[2:].decode("utf-8", "replace"))
    why = f"{code}, {reason!r}" if reason else f"{code}"
    return ConnectionLost(f"the server closed the connection ({why})", close_code=code, close_reason=reason)


def _connect_error(exc: Exception, endpoint: Endpoint) -> HumeClientException:
    if isinstance(exc, _TIMED_OUT):
        return Timeout(f"{endpoint.authority} did not answer the upgrade in time", phase="connect")
    if isinstance(exc, websocket.WebSocketConnectionClosedException | EOFError):
        why = "the server ended the connection before it had answered"
    elif isinstance(exc, OSError):
        why = exc.strerror or "the connection was lost"
    else:
        return ProtocolError(f"{endpoint.authority} did not answer as a WebSocket server", phase="connect")
    return ConnectError(f"the upgrade at {endpoint.authority} failed: {why}", phase="connect")


def check_websocket_client() -> None:
    """Fail clearly where websocket-client has moved what this module builds on, the unpromised parts above all.

    Raises:
        ConfigurationError: Naming the missing part and the installed version.
    """
    needed = [
        (websocket.WebSocket, ("connect",)),
        (ABNF, ("create_frame", "format", "validate")),
    ]
    for owner, names in needed:
        for name in names:
            if not hasattr(owner, name):
                raise ConfigurationError(
                    f"websocket-client {websocket.__version__} has no {owner.__name__}.{name}:"
                    " install the version range named in this package's metadata"
                )
