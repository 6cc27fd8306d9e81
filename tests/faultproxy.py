"""A proxy that injects faults of networks and servers into HTTP handshakes and WebSocket frames.

`FaultProxy` relays between a client and a real server, one request and its reply at a time, so it knows to which
message each byte belongs. A fault is a function that takes over at one place: before the handshake (`ConnectFault`),
before a request is read (`RequestFault`), or before a reply is passed on (`ReplyFault`). If it returns True, the
connection continues as usual; otherwise it ends. A test sets the next fault with `FaultProxy.on_reply` and the like;
long runs pass a `FaultPlan`, which is called at every such place.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


class Peer:
    """The client of a proxy, with methods that misuse its connection."""

    def __init__(self, sock: socket.socket, stop: threading.Event) -> None:
        self.sock = sock
        self.stop = stop
        self.file = sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_frame(self, payload: bytes, opcode: int = TEXT, *, final: bool = True, reserved: int = 0) -> None:
        self.send(frame(payload, opcode, final=final, reserved=reserved))

    def send_close(self, code: int | None, reason: str = "") -> None:
        self.send_frame(b"" if code is None else struct.pack("!H", code) + reason.encode(), CLOSE)

    def drip(self, data: bytes, interval: float = 0.1) -> None:
        """Send a byte at a time, until the client ends the connection."""
        for byte in data:
            self.send(bytes([byte]))
            if self.stop.wait(interval):
                return

    def flood(self, chunk: bytes, total: int) -> None:
        """Send as much as the client accepts, at most ``total`` bytes."""
        for _ in range(0, total, len(chunk)):
            self.send(chunk)

    def wait_gone(self) -> None:
        """Wait until the client ends the connection, and discard what it sends."""
        with suppress(OSError):
            while self.sock.recv(65536):
                pass

    def reset(self) -> None:
        """End with RST rather than FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        with suppress(OSError):
            self.file.close()
            self.sock.close()


ConnectFault = Callable[[Peer], bool]
"""Called with the client, before its handshake is read."""

ReplyFault = Callable[[Peer, bytes], bool]
"""Called with the client and the genuine reply."""

RequestFault = Callable[[Peer], bool]
"""Called with the client when its request begins to arrive, before it is read."""

FaultPlan = Callable[[str], Callable[..., bool] | None]
"""Returns the fault for a place, or None. Called by many threads.

The places are "connect", "request" and "reply", as above, and "idle": after a reply has been passed on. The fault is
called with the client, and at "reply" with the reply as well.
"""


class FaultProxy:
    """A proxy on loopback that relays to ``upstream``, and injects single faults or those of a plan."""

    def __init__(self, upstream: tuple[str, int], plan: FaultPlan | None = None) -> None:
        self._upstream = upstream
        self._plan: FaultPlan = plan or (lambda _: None)
        self._outage = 0.0
        self._away = False
        self._stop = threading.Event()
        self._lock = threading.Lock()  # guards the three below
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._connect_fault: ConnectFault | None = None
        self._reply_fault: ReplyFault | None = None
        self._request_fault: RequestFault | None = None
        self.connections = 0

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name="faultproxy")
        self._accepting.start()
        return self

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def on_connect(self, fault: ConnectFault) -> None:
        """Inject this fault into the next connection."""
        self._connect_fault = fault

    def on_reply(self, fault: ReplyFault) -> None:
        """Inject this fault into the next reply on any connection."""
        self._reply_fault = fault

    def on_request(self, fault: RequestFault) -> None:
        """Inject this fault into the next request."""
        self._request_fault = fault

    def go_away(self, seconds: float) -> None:
        """End all connections, and refuse new ones for this time."""
        self._outage = seconds
        with self._lock:
            self._away = True  # ends what was accepted just now, too
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._cut_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        self._cut_all()
        for thread in self._threads:
            thread.join()

    def _cut_all(self) -> None:
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                if not self._come_back():
                    return
                continue
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), name="faultproxy-connection")
            self._threads = [*(thread for thread in self._threads if thread.is_alive()), thread]
            thread.start()

    def _come_back(self) -> bool:
        """Listen again after an outage; return False once the proxy is closed."""
        self._listener.close()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Bound during the outage, so that no other server gets the port. Connections are refused until it listens.
        self._listener.bind(("127.0.0.1", self.port))
        if self._stop.wait(self._outage):
            return False
        with self._lock:
            self._away = False
        self._listener.listen()
        return not self._stop.is_set()

    def _serve(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)
            away = self._away
        try:
            if away:
                sock.shutdown(socket.SHUT_RDWR)
            peer = Peer(sock, self._stop)
            try:
                fault, self._connect_fault = self._connect_fault or self._plan("connect"), None
                if fault is None or fault(peer):
                    with socket.create_connection(self._upstream) as upstream:
                        with self._lock:
                            self._open.add(upstream)
                        self._relay(peer, upstream)
                        with self._lock:
                            self._open.discard(upstream)
            finally:
                peer.close()
        except OSError:
            pass  # either side ended the connection, as faults do
        finally:
            with self._lock:
                self._open = {s for s in self._open if s.fileno() >= 0}
            sock.close()

    def _relay(self, peer: Peer, upstream: socket.socket) -> None:
        with upstream.makefile("rb") as replies:
            upstream.sendall(b"".join(head(peer.file)))
            peer.send(b"".join(head(replies)))
            while True:
                is_request = peer.file.peek(1)[:1] == bytes([0x80 | TEXT])
                request_fault, self._request_fault = self._request_fault, None
                request_fault = request_fault or (self._plan("request") if is_request else None)
                if request_fault and not request_fault(peer):
                    return
                opcode, raw, _ = read_frame(peer.file)
                upstream.sendall(raw)
                while opcode != PONG:
                    answer, raw, payload = read_frame(replies)
                    fault = None
                    if answer == TEXT:
                        fault, self._reply_fault = self._reply_fault or self._plan("reply"), None
                    if fault is None:
                        peer.send(raw)
                    elif not fault(peer, payload):
                        return
                    if answer == CLOSE:
                        return
                    if opcode == PING and answer == PONG:
                        break
                    if answer in (TEXT, BINARY):
                        idle_fault = self._plan("idle")
                        if idle_fault and not idle_fault(peer):
                            return
                        break


