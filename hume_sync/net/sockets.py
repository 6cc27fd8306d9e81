"""A connected socket as a stream of bytes: buffered reads, and the deadline on every system call."""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
from typing import Final

from .clock import monotonic
from .deadline import Deadline
from .interrupts import from_outside
from .keepalive import allow_for_closed_window
from .readiness import instant_poll

__all__ = ["Received", "SocketStream", "abort_socket"]

Received = bytes | bytearray | memoryview
"""Bytes as they came, without a copy where that is possible."""

_CHUNK: Final = 65536
"""Bytes asked for in one read: a reply of twenty faces. The buffer lives as long as what came in it, no longer."""

_MAX_WAIT: Final = 1.0
"""Seconds that a system call waits at most. While the deadline is further off than that, the socket's timer can stay
as it is, which saves two system calls an exchange; a wait that is longer is just begun again."""


class SocketStream:
    """The one owner of a connected socket.

    Each blocking method takes the deadline of the call. Only the thread that holds the exchange may call anything
    here but `abort`.

    Errors are those of the socket, ``TimeoutError`` means that the deadline has passed and nothing else, and
    ``b""`` is the end of the stream.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._surplus: Received = b""  # received, not yet asked for
        self._readable = instant_poll()
        self._readable.register(sock.fileno(), select.POLLIN)
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        sock.settimeout(None)
        # A plain socket waits in the kernel, under the kernel's timer: one system call an operation. Python's own
        # timer makes it two, but TLS knows no other, nor do the sockets of gevent, which never really block.
        self._by_kernel = self._tls is None and os.get_blocking(sock.fileno())
        self._timer: float | None = None  # what it is set to; 0.0: not to wait at all

    @property
    def buffered(self) -> int:
        """Bytes received and not yet asked for."""
        return len(self._surplus)

    def read(self, deadline: Deadline) -> Received:
        """Return the bytes that are buffered or arrive first; empty at the end of the stream."""
        if surplus := self._surplus:
            self._surplus = b""
            return surplus
        while True:
            if self._timer != _MAX_WAIT or deadline.end - monotonic() < _MAX_WAIT:
                self._apply_timeout(deadline)
            try:
                return self._sock.recv(_CHUNK)
            except (BlockingIOError, TimeoutError) as exc:
                self._continue_waiting(exc)

    def read_into(self, view: memoryview, deadline: Deadline) -> int:
        """Read from the socket into a buffer. Call it only while nothing is buffered.

        Returns:
            The number of bytes; zero at the end of the stream.
        """
        while True:
            self._apply_timeout(deadline)
            try:
                return self._sock.recv_into(view)
            except (BlockingIOError, TimeoutError) as exc:
                self._continue_waiting(exc)

    def readline(self, limit: int, deadline: Deadline) -> bytes:
        """Return one line with its end; less at the limit (in bytes) or at the end of the stream."""
        line = bytearray()
        while len(line) < limit and not line.endswith(b"\n"):
            there = bytes(self.read(deadline))
            if not there:
                break
            taken = min(there.find(b"\n") + 1 or len(there), limit - len(line))
            line += there[:taken]
            self._surplus = there[taken:]
        return bytes(line)

    def send(self, data: bytes | memoryview, deadline: Deadline) -> None:
        """Send all of ``data``."""
        sent, size = self._send_some(data, deadline), len(data)
        if sent < size:  # only if the send buffer was full more than once
            with memoryview(data) as view:
                while sent < size:
                    sent += self._send_some(view[sent:], deadline)

    def _send_some(self, data: bytes | memoryview, deadline: Deadline) -> int:
        while True:
            if self._timer != _MAX_WAIT or deadline.end - monotonic() < _MAX_WAIT:
                self._apply_timeout(deadline)
            try:
                return self._sock.send(data)
            except (BlockingIOError, TimeoutError) as exc:
                self._continue_waiting(exc)  # nothing was sent; TLS requires the same bytes again, and gets them

    def is_quiet(self) -> bool:
        """Without waiting: whether there is nothing to read, not even the end of the stream. (Or not: see `poll`.)"""
        return not (self._surplus or self._readable.poll(0) or (self._tls and self._tls.pending()))

    def poll(self) -> bool:
        """Without waiting: whether there is anything to read.

        Raises:
            EOFError: The peer has ended the stream.
        """
        if self._surplus:
            return True
        if self.is_quiet():
            return False
        # A real read, not just the look: TLS sends records that carry no data (session tickets).
        self._set_nonblocking()
        try:
            self._surplus = self._sock.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError) as exc:
            if from_outside(exc):
                raise
            return False
        if not self._surplus:
            raise EOFError("the peer has ended the stream")
        return True

    def send_nowait(self, data: bytes) -> None:
        """Send without blocking and ignore failures. Used for the final close frame."""
        try:
            self._set_nonblocking()
            self._sock.send(data)
        except OSError as exc:
            if from_outside(exc):
                raise
            # Else a courtesy that was not taken; the connection ends either way.

    def _continue_waiting(self, exc: OSError) -> None:
        """Go on after a wait of a second."""
        _raise_unless_tick(exc)
        allow_for_closed_window(self._sock)

    def _apply_timeout(self, deadline: Deadline) -> None:
        """Have the next system call end in time. (Where it would not change anything, it need not be called.)

        Raises:
            TimeoutError: The deadline has passed.
        """
        left = min(deadline.end - monotonic(), _MAX_WAIT)
        if left == self._timer:
            return
        if left <= 0.0:
            raise TimeoutError("the deadline has passed")
        if self._by_kernel:
            if self._timer == 0.0:
                self._sock.settimeout(None)
            timeval = struct.pack("@ll", int(left), int(left % 1 * 1e6) or 1)  # (zero would be: no limit)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        else:
            self._sock.settimeout(left)
        self._timer = left

    def _set_nonblocking(self) -> None:
        self._sock.settimeout(0.0)
        self._timer = 0.0

    def abort(self) -> None:
        """End the connection from any thread: a call that waits on it wakes up with the end of the stream."""
        abort_socket(self._sock)

    def close(self) -> None:
        """End the connection and give the descriptor back. Idempotent."""
        self.abort()
        self._sock.close()
        self._surplus = b""

    def detach(self) -> tuple[socket.socket, bytes]:
        """Return the socket and the buffered bytes; the caller owns them, and this object must not be used again."""
        return self._sock, bytes(self._surplus)

    def release_after_fork(self, *, close: bool) -> None:
        """In a forked child: drop the descriptor without a byte or a shutdown that the parent would feel."""
        if close:
            self._sock.close()
        else:
            self._sock.detach()

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return self._sock.fileno()


def abort_socket(sock: socket.socket) -> None:
    """Shut a socket down, from any thread, so that calls that wait on it return."""
    try:
        if isinstance(sock, ssl.SSLSocket):
            # The plain socket's shutdown: SSLSocket's own would take the TLS object from under a reader.
            super(ssl.SSLSocket, sock).shutdown(socket.SHUT_RDWR)
        else:  # (eventlet's sockets have the method, their class has not)
            sock.shutdown(socket.SHUT_RDWR)
    except OSError as exc:
        if from_outside(exc):
            raise
        # Else it has ended already, or not begun.


def _raise_unless_tick(exc: OSError) -> None:
    """Return if only the timer of one wait has expired; raise any other error.

    Unanswered keep-alive probes are a timeout of the system: the connection is lost.
    """
    try:
        if from_outside(exc):
            raise exc
        if isinstance(exc, TimeoutError) and exc.errno:
            raise ConnectionResetError(exc.errno, exc.strerror) from None
    finally:
        del exc  # else it would keep this frame, and this frame it
