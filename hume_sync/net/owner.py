"""The thread that owns the socket of a full-duplex session, and the queues between it and the callers."""

from __future__ import annotations

import math
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import attrs

from ..errors import (
    ConnectionLost,
    HumeClientException,
    InboxOverflow,
    MessageTooLarge,
    MisuseError,
    ProtocolError,
    Timeout,
    copy_of,
)
from ..locks import make_lock
from ..reprs import safe_repr
from .clock import monotonic
from .condition import TICK, Condition
from .deadline import Deadline
from .endpoint import Endpoint
from .frames import BINARY, TEXT, FrameWriter
from .interrupts import from_outside
from .keepalive import allow_for_closed_window
from .parser import MessageParser
from .readiness import waiting_poll
from .transport import CLOSE, PING, PONG, control_frame, goodbye

__all__ = ["Beat", "Message", "Owner"]

_CHUNK: Final = 65536
_LOST: Final = 1006  # RFC 6455, 7.4.1: the end came without a close frame

_TURNS: Final = 16
"""System calls in a row in one direction before the other, the clock and the callers get their turn."""

_LONGEST: Final = 3600.0
"""Seconds of one sleep at most: `poll` counts milliseconds in 32 bits."""

_BLOCKED: Final = 5.0
"""Seconds of one sleep at most while the server takes nothing: how long it may do that is for `Beat` to say, not for
the system, whose own limit is put off."""

_FAREWELLS: Final = ((MessageTooLarge, 1009), (ProtocolError, 1002), (InboxOverflow, 1008))
"""With which code (RFC 6455, 7.4.1) this side ends a connection, the first that fits; for others without a word."""

_GRACE: Final = 1.0
"""Seconds in which a stopped thread ends, unless a signal's handler calls `close` right where it holds the lock."""

_PER_MESSAGE: Final = 128
"""Bytes that a waiting message takes besides its own: a million empty ones are not nothing."""


@safe_repr
@attrs.frozen
class Beat:
    """A message that is sent again and again, so that both sides notice the other's end."""

    message: bytes
    every: float
    """Seconds."""
    patience: float
    """Seconds without a sign of the server's (a byte, or that it takes more of what has waited to be sent) after which
    the connection counts as lost. Time in which this process did not run does not count."""
    is_answer: Callable[[bytes], bool] = lambda _: False
    """Whether a text is the server's answer to one of these: it is not received, but counts (see `Owner.ping`)."""


class Message(NamedTuple):
    """A message of the server's."""

    data: bytes
    """UTF-8, where it is text."""
    arrived: float
    """When the last of it was read from the network: `monotonic`."""
    is_text: bool = True
    """Whether it came as text; else as a binary message."""


class _Ping(NamedTuple):
    """A beat in the outbox."""

    frame: bytes | memoryview
    note: object
    """Received in place of the answer; None: nothing is."""


