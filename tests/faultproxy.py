"""One proxy for every fault of a network and a server: it speaks HTTP and WebSocket frames, and breaks them on demand.

`FaultProxy` relays between a client and a real server, one request and its reply at a time, so it knows what each
byte belongs to. A fault is a function that takes over at one place: instead of the upgrade (`ConnectFault`), or when
a reply is there to be passed on (`ReplyFault`). What it leaves open goes on as usual; when it returns False the
connection ends. A test names the next fault (`FaultProxy.on_reply` and its like); a run of many thousand exchanges
gives the proxy a `ReplayPlan`, which is asked at every such place.
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
    """The client as the proxy sees it, with the ways to misuse its connection."""

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
        """A byte at a time, until the client has had enough."""
        for byte in data:
            self.send(bytes([byte]))
            if self.stop.wait(interval):
                return

    def flood(self, chunk: bytes, total: int) -> None:
        """As much as the client takes, at most ``total`` bytes."""
        for _ in range(0, total, len(chunk)):
            self.send(chunk)

    def wait_gone(self) -> None:
        """Until the client ends the connection, whatever it still sends."""
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
"""Given the client, nothing of its upgrade read yet."""

ReplyFault = Callable[[Peer, bytes], bool]
"""Given the client and the reply it should have had."""

RequestFault = Callable[[Peer], bool]
"""Given the client as soon as its request begins to arrive, before it is read."""

ReplayPlan = Callable[[str], Callable[..., bool] | None]
"""Given a place, the fault to play there, or None. Asked from many threads at once.

The places are "connect", "request" and "reply", as above, and "idle": a reply has been passed on, and nothing is owed.
The fault is given the client, and at "reply" the reply.
"""


class FaultProxy:
    """Listens on loopback, relays to ``upstream``, plays one fault when told to, or as a plan says."""

    def __init__(self, upstream: tuple[str, int], plan: ReplayPlan | None = None) -> None:
        self._upstream = upstream
        self._plan: ReplayPlan = plan or (lambda _: None)
        self._outage = 0.0
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
        """Play this fault on the next connection."""
        self._connect_fault = fault

    def on_reply(self, fault: ReplyFault) -> None:
        """Play this fault on the next reply, whichever connection it is on."""
        self._reply_fault = fault

    def on_request(self, fault: RequestFault) -> None:
        """Play this fault on the next request."""
        self._request_fault = fault

    def go_away(self, seconds: float) -> None:
        """Cut all connections, and refuse new ones for that long."""
        self._outage = seconds
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
        """After an outage, listen again; False at the end."""
        self._listener.close()
        while not self._stop.wait(self._outage):
            with suppress(OSError):  # somebody else may have been given the port for a moment
                self._listener = socket.create_server(("127.0.0.1", self.port))
                return not self._stop.is_set()
        return False

    def _serve(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)
        try:
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
            pass  # either side has gone: that is what this is about
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
    """A connection through a `Hole`: the client's socket, and the one to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.sockets = (client, server)
        self.forgotten = self.refuses = False
        self.lost = threading.Event()
        """Set when something came that went nowhere."""

    def refuse(self) -> None:
        """End the client's connection with RST."""
        client = self.sockets[0]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


class Hole:
    """Relays bytes, until it is told to forget its connections: nothing comes through them any more, and no end either.

    That is what a router or load balancer does with a connection that was idle for too long, or when it is restarted;
    what a crashed host or a network that was left looks like, too.
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
        """Forget the connections there are. With ``reset``, whatever still comes on them is answered with RST."""
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
    """The lines of an HTTP head, the empty one included."""
    while True:
        line = file.readline()  # type: ignore[attr-defined]
        if not line:
            raise ConnectionResetError
        yield line
        if line == b"\r\n":
            return


def read_frame(file: object) -> tuple[int, bytes, bytes]:
    """The next frame as (opcode, its bytes, its payload as it is on the wire)."""

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
    """A frame as servers send it: unmasked."""
    first = (0x80 if final else 0) | reserved << 4 | opcode
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def announce(size: int, opcode: int = TEXT) -> bytes:
    """The head of a frame of that size, without its payload."""
    return struct.pack("!BBQ", 0x80 | opcode, 127, size)


def upgrade(peer: Peer, *, extra: str = "", accept: str | None = None) -> bytes:
    """Read the client's upgrade and make the answer to it."""
    return upgrade_answer(list(head(peer.file)), extra=extra, accept=accept)


def upgrade_answer(request: list[bytes], *, extra: str = "", accept: str | None = None) -> bytes:
    """The answer to an upgrade, given its lines."""
    key = next(line.split(b":")[1].strip() for line in request if line.lower().startswith(b"sec-websocket-key:"))
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept or base64.b64encode(digest).decode()}\r\n{extra}\r\n"
    ).encode()


def answer(text: str) -> ConnectFault:
    """Answer the upgrade with these bytes, then wait for the client to go."""

    def fault(peer: Peer) -> bool:
        for _ in head(peer.file):
            pass
        peer.send(text.encode())
        peer.wait_gone()
        return False

    return fault
