"""A connected socket as a stream of bytes: buffered reads, and the deadline on every system call."""

from __future__ import annotations

import socket
import ssl

from .deadline import Deadline

__all__ = ["Wire", "abort_socket"]

_CHUNK = 65536


class Wire:
    """The one owner of a connected socket.

    It has the few methods websocket-client asks of a socket, so that frames are read through it too. Only the
    thread that holds the exchange may call anything here but `abort`.

    Errors are those of the socket, ``TimeoutError`` means that the deadline has passed and nothing else, and
    ``b""`` is the end of the stream.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._surplus = memoryview(b"")  # received, not yet asked for
        self.deadline = deadline  # of the call under way; the caller sets it before each exchange

    @property
    def surplus(self) -> int:
        """Bytes received and not yet asked for."""
        return len(self._surplus)

    def recv(self, limit: int) -> bytes:
        """At most ``limit`` bytes, as soon as there are any."""
        if not self._surplus:
            self._fill()
        head, self._surplus = self._surplus[:limit], self._surplus[limit:]
        return bytes(head)

    def recv_line(self, limit: int) -> bytes:
        """One line with its end; at most ``limit`` bytes, and what there is at the end of the stream."""
        line = bytearray()
        while len(line) < limit and not line.endswith(b"\n"):
            if not self._surplus:
                self._fill()
            there = bytes(self._surplus[: limit - len(line)])
            if not there:
                break
            line += self.recv(there.find(b"\n") + 1 or len(there))
        return bytes(line)

    def _fill(self) -> None:
        """Wait for bytes, or for the end of the stream."""
        self._sock.settimeout(self.deadline.for_socket())
        try:
            self._surplus = memoryview(self._sock.recv(_CHUNK))
        except TimeoutError as exc:
            raise _told_apart(exc) from None

    def send(self, data: bytes) -> int:
        """Send all of ``data``. (Time-outs of ``sendall`` are for the whole, not for each system call.)"""
        self._sock.settimeout(self.deadline.for_socket())
        try:
            self._sock.sendall(data)
        except TimeoutError as exc:
            raise _told_apart(exc) from None
        return len(data)

    def poll(self) -> bool:
        """Without waiting: whether there is anything to read.

        A real read, not a look at the descriptor: TLS sends records that carry no data (session tickets).

        Raises:
            EOFError: the peer has ended the stream.
        """
        if not self._surplus:
            self._sock.settimeout(0.0)
            try:
                data = self._sock.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError):
                return False
            if not data:
                raise EOFError("the peer has ended the stream")
            self._surplus = memoryview(data)
        return True

    def try_send(self, data: bytes) -> None:
        """Send if the socket takes it at once, else let it be: for a last word before the end."""
        try:
            self._sock.settimeout(0.0)
            self._sock.send(data)
        except OSError:
            pass  # a courtesy to the peer; the connection ends either way

    def abort(self) -> None:
        """End the connection from any thread: a call that waits on it wakes up with the end of the stream."""
        abort_socket(self._sock)

    def close(self) -> None:
        """End the connection and give the descriptor back. Idempotent."""
        self.abort()
        self._sock.close()
        self._surplus = memoryview(b"")

    def let_go(self, *, close: bool) -> None:
        """In a forked child: drop the descriptor without a byte or a shutdown that the parent would feel."""
        if close:
            self._sock.close()
        else:
            self._sock.detach()

    # What websocket-client asks of a socket besides:

    def gettimeout(self) -> float:
        """Anything but zero: "blocking", for websocket-client; the deadline rules."""
        return 1.0

    def fileno(self) -> int:
        """The descriptor, -1 once closed."""
        return self._sock.fileno()


def abort_socket(sock: socket.socket) -> None:
    """Shut a socket down, from any thread, so that whatever waits on it wakes up."""
    try:
        # The plain socket's shutdown: SSLSocket's own would take the TLS object from under a reader.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended already, or not begun


def _told_apart(exc: TimeoutError) -> OSError:
    """The system's own time-out (keep-alive probes unanswered) is a lost connection, not the caller's deadline."""
    return ConnectionResetError(exc.errno, exc.strerror) if exc.errno else exc