class Owner:
    """Runs `thread`, which nobody but it touches the socket from; it never waits in a send or a receive.

    Args:
        sock: connected and upgraded; closed by the thread, or by `abandon`.
        surplus: bytes that have come behind the upgrade's answer.
        endpoint: whose limits and secrets count.
        beat: what keeps the connection alive; None: nothing does.
        inbox: bytes of messages that may wait to be received (64 more for each message). More ends the session: nothing
            is dropped in silence.
        outbox: bytes of frames that may wait to be sent before `put` waits.
    """

    def __init__(
        self,
        sock: socket.socket,
        surplus: bytes,
        endpoint: Endpoint,
        *,
        beat: Beat | None = None,
        inbox: int = 64 * 2**20,
        outbox: int = 2**20,
    ) -> None:
        sock.settimeout(0.0)
        self._sock = sock
        self._pending = sock.pending if isinstance(sock, ssl.SSLSocket) else int  # received, where no poll sees it
        self._scrub = endpoint.scrub
        self._parser = MessageParser(endpoint.max_message_size)
        self._surplus = surplus
        self._beat = beat
        self._inbox_limit = inbox
        self._outbox_limit = outbox
        # A byte, or the end of the stream, wakes the thread. It alone closes the bell, and all use the button under the
        # lock: no caller can ring at a number that was given to another file meanwhile. The thread makes them, since no
        # signal handler runs there, which could strike between making and keeping them.
        self._bell: socket.socket | None = None
        self._button: socket.socket | None = None
        self.thread = threading.Thread(target=self._run, name="hume_sync duplex", daemon=True)
        self._claim = (
            threading.Lock()
        )  # taken once and kept: by the thread, or by whoever makes sure that it never runs
        # The thread's alone:
        self._writing: memoryview | None = None  # what is left of the frame being sent
        self._asked: deque[object] = deque()  # the notes of the beats that were sent and not yet answered
        self._early_answers = 0  # which came before the beat was sent
        self._pong: bytes | None = None  # to the latest ping: RFC 6455, 5.5.3 asks for no other
        self._said_goodbye = False  # RFC 6455, 5.5.1: nothing is sent behind a close frame
        self._heard = monotonic()  # the last sign of the server's
        self._blocked = False  # the socket took no more the last time
        self._read_waits_for = select.POLLIN  # TLS may have to write in order to read, and the other way round
        self._write_waits_for = select.POLLOUT
        # Between the callers and the thread. The lock guards all below and the button; it is never held over anything
        # that waits. Reentrant: a signal's handler may close the session that its own thread is just using.
        self._lock = make_lock()
        self._changed = Condition(self._lock)  # a message is there, or it is over
        self._room = Condition(self._lock)  # in the outbox, or nothing more is taken
        self._inbox: deque[object] = deque()  # messages, and the notes of pings
        self._inbox_bytes = 0
        self._outbox: deque[bytes | memoryview | _Ping] = deque()
        self._outbox_bytes = 0  # the frame being sent included
        self._closing = False  # from here on nothing new is sent but the close frame
        self._close_by = math.inf  # monotonic
        self.stopped = False
        """Whether it was told to end at once."""
        self.ended: HumeClientException | None = None

    def start(self) -> None:
        """Start the thread. Where that fails nothing stays open."""
        try:
            self.thread.start()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """End it at once, at whatever point its start was interrupted: nothing stays open. Idempotent."""
        self.stop()
        if self._claim.acquire(False):  # the thread has not begun, and never will
            self.let_go(close=True)

    def abort(self) -> None:
        """See `Pending`."""
        self.stop()

    def release(self) -> None:
        """See `Pending`."""
        self.abandon()
        self._join(_GRACE)

    # --- the callers' side

    def put(self, frame: bytes | memoryview, deadline: Deadline) -> None:
        """Queue a frame; see `Duplex.send`."""
        self._put(frame, len(frame), deadline)

    def ping(self, note: object, deadline: Deadline) -> None:
        """Queue a beat; see `Duplex.ping`."""
        assert self._beat is not None
        frame = FrameWriter().build([self._beat.message])
        self._put(_Ping(frame, note), len(frame), deadline)

    def _put(self, item: bytes | memoryview | _Ping, size: int, deadline: Deadline) -> None:

        def put() -> bool | None:
            if not self._open():
                raise copy_of(self.ended) if self.ended else _closed() if self._closing else _aborted()
            if self._outbox_bytes > self._outbox_limit:
                return None
            self._ring()
            # No call here, after which an exception could strike: the frame is on its way and counted, or neither.
            self._outbox += (item,)
            self._outbox_bytes += size
            return True

        if not self._room.wait_for(put, deadline):
            raise Timeout("no time left waiting for the server to take what was sent before", phase="send")

    def _open(self) -> bool:
        return self.ended is None and not self._closing and not self.stopped

    def get(self, deadline: Deadline) -> object:
        """Take the next message; see `Duplex.receive`."""

        def take() -> object:
            if self._inbox:
                self._inbox_bytes -= _weight(self._inbox[0])
                return self._inbox.popleft()
            if self.ended is not None:
                raise copy_of(self.ended)
            return None

        return self._changed.wait_for(take, deadline)

    def close(self, timeout: float, last: bytes | memoryview) -> None:
        """Send the last frame, and goodbye, behind all that waits to be sent; wait for the thread to end."""
        try:
            with self._lock:
                if not self._closing:
                    self._closing, self._close_by = True, monotonic() + timeout
                    if last:
                        self._outbox.append(last)
                        self._outbox_bytes += len(last)
                    self._room.notify_all()
                    self._ring()
            self._join(timeout)
        finally:  # what a signal's handler raises leaves no time for a goodbye
            self.stop()
        self._join(_GRACE)

    def _join(self, timeout: float) -> None:
        if self.thread is threading.current_thread():  # finalisers, of whomever, run anywhere
            return
        deadline = Deadline(timeout)
        while self.thread.is_alive() and (left := deadline.remaining()):
            self.thread.join(min(left, TICK))

    def stop(self) -> None:
        """From any thread: end at once."""
        with self._lock:
            self.forget()
            self._room.notify_all()

    def forget(self) -> None:
        """For the finaliser, once there are no callers any more: as `stop`, but no lock is taken."""
        self.stopped = True
        if (button := self._button) is not None:  # else the thread looks before it waits for the first time
            button.close()  # the end of the stream rings too, for good

    def let_go(self, *, close: bool) -> None:
        """Drop the descriptors in silence: in a forked child, or where the thread never runs."""
        for sock in (self._sock, self._bell, self._button):
            if sock is not None:
                (sock.close if close else sock.detach)()

    def _ring(self) -> None:
        """Wake the thread; under the lock, so that nobody closes the button meanwhile. It does not wait."""
        if self.ended is None and self._button is not None:
            try:
                self._button.send(b"\0")
            except OSError as exc:  # full: it rings already; closed: that rings as well
                if from_outside(exc):
                    raise

    # --- the owner thread

    def _run(self) -> None:
        if not self._claim.acquire(False):  # it was abandoned before it had begun
            return
        error: HumeClientException = ConnectionLost("the session failed", close_code=_LOST)
        try:
            error = self._converse(self._make_bell())
        except HumeClientException as exc:
            error = copy_of(exc.with_traceback(None))  # tracebacks, and their circles, would keep all of this alive
        except OSError as exc:
            error = ConnectionLost(f"the connection was lost: {exc.strerror or type(exc).__name__}", close_code=_LOST)
        finally:  # whatever it was, nobody is to wait for ever
            if code := next((code for kind, code in _FAREWELLS if isinstance(error, kind)), None):
                self._last_word(code.to_bytes(2, "big"))
            self._sock.close()
            with self._lock:
                self.ended = _closed() if self._closing and isinstance(error, ConnectionLost) else error
                self._outbox.clear()
                self._outbox_bytes = 0
                self._changed.notify_all()
                self._room.notify_all()
                if self._button is not None:  # nobody rings any more
                    self._button.close()
            if self._bell is not None:
                self._bell.close()

    def _make_bell(self) -> socket.socket:
        bell, button = socket.socketpair()
        bell.setblocking(False)
        button.setblocking(False)
        with self._lock:
            self._bell, self._button = bell, button
        return bell

    def _converse(self, bell: socket.socket) -> HumeClientException:
        """Read and write until either side ends it; returns why."""
        poller = waiting_poll()
        rung, sock = bell.fileno(), self._sock.fileno()
        poller.register(rung, select.POLLIN)
        poller.register(sock, select.POLLIN)
        next_beat = monotonic() + self._beat.every if self._beat else math.inf
        self._take_in(self._surplus)
        self._surplus = b""
        while not self.stopped:
            now = monotonic()
            if self._beat and now >= next_beat:
                next_beat = now + self._beat.every
                self._queue_beat(self._beat)
            more = self._write()
            more |= self._read()
            if self._write_waits_for == select.POLLIN:
                more |= self._write()  # what it waits for may just have been read
            if now >= self._close_by:
                break
            if more or self._pending():
                continue
            give_up = self._heard + self._beat.patience if self._beat else math.inf
            if self._beat and now >= give_up:  # judged by when there was nothing left to read
                return ConnectionLost(f"nothing was heard for {now - self._heard:.1f} s", close_code=_LOST)
            poller.modify(sock, self._read_waits_for | (self._write_waits_for if self._has_to_write() else 0))
            until = min(next_beat, self._close_by, give_up, now + (_BLOCKED if self._blocked else _LONGEST))
            if self._blocked:
                allow_for_closed_window(self._sock)
            woken = poller.poll(max(0, math.ceil((until - monotonic()) * 1000)))
            # Stopped, or held up by others of this process: no fault of the server's.
            self._heard += max(0.0, monotonic() - until)
            if any(descriptor == rung for descriptor, _ in woken):
                bell.recv(_CHUNK)
        return _aborted()

    def _queue_beat(self, beat: Beat) -> None:
        frame = FrameWriter().build([beat.message])
        with self._lock:
            if not self._outbox and self._open():  # while others wait to be sent they do as well
                self._outbox.append(_Ping(frame, None))
                self._outbox_bytes += len(frame)

    def _read(self) -> bool:
        """Read what there is, for a while; whether there may be more."""
        for _ in range(_TURNS):
            try:
                data = self._sock.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as exc:
                self._read_waits_for = select.POLLOUT if isinstance(exc, ssl.SSLWantWriteError) else select.POLLIN
                return False
            if not data:
                raise ConnectionLost("the connection was lost: the peer is gone", close_code=_LOST)
            self._heard = monotonic()
            self._take_in(data)
        return True

    def _take_in(self, data: bytes) -> None:
        messages: list[object] = []
        try:
            for opcode, payload in self._parser.feed(data):
                if opcode == BINARY:
                    messages.append(Message(payload, self._heard, is_text=False))
                elif opcode == TEXT:
                    if self._beat is None or not self._beat.is_answer(payload):
                        messages.append(Message(payload, self._heard))
                    elif not self._asked:
                        self._early_answers += 1
                    elif (note := self._asked.popleft()) is not None:
                        messages.append(note)
                elif opcode == PING:
                    self._pong = control_frame(PONG, payload)
                elif opcode == CLOSE:
                    end = goodbye(payload, self._scrub)
                    self._last_word(payload[:2])
                    raise end
        finally:  # what came before the end is received before it
            self._deliver(messages)
        if messages and self._inbox_bytes > self._inbox_limit:
            raise InboxOverflow(f"more than {self._inbox_limit} bytes of messages wait to be received")

    def _deliver(self, messages: Sequence[object]) -> None:
        if messages:
            with self._lock:
                self._inbox.extend(messages)
                self._inbox_bytes += sum(map(_weight, messages))
                self._changed.notify_all()

    def _has_to_write(self) -> bool:
        waiting = self._pong is not None or bool(self._outbox) or self._closing
        return self._writing is not None or (waiting and not self._said_goodbye)

    def _write(self) -> bool:
        """Send what the socket takes, for a while; whether it may take more."""
        for _ in range(_TURNS):
            if self._writing is None:
                self._writing = self._next_frame()
                if self._writing is None:
                    return False
            try:
                sent = self._sock.send(self._writing)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError) as exc:
                self._write_waits_for = select.POLLIN if isinstance(exc, ssl.SSLWantReadError) else select.POLLOUT
                self._blocked = True
                return False
            except OSError:
                while self._read():  # the peer is gone, but what it said before may be here, its close frame above all
                    pass
                raise
            if self._blocked:  # the server has made room: it lives, though it may have nothing to say meanwhile
                self._blocked, self._heard, self._write_waits_for = False, monotonic(), select.POLLOUT
                allow_for_closed_window(self._sock)
            self._writing = self._writing[sent:] or None
            with self._lock:
                self._outbox_bytes -= sent
                if self._outbox_bytes <= self._outbox_limit:
                    self._room.notify_all()
        return True

    def _next_frame(self) -> memoryview | None:
        if self._said_goodbye:
            return None
        with self._lock:
            if self._pong is not None:
                frame, self._pong = self._pong, None
            elif self._outbox:
                item = self._outbox.popleft()
                if isinstance(item, _Ping):
                    self._expect(item.note)
                    item = item.frame
                return memoryview(item)
            elif self._closing:
                frame, self._said_goodbye = control_frame(CLOSE, (1000).to_bytes(2, "big")), True
            else:
                return None
            self._outbox_bytes += len(frame)
            return memoryview(frame)

    def _expect(self, note: object) -> None:
        """A beat is being sent: note what its answer is to be."""
        if not self._early_answers:
            self._asked.append(note)
        else:
            self._early_answers -= 1
            self._deliver([note] if note is not None else [])

    def _last_word(self, code: bytes) -> None:
        """A close frame, if the socket takes it at once and is not in the middle of another frame."""
        if self._writing is None and not self._said_goodbye:
            self._said_goodbye = True
            try:
                self._sock.send(control_frame(CLOSE, code))
            except OSError:  # (on the thread, which no signal's handler interrupts)
                pass


def _closed() -> MisuseError:
    return MisuseError("this session is closed")


def _aborted() -> ConnectionLost:
    return ConnectionLost("the session was ended", close_code=_LOST)


def _weight(message: object) -> int:
    return _PER_MESSAGE + (len(message.data) if isinstance(message, Message) else 0)
