"""picows on uvloop with orjson and pybase64, the fastest known client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import picows
import pybase64
import uvloop

from benchmarks.asynchost import AsyncHost
from benchmarks.cases import Case

from .plain import PATH

__all__ = ["host"]


def host(directory: Path) -> AsyncHost:
    """Measure it on uvloop."""
    return AsyncHost(_Client(), directory, uvloop.new_event_loop)


def _request_bytes(case: Case) -> bytes:
    if case.model == "language":
        return b"".join((b'{"data":', orjson.dumps(case.value), b',"models":{"language":{}},"raw_text":true}'))
    if case.model == "facemesh":
        encoded = pybase64.b64encode(orjson.dumps(case.value))
        return b"".join((b'{"data":"', encoded, b'","models":{"facemesh":{}},"raw_text":false}'))
    with open(case.value, "rb") as file:  # noqa: PTH123 - making a Path takes time
        encoded = pybase64.b64encode(file.read())
    return b"".join((b'{"data":"', encoded, b'","models":{"face":{}},"raw_text":false}'))


class _Listener(picows.WSListener):  # type: ignore[misc]  # not installed where mypy runs
    """A listener that parses each reply in place and passes it to the caller."""

    def __init__(self) -> None:
        self.waiting: asyncio.Future[Any] | None = None

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT and self.waiting is not None:
            self.waiting.set_result(orjson.loads(frame.get_payload_as_memoryview()))

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(ConnectionError("the connection ended"))


class _Client:
    """An adapter of ``ws_connect``."""

    async def connect(self, url: str, model: str) -> _Connection:
        transport, listener = await picows.ws_connect(_Listener, url + PATH)
        return _Connection(transport, listener)


class _Connection:
    """An adapter of a WebSocket."""

    def __init__(self, transport: picows.WSTransport, listener: _Listener) -> None:
        self._transport = transport
        self._listener = listener
        self._loop = asyncio.get_running_loop()

    def caller(self, case: Case) -> Callable[[], Awaitable[Any]]:
        return partial(self._exchange, case)

    def _exchange(self, case: Case) -> asyncio.Future[Any]:
        waiting = self._listener.waiting = self._loop.create_future()
        self._transport.send(picows.WSMsgType.TEXT, _request_bytes(case))
        return waiting

    async def close(self) -> None:
        self._listener.waiting = None
        self._transport.disconnect()
        await self._transport.wait_disconnected()
