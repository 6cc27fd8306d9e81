"""A light look-alike of a FastRTC server's WebRTC side, for tests of clients: an aiortc peer in a thread of its own.

It does as real ones were seen to do: answers what comes on the data channel with a log, sends no audio while it has
none, and puts the handler's on a track that it adds on seeing the client's. There is no HTTP in it: `RTCFake.offer` is
the function that a client is given to post its offer with.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import attrs

from hume_sync.fastrtc.app_http import Response

FRAME = 960
"""Samples of 20 ms, at the 48000 a second of everything here."""

WEBRTC_STRING = 51
"""What SCTP calls text."""


def tone(seconds: float, rate: int, hertz: float = 440, amplitude: float = 8000) -> bytes:
    """s16le, mono."""
    turn = 2 * math.pi * hertz / rate
    return b"".join(struct.pack("<h", round(amplitude * math.sin(turn * n))) for n in range(round(seconds * rate)))


def loudness(samples: bytes) -> float:
    """The root of the mean square."""
    values = struct.unpack(f"<{len(samples) // 2}h", samples)
    return math.sqrt(sum(value * value for value in values) / max(1, len(values)))


def hertz(samples: bytes, rate: int) -> float:
    """Of a tone: how often it goes up through zero."""
    values = struct.unpack(f"<{len(samples) // 2}h", samples)
    return float(sum(a < 0 <= b for a, b in itertools.pairwise(values)) * rate / len(values))


def voiced(samples: bytes) -> bytes:
    """Without the silence before and behind, and the edges of the tone between."""
    values = struct.unpack(f"<{len(samples) // 2}h", samples)
    loud = [place for place, value in enumerate(values) if abs(value) > 1000]
    return samples[2 * loud[0] + 2000 : 2 * loud[-1] - 2000] if loud else b""


@attrs.define
class Guest:
    """A connection, as the server sees it."""

    peer: Any
    voice: asyncio.Queue[Any] = attrs.field(factory=asyncio.Queue)
    channel: Any = None
    played: int = 0
    """Samples, in frames of its own."""


class RTCFake:
    """Serves as long as its ``with`` block lasts.

    Args:
        edit: makes another answer of the one that would be given: (status, body) of it.
        greeting: messages to each client whose data channel opens.
        echoes: whether the handler returns what it receives, frame by frame.
    """

    def __init__(
        self,
        *,
        edit: Callable[[dict[str, Any]], tuple[int, Any]] | None = None,
        greeting: tuple[str | bytes, ...] = (),
        echoes: bool = False,
    ) -> None:
        self.edit = edit
        self.greeting = greeting
        self.echoes = echoes
        self.offers: list[Mapping[str, Any]] = []
        self.offering_threads: list[threading.Thread] = []
        self.heard = bytearray()
        """What clients have said, s16le, mono, 48000 a second; leading silence is left out."""
        self.closed = 0
        """Connections that have ended."""
        self.reported: list[str | bytes] = []
        """Messages of clients."""
        self._changed = threading.Condition()
        # of the loop's thread alone:
        self._guests: list[Guest] = []
        self._listeners: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="rtcfake")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.hang_up()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            self._loop = runner.get_loop()
            self._loop.set_exception_handler(lambda *_: None)  # what fails here because of a client is not looked at
            self._loop.run_forever()

    # --- from the test's thread -------------------------------------------------------------------------------

    def offer(self, body: dict[str, Any], _deadline: object) -> Response:
        """Response an offer."""
        self.offers.append(body)
        self.offering_threads.append(threading.current_thread())
        answer = self._do(lambda: self._answer(body))
        status, answer = self.edit(answer) if self.edit else (200, answer)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return Response(status, text, json=None if answer is text else answer, error_excerpt=text)

    def wait(self, until: Callable[[], object], timeout: float = 10.0) -> None:
        """Until what clients do has come so far."""
        with self._changed:
            assert self._changed.wait_for(until, timeout), "the client did not do it in time"

    def say(self, *messages: str | bytes) -> None:
        """Send messages to every client."""

        async def say() -> None:
            for guest in self._guests:
                for message in messages:
                    guest.channel.send(message)

        self._do(say)

    def say_badly(self, data: bytes) -> None:
        """Send these bytes to every client as if they were text."""

        async def say_badly() -> None:
            for guest in self._guests:
                transport = guest.channel.transport
                await transport._send(guest.channel.id, WEBRTC_STRING, data)

        self._do(say_badly)

    @contextlib.contextmanager
    def talking(self) -> Iterator[None]:
        """Meanwhile it says the same to every client, as fast as it goes without storing it up."""
        over = threading.Event()

        async def talk() -> None:
            while not over.is_set():
                for guest in self._guests:
                    if guest.channel.readyState == "open" and guest.channel.bufferedAmount < 100_000:
                        guest.channel.send("x" * 1000)
                await asyncio.sleep(0)

        talks = asyncio.run_coroutine_threadsafe(talk(), self._loop)
        try:
            yield
        finally:
            over.set()
            talks.result(10)

    def play(self, samples: bytes) -> None:
        """Let the handler yield audio (s16le, mono, 48000 a second), at once, in whole frames."""

        async def play() -> None:
            for guest in self._guests:
                for start in range(0, len(samples), 2 * FRAME):
                    self._queue(guest, samples[start : start + 2 * FRAME])

        self._do(play)

    def skip(self, seconds: float) -> None:
        """Let the time of the audio go on by so much, which is not played. (FastRTC itself does not count a pause.)"""

        async def skip() -> None:
            for guest in self._guests:
                guest.played += round(seconds * 48000)

        self._do(skip)

    def hang_up(self) -> None:
        """Close every connection, as a ``time_limit`` does."""

        async def hang_up() -> None:
            for guest in self._guests:
                await guest.peer.close()
            self._guests.clear()

        self._do(hang_up)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile it does nothing at all, as one that was cut off."""
        over = threading.Event()
        self._loop.call_soon_threadsafe(over.wait)
        try:
            yield
        finally:
            over.set()

    def close_channels(self) -> None:
        """Close the data channels, and nothing else."""

        async def close() -> None:
            for guest in self._guests:
                guest.channel.close()

        self._do(close)

    def _do(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)

    # --- in the loop's thread ---------------------------------------------------------------------------------

    async def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        guest = Guest(peer)
        self._guests.append(guest)

        def take_track(track: Any) -> None:
            peer.addTrack(_as_track(guest.voice))
            self._listeners.add(self._loop.create_task(self._listen(guest, track)))

        def take_channel(channel: Any) -> None:
            guest.channel = channel
            channel.on("message", lambda message: self._answer_message(channel, message))
            for message in self.greeting:
                channel.send(message)

        def note_state() -> None:
            if peer.connectionState == "closed":
                with self._changed:
                    self.closed += 1
                    self._changed.notify_all()

        peer.on("track", take_track)
        peer.on("datachannel", take_channel)
        peer.on("connectionstatechange", note_state)
        await peer.setRemoteDescription(RTCSessionDescription(body["sdp"], body["type"]))
        await peer.setLocalDescription(await peer.createAnswer())
        return {"sdp": peer.localDescription.sdp, "type": "answer"}

    def _answer_message(self, channel: Any, message: str | bytes) -> None:
        with self._changed:
            self.reported.append(message)
            self._changed.notify_all()
        text = str(message) if len(message) < 1000 else f"{len(message)} of something"
        channel.send(log(f"Server received: {text}"))

    async def _listen(self, guest: Guest, track: Any) -> None:
        from aiortc.mediastreams import MediaStreamError
        from av import AudioResampler

        resampler = AudioResampler(format="s16", layout="mono", rate=48000)
        try:
            while True:
                for frame in resampler.resample(await track.recv()):
                    samples = bytes(frame.planes[0])[: 2 * frame.samples]
                    with self._changed:
                        if self.heard or any(samples):
                            self.heard += samples
                            self._changed.notify_all()
                    if self.echoes:
                        self._queue(guest, samples)
        except MediaStreamError:
            pass

    def _queue(self, guest: Guest, samples: bytes) -> None:
        from av import AudioFrame

        frame = AudioFrame(format="s16", layout="stereo", samples=len(samples) // 2)
        frame.planes[0].update(b"".join(2 * samples[n : n + 2] for n in range(0, len(samples), 2)))
        frame.sample_rate, frame.time_base, frame.pts = 48000, Fraction(1, 48000), guest.played
        guest.played += len(samples) // 2
        guest.voice.put_nowait(frame)


def log(text: str) -> str:
    """As FastRTC puts it."""
    return json.dumps({"type": "log", "data": text})


def _as_track(frames: asyncio.Queue[Any]) -> Any:
    from aiortc import MediaStreamTrack

    base: Any = MediaStreamTrack

    class Track(base):  # type: ignore[misc]
        kind = "audio"

        async def recv(self) -> Any:
            return await frames.get()

    return Track()
