"""Sessions with handlers whose answers tell by their pitch which question they answer (see questions.py)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from hume_sync.fastrtc import FastRTCClient, Reply, Session

from ..rtcfake import hertz

RATE = 16000
GREETING = 1500
LONG = 1.2
"""Seconds of an answer."""
IDLE = 0.5
ENCODED = RATE // 100
"""Samples at the beginning of an answer in which Opus still has the end of what was played before (6.5 ms)."""

Speech = Callable[..., bytes]


class Connect(Protocol):
    """``connect(path)``: a session with the handler there."""

    def __call__(self, path: str, **options: Any) -> Session: ...


def to(url: str, transport: str) -> Connect:
    def connect(path: str, **options: Any) -> Session:
        client = FastRTCClient(
            url, path=path, proxy=False, timeout=20.0, input_sample_rate=RATE, output_sample_rate=RATE, **options
        )
        return client.connect(transport)

    return connect


def together(*works: Callable[[], Any]) -> list[Any]:
    """What each comes to, in threads of their own."""
    with ThreadPoolExecutor(len(works)) as threads:
        return [future.result() for future in [threads.submit(work) for work in works]]


def pitches(reply: Reply) -> list[int]:
    """Of what is heard in it, one behind the other, to 100 Hz."""
    values = memoryview(reply.audio).cast("h")
    block = RATE // 20
    found: list[int] = []
    for start in range(ENCODED, len(values) - block + 1, block):
        parts = [values[place : place + block // 5] for place in range(start, start + block, block // 5)]
        if all(max(map(abs, part)) > 2000 for part in parts):  # the edges of a tone have no pitch
            pitch = round(hertz(values[start : start + block].tobytes(), RATE), -2)
            if found[-1:] != [pitch]:
                found.append(int(pitch))
    return found


def answer(number: int) -> list[int]:
    """The pitch of the answer to this question of a connection, the first being 1."""
    return [300 + 100 * number]


def whole(reply: Reply, seconds: float, transport: str) -> bool:
    """Whether it is so long; over WebRTC a little is held back."""
    return reply.complete and (
        reply.seconds == seconds if transport == "websocket" else seconds - 0.25 < reply.seconds < seconds + 0.25
    )
