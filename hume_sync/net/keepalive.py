"""How soon the system notices that a peer has vanished: within a minute.

TCP itself waits for ever where nothing is on its way, and a quarter of an hour for an acknowledgement. Keep-alive
probes cover the first, TCP_USER_TIMEOUT the second; the error is the system's ETIMEDOUT.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from .interrupts import from_outside

__all__ = ["allow_for_closed_window", "set_keepalive"]

_UNACKNOWLEDGED: Final = 50_000
"""Milliseconds without an acknowledgement after which the connection counts as lost."""

_OPTIONS: Final = (
    ("SO_KEEPALIVE", socket.SOL_SOCKET, 1),
    ("TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE", socket.IPPROTO_TCP, 15),  # as on macOS
    ("TCP_KEEPINTVL", socket.IPPROTO_TCP, 10),
    ("TCP_KEEPCNT", socket.IPPROTO_TCP, 4),  # 15 + 4 * 10 = 55 s
    ("TCP_USER_TIMEOUT", socket.IPPROTO_TCP, _UNACKNOWLEDGED),
)
"""Name of an option, its level, and its value; a platform may lack any of them."""

_PACKETS_OUT: Final = struct.Struct("@24xI")
"""``tcpi_unacked`` in Linux's ``struct tcp_info``."""


def set_keepalive(sock: socket.socket) -> None:
    """Have the system probe the peer of a socket, as far as the platform can."""
    for name, level, value in _OPTIONS:
        option = getattr(socket, name, None)
        if option is not None:
            _set(sock, level, option, value)


def allow_for_closed_window(sock: socket.socket) -> None:
    """Keep TCP_USER_TIMEOUT from ending the connection to a peer that is alive but takes nothing for now.

    Linux counts the time in which the peer's window is closed as if nothing were acknowledged, even while the peer
    answers every probe. To be called every second or so of a wait: the limit then holds only while something that was
    sent is unacknowledged; otherwise keep-alive probes and those of the window tell whether the peer is there.
    """
    if not (hasattr(socket, "TCP_USER_TIMEOUT") and hasattr(socket, "TCP_INFO")):
        return
    try:
        (unacknowledged,) = _PACKETS_OUT.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _PACKETS_OUT.size))
    except (OSError, struct.error) as exc:
        if from_outside(exc):
            raise
        return  # the socket is closed, or the system tells less
    _set(sock, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED if unacknowledged else 0)


def _set(sock: socket.socket, level: int, option: int, value: int) -> None:
    try:
        sock.setsockopt(level, option, value)
    except OSError as exc:  # known to Python, but not to this system
        if from_outside(exc):
            raise