class Flow:
    """A connection through a `Hole`: the socket of the client, and the one to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.sockets = (client, server)
        self.forgotten = self.refuses = False
        self.lost = threading.Event()
        """Set when data was discarded."""

    def refuse(self) -> None:
        """End the client's connection with RST."""
        client = self.sockets[0]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


class Hole:
    """A relay that can forget its connections: it then passes on neither data nor the end of a connection.

    Routers and load balancers do so with connections that were idle for too long, or after a restart. A crashed host
    and a lost network look the same.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._threads: list[threading.Thread] = []
        self.flows: list[Flow] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._start(self._accept)
        return self

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._listener.getsockname()[1]}"

    def forget(self, *, reset: bool = False) -> None:
        """Forget all connections. With ``reset``, further data on them is answered with RST."""
        for flow in self.flows:
            flow.refuses = reset
            flow.forgotten = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for sock in (self._listener, *(sock for flow in self.flows for sock in flow.sockets)):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in (self._listener, *(sock for flow in self.flows for sock in flow.sockets)):
            sock.close()

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, name="hole")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            flow = Flow(client, socket.create_connection(("127.0.0.1", self._port)))
            self.flows.append(flow)
            self._start(self._pump, *flow.sockets, flow)
            self._start(self._pump, *reversed(flow.sockets), flow)

    def _pump(self, source: socket.socket, sink: socket.socket, flow: Flow) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not flow.forgotten:
                    sink.sendall(data)
                else:
                    flow.lost.set()
                    if flow.refuses:
                        flow.refuse()
        if not flow.forgotten:
            for sock in (source, sink):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


def head(file: object) -> Iterator[bytes]:
    """Yield the lines of an HTTP head, including the empty one."""
    while True:
        line = file.readline()  # type: ignore[attr-defined]
        if not line:
            raise ConnectionResetError
        yield line
        if line == b"\r\n":
            return


def read_frame(file: object) -> tuple[int, bytes, bytes]:
    """Return the next frame as (opcode, all its bytes, its payload as received)."""

    def exactly(count: int) -> bytes:
        data: bytes = file.read(count)  # type: ignore[attr-defined]
        if len(data) < count:
            raise ConnectionResetError
        return data

    raw = exactly(2)
    size = raw[1] & 0x7F
    if size > 125:
        more = exactly(2 if size == 126 else 8)
        raw, size = raw + more, int.from_bytes(more, "big")
    if raw[1] & 0x80:
        raw += exactly(4)
    payload = exactly(size)
    return raw[0] & 0x0F, raw + payload, payload


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True, reserved: int = 0) -> bytes:
    """Return an unmasked frame, as servers send it."""
    first = (0x80 if final else 0) | reserved << 4 | opcode
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def announce(size: int, opcode: int = TEXT) -> bytes:
    """Return the header of a frame of that size, without its payload."""
    return struct.pack("!BBQ", 0x80 | opcode, 127, size)


def upgrade(peer: Peer, *, extra: str = "", accept: str | None = None) -> bytes:
    """Read the client's handshake and return the response."""
    return upgrade_answer(list(head(peer.file)), extra=extra, accept=accept)


def upgrade_answer(request: list[bytes], *, extra: str = "", accept: str | None = None) -> bytes:
    """Return the response to a handshake, given its lines."""
    key = next(line.split(b":")[1].strip() for line in request if line.lower().startswith(b"sec-websocket-key:"))
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept or base64.b64encode(digest).decode()}\r\n{extra}\r\n"
    ).encode()


def answer(text: str) -> ConnectFault:
    """Return a fault that answers the handshake with this text, then waits for the client to end the connection."""

    def fault(peer: Peer) -> bool:
        for _ in head(peer.file):
            pass
        peer.send(text.encode())
        peer.wait_gone()
        return False

    return fault
