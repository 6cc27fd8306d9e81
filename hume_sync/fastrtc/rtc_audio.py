"""Audio as WebRTC carries it: what is said, and what is made of what comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

__all__ = ["TrackFilter", "as_track", "both"]

_PAUSE: Final = 2.0
"""Seconds of silence that come through before the rest of it is left out."""

_GAP: Final = 0.2
"""Seconds without a frame after which the next begins something new."""

_HELD_BACK: Final = 5
"""Frames that aiortc keeps for itself until others come behind them: four wait in its buffer, and the first behind them
begins with what the codec has kept."""


class TrackFilter:
    """Listens to the frames of one track.

    Args:
        sample_rate: of what is made of them.
    """

    def __init__(self, sample_rate: int) -> None:
        self._most = 2 * _PAUSE * sample_rate
        self._silence = 0  # bytes of it in a row
        self._last: float | None = None  # when the last frame came
        self._delayed = 0  # frames to come, this one included, that were spoken before a gap

    def is_delayed(self, now: float) -> bool:
        """A frame has come: whether it was spoken before a gap, and held back by aiortc until others came behind it."""
        if self._last is not None and now - self._last <= _GAP:
            self._delayed = max(0, self._delayed - 1)
        else:
            self._silence = 0
            self._delayed = 0 if self._last is None else _HELD_BACK
        self._last = now
        return self._delayed > 0

    def is_worth_hearing(self, samples: bytes) -> bool:
        """All is, but for silence that goes on and on: what a handler makes of ours if it just hands on what it hears.

        Servers send nothing while a handler yields nothing, so a pause inside a reply is part of it.
        """
        self._silence = 0 if any(samples) else self._silence + len(samples)
        return self._silence <= self._most


def both(samples: bytes) -> bytes:
    """The same on both channels: made of one by aiortc it would lose 3 dB, which servers do not give back."""
    doubled = bytearray(2 * len(samples))
    doubled[0::4] = doubled[2::4] = samples[0::2]
    doubled[1::4] = doubled[3::4] = samples[1::2]
    return bytes(doubled)


def as_track(next_frame: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """An audio track of these frames."""
    from aiortc.mediastreams import MediaStreamError, MediaStreamTrack  # noqa: PLC0415 - an extra

    base: Any = MediaStreamTrack

    class Track(base):  # type: ignore[misc]  # aiortc is no dependency, so its class is Any
        kind = "audio"

        async def recv(self) -> Any:
            frame = await next_frame()
            if not threading.main_thread().is_alive():
                raise MediaStreamError  # the interpreter ends, and would refuse to encode it
            return frame

    return Track()
