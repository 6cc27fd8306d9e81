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
    CloseCode,
    ConnectionLost,
    HumeClientException,
    InboxOverflow,
    MessageTooLarge,
    MisuseError,
    ProtocolError,
    Timeout,
    clone_error,
)
from ..locks import make_lock
from ..reprs import safe_repr
from .clock import monotonic
from .condition import MAX_WAIT, Condition
from .deadline import Deadline
from .endpoint import Endpoint
from .frame_parser import FrameParser
from .frames import BINARY, CLOSE, PING, PONG, TEXT, FrameWriter
from .interrupts import from_outside
from .keepalive import allow_for_closed_window
from .readiness import waiting_poll
from .websocket import build_control_frame, close_error

__all__ = ["Heartbeat", "IOThread", "Message"]

_CHUNK: Final = 65536

_MAX_CALLS_PER_DIRECTION: Final = 16
"""Maximum consecutive system calls in one direction before the other, the timers and the queue are checked."""

_MAX_POLL: Final = 3600.0
"""Seconds of one sleep at most: `poll` counts milliseconds in 32 bits."""

_MAX_POLL_WHEN_BLOCKED: Final = 5.0
"""Longest sleep in seconds while the server takes nothing. The system's own limit is put off each time."""

_CLOSE_CODES: Final = (
    (MessageTooLarge, CloseCode.MESSAGE_TOO_BIG),
    (ProtocolError, CloseCode.PROTOCOL_ERROR),
    (InboxOverflow, CloseCode.POLICY_VIOLATION),
)
"""Close code sent for each error (first match). Other errors close without a close frame."""

_GRACE: Final = 1.0
"""Seconds in which a stopped thread ends, unless a signal's handler calls `close` right where it holds the lock."""

_PER_MESSAGE: Final = 128
"""Bytes that a waiting message takes besides its own: a million empty ones are not nothing."""


@safe_repr
@attrs.frozen
class Heartbeat:
    """A message that is sent again and again, so that both sides notice the other's end."""

    message: bytes
    interval: float
    """Seconds."""
    timeout: float
    """Seconds without a sign of the server's (a byte, or that it takes more of what has waited to be sent) after which
    the connection counts as lost. Time in which this process did not run does not count."""
    is_answer: Callable[[bytes], bool] = lambda _: False
    """Whether a text is the server's answer to one of these, which is counted and not received."""


class Message(NamedTuple):
    """A message of the server's."""

    data: bytes
    """UTF-8, where it is text."""
    arrived: float
    """When the last of it was read from the network: `monotonic`."""
    is_text: bool = True
    """Whether it came as text; else as a binary message."""


class _QueuedHeartbeat(NamedTuple):
    """A beat in the outbox."""

    frame: bytes | memoryview
    note: object
    """Received in place of the answer; None: nothing is."""


