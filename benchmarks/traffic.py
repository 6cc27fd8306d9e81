"""The requests of the soak test's threads, and the check of the replies.

Every expected reply comes from a `hume_sync.emulator.handler.RequestHandler`, which handles exactly the payloads that
were accepted, as a server without faults would.
"""

from __future__ import annotations

import copy
import itertools
import random
import struct
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import orjson

from hume_sync import (
    BurstConfig,
    FaceConfig,
    FacemeshConfig,
    HumeClientException,
    ProsodyConfig,
    StreamPool,
    StreamResponse,
    StreamSocket,
)
from hume_sync.emulator.handler import RequestHandler
from hume_sync.emulator.knobs import Knobs

__all__ = ["TIMEOUT", "WINDOW_MS", "Tally", "Traffic"]

TIMEOUT = 1.5
"""The timeout of each call in seconds."""

WINDOW_MS = 1000

_LATE = 0.5  # seconds past the deadline
_RATE = 8000
_LENGTHS = (0.25, 0.3, 0.4)  # seconds of a payload of audio
_KEYS = 4
_AUDIO = (BurstConfig(), ProsodyConfig())
_TOLERANCE = 1e-5  # seconds; times are rounded twice
_EXAMPLES = 12


class Tally:
    """Counters for many threads."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.examples: list[str] = []
        self._lock = threading.Lock()  # guards all of these

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self.counts[name] += count

    def failed(self, error: BaseException) -> None:
        """Count a call that raised."""
        with self._lock:
            self.errors[f"{type(error).__name__} ({getattr(error, 'phase', None) or '-'})"] += 1
            self.counts["errors" if isinstance(error, HumeClientException) else "crashed"] += 1
            if not isinstance(error, HumeClientException):
                self._example(repr(error))

    def is_wrong(self, kind: str, detail: str) -> None:
        """Count a wrong reply."""
        with self._lock:
            self.wrong[kind] += 1
            self._example(f"{kind}: {detail}")

    def _example(self, text: str) -> None:
        if len(self.examples) < _EXAMPLES:
            self.examples.append(text[:300])


class ExpectedAudio:
    """The audio of one stream as a server without faults has received it. Guarded by the lease of that stream."""

    def __init__(self, knobs: Knobs) -> None:
        self._handler = RequestHandler(knobs)

    def judge(self, wav: bytes, reply: StreamResponse) -> str | None:
        """Return what is wrong with the reply to a payload, or None. The payload was accepted in any case."""
        before = copy.copy(self._handler)  # its audio is immutable
        if reply.window_state == "cold":
            self.reset()
        (scores, times), (got_scores, got_times) = self._right(wav), _audio_parts(reply)
        if scores == got_scores:
            # If the reply's offset on the stream's clock is unknown, its duration must still be right.
            off = times[0] - got_times[0] if reply.clock_offset is None else 0.0
            near = all(abs(a - b - off) < _TOLERANCE for a, b in zip(times, got_times, strict=True))
            return None if near else f"audio, other times: {got_times} for {times}"
        after, self._handler = self._handler, before
        self.reset()
        if self._right(wav)[0] == got_scores:  # keep the handler without context, to compare later replies
            return "audio, context lost and not reported"
        self._handler = after
        return "audio, other scores"

    def reset(self) -> None:
        """Drop the context; the clock keeps running."""
        self._handler.handle('{"reset_stream":true}')

    def _right(self, wav: bytes) -> tuple[list[Any], list[float]]:
        models: dict[str, Any] = {"burst": {}, "prosody": {}}
        return _audio_parts(self._handler.handle(_request(b64encode(wav).decode(), models)))


class Traffic:
    """Random, seeded jobs of all kinds on one pool."""

    def __init__(self, pool: StreamPool, knobs: Knobs, seed: int) -> None:
        self.tally = Tally()
        self._pool = pool
        self._knobs = knobs
        self._seed = seed
        self._numbers = itertools.count()  # `next` on it is atomic
        self._expected = [ExpectedAudio(knobs) for _ in range(_KEYS)]
        self._faces = [_face_mesh(offset, knobs) for offset in range(4)]
        self._images = [_image(number, knobs) for number in range(2)]

    def run(self, until: float) -> None:
        """Run jobs in one thread until a monotonic time."""
        chance = random.Random(f"{self._seed}-{next(self._numbers)}")
        jobs = (self._texts, self._facemesh, self._large_image, self._audio, self._audio_by_key)
        while time.monotonic() < until:
            (job,) = chance.choices(jobs, weights=(4, 2, 1, 3, 8))
            try:
                job(chance)
            except HumeClientException as exc:  # from acquiring the lease; `_call` catches those of calls
                self.tally.failed(exc)
            except Exception as exc:  # noqa: BLE001 - count any error, and keep the thread running
                self.tally.failed(exc)

    def _texts(self, chance: random.Random) -> None:
        with self._pool.socket() as socket:
            for _ in range(chance.randint(1, 3)):
                words = [f"w{chance.randrange(10**6)}" for _ in range(4)] + [f"n{next(self._numbers)}"]
                text = " ".join(words)
                reply = self._call(lambda text=text: socket.send_text(text))  # type: ignore[misc]
                if reply is None:
                    continue
                got = [part["text"] for part in reply["language"]["predictions"]]
                right = RequestHandler(self._knobs).handle(_request(text, {"language": {}}, raw_text=True))
                self._judge(got == words and reply["language"] == right["language"], "text", f"{words} got {got}")

    def _facemesh(self, chance: random.Random) -> None:
        landmarks, right = chance.choice(self._faces)
        with self._pool.socket() as socket:
            reply = self._call(lambda: socket.send_facemesh(landmarks, [FacemeshConfig()]))
        if reply is not None:
            self._judge(reply["facemesh"] == right, "facemesh", "other scores")

    def _large_image(self, chance: random.Random) -> None:
        image, right = chance.choice(self._images)
        with self._pool.socket() as socket:
            reply = self._call(lambda: socket.send_media(image, [FaceConfig()]))
        if reply is not None:
            self._judge(reply["face"] == right, "image", "other scores")

    def _audio(self, chance: random.Random) -> None:
        expected = ExpectedAudio(self._knobs)
        with self._pool.socket() as socket:
            for _ in range(chance.randint(2, 6)):
                self._send_audio(socket, expected, chance)

    def _audio_by_key(self, chance: random.Random) -> None:
        key = chance.randrange(_KEYS)
        with self._pool.socket(stream=f"call {key}") as socket:
            if chance.random() < 0.03:
                self._expected[key].reset()  # it is reset even if the call fails
                if self._call(socket.reset_stream) is not None:
                    self.tally.add("right")
            for _ in range(chance.randint(1, 2)):
                self._send_audio(socket, self._expected[key], chance)

    def _send_audio(self, socket: StreamSocket, expected: ExpectedAudio, chance: random.Random) -> None:
        wav = _wav(chance.randbytes(int(chance.choice(_LENGTHS) * _RATE) * 2))
        reply = self._call(lambda: socket.send_media(wav, _AUDIO))
        if reply is None:
            return
        self.tally.add(f"window {reply.window_state}")
        self.tally.add("window of unknown time", reply.clock_offset is None)
        wrong = expected.judge(wav, reply)
        kind, _, detail = (wrong or "").partition(":")
        self._judge(wrong is None, kind, f"window {reply.window_state}, attempt {reply.attempts},{detail}")

    def _call(self, call: Callable[[], StreamResponse]) -> StreamResponse | None:
        began = time.monotonic()
        try:
            reply = call()
        except HumeClientException as exc:
            self.tally.failed(exc)
            reply = None
        took = time.monotonic() - began
        self.tally.add("calls")
        self.tally.add("late", took > TIMEOUT + _LATE)
        if reply is not None and reply.attempts > 1:
            self.tally.add("retried")
        return reply

    def _judge(self, right: bool, kind: str, detail: str) -> None:
        if right:
            self.tally.add("right")
        else:
            self.tally.is_wrong(kind, detail)


def _request(data: str, models: dict[str, Any], *, raw_text: bool = False) -> str:
    request = {"data": data, "models": models, "raw_text": raw_text, "stream_window_ms": WINDOW_MS}
    return orjson.dumps(request).decode()


def _audio_parts(reply: dict[str, Any]) -> tuple[list[Any], list[float]]:
    predictions = [prediction for model in ("burst", "prosody") for prediction in reply[model]["predictions"]]
    times = [prediction["time"][end] for prediction in predictions for end in ("begin", "end")]
    return [prediction["emotions"] for prediction in predictions], times


def _wav(samples: bytes) -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, _RATE, 2 * _RATE, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", 4 + len(form) + 8 + len(samples), b"WAVE")
    return head + form + struct.pack("<4sI", b"data", len(samples)) + samples


def _face_mesh(offset: int, knobs: Knobs) -> tuple[list[Any], Any]:
    (face,) = orjson.loads((files("hume_sync") / "data" / "facemesh.json").read_bytes())
    landmarks = [[[x + offset, y, z] for x, y, z in face]]
    data = b64encode(orjson.dumps(landmarks)).decode()
    return landmarks, RequestHandler(knobs).handle(_request(data, {"facemesh": {}}))["facemesh"]


def _image(number: int, knobs: Knobs) -> tuple[bytes, Any]:
    """Return an image and its reply. It exceeds the socket buffers, so a fault can occur while it is sent."""
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480)
    image = head + random.Random(number).randbytes(2**20)
    return image, RequestHandler(knobs).handle(_request(b64encode(image).decode(), {"face": {}}))["face"]
