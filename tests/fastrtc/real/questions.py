"""Handlers that tell by the pitch of an answer which question it answers: question k of a connection at 300 + 100 k Hz.

For app.py, in its environment.
"""
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import fastrtc
import numpy as np
import numpy.typing as npt
from fastrtc import AdditionalOutputs, ReplyOnPause
from vad import EnergyVAD

RATE = 16000
GREETING = 1500
"""Hertz."""

Audio = tuple[int, npt.NDArray[np.int16]]
Answer = Callable[[int], Iterator[Any]]


def tone(hertz: int, seconds: float) -> Audio:
    places = np.arange(round(RATE * seconds)) / RATE
    return RATE, (8000 * np.sin(2 * np.pi * hertz * places)).astype(np.int16).reshape(1, -1)


class Calm(ReplyOnPause):  # type: ignore[misc]
    """Waits while it has nothing to say.

    FastRTC's asks without a break. That costs a core for each connection, and fills a queue with Nones in front of the
    answer, which then comes late or, over WebSocket with ``can_interrupt=False``, never.
    """

    def emit(self) -> Any:
        self.event.wait(0.02)
        return super().emit()

    def copy(self) -> Calm:
        twin: Calm = super().copy()
        twin.__class__ = type(self)
        return twin


class Counting(Calm):
    """Counts the questions of its connection."""

    def __init__(self, answer: Answer, **options: Any) -> None:
        pitches = itertools.count(400, 100)
        self._made_of = answer, options
        super().__init__(
            lambda _audio: answer(next(pitches)),
            model=EnergyVAD(),
            input_sample_rate=RATE,
            output_sample_rate=RATE,
            **options,
        )

    def copy(self) -> Counting:
        answer, options = self._made_of
        return type(self)(answer, **options)


class Busy(Counting):
    """As FastRTC makes it."""

    def emit(self) -> Any:
        return ReplyOnPause.emit(self)


def answer(hertz: int) -> Iterator[Any]:
    """1.2 s of it, faster than it plays."""
    time.sleep(0.4)
    for _ in range(4):
        yield tone(hertz, 0.3)


def hesitating(hertz: int) -> Iterator[Any]:
    """As `answer`, with a pause of 1.6 s in the middle, in real time."""
    time.sleep(0.3)
    yield tone(hertz, 0.6)
    time.sleep(0.6 + 1.6)
    yield tone(hertz, 0.6)


def transcript(hertz: int) -> Iterator[Any]:
    """No audio."""
    time.sleep(0.3)
    yield AdditionalOutputs(f"question at {hertz} Hz")


def both(hertz: int) -> Iterator[Any]:
    time.sleep(0.3)
    yield tone(hertz, 0.5)
    yield AdditionalOutputs(hertz)


def hello() -> Iterator[Any]:
    for _ in range(3):
        yield tone(GREETING, 0.4)


def failing(pieces: int, seconds: float, gap: float) -> Answer:
    """Fails behind some pieces."""

    def answer(hertz: int) -> Iterator[Any]:
        time.sleep(0.3)
        for _ in range(pieces):
            yield tone(hertz, seconds)
            time.sleep(gap)
        raise RuntimeError("the language model is overloaded")

    return answer


class Listening(fastrtc.AsyncStreamHandler):  # type: ignore[misc]
    """Tells nothing of turns, as handlers do that pass on what a voice service says: it hears pauses by itself.

    It answers half a second after speech has ended, piece by piece; who speaks while it does interrupts it.
    """

    greets = False

    def __init__(self) -> None:
        super().__init__("mono", output_sample_rate=RATE, input_sample_rate=RATE)
        self._pieces: asyncio.Queue[Audio] = asyncio.Queue()
        self._pitches = itertools.count(400, 100)
        self._has_heard = False
        self._quiet = 0.0

    async def start_up(self) -> None:
        if self.greets:
            for piece in hello():
                self._pieces.put_nowait(piece)

    async def receive(self, frame: Audio) -> None:
        rate, samples = frame
        for block in np.array_split(samples.reshape(-1), max(1, samples.size // (rate // 50))):
            if block.size and np.abs(block.astype(int)).max() > 600:
                self._has_heard, self._quiet = True, 0.0
                while not self._pieces.empty():
                    self._pieces.get_nowait()
                self.clear_queue()
                continue
            self._quiet += block.size / rate
            if self._has_heard and self._quiet >= 0.5:
                self._has_heard = False
                hertz = next(self._pitches)
                for _ in range(12):
                    self._pieces.put_nowait(tone(hertz, 0.1))

    async def emit(self) -> Audio | None:
        piece: Audio | None = await fastrtc.wait_for_item(self._pieces)
        return piece

    def copy(self) -> Listening:
        return type(self)()


class Greeting(Listening):
    """Speaks first."""

    greets = True


HANDLERS: dict[str, Any] = {
    "/ask": Counting(answer),
    "/busy": Busy(answer),
    "/greet": Counting(answer, startup_fn=hello),
    "/busy-greet": Busy(answer, startup_fn=hello),
    "/patient": Counting(answer, can_interrupt=False),
    "/hesitating": Counting(hesitating),
    "/transcript": Counting(transcript),
    "/listening": Listening(),
    "/listening-greet": Greeting(),
    "/fail/sentence": Counting(failing(1, 1.5, 0.0)),
    "/fail/fast": Counting(failing(3, 0.6, 0.2)),
    "/fail/slow": Counting(failing(3, 0.2, 0.4)),
    "/fail/first": Counting(failing(0, 0.0, 0.0)),
}
