"""The pauses of a handler, which servers do not send."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..errors import InputError
from .events import AudioChunk

__all__ = ["with_pauses"]

_JITTER: Final = 0.1
"""Seconds that audio may come late without a pause before it."""

_ROUNDING: Final = 0.002
"""Seconds by which the places of two frames on the server's time line may differ from their length."""


def with_pauses(chunks: Iterable[AudioChunk]) -> bytes:
    """Join audio, with silence where the handler paused: as it sounds to somebody who plays it as it comes.

    ::

        chunks = [event for event in session.events(timeout=3) if isinstance(event, AudioChunk)]
        samples = with_pauses(chunks)

    Servers send no audio while a handler yields none. So there is a pause where a chunk came later than those before it
    take to play (by more than 0.1 s; over WebSocket audio comes faster than it plays, which fills short pauses), and
    where the server's own time line has a gap, as behind audio that was lost.

    Args:
        chunks: of one session, in the order in which they came.

    Returns:
        Samples (s16le, mono) at the rate of the chunks. A pause of an hour is an hour of samples.

    Raises:
        InputError: the chunks differ in their rate.
    """
    joined = bytearray()
    last: AudioChunk | None = None
    played = 0.0  # when all that is joined has been played
    for chunk in chunks:
        pause = 0.0
        if last is None:
            played = chunk.arrived
        elif chunk.rate != last.rate:
            raise InputError(f"chunks must have one rate, got {last.rate} and {chunk.rate}")
        else:
            pause = max(_late(chunk, played), _skipped(last, chunk))
        joined += bytes(2 * round(pause * chunk.rate)) + chunk.samples
        played += pause + chunk.seconds
        last = chunk
    return bytes(joined)


def _late(chunk: AudioChunk, played: float) -> float:
    """Return by how many seconds it came too late to be played at once. (What was held back is of before the pause.)"""
    late = chunk.arrived - played
    return late if late > _JITTER and not chunk.delayed else 0.0


def _skipped(last: AudioChunk, chunk: AudioChunk) -> float:
    """Return the seconds between the two on the server's time line; a new connection begins another one."""
    if last.media_time is None or chunk.media_time is None:
        return 0.0
    skipped = chunk.media_time - last.media_time - last.seconds
    return skipped if skipped > _ROUNDING else 0.0
