"""The application of the guide to FastRTC, a handler that measures its input with a pool, driven by our own client."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hume_sync import ConnectError
from hume_sync.emulator import Emulator
from hume_sync.fastrtc import FastRTCClient, Session

from .conftest import ENDS, HERE, LISTENS, NEWEST, python_of

pytestmark = [pytest.mark.fastrtc, pytest.mark.timeout(180)]

ROOT = HERE.parents[2]
BEFORE = """
import sys
sys.path.insert(0, {here!r})
import fastrtc.reply_on_pause, uvicorn
from vad import EnergyVAD
fastrtc.reply_on_pause.get_silero_model = EnergyVAD  # the usual detector is fetched from afar
run = uvicorn.run
uvicorn.run = lambda app, port: run(app, port={port}, log_level="warning")
"""


@pytest.fixture
def application(tmp_path: Path, hume_emulator: Emulator, unused_port: int) -> Iterator[str]:
    guide = (ROOT / "docs" / "guides" / "fastrtc.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(# application: serves FastRTC\n.*?)```", guide, re.DOTALL)
    script = tmp_path / "application.py"
    script.write_text(BEFORE.format(here=str(HERE), port=unused_port) + code)
    environment = {**os.environ, "HUME_BASE_URL": hume_emulator.url, "HUME_API_KEY": "any"}
    environment["GRADIO_ANALYTICS_ENABLED"] = "False"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([python_of(NEWEST), script], env=environment, stderr=log, stdout=log)
        try:
            yield f"http://127.0.0.1:{unused_port}"
        finally:
            process.terminate()
            try:
                process.wait(ENDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def connected(client: FastRTCClient) -> Session:
    """Once the application listens."""
    until = time.monotonic() + LISTENS
    while True:
        try:
            return client.connect()
        except ConnectError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def test_what_a_handler_hears_is_measured_and_comes_back(
    application: str, hume_emulator: Emulator, speech: Callable[..., bytes]
) -> None:
    client = FastRTCClient(application, path="/measure", input_sample_rate=16000, output_sample_rate=16000, proxy=False)
    with connected(client) as session, session.outputs() as outputs:
        for _ in range(2):
            session.send_audio(speech(16000), end=True)
            assert session.reply(timeout=20, idle=0.3).seconds > 1
            top = next(outputs)
            assert len(top) == 3
            assert all(0 <= score <= 1 for score in top.values())
    assert hume_emulator.journal.counts["requests"] == 2
    assert all(request.audio for request in hume_emulator.journal.requests)
