"""The measurements of a client on asyncio. The measuring loops run inside its event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .cases import CASES, Case, make, url_of
from .checks import Checker, check_receipt, settle
from .hosts import Rate, proportional_size

__all__ = ["AsyncClient", "AsyncConnection", "AsyncHost"]


_USES = 2


class AsyncConnection(Protocol):
    """An open connection of a client."""

    def caller(self, case: Case) -> Callable[[], Awaitable[Mapping[str, Any]]]:
        """Return a function that sends the case and returns the parsed reply, from the caller's values to a dict."""

    async def close(self) -> None:
        """Close it, as a user of this client would."""


class AsyncClient(Protocol):
    """An adapter of one client."""

    async def connect(self, url: str, model: str) -> AsyncConnection:
        """Open a connection for requests of a model."""


class AsyncHost:
    """A runner of the cases with one client on asyncio. It has the methods of `Host`."""

    def __init__(
        self,
        client: AsyncClient,
        directory: Path,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self._client = client
        self._runner = asyncio.Runner(loop_factory=loop_factory)
        self._cases = {name: make(name, directory) for name in CASES}
        self._lengths: dict[str, int] = {}
        self._open: dict[str, tuple[AsyncConnection, Callable[[], Awaitable[Mapping[str, Any]]], Checker]] = {}

    def verify(self, base: str, case: str) -> None:
        """Check that the server receives exactly the case."""

        async def work() -> None:
            opened = await self._client.connect(url_of(base, case, "verify"), self._cases[case].model)
            try:
                self._lengths[case] = check_receipt(self._cases[case], await opened.caller(self._cases[case])())
            finally:
                await opened.close()

        self._runner.run(work())

    def open(self, base: str, case: str, mode: str = "measure") -> None:
        """Open the connection that `run` uses for this case."""
        opened = self._runner.run(self._client.connect(url_of(base, case, mode), self._cases[case].model))
        checker = Checker(self._cases[case], self._lengths[case])
        self._open[case] = (opened, opened.caller(self._cases[case]), checker)

    def run(self, case: str, times: int) -> dict[str, Any]:
        """Make ``times`` calls in a row; return the seconds of each, and the CPU seconds of all."""

        async def work() -> dict[str, Any]:
            _, call, checker = self._open[case]
            clock, seconds = time.perf_counter, []
            processor = time.process_time()
            for _ in range(times):
                begun = clock()
                reply = await call()
                seconds.append(clock() - begun)
                checker.check_next(reply)
            return {"seconds": seconds, "processor": time.process_time() - processor}

        return self._runner.run(work())

    def close(self, case: str) -> None:
        """Close the connection of this case."""
        self._runner.run(self._open.pop(case)[0].close())

    def drive(self, base: str, case: str, threads: int, seconds: float, think: float) -> Rate:
        """Return the calls per second of tasks that each call in a loop, on separate connections."""
        url, wanted = url_of(base, case, "measure", think), self._cases[case]

        async def call_until(opened: AsyncConnection, checker: Checker, begun: float) -> float:
            call = opened.caller(wanted)
            now, calls = begun, 0
            while now < begun + seconds:
                checker.check(await call())
                calls += 1
                now = time.perf_counter()
            return calls / (now - begun)

        async def work() -> Rate:
            opened = [await self._client.connect(url, wanted.model) for _ in range(threads)]
            checkers = [Checker(wanted, self._lengths[case]) for _ in opened]
            replies = await asyncio.gather(*(connection.caller(wanted)() for connection in opened))
            for checker, reply in zip(checkers, replies, strict=True):
                checker.check(reply)
            processor, begun = time.process_time(), time.perf_counter()
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(call_until(connection, checker, begun))
                    for connection, checker in zip(opened, checkers, strict=True)
                ]
            wall = time.perf_counter() - begun
            cores = (time.process_time() - processor) / wall
            for connection in opened:
                await connection.close()
            connections = len(settle(checkers))
            rate = sum(task.result() for task in tasks)
            return {"rate": rate, "cores": cores, "wall": wall, "connections": connections}

        return self._runner.run(work())

    def fresh(self, base: str, case: str, times: int) -> list[float]:
        """Open, call and close ``times`` connections; return the seconds of each."""
        url, wanted = url_of(base, case), self._cases[case]

        async def work() -> list[float]:
            seconds = []
            for _ in range(times):
                begun = time.perf_counter()
                opened = await self._client.connect(url, wanted.model)
                try:
                    reply = await opened.caller(wanted)()
                finally:
                    await opened.close()
                seconds.append(time.perf_counter() - begun)
                Checker(wanted, self._lengths[case]).check_next(reply)
            return seconds

        return self._runner.run(work())

    def hold(self, base: str, case: str, count: int) -> float:
        """Return the bytes per idle connection, after opening ``count`` of them and using each twice."""
        wanted = self._cases[case]

        async def used() -> AsyncConnection:
            opened = await self._client.connect(url_of(base, case), wanted.model)
            call, checker = opened.caller(wanted), Checker(wanted, self._lengths[case])
            for _ in range(_USES):
                checker.check_next(await call())
            return opened

        async def work() -> float:
            held = [await used()]  # not measured: it loads what all connections share
            before = proportional_size()
            held += [await used() for _ in range(count)]
            size = (proportional_size() - before) / count
            for opened in held:
                await opened.close()
            return size

        return self._runner.run(work())

    def end(self) -> None:
        """Close all connections."""
        for case in list(self._open):
            self.close(case)
        self._runner.close()
