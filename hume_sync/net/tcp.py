"""From a host name to a connected TCP socket: staggered attempts at all its addresses (RFC 8305, "Happy Eyeballs").

The attempts run on non-blocking sockets in the calling thread. An address that drops packets costs a quarter of a
second, one that refuses costs nothing, and the one that answered is tried first the next time.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
import sys
from collections import deque
from collections.abc import Iterable
from typing import Final

import attrs

from ..errors import ConnectError, Timeout
from ..reprs import safe_repr
from .clock import monotonic
from .deadline import Deadline
from .interrupts import from_outside, handlers_own
from .keepalive import set_keepalive
from .pending import DialSockets
from .readiness import waiting_poll
from .route import Route, SocketAddress

__all__ = ["connect"]

_STAGGER: Final = 0.25
"""Seconds from one attempt to the next (RFC 8305, 5: recommended)."""

_LEAST_STAGGER: Final = 0.01
"""The least it may be, where there are many addresses and little time (RFC 8305, 5)."""


_BEGUN: Final = (0, errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK, errno.EINTR)


@safe_repr
@attrs.frozen(eq=False)
class _Attempt:
    address: SocketAddress
    sock: socket.socket


def connect(host: str, port: int, deadline: Deadline, sockets: DialSockets, route: Route) -> socket.socket:
    """Connect to the first address of a host that answers. The socket is non-blocking.

    Args:
        host: A name or an address.
        port: Of all its addresses.
        deadline: Of all attempts together. The operating system's name look-up knows none.
        sockets: All that are made; the caller releases them if this raises.
        route: Its address is tried first; the address that answered is stored in it.

    Raises:
        ConnectError: No address answered, or the host could not be looked up. The text names each and its reason.
        Timeout: The deadline passed (``phase="connect"``).
    """
    waiting = deque(_in_order(_look_up(host, port), route.address))
    pending: list[_Attempt] = []
    failures: list[str] = []
    next_start = 0.0

    def failed(address: SocketAddress, reason: str) -> None:
        nonlocal next_start
        failures.append(f"{address[1][0]}: {reason}")
        route.forget(address)
        next_start = 0.0  # at once

    while (waiting or pending) and deadline.remaining():
        if waiting and (not pending or monotonic() >= next_start):
            address = waiting.popleft()
            # Every address has its turn, however little time there is.
            stagger = max(_LEAST_STAGGER, min(_STAGGER, deadline.remaining() / (len(waiting) + 1)))
            next_start = monotonic() + stagger
            try:
                pending.append(_Attempt(address, _begin(address, sockets)))
            except OSError as exc:
                if from_outside(exc):
                    raise
                failed(address, exc.strerror or str(exc))
            sockets.check()
            continue
        ended = _wait(pending, min(deadline.remaining(), next_start - monotonic()) if waiting else deadline.remaining())
        sockets.check()
        for attempt in ended:
            error = attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not error:
                sockets.release(but=attempt.sock)
                route.address = attempt.address
                return attempt.sock
            pending.remove(attempt)
            attempt.sock.close()
            failed(attempt.address, os.strerror(error))
    for attempt in pending:
        failed(attempt.address, "no answer")
    failures += [f"{address[0]}: no time left to try it" for _, address in waiting]
    reasons = "; ".join(failures)
    if deadline.expired():
        raise Timeout(f"timed out connecting to {host}:{port} ({reasons})", phase="connect")
    raise ConnectError(f"cannot connect to {host}:{port} ({reasons})", phase="connect")


def _look_up(host: str, port: int) -> list[SocketAddress]:
    """Return the addresses of a host, in the order of preference."""
    outer = sys.exception()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except Exception as exc:
        if mine := handlers_own(exc, outer):  # in the codec that writes the host
            raise mine from None
        of_resolver = isinstance(exc, socket.gaierror) and exc.errno is not None
        if not isinstance(exc, OSError | UnicodeError) or (not of_resolver and from_outside(exc)):
            raise
        raise ConnectError(f"cannot look up the host {host!r}: {exc}", phase="connect") from exc
    return [(family, address) for family, _, _, _, address in found]


def _in_order(addresses: Iterable[SocketAddress], first: SocketAddress | None) -> list[SocketAddress]:
    """Return each address once: the one that worked last, then families by turns (RFC 8305, 4)."""
    families: dict[int, list[SocketAddress]] = {}
    for address in dict.fromkeys(addresses):
        families.setdefault(address[0], []).append(address)
    by_turns = itertools.zip_longest(*families.values())
    order = [address for turn in by_turns for address in turn if address is not None]
    if first in order:
        order.remove(first)
        order.insert(0, first)
    return order


def _begin(address: SocketAddress, sockets: DialSockets) -> socket.socket:
    """Begin to connect, without waiting."""
    sock = sockets.new(address[0])
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a request is one write, and its reply is waited for
    set_keepalive(sock)
    sock.setblocking(False)
    error = sock.connect_ex(address[1])  # an exception could be confused with one of a signal handler
    if error not in _BEGUN:
        sock.close()
        raise OSError(error, os.strerror(error))
    return sock


def _wait(pending: list[_Attempt], timeout: float) -> list[_Attempt]:
    """Wait until attempts have ended, one way or another; return them."""
    timeout = max(0.0, timeout)
    poll = waiting_poll()
    for attempt in pending:
        poll.register(attempt.sock.fileno(), select.POLLOUT)
    # (A millisecond more: what is rounded down would be waited for in circles.)
    ended = {fd for fd, _ in poll.poll(None if timeout == float("inf") else int(timeout * 1000) + 1)}
    return [attempt for attempt in pending if attempt.sock.fileno() in ended]
