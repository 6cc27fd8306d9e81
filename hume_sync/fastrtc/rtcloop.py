"""The thread in which a WebRTC connection lives, and the queues between it and the callers.

aiortc works on an asyncio event loop only. Each connection gets a loop of its own, in a thread of its own, which ends
with it. Callers put audio into one queue and take events out of another; the thread waits for neither of them, and no
code of a user's runs on it.
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
    ConnectError,
    ConnectionLost,
    HumeClientException,
    InboxOverflow,
    MisuseError,
    ProtocolError,
    Timeout,
    copy_of,
)
from ..locks import make_lock
from ..net.clock import monotonic
from ..net.condition import TICK, Condition
from ..net.deadline import Deadline
from .events import AudioChunk, Event, json_or_text, to_event
from .link import Spoken
from .rtcaudio import Ear, as_track, both
from .rtcmessages import MessageQueue
from .tidyloop import TidyLoop

__all__ = ["RTCLoop"]

_T = TypeVar("_T")

_FRAMES: Final = 50
"""Frames of audio a second, both ways."""

_QUEUED: Final = 10
"""Seconds of audio that may wait to be sent before `RTCLoop.put` waits."""

_LATE: Final = 0.2
"""Seconds the thread may be late before it lets go of the time that was lost, rather than send it all in a burst."""

_MESSAGE: Final = 100
"""What an event counts beyond its text or samples, in bytes: many small ones are to count as well."""

_GOODBYE: Final = 0.4
"""Seconds for each of the two things that are waited for at the end."""

_LOST: Final = 1006
_ENDED: Final = 1000


class RTCLoop:
    """Runs `thread`, the only one to touch the peer connection. It ends by itself once the connection has.

    Args:
        configuration: aiortc's, for the peer connection.
        input_rate: of the audio to be sent, samples a second.
        output_rate: of the audio in events.
        inbox: bytes of events that may wait to be received.
    """

    def __init__(self, configuration: Any, *, input_rate: int, output_rate: int, inbox: int) -> None:
        self._configuration = configuration
        self._input_rate = input_rate
        self._output_rate = output_rate
        self._inbox_limit = inbox
        self.thread = threading.Thread(target=self._run, name="hume_sync webrtc", daemon=True)
        self._claim = (
            threading.Lock()
        )  # taken once and kept: by the thread, or by whoever makes sure that it never runs
        self._told: HumeClientException | None = None  # what it was told to end with
        self._reached: TidyLoop | None = None  # the thread's loop, once it can be told anything
        # The thread's alone:
        self._peer: Any = None
        self._stop = asyncio.Event()
        self._why: HumeClientException | None = None
        self._loop: TidyLoop  # made there, where no signal's handler interrupts it half-way
        self._calls: set[asyncio.Task[Any]] = set()
        self._listeners: set[asyncio.Task[None]] = set()
        self._sent = 0  # samples
        self._due = -math.inf  # when the next frame is to be sent, on the loop's clock
        # Between the callers and the thread. The lock guards all below, and nobody holds it for longer than it takes to
        # move a few bytes. It is reentrant: a signal's handler may use the session that its own thread is just using.
        self._lock = make_lock()
        self._changed = Condition(self._lock)
        self._inbox: deque[tuple[AudioChunk | Spoken | str | bytes, int]] = (
            deque()
        )  # messages are read by who receives them
        self._inbox_bytes = 0
        self._speech = bytearray()
        self._spoken = 0  # bytes that were taken out of it
        self._marks: deque[tuple[int, Spoken]] = deque()  # and after how many of them each is received
        self._messages = MessageQueue()
        self._open = False
        self.ended: HumeClientException | None = None

    # --- the callers' side

    def start(self) -> None:
        """Start the thread; `abandon` ends it where that is interrupted, too."""
        self.thread.start()

    def abandon(self) -> None:
        """End it at once, whether its thread has begun or not: nothing stays open. Idempotent."""
        self.stop()
        self._claim.acquire(False)  # where the thread has not begun, it never will

    @property
    def stopped(self) -> bool:
        """Whether it was told to end."""
        return self._told is not None

    def offer(self, deadline: Deadline) -> str:
        """Make the peer connection, and the SDP with which it is offered; raises whatever aiortc does, and Timeout."""
        return self._call(self._offer, deadline)

    def accept(self, sdp: str, deadline: Deadline) -> None:
        """Take the server's answer; raises ProtocolError where aiortc cannot use it, and Timeout."""
        self._call(lambda: self._accept(sdp), deadline)

    def await_open(self, deadline: Deadline) -> None:
        """Wait until the data channel is open; raises Timeout, or what has ended the connection."""

        def is_open() -> bool | None:
            if not self._open and self.ended is not None:
                raise copy_of(self.ended)
            return self._open or None

        if not self._changed.wait_for(is_open, deadline):
            raise _too_late()

    def _call(self, work: Callable[[], Coroutine[Any, Any, _T]], deadline: Deadline) -> _T:
        """Have the thread do something, and wait for it; raises what it raises, Timeout, or what has ended the thread.

        (Futures between threads would be waited for in vain, were the loop to end before it sees them.)
        """
        done: list[asyncio.Task[_T]] = []
        asked: list[bool] = []

        def begin() -> None:
            if self._stop.is_set():  # nothing would end it any more
                return
            task = self._loop.create_task(work())
            self._calls.add(task)  # the loop itself would let it be forgotten
            task.add_done_callback(finish)

        def finish(task: asyncio.Task[_T]) -> None:
            if task.cancelled() or self._stop.is_set():  # it is what the end has made of it
                self._end(_stopped())
                return
            with self._lock:
                done.append(task)
                self._changed.notify_all()

        def finished() -> asyncio.Task[_T] | None:
            if self.ended is not None:
                raise copy_of(self.ended)
            if self._reached is not None and not asked:
                asked.append(True)
                self._soon(begin)
            return done[0] if done else None

        task = self._changed.wait_for(finished, deadline)
        if task is None:
            raise _too_late()
        return task.result()

    def put(self, samples: bytes, deadline: Deadline) -> None:
        """Queue audio, as room comes; see `Link.send_audio`."""
        rest = memoryview(samples)
        limit = 2 * _QUEUED * self._input_rate

        def queue() -> int | None:
            if self.ended is not None:
                raise copy_of(self.ended)
            room = limit - len(self._speech)
            if room <= 0:
                return None
            self._speech += rest[:room]
            return room

        while rest:
            room = self._changed.wait_for(queue, deadline)
            if room is None:
                raise Timeout("no time left waiting for audio sent before to be spoken", phase="send")
            rest = rest[room:]

    def send(self, message: str | bytes, deadline: Deadline) -> None:
        """Queue a message for the data channel; see `Link.send`."""
        size = self._messages.size(message)

        def queue() -> bool | None:
            if self.ended is not None:
                raise copy_of(self.ended)
            if not self._messages.has_room:
                return None
            self._soon(self._flush)
            self._messages.put(message, size)
            return True

        if not self._changed.wait_for(queue, deadline):
            raise Timeout("no time left waiting for the server to take what was sent before", phase="send")

    def mark(self, place: Spoken, *, before: int = 0) -> None:
        """Have `get` give this once what is queued has been spoken, but for so many bytes; see `Link.mark`."""
        with self._lock:
            if self.ended is not None:
                raise copy_of(self.ended)
            self._marks.append((self._spoken + len(self._speech) - before, place))
            self._pass_marks()

    def _pass_marks(self) -> None:
        while self._marks and self._marks[0][0] <= self._spoken:
            self._inbox.append((self._marks.popleft()[1], 0))
            self._changed.notify_all()

    @property
    def backlog(self) -> float:
        """Seconds of audio that are queued."""
        return len(self._speech) / 2 / self._input_rate

    def get(self, deadline: Deadline) -> Event | Spoken | None:
        """Take the next event; see `Link.receive`."""

        def take() -> AudioChunk | Spoken | str | bytes | None:
            if self._inbox:
                self._inbox_bytes -= self._inbox[0][1]
                return self._inbox.popleft()[0]
            if self.ended is not None:
                raise copy_of(self.ended)
            return None

        came: Any = self._changed.wait_for(take, deadline)
        if came is None:
            return None
        return came if isinstance(came, AudioChunk | Spoken) else _to_event(came)

    def close(self, timeout: float) -> None:
        """End the connection, and wait for the thread to end."""
        self._tell(MisuseError("this session is closed"))
        deadline = Deadline(timeout)
        while self.thread.is_alive() and (left := deadline.remaining()):
            self.thread.join(min(left, TICK))

    def stop(self) -> None:
        """End it at once, from any thread or finaliser: no lock is taken, and nothing waited for."""
        self._tell(_stopped())

    def abort(self) -> None:
        """See `Pending`."""
        self.stop()

    def release(self) -> None:
        """See `Pending`: the thread gives everything back."""
        self.abandon()

    def _tell(self, why: HumeClientException) -> None:
        self._told = self._told or why
        self._soon(self._heed)

    def _soon(self, call: Callable[[], object]) -> None:
        """Have the thread call something, unless it has ended, or not begun."""
        if self._reached is None:
            return
        try:
            self._reached.call_soon_threadsafe(call)
        except RuntimeError:
            if not self._reached.is_closed():
                raise

    # --- the thread

    def _run(self) -> None:
        if not self._claim.acquire(False):  # it was abandoned before it had begun
            return
        try:
            with asyncio.Runner(loop_factory=TidyLoop) as runner:
                try:
                    runner.run(self._live())
                finally:
                    self._over()
        except OSError as exc:
            if self._reached is not None:
                raise
            self._why = ConnectError(f"no connection: {exc.strerror or exc}", phase="connect")  # too many open files
        finally:  # whatever it was, nobody is to wait for ever
            self._over()

    def _over(self) -> None:
        with self._lock:
            self.ended = self.ended or self._why or ConnectionLost("the session failed", close_code=_LOST)
            self._speech.clear()
            self._changed.notify_all()

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, TidyLoop)
        self._loop = loop
        with self._lock:
            self._reached = loop
            self._changed.notify_all()
        self._heed()  # it may have been told before it could be reached
        await self._stop.wait()
        if self._peer is not None:
            with contextlib.suppress(Exception):  # what it leaves open is closed below
                async with asyncio.timeout(_GOODBYE):
                    await self._peer.close()
        if self._listeners and self._open:  # what has come is received before the end
            await asyncio.wait(self._listeners, timeout=_GOODBYE)
        await self._loop.let_go()

    def _heed(self) -> None:
        if self._told is not None:
            self._end(self._told)

    def _end(self, why: HumeClientException) -> None:
        if self._why is None:
            self._why = why
        self._stop.set()

    async def _offer(self) -> str:
        from aiortc import RTCPeerConnection  # noqa: PLC0415 - an extra

        self._peer = peer = RTCPeerConnection(self._configuration)
        channel = peer.createDataChannel("text")  # servers wait for one of the client's making
        self._messages.attach(channel)
        channel.on("open", self._on_open)
        channel.on("bufferedamountlow", self._on_room)
        channel.on("message", lambda message: self._take_in(message, sys.getsizeof(message)))
        channel.on("close", self._on_end)
        peer.on("connectionstatechange", self._on_state)
        peer.on("track", self._on_track)
        peer.addTransceiver(as_track(self._next_frame), direction="sendrecv")
        await peer.setLocalDescription(await peer.createOffer())
        sdp: str = peer.localDescription.sdp
        return sdp

    async def _accept(self, sdp: str) -> None:
        from aiortc import RTCSessionDescription  # noqa: PLC0415 - an extra

        self._messages.heed(sdp)
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        except Exception as exc:  # aiortc takes text apart without a fuss: AttributeError, IndexError, ...
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
            self._changed.notify_all()  # there may be room, of which the data channel does not tell

    def _on_state(self) -> None:
        if self._peer.connectionState in {"failed", "closed"}:
            self._on_end()

    def _on_end(self) -> None:
        """The first of what tells of an end: while it does, the transports are still as the end has found them."""
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
            self._end(ConnectionLost("the connection was lost: the server is heard no more", close_code=_LOST))
        else:
            self._end(ConnectionLost("the server ended the session", close_code=_ENDED))

    def _on_track(self, track: Any) -> None:
        if track.kind == "audio":
            listener = self._loop.create_task(self._listen(track))
            listener.add_done_callback(self._on_heard)
            self._listeners.add(listener)

    def _on_heard(self, listener: asyncio.Task[None]) -> None:
        if not listener.cancelled() and (error := listener.exception()) is not None:
            self._end(ProtocolError(f"the server's audio cannot be read ({type(error).__name__})"))

    async def _listen(self, track: Any) -> None:
        """Take in what the track carries, until it ends. (Connections go on without it.)"""
        from aiortc.mediastreams import MediaStreamError  # noqa: PLC0415 - an extra
        from av import AudioResampler  # noqa: PLC0415 - likewise

        resampler = AudioResampler(format="s16", layout="mono", rate=self._output_rate)
        ear = Ear(self._output_rate)
        try:
            while True:
                received = await track.recv()
                now = monotonic()
                delayed = ear.is_delayed(now)
                for frame in resampler.resample(received):
                    samples = bytes(frame.planes[0])[: 2 * frame.samples]
                    if ear.is_worth_hearing(samples):
                        chunk = AudioChunk(samples, self._output_rate, delayed, arrived=now, media_time=frame.time)
                        self._take_in(chunk, len(samples))
        except MediaStreamError:
            pass

    def _take_in(self, came: AudioChunk | str | bytes, size: int) -> None:
        if isinstance(self._why, InboxOverflow):  # behind a gap nothing is to come
            return
        with self._lock:
            self._inbox.append((came, size + _MESSAGE))
            self._inbox_bytes += size + _MESSAGE
            overflow = self._inbox_bytes > self._inbox_limit
            self._changed.notify_all()
        if overflow:
            self._end(InboxOverflow(f"more than {self._inbox_limit} bytes of events wait to be received"))

    async def _next_frame(self) -> Any:
        """The next frame to be sent, when it is due: of what is queued, filled up with silence."""
        from av import AudioFrame  # noqa: PLC0415 - an extra

        count = self._input_rate // _FRAMES
        now = self._loop.time()
        if now - self._due > _LATE:
            self._due = now
        await asyncio.sleep(self._due - now)
        self._due += count / self._input_rate
        frame = AudioFrame(format="s16", layout="stereo", samples=count)
        frame.planes[0].update(both(self._take_out(2 * count)))
        frame.sample_rate = self._input_rate
        frame.time_base = Fraction(1, self._input_rate)
        frame.pts = self._sent
        self._sent += count
        return frame

    def _take_out(self, size: int) -> bytes:
        with self._lock:
            taken = bytes(self._speech[:size])
            if taken:
                del self._speech[:size]
                self._spoken += len(taken)
                self._pass_marks()
                self._changed.notify_all()
        return taken.ljust(size, b"\0")


def _to_event(message: str | bytes) -> Event:
    return to_event(json_or_text(message) if isinstance(message, str) else message)


def _stopped() -> ConnectionLost:
    return ConnectionLost("the session was ended", close_code=_LOST)


def _too_late() -> Timeout:
    return Timeout("no time left while the connection was being made", phase="connect")
