"""The floor, which does the least possible work: no library, no validation, masking keys of zero.

``requests`` builds the same bytes with orjson and pybase64, sends them over a blocking socket, and parses the reply
with orjson. ``wire`` sends prepared bytes, and reads only the numbers of the reply that identify it.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pybase64

from benchmarks import frames
from benchmarks.cases import Case
from benchmarks.hosts import Host

__all__ = ["request_bytes", "requests", "wire"]

_BUFFER = 2**18
_ID = b',"payload_id":"01234567-1"}'
_NUMBERS = re.compile(rb'"connection":"([^"]+)","number": *(\d+),"received": *(\d+)')


def requests(directory: Path) -> Host:
    """Measure building each request and parsing each reply."""
    return Host(_Sockets(_Connection), directory)


def wire(directory: Path) -> Host:
    """Measure sending and receiving bytes only."""
    return Host(_Sockets(_Wire), directory)


def request_bytes(case: Case) -> bytes:
    """Return the request of a case."""
    return b"".join(_parts(case))


def _parts(case: Case) -> tuple[bytes, ...]:
    """Return the parts of the request, with the same members and length as this library sends."""
    if case.model == "language":
        return b'{"data":', orjson.dumps(case.value), b',"models":{"language":{}},"raw_text":true', _ID
    if case.model == "facemesh":
        encoded = pybase64.b64encode(orjson.dumps(case.value))
        return b'{"data":"', encoded, b'","models":{"facemesh":{}},"raw_text":false', _ID
    with open(case.value, "rb") as file:  # noqa: PTH123 - making a Path takes time
        encoded = pybase64.b64encode(file.read())
    return b'{"data":"', encoded, b'","models":{"face":{}},"raw_text":false', _ID


class _Sockets:
    """A client that loads its TLS settings once."""

    def __init__(self, kind: Callable[[socket.socket], _Connection]) -> None:
        self._kind = kind
        self._tls: ssl.SSLContext | None = None

    def connect(self, url: str, model: str) -> _Connection:
        parts = urlsplit(url)
        sock = socket.create_connection((parts.hostname or "", parts.port or 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme == "wss":
            self._tls = self._tls or ssl.create_default_context()
            sock = self._tls.wrap_socket(sock, server_hostname=parts.hostname)
        frames.upgrade(sock, parts.netloc, parts.path)
        return self._kind(sock)


class _Connection:
    """An adapter of a blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)

    def caller(self, case: Case) -> Callable[[], Any]:
        return partial(self._exchange, case)

    def _exchange(self, case: Case) -> Any:
        parts = _parts(case)
        self._sock.sendall(b"".join((frames.header(sum(map(len, parts)), masked=True), *parts)))
        return orjson.loads(self._receive())

    def _receive(self) -> memoryview:
        """Return the payload of the next frame. The server only replies, so nothing follows it."""
        filled = self._sock.recv_into(self._view)
        length, start = self._buffer[1], 2
        if length == 126:
            (length,) = struct.unpack_from("!H", self._buffer, 2)
            start = 4
        elif length == 127:
            (length,) = struct.unpack_from("!Q", self._buffer, 2)
            start = 10
        while filled < start + length:
            if start + length > len(self._buffer):
                self._buffer = bytearray(self._buffer[:filled]) + bytearray(start + length - filled)
                self._view = memoryview(self._buffer)
            received = self._sock.recv_into(self._view[filled:])
            if not received:
                raise ConnectionError("the connection ended")
            filled += received
        return self._view[start : start + length]

    def close(self) -> None:
        self._sock.close()


class _Wire(_Connection):
    """An adapter that sends a prepared request."""

    def caller(self, case: Case) -> Callable[[], Any]:
        request = request_bytes(case)
        return partial(self._echo, frames.header(len(request), masked=True) + request, case)

    def _echo(self, frame: bytes, case: Case) -> Any:
        self._sock.sendall(frame)
        reply = self._receive()
        found = _NUMBERS.search(reply[:100])
        if not found:
            return orjson.loads(reply)
        connection, number, received = found.groups()
        return {
            "connection": connection.decode(),
            "number": int(number),
            "received": int(received),
            case.model: {"predictions": range(case.faces)},
        }
