"""The network side of the server: handshakes, frames, timeouts and disconnects, all on one event loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import orjson
from attrs import field, frozen
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event

from ..reprs import safe_repr
from .faults import PayloadError
from .handler import RequestHandler
from .journal import ConnectionEnded, HandshakeSeen, Journal
from .knobs import Knobs
from .scripted_faults import Rejection, ScriptedFaults, TokenBucket

EMULATOR_HEADER: Final = "X-Hume-Emulator"
"""Response header of every handshake; its value is 1."""
PATH: Final = "/v0/stream/models"

_KEY_HEADER: Final = "X-Hume-Api-Key"
_CLOSE_TIMEOUT: Final = 1.0  # seconds for a peer to answer a close frame
_BACKLOG: Final = 1024
_ABORT_ITERATIONS: Final = 5  # of the event loop, until a connection accepted just now can be aborted and has ended

_log = logging.getLogger(__name__)


@safe_repr
@frozen
class HandshakePolicy:
    """The rules by which a handshake is accepted or rejected.

    Attributes:
        knobs: The settings of the server.
        keys: The accepted API keys; None accepts any key that is not empty.
        faults: Rejections requested in advance.
        rate: The limit of handshakes per second, or None.
    """

    knobs: Knobs
    keys: frozenset[str] | None = field(repr=False)
    faults: ScriptedFaults
    rate: TokenBucket | None

    def check(self, request: Request, open_connections: int) -> Rejection | None:
        """Return the rejection of a handshake, or None to accept it."""
        busy = Rejection(429, self.knobs.retry_after)
        if scripted := self.faults.next_rejection():
            return scripted
        if not urlsplit(request.path).path.endswith(PATH):
            return Rejection(404)
        if not self._is_known(self._key(request)):
            return Rejection(401)
        if self.knobs.max_connections is not None and open_connections >= self.knobs.max_connections:
            return busy
        if self.rate is not None and not self.rate.try_acquire():
            return busy
        return None

    def _key(self, request: Request) -> str | None:
        if _KEY_HEADER in request.headers:
            return request.headers.get_all(_KEY_HEADER)[0]
        query = parse_qs(urlsplit(request.path).query, keep_blank_values=True)
        found = (query[name][0] for name in self.knobs.query_key_names if name in query)
        return next(found, None)

    def _is_known(self, key: str | None) -> bool:
        if self.keys is not None:
            return key in self.keys
        return self.knobs.anonymous if key is None else bool(key)


class EmulatorConnection(ServerConnection):
    """A server connection with a number, the time of the last ping received, and a callback at its end."""

    number = 0  # counts from 1; set when the handshake arrives
    last_ping_at = -math.inf  # in the time of the event loop
    on_end: Callable[[EmulatorConnection], None] | None = None

    def process_event(self, event: Event) -> None:
        """Record the time of a ping, which the library answers by itself."""
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.last_ping_at = self.loop.time()
        super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Call `on_end`, whichever side ended the connection."""
        super().connection_lost(exc)
        if self.on_end is not None:
            self.on_end(self)

    def abort(self) -> None:
        """End the connection at once, without a close frame and without sending buffered data."""
        self.transport.abort()

    async def close_transport(self) -> None:
        """End the connection without a close frame, after sending buffered replies."""
        self.transport.close()
        await self.wait_closed()


