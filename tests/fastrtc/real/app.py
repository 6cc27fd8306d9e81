"""FastRTC streams, each at a path of its own. Usage: app.py PORT (0: any; the URL is printed)

Runs in environments of its own, see 0.0.34.txt and its like. The handlers wait before they yield, since FastRTC loses
what comes in the first moments after a pause.
"""
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.metadata import version
from typing import Annotated, Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before it is imported

import fastrtc
import fastrtc.reply_on_stopwords
import librosa
import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import Body, FastAPI, Request
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import StreamingResponse
from fastrtc import AdditionalOutputs, CloseStream, ReplyOnPause, ReplyOnStopWords, Stream, WebRTCError
from questions import HANDLERS, RATE, Audio, Calm, Counting, both
from vad import EnergyVAD

THINK = 0.2

app = FastAPI()
zipped = FastAPI()
zipped.add_middleware(GZipMiddleware)
streams: dict[str, Any] = {}


def mount(path: str, handler: Any, limit: int = 10, *, below: str = "", app: FastAPI = app) -> None:
    stream = Stream(
        handler,
        modality="audio",
        mode="send-receive",
        concurrency_limit=limit,
        server_rtc_configuration={"iceServers": []},
        verbose=False,
    )
    stream.mount(app, path=path)
    streams[below + path] = stream


def turns(answer: Callable[..., Iterator[Any]], rate: int = RATE, kind: Any = ReplyOnPause, *more: Any) -> Any:
    return kind(answer, *more, model=EnergyVAD(), input_sample_rate=rate, output_sample_rate=rate)


