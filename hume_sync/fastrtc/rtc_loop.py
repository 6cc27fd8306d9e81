"""The event-loop thread of a WebRTC connection, and the queues between it and the callers.

aiortc needs an asyncio event loop. Each connection has a loop in a thread of its own, which ends with it. Callers put
audio into one queue and take events out of another; the thread never waits for callers and runs no code of theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from fractions import Fraction
from typing import Any, Final, TypeVar

from ..errors import (
    CloseCode,
    ConnectError,
    ConnectionLost,
    HumeClientException,
    InboxOverflow,
    MisuseError,
    ProtocolError,
    Timeout,
    clone_error,
)
from ..locks import make_lock
from ..net.clock import monotonic
from ..net.condition import MAX_WAIT, Condition
from ..net.deadline import Deadline
from .events import AudioChunk, Event, json_or_text, to_event
from .rtc_media import IsolatedEventLoop, MessageQueue, TrackFilter, make_track, to_stereo
from .transport import Mark

__all__ = ["WebRTCLoop"]

_T = TypeVar("_T")

_FRAME_RATE: Final = 50
"""Frames of audio a second, both ways."""

_MAX_QUEUED: Final = 10
"""Seconds of audio that may be queued before `WebRTCLoop.send_audio` waits."""

_MAX_LATENESS: Final = 0.2
"""Seconds that the thread may be late. If it is later, the lost time is skipped, not sent in a burst."""

_EVENT_OVERHEAD: Final = 100
"""Bytes that an event counts in addition to its text or samples, so that many small ones are limited as well."""

_CLOSE_TIMEOUT: Final = 0.4
"""Seconds for each of the two waits when closing."""


class WebRTCLoop:
    """Runs the thread that alone uses the peer connection. The thread ends by itself once the connection has ended.

    Args:
        configuration: aiortc's configuration of the peer connection.
        input_rate: The rate of the audio to send, in Hz.
        output_rate: The rate of the audio in events, in Hz.
        inbox: Bytes of events that may wait to be received.

    Attributes:
        thread: The thread.
        error: What ended the connection; None while it is open.
    """

    def __init__(self, configuration: Any, *, input_rate: int, output_rate: int, inbox: int) -> None:
        self._configuration = configuration
        self._input_rate = input_rate
        self._output_rate = output_rate
        self._inbox_limit = inbox
        self.thread = threading.Thread(target=self._run, name="hume_sync webrtc", daemon=True)
        # Acquired once and kept: by the thread, or by `abandon`, after which the thread never runs.
        self._claim = threading.Lock()
        self._stop_error: HumeClientException | None = None  # the error to end with; set by a caller
        self._running_loop: IsolatedEventLoop | None = None  # the thread's loop, once it accepts calls
        # Only used by the thread:
        self._peer: Any = None
        self._stop = asyncio.Event()
        self._end_error: HumeClientException | None = None
        self._loop: IsolatedEventLoop  # made in the thread, where no signal handler interrupts that
        self._calls: set[asyncio.Task[Any]] = set()
        self._listeners: set[asyncio.Task[None]] = set()
        self._samples_sent = 0
        self._next_frame_at = -math.inf  # on the loop's clock
        # Shared by the callers and the thread. The lock guards all fields below, and is held only to move a few bytes.
        # It is reentrant, since a signal handler may use the session that its thread is using.
        self._lock = make_lock()
        self._changed = Condition(self._lock)
        self._inbox: deque[tuple[AudioChunk | Mark | str | bytes, int]] = deque()  # receivers parse messages
        self._inbox_bytes = 0
        self._send_buffer = bytearray()
        self._bytes_sent = 0  # taken out of the buffer
        self._marks: deque[tuple[int, Mark]] = deque()  # each with the value of _bytes_sent at which it is received
        self._messages = MessageQueue()
        self._open = False
        self.error: HumeClientException | None = None

    # Called by callers:

    def start(self) -> None:
        """Start the thread. If that is interrupted, `abandon` ends it."""
        self.thread.start()

    def abandon(self) -> None:
        """End the thread at once, whether it has begun or not, and leave nothing open. Idempotent."""
        self.stop()
        self._claim.acquire(False)  # if the thread has not begun, it never will

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stop_error is not None

    def offer(self, deadline: Deadline) -> str:
        """Create the peer connection, and return its SDP; raise Timeout, or what aiortc raises."""
        return self._call(self._offer, deadline)

    def accept(self, sdp: str, deadline: Deadline) -> None:
        """Use the server's answer; raise ProtocolError if aiortc cannot use it, and Timeout."""
        self._call(lambda: self._accept(sdp), deadline)

    def wait_open(self, deadline: Deadline) -> None:
        """Wait until the data channel is open; raise Timeout, or the error that ended the connection."""

        def is_open() -> bool | None:
            if not self._open and self.error is not None:
                raise clone_error(self.error)
            return self._open or None

        if not self._changed.wait_for(is_open, deadline):
            raise _connect_timeout()

    def _call(self, work: Callable[[], Coroutine[Any, Any, _T]], deadline: Deadline) -> _T:
        """Run a coroutine in the thread, and wait for it; raise what it raises, Timeout, or what ended the thread.

        (A concurrent future would never complete if the loop ended before it sees the call.)
        """
        done: list[asyncio.Task[_T]] = []
        asked: list[bool] = []

        def begin() -> None:
            if self._stop.is_set():  # no code would end it
                return
            task = self._loop.create_task(work())
            self._calls.add(task)  # the loop keeps only a weak reference
            task.add_done_callback(finish)

        def finish(task: asyncio.Task[_T]) -> None:
            if task.cancelled() or self._stop.is_set():  # its result is a consequence of the end
                self._end(_stopped_error())
                return
            with self._lock:
                done.append(task)
                self._changed.notify_all()

        def finished() -> asyncio.Task[_T] | None:
            if self.error is not None:
                raise clone_error(self.error)
            if self._running_loop is not None and not asked:
                asked.append(True)
                self._call_soon(begin)
            return done[0] if done else None

        task = self._changed.wait_for(finished, deadline)
        if task is None:
            raise _connect_timeout()
        return task.result()

    def send_audio(self, samples: bytes, deadline: Deadline) -> None:
        """Queue audio, waiting for room, as `Transport.send_audio` says."""
        rest = memoryview(samples)
        limit = 2 * _MAX_QUEUED * self._input_rate

        def queue() -> int | None:
            if self.error is not None:
                raise clone_error(self.error)
            room = limit - len(self._send_buffer)
            if room <= 0:
                return None
            self._send_buffer += rest[:room]
            return room

        while rest:
            room = self._changed.wait_for(queue, deadline)
            if room is None:
                raise Timeout("timed out waiting for earlier audio to be sent", phase="send")
            rest = rest[room:]

    def send(self, message: str | bytes, deadline: Deadline) -> None:
        """Queue a message for the data channel, waiting for room, as `Transport.send` says."""
        size = self._messages.size(message)

        def queue() -> bool | None:
            if self.error is not None:
                raise clone_error(self.error)
            if not self._messages.has_room:
                return None
            self._call_soon(self._flush)
            self._messages.put(message, size)
            return True

        if not self._changed.wait_for(queue, deadline):
            raise Timeout("timed out waiting for the server to take earlier messages", phase="send")

    def send_mark(self, mark: Mark, *, before: int = 0) -> None:
        """Have `recv` return this mark once the queued audio has been sent, except for ``before`` bytes."""
        with self._lock:
            if self.error is not None:
                raise clone_error(self.error)
            self._marks.append((self._bytes_sent + len(self._send_buffer) - before, mark))
            self._deliver_marks()

    def _deliver_marks(self) -> None:
        while self._marks and self._marks[0][0] <= self._bytes_sent:
            self._inbox.append((self._marks.popleft()[1], 0))
            self._changed.notify_all()

    @property
    def queued_seconds(self) -> float:
        """Seconds of audio that are queued and not sent yet."""
        return len(self._send_buffer) / 2 / self._input_rate

    def recv(self, deadline: Deadline) -> Event | Mark | None:
        """Return the next event or mark, as `Transport.receive` says."""

        def take() -> AudioChunk | Mark | str | bytes | None:
            if self._inbox:
                self._inbox_bytes -= self._inbox[0][1]
                return self._inbox.popleft()[0]
            if self.error is not None:
                raise clone_error(self.error)
            return None

        item: Any = self._changed.wait_for(take, deadline)
        if item is None:
            return None
        return item if isinstance(item, AudioChunk | Mark) else _to_event(item)

    def close(self, timeout: float) -> None:
        """End the connection, and wait for the thread to end."""
        self._end_soon(MisuseError("this session is closed"))
        deadline = Deadline(timeout)
        while self.thread.is_alive() and (left := deadline.remaining()):
            self.thread.join(min(left, MAX_WAIT))

    def stop(self) -> None:
        """End the connection at once. For any thread or finalizer: it takes no lock, and does not wait."""
        self._end_soon(_stopped_error())

    def abort(self) -> None:
        """End the connection at once, as `Pending` says."""
        self.stop()

    def release(self) -> None:
        """End the connection at once; the thread closes everything."""
        self.abandon()

    def _end_soon(self, error: HumeClientException) -> None:
        self._stop_error = self._stop_error or error
        self._call_soon(self._check_stop)

    def _call_soon(self, call: Callable[[], object]) -> None:
        """Call a function in the thread, unless that has ended, or not begun."""
        if self._running_loop is None:
            return
        try:
            self._running_loop.call_soon_threadsafe(call)
        except RuntimeError:
            if not self._running_loop.is_closed():
                raise

    # Called in the thread:

    def _run(self) -> None:
        if not self._claim.acquire(False):  # `abandon` was called first
            return
        try:
            with asyncio.Runner(loop_factory=IsolatedEventLoop) as runner:
                try:
                    runner.run(self._main())
                finally:
                    self._set_error()
        except OSError as exc:
            if self._running_loop is not None:
                raise
            self._end_error = ConnectError(
                f"no connection: {exc.strerror or exc}", phase="connect"
            )  # too many open files
        finally:  # after any error, so that no caller waits for ever
            self._set_error()

    def _set_error(self) -> None:
        with self._lock:
            self.error = (
                self.error
                or self._end_error
                or ConnectionLost("internal error in the I/O thread", close_code=CloseCode.ABNORMAL_CLOSURE)
            )
            self._send_buffer.clear()
            self._changed.notify_all()

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, IsolatedEventLoop)
        self._loop = loop
        with self._lock:
            self._running_loop = loop
            self._changed.notify_all()
        self._check_stop()  # `stop` may have been called before the loop accepted calls
        await self._stop.wait()
        if self._peer is not None:
            with contextlib.suppress(Exception):  # what it leaves open is closed below
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await self._peer.close()
        if self._listeners and self._open:  # what has come is received before the error
            await asyncio.wait(self._listeners, timeout=_CLOSE_TIMEOUT)
        await self._loop.cancel_all()

    def _check_stop(self) -> None:
        if self._stop_error is not None:
            self._end(self._stop_error)

    def _end(self, error: HumeClientException) -> None:
        if self._end_error is None:
            self._end_error = error
        self._stop.set()

    async def _offer(self) -> str:
        from aiortc import RTCPeerConnection  # noqa: PLC0415 - an extra

        self._peer = peer = RTCPeerConnection(self._configuration)
        channel = peer.createDataChannel("text")  # servers wait for the client to create one
        self._messages.attach(channel)
        channel.on("open", self._on_open)
        channel.on("bufferedamountlow", self._on_room)
        channel.on("message", lambda message: self._enqueue(message, sys.getsizeof(message)))
        channel.on("close", self._on_end)
        peer.on("connectionstatechange", self._on_state)
        peer.on("track", self._on_track)
        peer.addTransceiver(make_track(self._next_frame), direction="sendrecv")
        await peer.setLocalDescription(await peer.createOffer())
        sdp: str = peer.localDescription.sdp
        return sdp

    async def _accept(self, sdp: str) -> None:
        from aiortc import RTCSessionDescription  # noqa: PLC0415 - an extra

        self._messages.set_max_size(sdp)
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        except Exception as exc:  # aiortc does not check: AttributeError, IndexError, ...
            raise ProtocolError("the server's answer holds no SDP that can be used", phase="connect") from exc

    def _on_open(self) -> None:
        with self._lock:
            self._open = True
            self._changed.notify_all()

    def _on_room(self) -> None:
        with self._lock:
            self._changed.notify_all()

    def _flush(self) -> None:
        with self._lock:
            self._messages.flush()
            self._changed.notify_all()  # there may be room, which the data channel does not report

    def _on_state(self) -> None:
        if self._peer.connectionState in {"failed", "closed"}:
            self._on_end()

    def _on_end(self) -> None:
        """Record why the connection ended. At the first call the transports still have the state of the end."""
        ice = self._peer.sctp.transport.transport.state
        if not self._open and ice == "completed":
            self._end(
                ConnectError(
                    "no connection: the server was reached, but hung up, or encryption failed", phase="connect"
                )
            )
        elif not self._open:
            self._end(ConnectError("no connection: none of the server's addresses can be reached", phase="connect"))
        elif "failed" in {ice, self._peer.connectionState}:
            self._end(
                ConnectionLost(
                    "the connection was lost: the server no longer responds", close_code=CloseCode.ABNORMAL_CLOSURE
                )
            )
        else:
            self._end(ConnectionLost("the server ended the session", close_code=CloseCode.NORMAL_CLOSURE))

    def _on_track(self, track: Any) -> None:
        if track.kind == "audio":
            listener = self._loop.create_task(self._listen(track))
            listener.add_done_callback(self._on_listener_done)
            self._listeners.add(listener)

    def _on_listener_done(self, listener: asyncio.Task[None]) -> None:
        if not listener.cancelled() and (error := listener.exception()) is not None:
            self._end(ProtocolError(f"the server's audio cannot be read ({type(error).__name__})"))

    async def _listen(self, track: Any) -> None:
        """Receive the audio of a track until it ends. (Connections continue without it.)"""
        from aiortc.mediastreams import MediaStreamError  # noqa: PLC0415 - an extra
        from av import AudioResampler  # noqa: PLC0415 - likewise

        resampler = AudioResampler(format="s16", layout="mono", rate=self._output_rate)
        track_filter = TrackFilter(self._output_rate)
        try:
            while True:
                received = await track.recv()
                now = monotonic()
                delayed = track_filter.is_delayed(now)
                for frame in resampler.resample(received):
                    samples = bytes(frame.planes[0])[: 2 * frame.samples]
                    if track_filter.should_keep(samples):
                        chunk = AudioChunk(samples, self._output_rate, delayed, arrived=now, media_time=frame.time)
                        self._enqueue(chunk, len(samples))
        except MediaStreamError:
            pass

    def _enqueue(self, item: AudioChunk | str | bytes, size: int) -> None:
        if isinstance(self._end_error, InboxOverflow):  # after a lost event none may follow
            return
        with self._lock:
            self._inbox.append((item, size + _EVENT_OVERHEAD))
            self._inbox_bytes += size + _EVENT_OVERHEAD
            overflow = self._inbox_bytes > self._inbox_limit
            self._changed.notify_all()
        if overflow:
            self._end(InboxOverflow(f"more than {self._inbox_limit} bytes of events wait to be received"))

    async def _next_frame(self) -> Any:
        """Return the next frame when it is due: queued audio, filled up with silence."""
        from av import AudioFrame  # noqa: PLC0415 - an extra

        count = self._input_rate // _FRAME_RATE
        now = self._loop.time()
        if now - self._next_frame_at > _MAX_LATENESS:
            self._next_frame_at = now
        await asyncio.sleep(self._next_frame_at - now)
        self._next_frame_at += count / self._input_rate
        frame = AudioFrame(format="s16", layout="stereo", samples=count)
        frame.planes[0].update(to_stereo(self._dequeue(2 * count)))
        frame.sample_rate = self._input_rate
        frame.time_base = Fraction(1, self._input_rate)
        frame.pts = self._samples_sent
        self._samples_sent += count
        return frame

    def _dequeue(self, size: int) -> bytes:
        with self._lock:
            taken = bytes(self._send_buffer[:size])
            if taken:
                del self._send_buffer[:size]
                self._bytes_sent += len(taken)
                self._deliver_marks()
                self._changed.notify_all()
        return taken.ljust(size, b"\0")


def _to_event(message: str | bytes) -> Event:
    return to_event(json_or_text(message) if isinstance(message, str) else message)


def _stopped_error() -> ConnectionLost:
    return ConnectionLost("the session was aborted", close_code=CloseCode.ABNORMAL_CLOSURE)


def _connect_timeout() -> Timeout:
    return Timeout("timed out while connecting", phase="connect")