class Acceptor:
    """The listener of one address and the connections it has accepted. Use it on one event loop."""

    def __init__(self, knobs: Knobs, keys: frozenset[str] | None, *, faults: ScriptedFaults, journal: Journal) -> None:
        rate = knobs.handshakes_per_second
        bucket = None if rate is None else TokenBucket(rate, asyncio.get_running_loop().time)
        self._policy = HandshakePolicy(knobs, keys, faults, bucket)
        self._knobs = knobs
        self._faults = faults
        self._journal = journal
        self._numbers = itertools.count(1)
        self._connections: set[EmulatorConnection] = set()  # all TCP connections
        self._accepted: set[EmulatorConnection] = set()  # those whose handshake was accepted
        self._closing: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> Server:
        """Start listening.

        Args:
            host: The address to listen on.
            port: The port; 0 picks a free one.
            tls: The TLS settings, or None for plain TCP.

        Raises:
            OSError: The address cannot be bound.
        """
        acceptor = self

        class Connection(EmulatorConnection):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                self.on_end = acceptor._on_end
                acceptor._connections.add(self)

        return await serve(
            self._serve,
            host,
            port,
            ssl=tls,
            backlog=_BACKLOG,
            create_connection=Connection,
            process_request=self._check_handshake,
            process_response=self._record_handshake,
            logger=_library_log(),
            compression="deflate" if self._knobs.compression else None,
            max_size=self._knobs.max_message_size,
            ping_interval=self._knobs.ping_interval,
            close_timeout=_CLOSE_TIMEOUT,
        )

    async def drop(self, code: int | None) -> None:
        """Abort every accepted connection, or send each a close frame with ``code``."""
        for connection in tuple(self._accepted):
            if code is None:
                connection.abort()
            else:
                task = asyncio.create_task(connection.close(code))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        await asyncio.sleep(0)  # let the close frames be written and the aborts happen

    async def abort_all(self) -> None:
        """Abort all TCP connections, including those still in their handshake."""
        for _ in range(_ABORT_ITERATIONS):
            for connection in tuple(self._connections):
                connection.abort()
            await asyncio.sleep(0)

    # --- handshakes --------------------------------------------------------------------------------------

    def _check_handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        assert isinstance(connection, EmulatorConnection)
        connection.number = next(self._numbers)
        rejection = self._policy.check(request, len(self._accepted))
        if rejection is None:
            return None
        status = HTTPStatus(rejection.status)
        response = connection.respond(status, f"{status.phrase}\n")
        if rejection.retry_after is not None:
            response.headers["Retry-After"] = f"{rejection.retry_after:g}"
        return response

    def _record_handshake(self, connection: ServerConnection, request: Request, response: Response) -> None:
        assert isinstance(connection, EmulatorConnection)
        response.headers[EMULATOR_HEADER] = "1"
        if response.status_code == 101:
            self._accepted.add(connection)
        self._journal.add_handshake(
            HandshakeSeen(
                connection=connection.number,
                path=urlsplit(request.path).path,
                status=response.status_code,
                client_name=_header(request, "X-Hume-Client-Name"),
                client_version=_header(request, "X-Hume-Client-Version"),
                user_agent=_header(request, "User-Agent"),
            )
        )

    def _on_end(self, connection: EmulatorConnection) -> None:
        self._connections.discard(connection)
        if connection in self._accepted:
            self._accepted.discard(connection)
            self._journal.add_end(ConnectionEnded(connection.number, connection.close_code or 1006))

    # --- requests ----------------------------------------------------------------------------------------

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, EmulatorConnection)
        try:
            await self._handle_requests(connection, RequestHandler(self._knobs, connection.number))
        except ConnectionClosed:
            return

    async def _handle_requests(self, connection: EmulatorConnection, handler: RequestHandler) -> None:
        knobs = self._knobs
        opened_at = active_at = connection.loop.time()
        replies = 0
        while True:
            if replies == knobs.drop_after:
                await connection.close_transport()
                return
            raw = await self._receive(connection, opened_at, active_at)
            if raw is None:
                return
            reply = self._reply(handler, raw)
            self._journal.add_request(connection.number, raw, reply.get("code"), handler.audio_span)
            if await _ended_within(connection, knobs.latency):
                return
            await connection.send(orjson.dumps(reply).decode())
            replies += 1
            active_at = connection.loop.time()
            if handler.close_code is not None:
                await connection.close(handler.close_code, "Too many identical errors")
                return

    def _reply(self, handler: RequestHandler, raw: str | bytes) -> dict[str, Any]:
        try:
            return handler.handle(raw, failure=self._faults.next_error())
        except Exception:  # noqa: BLE001 - answer a bug of the emulator as an internal error of the service, and log it
            _log.exception("internal error in the emulator")
            return handler.handle(raw, failure=PayloadError("I0100", "Internal fault of the emulator"))

    async def _receive(self, connection: EmulatorConnection, opened_at: float, active_at: float) -> str | bytes | None:
        """Return the next frame, or None after closing an idle or expired connection."""
        knobs = self._knobs
        expires_at = math.inf if knobs.max_lifetime is None else opened_at + knobs.max_lifetime
        while True:
            idle_at = math.inf if knobs.idle_timeout is None else active_at + knobs.idle_timeout
            deadline = min(expires_at, idle_at)
            try:
                async with asyncio.timeout_at(None if math.isinf(deadline) else deadline):
                    return await connection.recv()
            except TimeoutError:
                if knobs.pings_count_as_activity and idle_at < expires_at and connection.last_ping_at > active_at:
                    active_at = connection.last_ping_at
                    continue
            if expires_at <= idle_at:
                await connection.close(knobs.lifetime_close_code, "Maximum lifetime reached")
            else:
                await connection.close(knobs.idle_close_code, "Idle for too long")
            return None


async def _ended_within(connection: EmulatorConnection, seconds: float) -> bool:
    """Wait for ``seconds``, and return whether the connection ended meanwhile."""
    if not seconds:
        return False
    try:
        async with asyncio.timeout(seconds):
            await connection.wait_closed()
    except TimeoutError:
        return False
    return True


def _library_log() -> logging.Logger:
    """Return a logger that records nothing: the library logs headers, and so the key."""
    silent = logging.getLogger(f"{__name__}.library")
    silent.setLevel(logging.CRITICAL)
    return silent


def _header(request: Request, name: str) -> str | None:
    values = request.headers.get_all(name)
    return values[0] if values else None