def start_of(audio: Audio) -> Audio:
    rate, samples = audio
    return rate, samples[:, : rate // 10]


# --- turns ---------------------------------------------------------------------------------------------------


def echo(audio: Audio) -> Iterator[Any]:
    time.sleep(THINK)
    yield audio


def multi(audio: Audio) -> Iterator[Any]:
    time.sleep(0.3)
    for number in range(1, 11):
        yield audio[0], np.full((1, audio[0] // 10), 1000 * number, dtype=np.int16)


def frames(audio: Audio) -> Iterator[Any]:
    """As a voice that is made while it speaks: in pieces of 20 ms."""
    time.sleep(0.3)
    for number in range(50):
        yield audio[0], np.full((1, audio[0] // 50), 1000 + 20 * number, dtype=np.int16)


def talk(audio: Audio) -> Iterator[Any]:
    """To a loud question a long answer, low and sentence by sentence; to a quiet one a short answer, high."""
    rate, samples = audio
    is_loud = int(np.abs(samples.astype(int)).max()) > 6000
    time.sleep(0.3)
    for _ in range(40 if is_loud else 3):
        place = np.arange(rate // 4) / rate
        yield rate, (8000 * np.sin(2 * np.pi * (400 if is_loud else 800) * place)).astype(np.int16).reshape(1, -1)
        time.sleep(0.1)


def halting(audio: Audio) -> Iterator[Any]:
    """Half a second, a pause of one and a half, and half a second."""
    time.sleep(0.3)
    tone = (8000 * np.sin(2 * np.pi * 400 * np.arange(audio[0] // 2) / audio[0])).astype(np.int16).reshape(1, -1)
    yield audio[0], tone
    time.sleep(2.0)  # of which half a second is played meanwhile
    yield audio[0], tone
    yield audio[0], np.zeros((1, audio[0] // 5), np.int16)


def addl(audio: Audio) -> Iterator[Any]:
    time.sleep(THINK)
    yield AdditionalOutputs({"samples": audio[1].shape[1], "rate": audio[0]})
    yield start_of(audio)
    yield start_of(audio), AdditionalOutputs("with audio")
    yield AdditionalOutputs("zwei Zeilen:\nÄußerung")


def args(audio: Audio, fields: dict[str, Any]) -> Iterator[Any]:
    time.sleep(THINK)
    yield AdditionalOutputs(fields)
    yield start_of(audio)


def err(audio: Audio) -> Iterator[Any]:
    time.sleep(THINK)
    yield start_of(audio)
    raise WebRTCError("boom")


def exc(audio: Audio) -> Iterator[Any]:
    time.sleep(THINK)
    yield start_of(audio)
    raise ValueError("boom")


def warn(audio: Audio) -> Iterator[Any]:
    time.sleep(THINK)
    fastrtc.Warning("careful")
    yield start_of(audio)


def close(audio: Audio) -> Iterator[Any]:
    time.sleep(THINK)
    yield audio
    yield CloseStream("bye now")


# --- handlers without turns ----------------------------------------------------------------------------------


class Raw(fastrtc.AsyncStreamHandler):  # type: ignore[misc]
    """What comes goes back, frame by frame."""

    def __init__(self) -> None:
        super().__init__("mono", output_sample_rate=RATE, input_sample_rate=RATE)
        self.frames: asyncio.Queue[Audio] = asyncio.Queue()

    async def receive(self, frame: Audio) -> None:
        rate, samples = frame
        self.frames.put_nowait((rate, samples.reshape(1, -1)))

    async def emit(self) -> Audio | None:
        frame: Audio | None = await fastrtc.wait_for_item(self.frames)
        return frame

    def copy(self) -> Raw:
        return type(self)()


class Custom(Raw):
    """Has something to say first."""

    async def start_up(self) -> None:
        await self.send_message(json.dumps({"type": "log", "data": "hello"}))
        await self.send_message(json.dumps({"type": "custom", "data": {"x": 1}}))


# --- speech to text, so that no model is fetched: any loud audio is the stop word ---------------------------


def words(_model: object, audio: tuple[int, npt.NDArray[Any]], _chunks: object) -> str:
    return "hey computer" if EnergyVAD().vad(audio, None)[0] > THINK else ""


librosa.resample(np.zeros(RATE, np.float32), orig_sr=RATE, target_sr=RATE)  # its first call takes seconds
fastrtc.reply_on_stopwords.get_stt_model = lambda *_: None
fastrtc.reply_on_stopwords.stt_for_chunks = words

as_fastrtc_makes_them: list[Callable[..., Iterator[Any]]] = [echo, multi, frames, talk, halting]
for answer in as_fastrtc_makes_them:  # each connection costs a core
    mount(f"/{answer.__name__}", turns(answer))
handlers: list[Callable[..., Iterator[Any]]] = [addl, args, err, exc, warn, close]
for answer in handlers:
    mount(f"/{answer.__name__}", turns(answer, RATE, Calm))
for rate in (8000, 16000, 48000):
    mount(f"/echo{rate // 1000}", turns(echo, rate, Calm))
mount("/stopword", turns(echo, RATE, ReplyOnStopWords, ["computer"]))
mount("/limit", turns(echo), limit=1)
mount("/limit20", turns(echo), limit=20)
mount("/raw", Raw())
mount("/custom", Custom())
for path, handler in HANDLERS.items():
    mount(path, handler, limit=30)
mount("/both", Counting(both), below="/zipped", app=zipped)


# --- what applications add -----------------------------------------------------------------------------------


PLACE_OF_AUDIO = ["audio"] if version("fastrtc") == "0.0.30" else []
"""0.0.28 to 0.0.30 put the audio in place of the first input."""


def stream_of(webrtc_id: str) -> Any:
    """The one that this connection is on."""
    return next((stream for stream in streams.values() if webrtc_id in stream.connections), streams["/echo"])


async def input_hook(webrtc_id: Annotated[str, Body(embed=True)], request: Request) -> dict[str, str]:
    fields = await request.json()
    del fields["webrtc_id"]
    stream_of(webrtc_id).set_input(webrtc_id, *PLACE_OF_AUDIO, fields)
    return {"status": "ok"}


async def updates(webrtc_id: str) -> StreamingResponse:
    async def events() -> AsyncIterator[str]:
        async for output in stream_of(webrtc_id).output_stream(webrtc_id):
            yield f"data: {json.dumps(output.args[0])}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def latest(webrtc_id: str) -> dict[str, Any]:
    output = await stream_of(webrtc_id).fetch_latest_output(webrtc_id)
    return {"output": output.args[0]}


async def state() -> dict[str, list[str]]:
    """The connections on each stream."""
    return {path: list(stream.connections) for path, stream in streams.items()}


for each in (app, zipped):
    each.add_api_route("/input_hook", input_hook, methods=["POST"])
    each.add_api_route("/updates", updates, response_model=None)
    each.add_api_route("/latest", latest)
app.add_api_route("/state", state)
app.mount("/zipped", zipped)


def main() -> None:
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=256) as listener:
        sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
