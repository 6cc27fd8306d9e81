"""The ``hume-sync demo`` command: send sample inputs to a local server that loses the connection once.

The sample data are part of the package. The speech was made with espeak-ng (English, 16 kHz mono); face and landmarks
are drawn, the landmarks in MediaPipe's layout: 468 points of a face and 10 of its irises.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator
from importlib.resources import files

from ..emulator import Emulator
from ..stream import HumeStreamClient, LanguageConfig
from .inputs import Payload, piped_input, text_input
from .report import Table

__all__ = ["run"]

_FILES = ("speech.wav", "face.jpg", "facemesh.json")


def run() -> Generator[str, None, None]:
    """Run the demo, and yield the lines to print."""
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


def _payloads() -> Iterator[Payload]:
    data = files("hume_sync") / "data"
    for name in _FILES:
        yield from piped_input(io.BytesIO((data / name).read_bytes()), name).payloads()
    for text in (data / "texts.txt").read_text("utf-8").splitlines():
        yield from text_input(text).payloads()
