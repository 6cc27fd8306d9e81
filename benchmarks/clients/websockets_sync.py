"""``websockets.sync.client`` with its default options."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from benchmarks.cases import Case
from benchmarks.hosts import Host

from .plain import PATH, request_text

__all__ = ["host"]


def host(directory: Path) -> Host:
    """Measure it with json of the standard library."""
    return Host(_Client(), directory)


class _Client:
    """An adapter of ``connect``."""

    def connect(self, url: str, model: str) -> _Connection:
        return _Connection(connect(url + PATH))


class _Connection:
    """An adapter of a WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    def caller(self, case: Case) -> Callable[[], Any]:
        return partial(self._exchange, case)

    def _exchange(self, case: Case) -> Any:
        self._socket.send(request_text(case))
        return json.loads(self._socket.recv())

    def close(self) -> None:
        self._socket.close()