class IOThread:
    """Run the thread that alone uses the socket; it never blocks in a send or a receive.

    Args:
        sock: Connected and upgraded; closed by the thread, or by `abandon`.
        surplus: Bytes that have come behind the upgrade's answer.
        endpoint: Whose limits and secrets count.
        beat: What keeps the connection alive; None: nothing does.
        inbox: Bytes of messages that may wait to be received (128 more for each message). More ends the session:
            nothing is dropped.
        outbox: Bytes of frames that may wait to be sent before `send` waits.
    """

    def __init__(
        self,
        sock: socket.socket,
        surplus: bytes,
        endpoint: Endpoint,
        *,
        beat: Heartbeat | None = None,
        inbox: int = 64 * 2**20,
        outbox: int = 2**20,
    ) -> None:
        sock.settimeout(0.0)
        self._sock = sock
        self._pending = sock.pending if isinstance(sock, ssl.SSLSocket) else int  # received, where no poll sees it
        self._redact = endpoint.redact
        self._parser = FrameParser(endpoint.max_message_size, binary=True)
        self._surplus = surplus
        self._beat = beat
        self._inbox_limit = inbox
        self._outbox_limit = outbox
        # A socket pair wakes the thread by a byte or the end of the stream. The thread alone closes the receiver; the
        # sender is used under the lock. So no one writes to a reused descriptor. The thread makes the pair, since no
        # signal handler runs there that could strike between making and storing it.
        self._wake_receiver: socket.socket | None = None
        self._wake_sender: socket.socket | None = None
        self.thread = threading.Thread(target=self._run, name="hume_sync duplex", daemon=True)
        # Acquired once and kept: by the thread, or by the caller that prevents it from running.
        self._claim = threading.Lock()
        # The thread's alone:
        self._partial_frame: memoryview | None = None  # what is left of the frame being sent
        self._unanswered: deque[object] = deque()  # the notes of the beats that were sent and not yet answered
        self._early_answers = 0  # answers received before the beat they belong to was recorded as sent
        self._pong: bytes | None = None  # to the latest ping: RFC 6455, 5.5.3 asks for no other
        self._close_sent = False  # RFC 6455, 5.5.1: nothing may follow a close frame
        self._last_activity = monotonic()  # the last sign of the server's
        self._write_blocked = False  # the send buffer was full the last time
        self._read_waits_for = select.POLLIN  # TLS may have to write in order to read, and the other way round
        self._write_waits_for = select.POLLOUT
        # Between the callers and the thread. The lock guards all below and the sender; it is never held over anything
        # that waits. Reentrant: a signal's handler may close the session that its own thread is just using.
        self._lock = make_lock()
        self._changed = Condition(self._lock)  # a message is there, or it is over
        self._room = Condition(self._lock)  # in the outbox, or nothing more is taken
        self._inbox: deque[object] = deque()  # messages, and the notes of pings
        self._inbox_bytes = 0
        self._outbox: deque[bytes | memoryview | _QueuedHeartbeat] = deque()
        self._outbox_bytes = 0  # the frame being sent included
        self._closing = False  # from here on nothing new is sent but the close frame
        self._close_by = math.inf  # monotonic
        self.stopped = False
        """Whether it was asked to end at once."""
        self.error: HumeClientException | None = None

    def start(self) -> None:
        """Start the thread. Where that fails nothing stays open."""
        try:
            self.thread.start()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """End it at once and release everything, even if its start was interrupted. Idempotent."""
        self.stop()
        if self._claim.acquire(False):  # the thread has not begun, and never will
            self.release_after_fork(close=True)

    def abort(self) -> None:
        """See `Pending`."""
        self.stop()

    def release(self) -> None:
        """See `Pending`."""
        self.abandon()
        self._join(_GRACE)

    # --- the callers' side

    def send(self, frame: bytes | memoryview, deadline: Deadline) -> None:
        """Queue a frame; see `Duplex.send`."""
        self._enqueue(frame, len(frame), deadline)

    def send_heartbeat(self, note: object, deadline: Deadline) -> None:
        """Queue a beat; see `Duplex.send_heartbeat`."""
        assert self._beat is not None
        frame = FrameWriter().build([self._beat.message])
        self._enqueue(_QueuedHeartbeat(frame, note), len(frame), deadline)

    def _enqueue(self, item: bytes | memoryview | _QueuedHeartbeat, size: int, deadline: Deadline) -> None:
        def put() -> bool | None:
            if not self._check_open():
                raise clone_error(self.error) if self.error else _closed() if self._closing else _aborted()
            if self._outbox_bytes > self._outbox_limit:
                return None
            self._wake()
            # No call here, after which an exception could strike: the frame is on its way and counted, or neither.
            self._outbox += (item,)
            self._outbox_bytes += size
            return True

        if not self._room.wait_for(put, deadline):
            raise Timeout("timed out: the send queue is full", phase="send")

    def _check_open(self) -> bool:
        return self.error is None and not self._closing and not self.stopped

    def receive(self, deadline: Deadline) -> object:
        """Take the next message; see `Duplex.receive`."""

        def take() -> object:
            if self._inbox:
                self._inbox_bytes -= _weight(self._inbox[0])
                return self._inbox.popleft()
            if self.error is not None:
                raise clone_error(self.error)
            return None

        return self._changed.wait_for(take, deadline)

    def close(self, timeout: float, last: bytes | memoryview) -> None:
        """Queue ``last`` and a close frame behind all queued frames, and wait for the thread to end."""
        try:
            with self._lock:
                if not self._closing:
                    self._closing, self._close_by = True, monotonic() + timeout
                    if last:
                        self._outbox.append(last)
                        self._outbox_bytes += len(last)
                    self._room.notify_all()
                    self._wake()
            self._join(timeout)
        finally:  # an exception of a signal handler skips the closing handshake
            self.stop()
        self._join(_GRACE)

    def _join(self, timeout: float) -> None:
        if self.thread is threading.current_thread():  # finalisers, of whomever, run anywhere
            return
        deadline = Deadline(timeout)
        while self.thread.is_alive() and (left := deadline.remaining()):
            self.thread.join(min(left, MAX_WAIT))

    def stop(self) -> None:
        """From any thread: end at once."""
        with self._lock:
            self.stop_without_lock()
            self._room.notify_all()

    def stop_without_lock(self) -> None:
        """For the finaliser, once there are no callers any more: as `stop`, but no lock is taken."""
        self.stopped = True
        if (sender := self._wake_sender) is not None:  # else the thread looks before it waits for the first time
            sender.close()  # the end of the stream rings too, for good

    def release_after_fork(self, *, close: bool) -> None:
        """Release the descriptors without sending: in a forked child, or if the thread never runs."""
        for sock in (self._sock, self._wake_receiver, self._wake_sender):
            if sock is not None:
                (sock.close if close else sock.detach)()

    def _wake(self) -> None:
        """Wake the thread; under the lock, so that the socket is not closed meanwhile. Does not block."""
        if self.error is None and self._wake_sender is not None:
            try:
                self._wake_sender.send(b"\0")
            except OSError as exc:  # full: it rings already; closed: that rings as well
                if from_outside(exc):
                    raise

    # --- the owner thread

    def _run(self) -> None:
        if not self._claim.acquire(False):  # it was abandoned before it had begun
            return
        error: HumeClientException = ConnectionLost(
            "internal error in the I/O thread", close_code=CloseCode.ABNORMAL_CLOSURE
        )
        try:
            error = self._loop(self._make_waker())
        except HumeClientException as exc:
            error = clone_error(exc.with_traceback(None))  # tracebacks, and their circles, would keep all of this alive
        except OSError as exc:
            error = ConnectionLost(
                f"the connection was lost: {exc.strerror or type(exc).__name__}", close_code=CloseCode.ABNORMAL_CLOSURE
            )
        finally:  # in any case, no caller may wait for ever
            if code := next((code for kind, code in _CLOSE_CODES if isinstance(error, kind)), None):
                self._send_close_nowait(code.to_bytes(2, "big"))
            self._sock.close()
            with self._lock:
                self.error = _closed() if self._closing and isinstance(error, ConnectionLost) else error
                self._outbox.clear()
                self._outbox_bytes = 0
                self._changed.notify_all()
                self._room.notify_all()
                if self._wake_sender is not None:
                    self._wake_sender.close()
            if self._wake_receiver is not None:
                self._wake_receiver.close()

    def _make_waker(self) -> socket.socket:
        receiver, sender = socket.socketpair()
        receiver.setblocking(False)
        sender.setblocking(False)
        with self._lock:
            self._wake_receiver, self._wake_sender = receiver, sender
        return receiver

    def _loop(self, receiver: socket.socket) -> HumeClientException:
        """Read and write until either side ends it; returns why."""
        poller = waiting_poll()
        rung, sock = receiver.fileno(), self._sock.fileno()
        poller.register(rung, select.POLLIN)
        poller.register(sock, select.POLLIN)
        next_beat = monotonic() + self._beat.interval if self._beat else math.inf
        self._data_received(self._surplus)
        self._surplus = b""
        while not self.stopped:
            now = monotonic()
            if self._beat and now >= next_beat:
                next_beat = now + self._beat.interval
                self._queue_heartbeat(self._beat)
            more = self._write()
            more |= self._read()
            if self._write_waits_for == select.POLLIN:
                more |= self._write()  # what it waits for may just have been read
            if now >= self._close_by:
                break
            if more or self._pending():
                continue
            keepalive_end = self._last_activity + self._beat.timeout if self._beat else math.inf
            if self._beat and now >= keepalive_end:  # judged by when there was nothing left to read
                return ConnectionLost(
                    f"no data from the server for {now - self._last_activity:.1f} s (keepalive timeout)",
                    close_code=CloseCode.ABNORMAL_CLOSURE,
                )
            poller.modify(sock, self._read_waits_for | (self._write_waits_for if self._has_to_write() else 0))
            until = min(
                next_beat,
                self._close_by,
                keepalive_end,
                now + (_MAX_POLL_WHEN_BLOCKED if self._write_blocked else _MAX_POLL),
            )
            if self._write_blocked:
                allow_for_closed_window(self._sock)
            woken = poller.poll(max(0, math.ceil((until - monotonic()) * 1000)))
            # Do not count time during which this process was suspended.
            self._last_activity += max(0.0, monotonic() - until)
            if any(descriptor == rung for descriptor, _ in woken):
                receiver.recv(_CHUNK)
        return _aborted()

    def _queue_heartbeat(self, beat: Heartbeat) -> None:
        frame = FrameWriter().build([beat.message])
        with self._lock:
            if not self._outbox and self._check_open():  # while others wait to be sent they do as well
                self._outbox.append(_QueuedHeartbeat(frame, None))
                self._outbox_bytes += len(frame)

    def _read(self) -> bool:
        """Read what there is, for a while; whether there may be more."""
        for _ in range(_MAX_CALLS_PER_DIRECTION):
            try:
                data = self._sock.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as exc:
                self._read_waits_for = select.POLLOUT if isinstance(exc, ssl.SSLWantWriteError) else select.POLLIN
                return False
            if not data:
                raise ConnectionLost(
                    "the server closed the connection without a close frame", close_code=CloseCode.ABNORMAL_CLOSURE
                )
            self._last_activity = monotonic()
            self._data_received(data)
        return True

    def _data_received(self, data: bytes) -> None:
        messages: list[object] = []
        try:
            event = self._parser.next_event(data)
            while event is not None:
                opcode, payload = event[0], bytes(event[1])
                if opcode == BINARY:
                    messages.append(Message(payload, self._last_activity, is_text=False))
                elif opcode == TEXT:
                    if self._beat is None or not self._beat.is_answer(payload):
                        messages.append(Message(payload, self._last_activity))
                    elif not self._unanswered:
                        self._early_answers += 1
                    elif (note := self._unanswered.popleft()) is not None:
                        messages.append(note)
                elif opcode == PING:
                    self._pong = build_control_frame(PONG, payload)
                elif opcode == CLOSE:
                    end = close_error(payload, self._redact)
                    self._send_close_nowait(payload[:2])
                    raise end
                event = self._parser.next_event()
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
        return self._partial_frame is not None or (waiting and not self._close_sent)

    def _write(self) -> bool:
        """Send what the socket takes, for a while; whether it may take more."""
        for _ in range(_MAX_CALLS_PER_DIRECTION):
            if self._partial_frame is None:
                self._partial_frame = self._next_frame()
                if self._partial_frame is None:
                    return False
            try:
                sent = self._sock.send(self._partial_frame)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError) as exc:
                self._write_waits_for = select.POLLIN if isinstance(exc, ssl.SSLWantReadError) else select.POLLOUT
                self._write_blocked = True
                return False
            except OSError:
                while self._read():  # the peer is gone, but what it said before may be here, its close frame above all
                    pass
                raise
            if self._write_blocked:  # the server has made room: it lives, though it may have nothing to say meanwhile
                self._write_blocked, self._last_activity, self._write_waits_for = False, monotonic(), select.POLLOUT
                allow_for_closed_window(self._sock)
            self._partial_frame = self._partial_frame[sent:] or None
            with self._lock:
                self._outbox_bytes -= sent
                if self._outbox_bytes <= self._outbox_limit:
                    self._room.notify_all()
        return True

    def _next_frame(self) -> memoryview | None:
        if self._close_sent:
            return None
        with self._lock:
            if self._pong is not None:
                frame, self._pong = self._pong, None
            elif self._outbox:
                item = self._outbox.popleft()
                if isinstance(item, _QueuedHeartbeat):
                    self._expect(item.note)
                    item = item.frame
                return memoryview(item)
            elif self._closing:
                frame = build_control_frame(CLOSE, CloseCode.NORMAL_CLOSURE.to_bytes(2, "big"))
                self._close_sent = True
            else:
                return None
            self._outbox_bytes += len(frame)
            return memoryview(frame)

    def _expect(self, note: object) -> None:
        """Record what `receive` returns for the answer to a heartbeat that is being sent."""
        if not self._early_answers:
            self._unanswered.append(note)
        else:
            self._early_answers -= 1
            self._deliver([note] if note is not None else [])

    def _send_close_nowait(self, code: bytes) -> None:
        """Send a close frame if the socket takes it at once and no other frame is half sent."""
        if self._partial_frame is None and not self._close_sent:
            self._close_sent = True
            try:
                self._sock.send(build_control_frame(CLOSE, code))
            except OSError:  # (on the thread, which no signal's handler interrupts)
                pass


def _closed() -> MisuseError:
    return MisuseError("this session is closed")


def _aborted() -> ConnectionLost:
    return ConnectionLost("the session was aborted", close_code=CloseCode.ABNORMAL_CLOSURE)


def _weight(message: object) -> int:
    return _PER_MESSAGE + (len(message.data) if isinstance(message, Message) else 0)
