"""The server of the benchmarks: ``python -m benchmarks.server [--processes N] [--cert F --key F]``.

It uses as little CPU time as possible, and the same for every client: a process for each connection, so that no lock
is shared; prepared replies; requests that are counted but not unmasked. It prints a JSON line with its port and the
ids of its processes, and ends when its standard input is closed. The path of a connection configures the replies:

``/MODE/MODEL/FACES/THINK/...``: the model, the number of faces, and the milliseconds before each reply. The modes are:

- ``measure``: send prepared replies.
- ``verify``: unmask and parse each request, and answer with its receipt (see `receipts`) or an error.
- ``wrong``: like ``measure``, but the third reply belongs to another request.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import itertools
import json
import os
import signal
import socket
import ssl
import struct
import sys
import time
from collections.abc import Iterator

from . import frames, receipts
from .replies import Reply

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1  # prctl.h
_BUFFER = 2**20
_WRONG = 3
_NOTHING = bytearray()


class _Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, buffer: bytearray) -> None:
        self.sock = sock
        self._buffer = memoryview(buffer)
        self._filled = 0

    def messages(self, *, keep: bool) -> Iterator[tuple[int, bytearray]]:
        """Yield the length of each text message and, with ``keep``, its unmasked payload. Answer pings."""
        buffer = self._buffer
        while self._fill(2):
            first, length = buffer[0], buffer[1]
            if not first & length & 0x80:
                raise ValueError("a frame that is not masked, or not the whole message")
            opcode, length = first & 0x0F, length & 0x7F
            start = 6 if length < 126 else 8 if length == 126 else 14
            if not self._fill(start):
                return
            if start == 8:
                (length,) = struct.unpack_from("!H", buffer, 2)
            elif start == 14:
                (length,) = struct.unpack_from("!Q", buffer, 2)
            if opcode == frames.TEXT and not keep:
                self._take(start, length, keep=False)
                yield length, _NOTHING
                continue
            key = bytes(buffer[start - 4 : start])
            kept = _unmask(self._take(start, length, keep=True), key)
            if opcode == frames.TEXT:
                yield length, kept
            elif opcode in {frames.PING, frames.CLOSE}:
                answer = frames.PONG if opcode == frames.PING else frames.CLOSE
                self.sock.sendall(frames.header(length, opcode=answer) + kept)
                if opcode == frames.CLOSE:
                    return
            elif opcode != frames.PONG:
                raise ValueError(f"opcode {opcode}")

    def _fill(self, count: int) -> bool:
        """Receive until the buffer holds ``count`` bytes; return False at the end of the connection."""
        while self._filled < count:
            received = self.sock.recv_into(self._buffer[self._filled :])
            if not received:
                return False
            self._filled += received
        return True

    def _take(self, start: int, length: int, *, keep: bool) -> bytearray:
        """Consume a frame, and move the bytes after it to the start of the buffer."""
        end = start + length
        if self._filled == end and not keep:  # the usual case
            self._filled = 0
            return _NOTHING
        here = min(self._filled, end)
        kept = bytearray(self._buffer[start:here]) if keep else bytearray()
        surplus, missing = self._filled - here, end - here
        if surplus:
            self._buffer[:surplus] = self._buffer[here : self._filled]
        self._filled = surplus
        while missing:
            received = self.sock.recv_into(self._buffer[:missing])
            if not received:
                raise EOFError("the connection ended inside a frame")
            if keep:
                kept += self._buffer[:received]
            missing -= received
        return kept


def _unmask(data: bytearray, key: bytes) -> bytearray:
    if data and any(key):
        size = len(data)
        mask = (key * (size // 4 + 1))[:size]
        data[:] = (int.from_bytes(data, "little") ^ int.from_bytes(mask, "little")).to_bytes(size, "little")
    return data


def _converse(sock: socket.socket, buffer: bytearray, connection: str) -> None:
    """Serve a connection until it ends."""
    head = frames.read_head(sock)
    _, mode, model, faces, think, *_ = head.split(b" ", 2)[1].decode().split("/")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    key = {name.lower(): value for name, value in fields.items()}[b"sec-websocket-key"]
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + frames.accept_key(key.strip()) + b"\r\n\r\n"
    )
    reply, pause = Reply(model, int(faces), connection), float(think) / 1000
    peer = _Peer(sock, buffer)
    if mode == "verify":
        for _, message in peer.messages(keep=True):
            sock.sendall(_verified(message))
        return
    for number, (received, _) in enumerate(peer.messages(keep=False), start=1):
        if pause:
            time.sleep(pause)
        wrong = mode == "wrong" and number == _WRONG
        sock.sendall(reply.frame(number - wrong, received))


def _verified(message: bytearray) -> bytes:
    try:
        receipt = receipts.read(message)
        # Include the models, as in every reply.
        answer = {"receipt": receipt, "received": len(message), **dict.fromkeys(receipt["models"])}
    except (ValueError, KeyError, TypeError) as exc:
        answer = {"code": "E0100", "error": f"{type(exc).__name__}: {exc}"}
    text = json.dumps(answer).encode()
    return frames.header(len(text)) + text


def _serve(listener: socket.socket, tls: ssl.SSLContext | None) -> None:
    """Serve one connection after another, until the process is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    buffer = bytearray(_BUFFER)
    for number in itertools.count(1):
        sock, _ = listener.accept()
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                sock = tls.wrap_socket(sock, server_side=True, suppress_ragged_eofs=True)
            _converse(sock, buffer, f"{os.getpid()}-{number}")
            if isinstance(sock, ssl.SSLSocket):
                with contextlib.suppress(OSError):
                    sock.unwrap()
        except (ConnectionError, EOFError, ssl.SSLError):
            pass  # the client closed the connection
        except Exception as exc:  # noqa: BLE001 - the client only sees the end of its connection, so print the cause
            print(f"server: {type(exc).__name__}: {exc}", file=sys.stderr, flush=True)
        finally:
            sock.close()


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="benchmarks.server")
    parser.add_argument("--processes", type=int, default=8, help="connections that can be served at once")
    parser.add_argument("--core", type=int, help="the core to run on; default: any")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    tls = None
    if options.cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.cert, options.key)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        children = []
        for _ in range(options.processes):
            child = os.fork()
            if not child:
                sys.stdin.close()
                _serve(listener, tls)
            children.append(child)
        print(json.dumps({"port": listener.getsockname()[1], "processes": children}), flush=True)
        sys.stdin.read()
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
