"""The official SDK 0.6.0: on asyncio, and called from blocking code through a thread that runs its event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hume import HumeStreamClient, StreamSocket
from hume.models.config import FaceConfig, FacemeshConfig, LanguageConfig

from benchmarks.asynchost import AsyncHost
from benchmarks.cases import Case
from benchmarks.hosts import Host

__all__ = ["facade", "on_asyncio"]

_T = TypeVar("_T")

_CONFIGS = {"language": LanguageConfig, "facemesh": FacemeshConfig, "face": FaceConfig}


def on_asyncio(directory: Path) -> AsyncHost:
    """Measure it on asyncio."""
    return AsyncHost(_Client(), directory)


def facade(directory: Path) -> Host:
    """Measure it from blocking code, with ``run_coroutine_threadsafe``."""
    return Host(_Facade(), directory)


class _Connection:
    """An adapter of the socket of ``async with client.connect(...)``."""

    def __init__(self, entered: AbstractAsyncContextManager[StreamSocket], socket: StreamSocket) -> None:
        self._entered = entered
        self._socket = socket

    def caller(self, case: Case) -> Callable[[], Coroutine[Any, Any, Mapping[str, Any]]]:
        if case.model == "language":
            return partial(self._socket.send_text, case.value)
        if case.model == "facemesh":
            return partial(self._socket.send_facemesh, case.value)
        return partial(self._socket.send_file, case.value)

    async def close(self) -> None:
        await self._entered.__aexit__(None, None, None)


class _Client:
    """An adapter with one client for each address."""

    def __init__(self) -> None:
        self._clients: dict[str, HumeStreamClient] = {}

    async def connect(self, url: str, model: str) -> _Connection:
        if url not in self._clients:
            self._clients[url] = HumeStreamClient("benchmark", _api_ws_base_uri=url)
        entered = self._clients[url].connect([_CONFIGS[model]()])
        return _Connection(entered, await entered.__aenter__())


class _Waiting:
    """A connection whose calls wait for the event loop's thread."""

    def __init__(self, opened: _Connection, wait: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._opened = opened
        self._wait = wait

    def caller(self, case: Case) -> Callable[[], Mapping[str, Any]]:
        call, wait = self._opened.caller(case), self._wait
        return lambda: wait(call())

    def close(self) -> None:
        self._wait(self._opened.close())


class _Facade:
    """A client whose event loop runs in one thread, for callers in any thread."""

    def __init__(self) -> None:
        self._client = _Client()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def connect(self, url: str, model: str) -> _Waiting:
        return _Waiting(self._wait(self._client.connect(url, model)), self._wait)

    def _wait(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
