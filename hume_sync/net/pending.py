"""What a connection that is being made has acquired: released wherever a signal strikes.

A signal handler runs between any two steps of Python code, above all right after a call returns and before its result
is stored: the result of that call is lost then, and only the garbage collector finds it. A ``try`` behind the call
is too late. So nothing here is made first and kept afterwards:

- A `Pending` object is made while it holds nothing, and is passed to the caller that began the work (`Watch`). It
  acquires everything by methods of its own, so it is known before there is anything to release.
- Who began the work closes it unless the work has succeeded. No step in between has to release anything.
- A socket object exists, and is kept, before it has a descriptor (`DialSockets.new`). A bare descriptor is kept by the
  very call that makes it (`open_into`).

The same holds for other resources of the package: a constructor acquires nothing that its caller could lose; a thread
makes what it owns by itself, since handlers run in the main thread alone; and a lock is taken by ``with lock:`` on the
lock itself, which is one step, while ``with condition:`` is not.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from ..errors import ConnectError
from .sockets import abort_socket

__all__ = ["DialSockets", "Pending", "Watch", "open_into", "unwatched"]


class Pending(Protocol):
    """Something that is being made."""

    def abort(self) -> None:
        """From any thread: make the call that makes it fail."""

    def release(self) -> None:
        """Give everything back. For the thread that makes it, or when that is over; idempotent."""


Watch = Callable[[Pending], object]
"""Called with each `Pending` object before it acquires anything; an exception from it ends the work."""


def unwatched(pending: Pending) -> None:
    """Watch nothing."""


def open_into(descriptors: list[int], path: str | os.PathLike[str], flags: int) -> int:
    """Open a file, and keep its descriptor in the list. Raises what `os.open` does."""
    # ``extend`` runs ``os.open`` itself, and no Python code in between where a signal handler could run.
    descriptors.extend(map(os.open, [path], [flags]))
    return descriptors[-1]


class DialSockets:
    """The sockets made while dialling; see `Pending`."""

    def __init__(self) -> None:
        self._all: list[socket.socket] = []
        self._aborted = False

    def new(self, family: int) -> socket.socket:
        """Make a TCP socket.

        Raises:
            OSError: The system refuses; nothing is left open.
            ConnectError: The dialling was aborted.
        """
        self.check()
        sock = socket.socket.__new__(socket.socket)  # no descriptor yet
        self._all.append(sock)
        sock.__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # type: ignore[misc]  # in place, so that no signal loses the object
        return sock

    def encrypt(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
        """Make the TLS socket that takes over the descriptor of a plain one. The handshake is still to be done.

        Raises:
            OSError: As the context says.
            ConnectError: The dialling was aborted.
        """
        try:
            encrypted = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
            self._all.append(encrypted)
        except BaseException as exc:
            _undo(sock, exc.__traceback__)
            raise
        self.check()
        return encrypted

    def abort(self) -> None:
        """End the dialling, from any thread."""
        self._aborted = True  # before the sockets: one that has not begun to connect yet feels no shutdown
        for sock in list(self._all):
            abort_socket(sock)

    def check(self) -> None:
        """Raise `ConnectError` if the dialling was aborted."""
        if self._aborted:
            raise ConnectError("the connection was closed while it was being made", phase="connect")

    def release(self, *, but: socket.socket | None = None) -> None:
        """Close all, but for one."""
        for sock in self._all:
            if sock is not but:
                _close(sock)


def _close(sock: socket.socket) -> None:
    try:
        sock.close()
    except AttributeError:  # a signal struck inside its __init__, when it had a descriptor and was not ready for close
        socket.SocketType.close(sock)


def _undo(sock: socket.socket, traceback: TracebackType | None) -> None:
    """Close the TLS socket that was being made when a signal struck: only the frames of the exception know it.

    For a moment both sockets have the same descriptor. It must not be closed twice: by then it may be another's.
    """
    while traceback is not None:
        made = traceback.tb_frame.f_locals.get("self")
        if isinstance(made, ssl.SSLSocket):
            if made.fileno() == sock.fileno():
                made.detach()
            else:
                _close(made)
        traceback = traceback.tb_next
