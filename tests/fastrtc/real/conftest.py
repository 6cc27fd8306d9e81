"""Fixtures of the proof with real servers."""

from __future__ import annotations

import functools
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

import pytest

from . import sound

HERE = Path(__file__).parent
NEWEST = "0.0.34"
OLDER = ["0.0.25", "0.0.30"]

LISTENS = 90.0
"""Seconds until a server listens, at most: it is here in 6 to 15."""

ENDS = 10.0
"""Seconds a server may take for its end before it is killed."""


def python_of(version: str) -> Path:
    """The interpreter of the environment with this FastRTC."""
    python = HERE.parents[2] / ".peers" / f"fastrtc-{version}" / "bin" / "python"
    if not python.exists():
        pytest.fail(f"the environment of FastRTC {version} is missing: run make test-fastrtc", pytrace=False)
    return python


class RealServer:
    """app.py in a process of its own."""

    def __init__(self, log: IO[bytes], version: str = NEWEST) -> None:
        self._log = log
        self.process = subprocess.Popen(
            [python_of(version), "-u", HERE / "app.py", "0"],
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
def server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RealServer]]:
    """The server of this version, for all tests that leave it as it was."""
    servers: dict[str, RealServer] = {}
    with ExitStack() as stack:

        def server_of(version: str) -> RealServer:
            if version not in servers:
                log = stack.enter_context((tmp_path_factory.mktemp("real") / "log").open("wb"))
                servers[version] = stack.enter_context(RealServer(log, version))
            return servers[version]

        yield server_of


@pytest.fixture(params=[*OLDER, NEWEST])
def version(request: pytest.FixtureRequest) -> str:
    """Of FastRTC: for what is to work with each."""
    return str(request.param)


@pytest.fixture
def each_url(server_of: Callable[[str], RealServer], version: str) -> str:
    return server_of(version).url


@pytest.fixture
def real_url(server_of: Callable[[str], RealServer]) -> str:
    return server_of(NEWEST).url


@pytest.fixture(params=["websocket", "webrtc"])
def transport(request: pytest.FixtureRequest) -> str:
    if request.param == "webrtc":
        request.getfixturevalue("webrtc")
    return str(request.param)


@pytest.fixture
def fresh_server(tmp_path: Path) -> Iterator[RealServer]:
    """For one test, which may end it."""
    with (tmp_path / "log").open("wb") as log, RealServer(log) as server:
        yield server


@pytest.fixture(scope="session")
def speech() -> Callable[..., bytes]:
    """``speech(rate, seconds=1.9)``: s16le, mono, with gaps that are shorter than a pause."""
    return functools.cache(sound.speech)


@pytest.fixture
def unused_port() -> int:
    """Return a free port, for a server that cannot choose one itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under xdist the tests of a version, or of one module with the newest, share a worker, and its server."""
    for item in items:
        if HERE in item.path.parents and isinstance(item, pytest.Function):
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            version = parameters.get("version", NEWEST)
            group = version if version != NEWEST else item.path.stem
            item.add_marker(pytest.mark.xdist_group(f"fastrtc {group}"))
