"""The pool inside web servers with processes, threads and greenlets."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest

from hume_sync.emulator import Emulator

from .sizes import GREENLETS, MAX_SIZE, TEXTS

ROOT = Path(__file__).parents[2]
REQUESTS = 300
AT_ONCE = 16

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@attrs.frozen
class Server:
    """The command of a server on a listening socket, and its number of worker processes."""

    name: str
    arguments: tuple[str, ...]
    workers: int = 1

    def command(self, descriptor: int) -> list[str]:
        return [sys.executable, *(argument.format(fd=descriptor) for argument in self.arguments)]


def gunicorn(kind: str, workers: int, *more: str) -> Server:
    common = ("-m", "gunicorn", "--preload", "--bind", "fd://{fd}", "--log-level", "warning", "--no-control-socket")
    return Server(f"gunicorn-{kind}", (*common, "-k", kind, "-w", str(workers), *more, "tests.web.app:app"), workers)


WERKZEUG = """
import signal, werkzeug.serving
from tests.web.app import app, pool
signal.signal(signal.SIGTERM, signal.default_int_handler)
with pool:
    werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True, fd={fd}).serve_forever()
"""

SERVERS = [
    gunicorn("sync", 3),
    gunicorn("gthread", 2, "--threads", "8"),
    gunicorn("gevent", 2),
    Server("werkzeug-threaded", ("-c", WERKZEUG)),
]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(latency=0.01) as server:  # long enough for requests to overlap
        yield server


@contextlib.contextmanager
def serving(server: Server, base_url: str) -> Iterator[str]:
    """Run a server and yield its URL; fail if it does not end cleanly, or logs an error."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        process = subprocess.Popen(
            server.command(listener.fileno()),
            pass_fds=[listener.fileno()],
            cwd=ROOT,
            env={**os.environ, "HUME_BASE_URL": base_url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        port = listener.getsockname()[1]
    try:  # now only the server has the listening socket, so requests are refused if it dies
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            _, complaints = process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            _, complaints = process.communicate()
            pytest.fail(f"the server did not end:\n{complaints}")
    assert process.returncode == 0, complaints
    assert "Traceback" not in complaints, complaints
    assert "not closed" not in complaints, complaints


def ask(url: str, number: int) -> dict[str, Any]:
    text = f"request number {number} has words {number * 7919} of its own"
    query = urllib.parse.urlencode({"text": text})
    with urllib.request.urlopen(f"{url}/?{query}", timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return {**answer, "right": answer["words"] == text.split()}


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_every_request_gets_its_own_reply_over_few_connections(server: Server, emulator: Emulator) -> None:
    with serving(server, emulator.url) as url:
        with ThreadPoolExecutor(AT_ONCE) as executor:
            answers = list(executor.map(lambda number: ask(url, number), range(REQUESTS)))

    assert [number for number, answer in enumerate(answers) if not answer["right"]] == []
    opened: dict[int, float] = defaultdict(float)
    for answer in answers:
        assert answer["open"] <= MAX_SIZE
        opened[answer["pid"]] = max(opened[answer["pid"]], answer["stats"]["created"])
        assert answer["stats"]["errors"] == 0
    assert len(opened) <= server.workers
    assert max(opened.values()) <= MAX_SIZE  # nothing failed, so no connection was replaced
    counts = emulator.journal.counts
    assert counts["peak"] <= MAX_SIZE * len(opened)
    assert counts["handshakes"] <= MAX_SIZE * len(opened)
    assert counts["requests"] == REQUESTS


def test_every_greenlet_gets_its_own_reply_over_few_connections(emulator: Emulator) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.web.greenlets"],
        cwd=ROOT,
        env={**os.environ, "HUME_BASE_URL": emulator.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["right"] == GREENLETS * TEXTS
    assert result["nested"] == ["nested"] * TEXTS
    assert result["most"] <= MAX_SIZE
    assert result["stats"]["leases"] == 0
    assert emulator.journal.counts["peak"] <= MAX_SIZE
