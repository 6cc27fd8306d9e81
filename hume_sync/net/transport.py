"""One WebSocket over websocket-client: the only module that imports it.

websocket-client makes and reads the frames. What it leaves open is closed here: a deadline on every system call,
a cap on messages before memory is taken for them, fragments counted in, strict control frames, and an ending that
cannot hang.
"""

from __future__ import annotations

from typing import Final, NoReturn

import websocket
from websocket import ABNF
from websocket._abnf import frame_buffer

from ..errors import (
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    HumeClientException,
    MessageTooLarge,
    ProtocolError,
    Timeout,
    TransportError,
)
from .deadline import Deadline
from .dial import Watch, dial
from .endpoint import Endpoint
from .upgrade import UpgradeGuard
from .wire import Wire

__all__ = ["Transport", "check_websocket_client"]

_MAX_IDLE_FRAMES: Final = 32
"""Control frames answered in one poll of an idle connection; a peer that sends more is not sound."""

_NO_CODE: Final = 1005  # RFC 6455, 7.1.5: a close frame without a code

_TIMED_OUT: Final = (TimeoutError, websocket.WebSocketTimeoutException)
"""The deadline, and nothing else: `Wire` tells the system's own time-outs apart."""


class Transport:
    """A connected WebSocket for text messages. One thread at a time, but for `abort`."""

    def __init__(self, ws: websocket.WebSocket, wire: Wire, headers: dict[str, str], endpoint: Endpoint) -> None:
        self._ws = ws
        self._wire = wire
        self._scrub = endpoint.scrub
        self._frames = _CappedFrames(ws._recv, endpoint.max_message_size)
        ws.frame_buffer = self._frames
        self.headers = headers
        """Fields of the server's answer to the upgrade, names in lower case, without cookies."""

    @classmethod
    def open(cls, endpoint: Endpoint, deadline: Deadline, watch: Watch | None = None) -> Transport:
        """Dial and upgrade; ``watch`` as for `dial`.

        Raises:
            ConfigurationError: the key may not go there unencrypted, or an unknown websocket-client is installed.
            AuthenticationError, HandshakeRejected: the server answered 401, or anything else but 101.
            ConnectError, ProtocolError, Timeout: as they say, with ``phase="connect"``.
        """
        check_websocket_client()
        wire = dial(endpoint, deadline, watch) if watch else dial(endpoint, deadline)
        guard = UpgradeGuard(wire, endpoint)
        ws = websocket.WebSocket(enable_multithread=False, skip_utf8_validation=True)
        try:
            ws.connect(  # type: ignore[no-untyped-call]  # websocket-client's annotations are incomplete
                endpoint.url,
                socket=guard,
                host=endpoint.authority,
                header=[f"{name}: {value}" for name, value in endpoint.headers],
                suppress_origin=True,
                redirect_limit=0,
            )
        except BaseException as exc:
            wire.close()
            if isinstance(exc, (OSError, EOFError, websocket.WebSocketException)) and not isinstance(
                exc, HumeClientException
            ):
                # "from None": websocket-client's texts hold the whole answer, headers and all.
                raise _connect_error(exc, endpoint) from None
            raise
        ws.sock = wire  # type: ignore[assignment]  # it has the methods that are called
        fields = guard.head.fields if guard.head else ()
        return cls(ws, wire, {name: endpoint.scrub(v) for name, v in fields if name != "set-cookie"}, endpoint)

    def scrub(self, text: str) -> str:
        """A text of the server, without the key should it repeat it."""
        return self._scrub(text)

    def send(self, message: bytes, deadline: Deadline) -> None:
        """Send one text message (UTF-8), masked, in one frame.

        Raises:
            Timeout, ConnectionLost: with ``phase="send"``; the message cannot have been processed.
        """
        self._wire.deadline = deadline
        try:
            self._ws.send_frame(ABNF.create_frame(message, ABNF.OPCODE_TEXT))
        except (OSError, websocket.WebSocketException) as exc:
            self._fail(exc, phase="send")

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next text message; pings are answered meanwhile.

        The bytes are not checked to be UTF-8: that is the JSON parser's work, at a hundredth of the cost.

        Raises:
            Timeout, ConnectionLost: with ``phase="receive"`` and ``maybe_processed=True``.
            MessageTooLarge, ProtocolError: the peer is told (1009, 1002) and the connection must be closed.
        """
        self._wire.deadline = deadline
        try:
            return self._next_message(deadline)
        except (OSError, websocket.WebSocketException, TransportError) as exc:
            self._fail(exc, phase="receive")

    def _next_message(self, deadline: Deadline) -> bytes:
        message: bytearray | None = (
            None  # the fragments so far; a bytearray, for a million tiny ones must not cost more
        )
        while True:
            opcode, final, data = self._read_frame()
            if opcode >= ABNF.OPCODE_CLOSE:
                self._control(opcode, data)
            else:
                expected = ABNF.OPCODE_TEXT if message is None else ABNF.OPCODE_CONT
                _require(opcode == expected, "not a text message, or one inside another")
                if message is None:
                    if final:
                        return data
                    message = bytearray()
                message += data
                self._frames.held = 0 if final else len(message)
                if final:
                    return bytes(message)
            # Frames already in memory cost no system call, so the time is looked at here too.
            deadline.for_socket()

    def _read_frame(self) -> tuple[int, bool, bytes]:
        """The next frame as (opcode, final, payload)."""
        frame = self._frames.recv_frame()
        data = frame.data
        assert isinstance(data, bytes)
        _require(not frame.mask_value, "a masked frame")  # RFC 6455, 5.1
        if frame.opcode >= ABNF.OPCODE_CLOSE:
            _require(bool(frame.fin) and len(data) < 126, "a control frame that is too long or in pieces")
        return frame.opcode, bool(frame.fin), data

    def _control(self, opcode: int, data: bytes) -> None:
        """Answer a ping, ignore a pong, end on a close frame."""
        if opcode == ABNF.OPCODE_PING:
            self._ws.send_frame(ABNF.create_frame(data, ABNF.OPCODE_PONG))
        elif opcode == ABNF.OPCODE_CLOSE:
            code = int.from_bytes(data[:2], "big") if data else _NO_CODE
            reason = self._scrub(data[2:].decode("utf-8", "replace"))
            self._wire.try_send(ABNF.create_frame(data[:2], ABNF.OPCODE_CLOSE).format())
            said = f"{code}, {reason!r}" if reason else f"{code}"
            raise ConnectionLost(f"the server closed the connection ({said})", close_code=code, close_reason=reason)

    def poll(self) -> None:
        """Look at an idle connection without waiting: answer pings, refuse anything else.

        Raises:
            ConnectionLost: the peer has closed, sent what nobody asked for, or more than 32 control frames
                (``phase="idle"``). Nothing of a request has been sent.
        """
        self._wire.deadline = Deadline(0.0)  # every byte still missing is one too many to wait for
        try:
            for _ in range(_MAX_IDLE_FRAMES):
                if not self._wire.poll():
                    return
                opcode, _, data = self._read_frame()
                if opcode < ABNF.OPCODE_CLOSE:
                    break
                if opcode == ABNF.OPCODE_PING:
                    self._wire.try_send(ABNF.create_frame(data, ABNF.OPCODE_PONG).format())
                else:
                    self._control(opcode, data)
        except ConnectionLost as exc:
            exc.phase = "idle"
            raise
        except (OSError, EOFError, websocket.WebSocketException, ProtocolError) as exc:
            raise ConnectionLost("the connection ended while it was idle", phase="idle") from exc
        raise ConnectionLost("the server sent messages nobody asked for", phase="idle")

    def close(self, timeout: float) -> None:
        """Close in order: send a close frame, wait for the peer's, at most ``timeout`` seconds; then let go.

        Never raises for what the peer does: the connection ends here one way or another.
        """
        deadline = Deadline(timeout)
        self._wire.deadline = deadline
        try:
            self._ws.send_frame(ABNF.create_frame((1000).to_bytes(2, "big"), ABNF.OPCODE_CLOSE))
            while self._read_frame()[0] != ABNF.OPCODE_CLOSE:
                deadline.for_socket()
        except (OSError, websocket.WebSocketException, ProtocolError):
            pass  # the peer is gone, slow or confused; all the same to a connection that ends
        finally:
            self.discard()

    def discard(self) -> None:
        """Let go of the connection at once, without a word. Idempotent."""
        self._wire.close()

    def let_go(self, *, close: bool) -> None:
        """In a forked child: drop the inherited descriptor in silence."""
        self._wire.let_go(close=close)

    def retire(self) -> None:
        """Say goodbye without waiting for an answer, and let go: for a connection that is just not needed."""
        self._last_word(1000)
        self.discard()

    def abort(self) -> None:
        """From any thread: make whatever waits on this connection fail at once."""
        self._wire.abort()

    def _fail(self, exc: Exception, *, phase: str) -> NoReturn:
        """Raise what happened in an exchange as an error of this library."""
        sent = phase == "receive"
        if isinstance(exc, websocket.WebSocketProtocolException):
            exc = ProtocolError(f"the server broke the WebSocket protocol: {exc}")
        if isinstance(exc, ProtocolError):
            self._last_word(1009 if isinstance(exc, MessageTooLarge) else 1002)
        if isinstance(exc, TransportError):
            exc.phase, exc.maybe_processed = phase, sent
            raise exc
        if isinstance(exc, _TIMED_OUT):
            waited = "a reply" if sent else "the server to take the request"
            raise Timeout(f"no time left waiting for {waited}", phase=phase, maybe_processed=sent) from exc
        why = (isinstance(exc, OSError) and exc.strerror) or "the peer is gone"
        raise ConnectionLost(f"the connection was lost: {why}", phase=phase, maybe_processed=sent) from exc

    def _last_word(self, code: int) -> None:
        self._wire.try_send(ABNF.create_frame(code.to_bytes(2, "big"), ABNF.OPCODE_CLOSE).format())


class _CappedFrames(frame_buffer):
    """websocket-client's frame reader, with a limit that holds before memory is taken."""

    def __init__(self, recv: object, limit: int) -> None:
        super().__init__(recv, True)  # type: ignore[arg-type]  # the bound method of websocket-client
        self._limit = limit
        self.held = 0  # bytes of the fragments of a message so far

    def recv_length(self) -> None:
        super().recv_length()
        if self.held + (self.length or 0) > self._limit:
            raise MessageTooLarge(f"the server announced a message of more than {self._limit} bytes")


def _require(condition: bool, fault: str) -> None:
    if not condition:
        raise ProtocolError(f"the server broke the WebSocket protocol: {fault}")


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
        ConfigurationError: naming the missing part and the installed version.
    """
    needed = [
        (websocket.WebSocket, ("connect", "recv_frame", "send_frame", "_recv")),
        (frame_buffer, ("recv_frame", "recv_header", "recv_length", "recv_strict", "clear")),
        (ABNF, ("create_frame", "format", "validate", "OPCODE_TEXT", "OPCODE_CLOSE", "OPCODE_PING")),
    ]
    for owner, names in needed:
        for name in names:
            if not hasattr(owner, name):
                raise ConfigurationError(
                    f"websocket-client {websocket.__version__} has no {owner.__name__}.{name}:"
                    " install the version range named in this package's metadata"
                )
