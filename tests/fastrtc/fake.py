"""A light look-alike of FastRTC servers, for tests of clients: what real ones were seen to do, the ugly parts included.

`FakeFastRTC` serves the streams of `STREAMS` by WebSocket, as servers of version 0.0.34 do: turns with the messages in
their order, refusals, inputs by a hook, outputs by server-sent events. `real/app.py` serves the same paths with the
real thing, and `real/scenarios.py` is played with both. There is no WebRTC in it but for the ways an offer can fail.
It writes a journal of what arrived. Everything runs on one event loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from ..faultproxy import upgrade_answer
from .real.answers import ENDLESS, REASONS, UNPROCESSABLE, UPDATES, failed, read_fields, read_head, write_chunk
from .real.knobs import ConnectionSeen, Knobs, RequestSeen
from .real.session import Ended, Gone, Session
from .real.turns import STREAMS, Stream

__all__ = ["ConnectionSeen", "FakeFastRTC", "Knobs", "RequestSeen"]

_END: Final = object()
"""Of a connection, in the queue of its outputs."""


class FakeFastRTC:
    """Serves as long as its ``with`` block lasts; a failure of its own is raised at the end of it.

    Args:
        streams: more streams, or others, by path.
        ssl_context: for https and wss.
        knobs: see `Knobs`.
    """

    def __init__(
        self, *, streams: Mapping[str, Stream] | None = None, ssl_context: ssl.SSLContext | None = None, **knobs: Any
    ) -> None:
        self.streams = {**STREAMS, **(streams or {})}
        self.knobs = Knobs(**knobs)
        self.requests: list[RequestSeen] = []
        self.connections: list[ConnectionSeen] = []
        self.hooks: list[dict[str, Any]] = []
        self._ssl = ssl_context
        self._changed = threading.Condition()
        self._failures: list[BaseException] = []
        # of the loop's thread alone:
        self._tasks: set[asyncio.Task[None]] = set()
        self._live: dict[Any, Session] = {}
        self._calls: set[Session] = set()  # by telephone: they have no place among those that count
        self._refusals = self.knobs.refuse_first
        self._offers = list(self.knobs.offers)
        self._outputs: dict[str, asyncio.Queue[Any]] = defaultdict(asyncio.Queue)

    @property
    def url(self) -> str:
        return f"{'https' if self._ssl else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        if self.knobs.buffers:  # those accepted inherit them
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.knobs.buffers)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.knobs.buffers)
        self.port = self._listener.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(ready)), name="fake-fastrtc")
        self._thread.start()
        ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._failures and error is None:
            raise self._failures[0]

    # --- from the test's thread -------------------------------------------------------------------------------

    def wait(self, until: Callable[[], object], timeout: float = 5.0) -> None:
        """Until the journal says so."""
        with self._changed:
            assert self._changed.wait_for(until, timeout), "the client did not do it in time"

    def say(self, *messages: str | bytes) -> None:
        """Send these to every client that has started; bytes as a binary frame."""
        self._command(lambda session: session.say(*messages))

    def end(self, code: int = 1000) -> None:
        """Close every connection."""
        self._command(lambda session: session.end(Ended(code)))

    def drop(self, *, reset: bool = False) -> None:
        """End every connection without a close frame."""
        self._command(lambda session: session.end(Ended(None, reset=reset)))

    def _command(self, command: Callable[[Session], Awaitable[None]]) -> None:
        async def run() -> None:
            for session in [*self._live.values(), *self._calls]:
                with contextlib.suppress(OSError):
                    await command(session)

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(5)

    # --- in the loop's thread ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """While something is written to the journal."""
        with self._changed:
            yield
            self._changed.notify_all()

    async def _main(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, sock=self._listener, ssl=self._ssl)
        ready.set()
        await self._stop.wait()
        server.close()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
            await asyncio.sleep(0)  # for what each does at its end
        await server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        await asyncio.wait([task])
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()):
            self._failures.append(failure)
        if task.cancelled():
            writer.transport.abort()
        else:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection's requests."""
        if self.knobs.buffers:
            writer.transport.set_write_buffer_limits(self.knobs.buffers)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, Gone):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
                request = read_head(head)
                request.body = await reader.readexactly(int(request.headers.get("content-length", 0)))
                with self.noting():
                    self.requests.append(request)
                try:
                    if request.headers.get("upgrade", "").lower() == "websocket":
                        return await self._websocket(head, request, reader, writer)
                    if self._view(request) in {*UPDATES, ENDLESS}:
                        return await self._updates(request, reader, writer)
                    await self._reply(request, writer, *await self._route(request))
                finally:
                    with self.noting():
                        request.open = False

    async def _reply(self, request: RequestSeen, writer: asyncio.StreamWriter, status: int, body: str) -> None:
        with self.noting():
            request.status = status
        kind = "application/json" if body.startswith("{") else "text/plain; charset=utf-8"
        location = f"location: {self.knobs.redirect}\r\n" if status == 307 else ""
        writer.write(
            f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\ncontent-type: {kind}\r\n{location}"
            f"content-length: {len(body.encode())}\r\n\r\n{body}".encode()
        )
        await writer.drain()

    # --- WebSocket --------------------------------------------------------------------------------------------

    async def _websocket(
        self, head: list[bytes], request: RequestSeen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        path, by, rest = request.path.rpartition("/telephone/handler")
        if not by:
            path, by, rest = request.path.rpartition("/websocket/offer")
        stream = self.streams.get(path)
        if path.startswith("/redirect"):
            return await self._reply(request, writer, 307, "")
        if stream is None or rest:
            return await self._reply(request, writer, 403, "")
        if self.knobs.refusal == "http" and (refusal := self._refusal(stream)):
            return await self._reply(request, writer, 429, refusal)
        with self.noting():
            request.status = 101
        writer.write(upgrade_answer([line + b"\r\n" for line in head]))
        seen = ConnectionSeen(request)
        session = Session(self, stream, reader, writer, seen, by_telephone=by == "/telephone/handler")
        with self.noting():
            self.connections.append(seen)
        try:
            await session.run(self._refusal(stream) if self.knobs.refusal == "connect" else None)
        finally:
            self._release(session)
            with self.noting():
                seen.open = False

    def admit(self, session: Session) -> str | None:
        """A session has started: register it, or say why not."""
        refusal = self._refusal(session.stream) if self.knobs.refusal == "start" else None
        if session.by_telephone:
            if not refusal:
                self._calls.add(session)
        elif refusal:
            self._live.pop(session.seen.id, None)  # of a live one with this id, too, as on real servers
        else:
            self._live[session.seen.id] = session
            self._outputs[session.seen.id] = asyncio.Queue()
        return refusal

    def _refusal(self, stream: Stream, among: int | None = None) -> str | None:
        limit = stream.limit or self.knobs.limit
        if among is None:
            among = sum(session.stream is stream for session in self._live.values())
        reason = "concurrency_limit_reached"
        if self._refusals:
            self._refusals -= 1
            reason = self.knobs.reason
        elif among < limit:
            return None
        return failed(reason, limit)

    def _release(self, session: Session) -> None:
        self._calls.discard(session)
        if self._live.get(session.seen.id) is session:
            del self._live[session.seen.id]
            self._outputs.pop(session.seen.id).put_nowait(_END)

    def put_out(self, session: Session, value: Any) -> None:
        """An additional output, for a client that asks for it by the connection's id; of a telephone's it is lost."""
        if not session.by_telephone:
            self._outputs[session.seen.id].put_nowait(value)

    # --- HTTP -------------------------------------------------------------------------------------------------

    async def _route(self, request: RequestSeen) -> tuple[int, str]:
        path, _, rest = request.path.partition("/webrtc/")
        match request.method, self._view(request):
            case _, moved if moved.startswith("/redirect"):
                return 307, ""
            case "POST", "/input_hook":
                return self._hook(request)
            case "GET", "/latest":
                return await self._latest(request)
            case "POST", _ if rest == "offer" and path in self.streams:
                return self._offer(self.streams[path], request)
            case _, known if known in {"/input_hook", "/latest"}:
                return 405, '{"detail":"Method Not Allowed"}'
        return 404, '{"detail":"Not Found"}'

    def _view(self, request: RequestSeen) -> str:
        """The path below the application's own; empty: it is not below that."""
        app = self.knobs.app
        return request.path.removeprefix(app) if request.path.startswith(f"{app}/") else ""

    def _hook(self, request: RequestSeen) -> tuple[int, str]:
        fields = read_fields(request.body, "webrtc_id")
        if fields is None:
            return UNPROCESSABLE
        with self.noting():
            self.hooks.append(dict(fields))
        if self.knobs.hook_status != 200:
            return self.knobs.hook_status, '{"detail":"the hook is out of order"}'
        session = self._live.get(fields.pop("webrtc_id"))
        if session:  # an unknown id is ignored
            session.given = fields
            session.is_given.set()
        return 200, '{"status":"ok"}'

    async def _latest(self, request: RequestSeen) -> tuple[int, str]:
        """The oldest output that was not fetched yet."""
        queue = self._outputs[request.query.get("webrtc_id", "")]
        try:
            value = await asyncio.wait_for(queue.get(), self.knobs.latest_wait)
        except TimeoutError:
            value = _END
        if value is _END:
            return 500, "Internal Server Error"
        return 200, json.dumps({"output": value})

    def _offer(self, stream: Stream, request: RequestSeen) -> tuple[int, str]:
        if self._offers:
            return self._offers.pop(0)
        fields = read_fields(request.body, "webrtc_id", "type")
        if fields is None:
            return UNPROCESSABLE
        if fields["webrtc_id"] in self._live:
            return 200, failed("connection_already_exists")
        if refusal := self._refusal(stream, among=0):  # connections by WebSocket do not count here
            return 429 if self.knobs.refusal == "http" else 200, refusal
        return 500, "Internal Server Error"  # there is no WebRTC here

    async def _updates(self, request: RequestSeen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Server-sent events, until the connection ends whose outputs they are, or the client has gone."""
        with self.noting():
            request.status = 200
        head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        if not self.knobs.late_head:
            writer.write(head)
        late = self.knobs.late_head
        queue = self._outputs[request.query.get("webrtc_id", "")]
        gone = asyncio.ensure_future(reader.read(1))
        try:
            view = self._view(request)
            if view == ENDLESS:
                await write_chunk(writer, b"data: ")
                while not gone.done():
                    await write_chunk(writer, b"x" * 65536)
            while (value := await _first(gone, queue)) is not _END:
                if late:
                    writer.write(head)
                    late = False
                await write_chunk(writer, UPDATES[view](value).encode())
            queue.put_nowait(_END)  # for other readers
            if late:
                writer.write(head)
            await write_chunk(writer, b"")
        finally:
            gone.cancel()
            await asyncio.wait([gone])


async def _first(gone: asyncio.Future[bytes], queue: asyncio.Queue[Any]) -> Any:
    """The next of the queue, unless the client goes first."""
    value = asyncio.ensure_future(queue.get())
    try:
        await asyncio.wait([gone, value], return_when=asyncio.FIRST_COMPLETED)
    finally:
        value.cancel()  # no effect on one that has come
    if gone.done():
        raise Gone
    return await value
