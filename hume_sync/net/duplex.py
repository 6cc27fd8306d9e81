"""A full-duplex WebSocket session: either side sends at any time, and one I/O thread owns the socket.

A TLS connection must not be read by one thread while another writes to it. So only the I/O thread uses the socket. It
never waits for one direction alone: it reads what comes, writes what the socket takes, and sleeps until either is
ready (see `io_thread`). Callers put messages into one queue and take them out of another; both are bounded in bytes.
No code of a user runs on the I/O thread.
"""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Sequence
from typing import Self

from ..errors import HumeClientException, MisuseError
from . import fork
from .deadline import Deadline
from .endpoint import Endpoint
from .frames import BINARY, TEXT, FrameWriter
from .io_thread import Heartbeat, IOThread, Message
from .pending import Watch, unwatched
from .websocket import upgrade

__all__ = ["Duplex", "Heartbeat", "Message"]


class Duplex:
    """The callers' side. Any number of threads may send and receive; each message is received by one of them.

    An exception that a signal handler or another thread raises in a call leaves it unchanged. A message is then on its
    way in full or not at all, and the session stays good.

    Args:
        io_thread: Of a connected and upgraded socket; its thread is started here.
    """

    def __init__(self, io_thread: IOThread) -> None:
        self._pid = os.getpid()
        self._writer = FrameWriter()  # of all callers: what it remembers may be wrong by a race, and does no harm then
        self._io_thread = io_thread
        self._finalizer = weakref.finalize(self, _on_garbage_collected, io_thread, self._pid)
        fork.register(self)
        io_thread.start()

    @classmethod
    def open(
        cls,
        endpoint: Endpoint,
        deadline: Deadline,
        *,
        beat: Heartbeat | None = None,
        inbox: int = 64 * 2**20,
        outbox: int = 2**20,
        watch: Watch = unwatched,
    ) -> Self:
        """Dial and upgrade; raises as `WebSocket.open` does.

        Args:
            endpoint: The server.
            deadline: Of all of it.
            beat: As for `IOThread`.
            inbox: As for `IOThread`.
            outbox: As for `IOThread`.
            watch: Called with what is being opened.
        """
        io_thread: IOThread | None = None
        stream, _ = upgrade(endpoint, deadline, watch)
        try:
            sock, surplus = stream.detach()
            io_thread = IOThread(sock, surplus, endpoint, beat=beat, inbox=inbox, outbox=outbox)
            watch(io_thread)
            return cls(io_thread)
        except BaseException:
            if io_thread is None:
                stream.close()
            else:
                io_thread.abandon()
            raise

    @property
    def error(self) -> HumeClientException | None:
        """What has ended the connection; None while it lives. What came before may still wait to be received."""
        return self._io_thread.error if self._pid == os.getpid() else _forked()

    def send(self, parts: Sequence[bytes], deadline: Deadline, *, binary: bool = False) -> None:
        """Hand over one message, text (UTF-8) or binary, given in parts. It is on its way then, not there.

        Raises:
            Timeout: No room in time (``phase="send"``): nothing of it is sent.
            ConnectionLost: What has ended the session.
            HumeClientException: Another error that has ended the session.
            MisuseError: It was closed on this side, or the process was forked meanwhile.
        """
        self._check_process()
        self._io_thread.send(self._writer.build(parts, BINARY if binary else TEXT), deadline)

    def send_heartbeat(self, note: object, deadline: Deadline) -> None:
        """Send the beat's message now: `receive` gives ``note`` in place of its answer, in order with all else.

        So it tells that the server has got as far as this. Raises as `send` does.
        """
        self._check_process()
        self._io_thread.send_heartbeat(note, deadline)

    def receive(self, deadline: Deadline) -> object:
        """Return the next `Message`, or the note of an answered `send_heartbeat`; None once the deadline has passed.

        An error is raised once all that came before it was received, and from then on at each call.

        Raises:
            ConnectionLost: The connection has ended. ``close_code`` 1006: it was cut, or aborted on this side; others:
                the server's.
            ProtocolError: The server broke the protocol; a close frame was sent.
            MessageTooLarge: A message was larger than allowed; a close frame was sent.
            InboxOverflow: Too much was waiting to be received; a close frame was sent.
            MisuseError: it was closed on this side, or the process was forked meanwhile.
        """
        self._check_process()
        return self._io_thread.receive(deadline)

    def close(self, timeout: float, last: Sequence[bytes] = ()) -> None:
        """Send a close frame behind all queued messages, wait for the server's, and close. Idempotent.

        What comes meanwhile may still be received. In a forked child nothing is done.

        Args:
            timeout: Seconds for all of it.
            last: A message, in parts as for `send`, sent before the close frame. It does not wait for space in the
                queue; the session counts as closed on this side, however the server answers.
        """
        if self._is_mine():
            self._finalizer.detach()
            self._io_thread.close(timeout, self._writer.build(last) if last else b"")

    def abort(self) -> None:
        """End the session from any thread, without a close frame; waiting calls raise `ConnectionLost`."""
        if self._is_mine():
            self._finalizer.detach()
            self._io_thread.stop()

    def release_after_fork(self, *, hooked: bool) -> None:
        """In a forked child: the session is the parent's. No lock is taken: its holder may not exist here."""
        self._io_thread.release_after_fork(close=hooked)

    def _is_mine(self) -> bool:
        """Return True in the process that opened the session; else release the descriptors."""
        if self._pid == os.getpid():
            return True
        self.release_after_fork(hooked=False)
        return False

    def _check_process(self) -> None:
        if not self._is_mine():
            raise _forked()


def _forked() -> MisuseError:
    return MisuseError("this session was opened before the process was forked: open one in the child")


def _on_garbage_collected(io_thread: IOThread, pid: int) -> None:
    """Stop the thread of a session that was dropped without `close`, or at interpreter exit."""
    if pid != os.getpid():
        io_thread.release_after_fork(close=False)
        return
    running = io_thread.error is None and not io_thread.stopped
    io_thread.stop_without_lock()
    if running:
        warnings.warn("a session was not closed", ResourceWarning, stacklevel=1)
