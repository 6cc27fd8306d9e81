"""The ``hume-sync demo`` command: send sample inputs to a local server that loses the connection once, then a batch.

The sample data are part of the package. The speech was made with espeak-ng (English, 16 kHz mono); face and landmarks
are drawn, the landmarks in MediaPipe's layout: 468 points of a face and 10 of its irises.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Generator, Iterator
from importlib.resources import files as resource_files
from itertools import chain
from pathlib import Path

import attrs

from ..batch import Batch, files, texts, write_report
from ..emulator import Emulator
from ..stream import HumeStreamClient, LanguageConfig
from .inputs import Payload, piped_input, text_input
from .report import Table

__all__ = ["run"]

_FILES = ("speech.wav", "face.jpg", "facemesh.json")


def run() -> Generator[str, None, None]:
    """Run the demo, and yield the lines to print.

    Raises:
        OSError: The folder for the batch cannot be written.
    """
    yield "A local server is started in this process, and everything below goes to it over a real WebSocket."
    yield "After the first payload the server cuts the connection."
    yield ""
    with Emulator() as server:
        client = HumeStreamClient("demo", base_url=server.url, proxy=False)
        with client.connect([LanguageConfig()]) as socket:
            table = Table()
            for number, payload in enumerate(_payloads()):
                if number == 1:
                    server.drop_connections()
                yield from table.reply(payload, payload.send(socket))
            yield from table.end()
            yield ""
            counts = server.journal.counts
            yield f"{counts['requests']} requests, replays included, went over {counts['handshakes']} connections."
        yield ""
        yield from _batch(client)


def _payloads() -> Iterator[Payload]:
    for name in _FILES:
        yield from piped_input(io.BytesIO(_sample(name)), name).payloads()
    for text in _texts():
        yield from text_input(text).payloads()


def _batch(client: HumeStreamClient) -> Iterator[str]:
    """Measure the same inputs as a batch, into a folder that stays."""
    folder = Path(tempfile.mkdtemp(prefix="hume-sync-demo-"))
    media, scores, report = folder / "media", folder / "scores.jsonl", folder / "report.html"
    media.mkdir()
    for name in _FILES:
        (media / name).write_bytes(_sample(name))
    numbered = {f"text {number}": text for number, text in enumerate(_texts(), 1)}
    yield "The same inputs as a batch, each a stream of its own:"
    summary = Batch(client, workers=4).run(chain(files(media), texts(numbered)), out=scores)
    yield from str(attrs.evolve(summary, elapsed=0.0)).splitlines()
    write_report(scores, report, media_root=media, title="The demo's batch")
    yield f"results: {scores}"
    yield f"report:  {report} (EMULATED too: open it in a browser)"


def _sample(name: str) -> bytes:
    return (resource_files("hume_sync") / "data" / name).read_bytes()


def _texts() -> list[str]:
    return _sample("texts.txt").decode("utf-8").splitlines()
