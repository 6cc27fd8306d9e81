"""What tests read inside a connection, in one place."""

from __future__ import annotations

import socket

from hume_sync.net.sockets import SocketStream
from hume_sync.stream.connection import Connection


def byte_stream(connection: Connection) -> SocketStream:
    """Return the byte stream below the WebSocket of a connection."""
    return connection._transport._stream


def raw_socket(connection: Connection) -> socket.socket:
    """Return the socket of a connection."""
    return byte_stream(connection)._sock
