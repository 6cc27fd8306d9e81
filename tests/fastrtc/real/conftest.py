"""Fixtures of the proof with real servers."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Self

import pytest

from . import sound

HERE = Path(__file__).parent
PYTHON = HERE.parents[2] / ".peers" / "fastrtc" / "bin" / "python"

LISTENS = 90.0
"""Seconds until a server listens, at most: it is here in 6 to 15."""

ENDS = 10.0
"""Seconds a server may take for its end before it is killed."""


class RealServer:
    """app.py in a process of its own."""

    def __init__(self, log: IO[bytes]) -> None:
        if not PYTHON.exists():
            pytest.fail("the environment of the real server is missing: run make test-fastrtc", pytrace=False)
        self._log = log
        self.process = subprocess.Popen(
            [PYTHON, "-u", HERE / "app.py", "0"],
            env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            stdout=subprocess.PIPE,
            stderr=log,
        )

    def __enter__(self) -> Self:
        assert self.process.stdout
        listens, _, _ = select.select([self.process.stdout], [], [], LISTENS)
        self.url = self.process.stdout.readline().decode().strip() if listens else ""
        if not self.url:
            self.stop()
            pytest.fail(f"the real server did not start:\n{Path(self._log.name).read_text()}", pytrace=False)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask it to end; then make it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(ENDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """For all tests that leave it as it was."""
    with (tmp_path_factory.mktemp("real") / "log").open("wb") as log, RealServer(log) as server:
        yield server


@pytest.fixture(scope="session")
def real_url(real_server: RealServer) -> str:
    return real_server.url


@pytest.fixture
def fresh_server(tmp_path: Path) -> Iterator[RealServer]:
    """For one test, which may end it."""
    with (tmp_path / "log").open("wb") as log, RealServer(log) as server:
        yield server


@pytest.fixture(scope="session")
def speech() -> Callable[..., bytes]:
    """``speech(rate, seconds=1.9)``: s16le, mono, with gaps that are shorter than a pause."""
    return sound.speech


@pytest.fixture
def unused_port() -> int:
    """For a server that must be told its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
