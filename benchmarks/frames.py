"""The parts of HTTP and WebSocket that the server and the floor need: the handshake, and frames of any length."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct

__all__ = ["CLOSE", "PING", "PONG", "TEXT", "accept_key", "header", "read_head", "upgrade"]

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA

_MASKED = 0x80
_FINAL = 0x80
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_NONCE = b"YmVuY2htYXJrcyBrZXkhIQ=="  # any 16 bytes will do on loopback


def header(length: int, *, opcode: int = TEXT, masked: bool = False) -> bytes:
    """Return the header of a final frame. The masking key is zero, so the payload is sent unchanged."""
    bit, key = (_MASKED, b"\0\0\0\0") if masked else (0, b"")
    if length < 126:
        return bytes((_FINAL | opcode, bit | length)) + key
    if length < 2**16:
        return struct.pack("!BBH", _FINAL | opcode, bit | 126, length) + key
    return struct.pack("!BBQ", _FINAL | opcode, bit | 127, length) + key


def accept_key(key: bytes) -> bytes:
    """Return the server's answer to a client's key."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def read_head(sock: socket.socket) -> bytes:
    """Read an HTTP head. Neither side sends more before it has read the other's head, so nothing follows it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(8192)
        if not data:
            raise EOFError("the connection ended before the head did")
        head += data
    return head


def upgrade(sock: socket.socket, host: str, path: str) -> None:
    """Do the client's side of a WebSocket handshake on a connected socket."""
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {_NONCE.decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = read_head(sock)
    if not head.startswith(b"HTTP/1.1 101 ") or accept_key(_NONCE) not in head:
        raise ConnectionError(f"no upgrade: {head[:60]!r}")
