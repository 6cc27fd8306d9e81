"""The server's side of the network: handshakes, frames, time-outs and cuts, all on one event loop."""

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
from .handler import Session
from .journal import ConnectionEnded, HandshakeSeen, Journal
from .knobs import Knobs
from .scripted_faults import Refusal, ScriptedFaults, TokenBucket

EMULATOR_HEADER: Final = "X-Hume-Emulator"
"""Carried, with the value 1, by the answer to every handshake."""
PATH: Final = "/v0/stream/models"

_KEY_HEADER: Final = "X-Hume-Api-Key"
_CLOSE_SECONDS: Final = 1.0  # how long a peer may take to answer a close frame
_BACKLOG: Final = 1024
_TURNS: Final = 5  # of the loop, until a connection accepted a moment ago can be cut and is gone

_log = logging.getLogger(__name__)


@safe_repr
@frozen
class HandshakePolicy:
    """Decides who is let in; ``keys`` None means any key that is not empty."""

    knobs: Knobs
    keys: frozenset[str] | None = field(repr=False)
    script: ScriptedFaults
    rate: TokenBucket | None

    def refusal(self, request: Request, open_connections: int) -> Refusal | None:
        """Return why a handshake is refused, None if it is let in."""
        busy = Refusal(429, self.knobs.retry_after)
        if asked_for := self.script.next_refusal():
            return asked_for
        if not urlsplit(request.path).path.endswith(PATH):
            return Refusal(404)
        if not self._knows(self._key(request)):
            return Refusal(401)
        if self.knobs.max_connections is not None and open_connections >= self.knobs.max_connections:
            return busy
        if self.rate is not None and not self.rate.passes():
            return busy
        return None

    def _key(self, request: Request) -> str | None:
        if _KEY_HEADER in request.headers:
            return request.headers.get_all(_KEY_HEADER)[0]
        query = parse_qs(urlsplit(request.path).query, keep_blank_values=True)
        found = (query[name][0] for name in self.knobs.query_key_names if name in query)
        return next(found, None)

    def _knows(self, key: str | None) -> bool:
        if self.keys is not None:
            return key in self.keys
        return self.knobs.anonymous if key is None else bool(key)


