"""Audio frames, outgoing messages and the event loop of a WebRTC connection."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ..net.clock import monotonic
from ..reprs import safe_repr
from .events import check_size

__all__ = ["IsolatedEventLoop", "MessageQueue", "TrackFilter", "make_track", "to_stereo"]

_MAX_SILENCE: Final = 2.0
"""Seconds of silence that are received; longer silence is dropped."""

_GAP: Final = 0.2
"""Seconds without a frame after which the next frame begins new audio."""

_DELAYED_FRAMES: Final = 5
"""Frames that aiortc keeps until later ones come: four wait in its jitter buffer, and the first of the later ones
begins with what the codec has kept."""

_MAX_UNSENT: Final = 2**20
"""Bytes that may wait to be sent before a caller waits for room."""

_MAX_SIZE: Final = re.compile(r"^a=max-message-size:(\d{1,15})\s*$", re.MULTILINE)

_DEFAULT_MAX_SIZE: Final = 65536
"""Bytes of a message, if a server sets no limit (RFC 8841, 6.1)."""

_CANCEL_TIMEOUT: Final = 0.4
"""Seconds in which cancelled tasks end."""

_log = logging.getLogger("hume_sync")


class TrackFilter:
    """Examines the frames of one track: which were delayed, and which are long silence.

    Args:
        sample_rate: The rate of the audio in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._max_silence = 2 * _MAX_SILENCE * sample_rate  # bytes
        self._silence = 0  # consecutive bytes of silence
        self._last: float | None = None  # the time of the last frame
        self._delayed = 0  # frames to come, including this one, that were made before a gap

    def is_delayed(self, now: float) -> bool:
        """Note a frame, and return whether it was made before a gap and kept by aiortc until later ones came."""
        if self._last is not None and now - self._last <= _GAP:
            self._delayed = max(0, self._delayed - 1)
        else:
            self._silence = 0
            self._delayed = 0 if self._last is None else _DELAYED_FRAMES
        self._last = now
        return self._delayed > 0

    def should_keep(self, samples: bytes) -> bool:
        """Return False for long silence, as a handler sends that returns what it receives.

        Servers send nothing while a handler yields nothing, so a short silence inside a reply is part of it.
        """
        self._silence = 0 if any(samples) else self._silence + len(samples)
        return self._silence <= self._max_silence


def to_stereo(samples: bytes) -> bytes:
    """Return the samples on two channels. If aiortc did this, they would lose 3 dB."""
    stereo = bytearray(2 * len(samples))
    stereo[0::4] = stereo[2::4] = samples[0::2]
    stereo[1::4] = stereo[3::4] = samples[1::2]
    return bytes(stereo)


def make_track(next_frame: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Return an audio track of these frames."""
    from aiortc.mediastreams import MediaStreamError, MediaStreamTrack  # noqa: PLC0415 - an extra

    base: Any = MediaStreamTrack

    class Track(base):  # type: ignore[misc]  # aiortc is an extra, so its class is Any
        kind = "audio"

        async def recv(self) -> Any:
            frame = await next_frame()
            if not threading.main_thread().is_alive():
                raise MediaStreamError  # the interpreter is exiting, and could not encode it
            return frame

    return Track()


class MessageQueue:
    """Messages that the data channel has not taken yet. Only used under the lock of its loop."""

    def __init__(self) -> None:
        self._channel: Any = None
        self._waiting: deque[str | bytes] = deque()
        self._waiting_bytes = 0
        self._max_size: float = math.inf

    def attach(self, channel: Any) -> None:
        """Use this data channel, which emits ``bufferedamountlow`` when there is room again."""
        self._channel = channel
        channel.bufferedAmountLowThreshold = _MAX_UNSENT

    def set_max_size(self, sdp: str) -> None:
        """Set the largest size of a message from the server's SDP; 0 there means any size."""
        match = _MAX_SIZE.search(sdp)
        self._max_size = (int(match[1]) if match else _DEFAULT_MAX_SIZE) or math.inf

    def size(self, message: str | bytes) -> int:
        """Return the size of a message in bytes; raise `InputError` if the server does not accept it."""
        size = len(message.encode() if isinstance(message, str) else message)
        check_size(size, self._max_size, "which is what the server takes over WebRTC")
        return size

    @property
    def has_room(self) -> bool:
        """Whether a message need not wait."""
        return self._waiting_bytes + int(self._channel.bufferedAmount) <= _MAX_UNSENT

    def put(self, message: str | bytes, size: int) -> None:
        """Queue a message. If a signal handler raises, it is either queued and counted, or neither."""
        self._waiting += (message,)
        self._waiting_bytes += size  # no call between the two, in which a signal handler could run

    def flush(self) -> None:
        """Pass all messages to the data channel. Only called in the loop's thread."""
        while self._waiting and self._channel.readyState == "open":
            self._channel.send(self._waiting.popleft())
        if not self._waiting:
            self._waiting_bytes = 0


@safe_repr
class IsolatedEventLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop that leaves nothing behind: no socket, no task, and nothing in asyncio's log.

    It keeps track of UDP sockets, since aiortc leaks some if it is interrupted, or if a TURN server does not respond.
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_exception_handler(_log_exception)
        self._opened: list[asyncio.DatagramTransport] = []

    def time(self) -> float:
        """Return the time that timers use; asyncio's own stops when a test freezes it."""
        return monotonic()

    async def create_datagram_endpoint(self, *args: Any, **options: Any) -> Any:
        """Create a datagram endpoint as asyncio does, and keep track of it."""
        endpoint = await super().create_datagram_endpoint(*args, **options)
        self._opened.append(endpoint[0])
        return endpoint

    async def shutdown_default_executor(self, *_: Any, **__: Any) -> None:
        """Do nothing.

        asyncio would wait for the executor in a new thread, and an interpreter that is exiting starts none. What still
        runs in it, such as a name look-up, is abandoned by `close`.
        """

    async def cancel_all(self) -> None:
        """Cancel all tasks but the calling one, and then abort the sockets."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=_CANCEL_TIMEOUT)
        for transport in self._opened:
            transport.abort()


def _log_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log a failure inside aiortc, as on invalid input from a server, at debug level instead of in asyncio's log."""
    _log.debug("WebRTC: %s (%r)", context["message"], context.get("exception"))
