"""Results of runs on the local server, and of invented runs of any size, for the tests of reports."""

from __future__ import annotations

import io
import math
import random
import wave
from array import array
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from hume_sync import (
    FaceConfig,
    HumeClientException,
    HumeStreamClient,
    LanguageConfig,
    ProsodyConfig,
    RequestError,
    StreamResponse,
)
from hume_sync.batch import ItemError, Result
from hume_sync.emulator.names import EMOTIONS, LANGUAGE_EMOTIONS
from hume_sync.stream.wav import Wav

FACE = (files("hume_sync") / "data" / "face.jpg").read_bytes()
HASH = "0" * 32
RATE = 8000


def tone(seconds: float, pitch: float = 220.0) -> bytes:
    """Return a WAV file with a tone whose loudness goes up and down."""
    samples = array(
        "h",
        (
            int(9000 * math.sin(math.tau * pitch * i / RATE) * (0.55 + 0.45 * math.sin(math.tau * i / RATE / 7)))
            for i in range(int(seconds * RATE))
        ),
    )
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())
    return file.getvalue()


def merged(replies: list[StreamResponse]) -> StreamResponse:
    """Join the predictions of an item's parts."""
    whole = replies[0].copy()
    for model in [name for name in whole if isinstance(whole[name], dict)]:
        predictions = [one for reply in replies for one in reply[model].get("predictions", [])]
        if predictions:
            whole[model] = {"predictions": predictions}
    return whole


def clip(client: HumeStreamClient, key: str, audio: bytes) -> Result:
    """Measure a WAV file in pieces of five seconds."""
    wav = Wav.parse(audio)
    assert wav is not None
    with client.connect([ProsodyConfig()]) as socket:
        replies = [socket.send_media(piece) for piece in wav.cut(5.0)]
    return Result.measured(key, HASH, merged(replies), seconds=0.31, requests=len(replies))


def picture(client: HumeStreamClient, key: str) -> Result:
    """Measure the package's picture."""
    with client.connect([FaceConfig(facs={}, identify_faces=True)]) as socket:
        return Result.measured(key, HASH, socket.send_media(FACE), seconds=0.052, requests=1)


def text(client: HumeStreamClient, key: str, content: str) -> Result:
    """Measure a text by sentences."""
    with client.connect([LanguageConfig(granularity="sentence", sentiment={})]) as socket:
        try:
            reply = socket.send_text(content)
        except HumeClientException as exc:
            return Result(key, HASH, error=ItemError.of(exc), seconds=0.01)
    return Result.measured(key, HASH, reply, seconds=0.018, requests=1)


def failed(key: str, code: str = "E0200", message: str = "Media could not be read.") -> Result:
    """Return an item that the server has refused."""
    return Result(key, HASH, error=ItemError.of(RequestError.from_error(code, message)), attempts=1, seconds=0.02)


def small_run(client: HumeStreamClient, folder: Path) -> list[Result]:
    """Measure seven inputs of all kinds and fail three; put the media into a folder."""
    (folder / "calls").mkdir(parents=True)
    (folder / "pictures").mkdir()
    audio = {f"calls/call {i}.wav": tone(seconds, 150.0 + 40 * i) for i, seconds in ((1, 60.0), (2, 12.5), (10, 4.0))}
    for name, content in audio.items():
        (folder / name).write_bytes(content)
    (folder / "pictures" / "face.jpg").write_bytes(FACE)
    return [
        *(clip(client, name, content) for name, content in audio.items()),
        picture(client, "pictures/face.jpg"),
        text(client, "texts/day.txt", "What a day! I never thought it would end like this. We should do it again."),
        text(client, "texts/rain.txt", "It rained all week."),
        text(client, "texts/plain.txt", "The train leaves at nine. Bring a coat. The tickets are with Ana."),
        failed("calls/broken.wav"),
        failed("calls/long.wav", "E0203", "Media is 61.2 seconds long, more than the 5 seconds that are accepted."),
        Result("calls/missing.wav", "", error=ItemError("FileNotFoundError", None, "No such file or directory", False)),
    ]


def invented(count: int, *, segments: int = 1, emulated: bool = True) -> Iterator[Result]:
    """Yield results with random scores, every fortieth of them a failure."""
    rng = random.Random(count)
    for i in range(count):
        key = f"site {i % 7}/clip {i}.wav"
        if i % 40 == 39:
            yield failed(key, "E0200" if i % 80 == 39 else "E0203")
        elif i % 3:
            yield Result.measured(key, HASH, prosody(rng, segments, emulated), seconds=rng.random(), requests=segments)
        else:
            yield Result.measured(f"text {i}", HASH, language(rng, i, emulated), seconds=rng.random(), requests=1)


def scores(rng: random.Random, names: Iterable[str]) -> list[dict[str, Any]]:
    """Return a random score for each name, most of them low."""
    return [{"name": name, "score": round(rng.random() ** 6, 6)} for name in names]


def prosody(rng: random.Random, segments: int, emulated: bool) -> StreamResponse:
    """Return a reply for so many pieces of five seconds."""
    predictions = [
        {"time": {"begin": 5.0 * i, "end": 5.0 * i + 5}, "emotions": scores(rng, EMOTIONS)} for i in range(segments)
    ]
    return StreamResponse(prosody={"predictions": predictions}, emulated=emulated)


def language(rng: random.Random, number: int, emulated: bool) -> StreamResponse:
    """Return a reply for a short text."""
    prediction = {"text": f"Text number {number} of many", "emotions": scores(rng, LANGUAGE_EMOTIONS)}
    return StreamResponse(language={"predictions": [prediction]}, emulated=emulated)


def write_lines(path: Path, results: Iterable[Result]) -> Path:
    """Write a file of results."""
    path.write_bytes(b"".join(result.to_line() for result in results))
    return path