class EmulatorConnection(ServerConnection):
    """A connection that knows its number and when its peer last sent a ping."""

    number = 0  # from 1, once a handshake has arrived
    pinged_at = -math.inf  # the loop's time
    on_end: Callable[[EmulatorConnection], None] | None = None

    def process_event(self, event: Event) -> None:
        """Note pings, which the library answers without telling."""
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pinged_at = self.loop.time()
        super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the connection has ended, whoever ended it."""
        super().connection_lost(exc)
        if self.on_end is not None:
            self.on_end(self)

    def cut(self) -> None:
        """End the connection at once, with no close frame and nothing more sent."""
        self.transport.abort()

    async def cut_after_sending(self) -> None:
        """End the connection with no close frame, once all replies are out."""
        self.transport.close()
        await self.wait_closed()


class Acceptor:
    """Serves one address; to be used on one event loop."""

    def __init__(self, knobs: Knobs, keys: frozenset[str] | None, *, script: ScriptedFaults, journal: Journal) -> None:
        rate = knobs.handshakes_per_second
        gate = None if rate is None else TokenBucket(rate, asyncio.get_running_loop().time)
        self._gatekeeper = HandshakePolicy(knobs, keys, script, gate)
        self._knobs = knobs
        self._script = script
        self._journal = journal
        self._numbers = itertools.count(1)
        self._wires: set[EmulatorConnection] = set()  # every TCP connection
        self._open: set[EmulatorConnection] = set()  # those that were let in
        self._closing: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> Server:
        """Start to serve; raises OSError if the address cannot be bound."""
        front = self

        class Connection(EmulatorConnection):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                self.on_end = front._ended
                front._wires.add(self)

        return await serve(
            self._serve,
            host,
            port,
            ssl=tls,
            backlog=_BACKLOG,
            create_connection=Connection,
            process_request=self._admit,
            process_response=self._record,
            logger=_library_log(),
            compression="deflate" if self._knobs.compression else None,
            max_size=self._knobs.max_message_size,
            ping_interval=self._knobs.ping_interval,
            close_timeout=_CLOSE_SECONDS,
        )

    async def drop(self, code: int | None) -> None:
        """Cut every connection that was let in, or send it a close frame with ``code``."""
        for wire in tuple(self._open):
            if code is None:
                wire.cut()
            else:
                task = asyncio.create_task(wire.close(code))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        await asyncio.sleep(0)  # the close frames are written, the cuts are made

    async def cut_all(self) -> None:
        """Cut everything, handshakes on their way included."""
        for _ in range(_TURNS):
            for wire in tuple(self._wires):
                wire.cut()
            await asyncio.sleep(0)

    # --- handshakes --------------------------------------------------------------------------------------

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        assert isinstance(connection, EmulatorConnection)
        connection.number = next(self._numbers)
        refusal = self._gatekeeper.refusal(request, len(self._open))
        if refusal is None:
            return None
        status = HTTPStatus(refusal.status)
        response = connection.respond(status, f"{status.phrase}\n")
        if refusal.retry_after is not None:
            response.headers["Retry-After"] = f"{refusal.retry_after:g}"
        return response

    def _record(self, connection: ServerConnection, request: Request, response: Response) -> None:
        assert isinstance(connection, EmulatorConnection)
        response.headers[EMULATOR_HEADER] = "1"
        if response.status_code == 101:
            self._open.add(connection)
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

    def _ended(self, wire: EmulatorConnection) -> None:
        self._wires.discard(wire)
        if wire in self._open:
            self._open.discard(wire)
            self._journal.add_end(ConnectionEnded(wire.number, wire.close_code or 1006))

    # --- requests ----------------------------------------------------------------------------------------

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, EmulatorConnection)
        try:
            await self._converse(connection, Session(self._knobs, connection.number))
        except ConnectionClosed:
            return

    async def _converse(self, wire: EmulatorConnection, session: Session) -> None:
        knobs = self._knobs
        born = active = wire.loop.time()
        replies = 0
        while True:
            if replies == knobs.drop_after:
                await wire.cut_after_sending()
                return
            raw = await self._next(wire, born, active)
            if raw is None:
                return
            reply = self._reply(session, raw)
            self._journal.add_request(wire.number, raw, reply.get("code"), session.heard)
            if await _gone_within(wire, knobs.latency):
                return
            await wire.send(orjson.dumps(reply).decode())
            replies += 1
            active = wire.loop.time()
            if session.close_code is not None:
                await wire.close(session.close_code, "Too many identical errors")
                return

    def _reply(self, session: Session, raw: str | bytes) -> dict[str, Any]:
        try:
            return session.handle(raw, failure=self._script.next_failure())
        except Exception:  # noqa: BLE001 - a fault of ours is answered as one of the service, and logged
            _log.exception("The emulator has a fault of its own")
            return session.handle(raw, failure=PayloadError("I0100", "Internal fault of the emulator"))

    async def _next(self, wire: EmulatorConnection, born: float, active: float) -> str | bytes | None:
        """Return the next frame; None once the connection was closed for being idle or too old."""
        knobs = self._knobs
        death = math.inf if knobs.max_lifetime is None else born + knobs.max_lifetime
        while True:
            sleep = math.inf if knobs.idle_timeout is None else active + knobs.idle_timeout
            deadline = min(death, sleep)
            try:
                async with asyncio.timeout_at(None if math.isinf(deadline) else deadline):
                    return await wire.recv()
            except TimeoutError:
                if knobs.pings_count_as_activity and sleep < death and wire.pinged_at > active:
                    active = wire.pinged_at
                    continue
            if death <= sleep:
                await wire.close(knobs.lifetime_close_code, "Maximum lifetime reached")
            else:
                await wire.close(knobs.idle_close_code, "Idle for too long")
            return None


async def _gone_within(wire: EmulatorConnection, seconds: float) -> bool:
    """Wait so long; return whether the connection ended meanwhile."""
    if not seconds:
        return False
    try:
        async with asyncio.timeout(seconds):
            await wire.wait_closed()
    except TimeoutError:
        return False
    return True


def _library_log() -> logging.Logger:
    """Return a logger that stays silent: the library's would record headers, and the key with them."""
    silent = logging.getLogger(f"{__name__}.library")
    silent.setLevel(logging.CRITICAL)
    return silent


def _header(request: Request, name: str) -> str | None:
    values = request.headers.get_all(name)
    return values[0] if values else None
