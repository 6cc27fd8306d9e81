"""The measurements of a blocking client. `AsyncHost` in `asynchost` is the same for asyncio."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .cases import CASES, Case, make, url_of
from .checks import Checker, check_receipt, settle

__all__ = ["Client", "Connection", "Host", "Rate", "proportional_size"]

_SPARE = 0.05  # seconds between the start of the threads and that of the measurement
_CAUSES = 3
_USES = 2


class Connection(Protocol):
    """An open connection of a client."""

    def caller(self, case: Case) -> Callable[[], Mapping[str, Any]]:
        """Return a function that sends the case and returns the parsed reply, from the caller's values to a dict."""

    def close(self) -> None:
        """Close it, as a user of this client would."""


class Client(Protocol):
    """An adapter of one client."""

    def connect(self, url: str, model: str) -> Connection:
        """Open a connection for requests of a model, for use by the calling thread only."""


Rate = dict[str, float]


def proportional_size() -> int:
    """Return the proportional set size of this process in bytes."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


class Host:
    """A runner of the cases with one blocking client. Call `verify` first; it measures the length of a request."""

    def __init__(self, client: Client, directory: Path) -> None:
        self._client = client
        self._cases = {name: make(name, directory) for name in CASES}
        self._lengths: dict[str, int] = {}
        self._open: dict[str, tuple[Connection, Callable[[], Mapping[str, Any]], Checker]] = {}

    def verify(self, base: str, case: str) -> None:
        """Check that the server receives exactly the case."""
        with contextlib.closing(self._client.connect(url_of(base, case, "verify"), self._cases[case].model)) as opened:
            self._lengths[case] = check_receipt(self._cases[case], opened.caller(self._cases[case])())

    def open(self, base: str, case: str, mode: str = "measure") -> None:
        """Open the connection that `run` uses for this case."""
        opened = self._client.connect(url_of(base, case, mode), self._cases[case].model)
        checker = Checker(self._cases[case], self._lengths[case])
        self._open[case] = (opened, opened.caller(self._cases[case]), checker)

    def run(self, case: str, times: int) -> dict[str, Any]:
        """Make ``times`` calls in a row; return the seconds of each, and the CPU seconds of all."""
        _, call, checker = self._open[case]
        clock, seconds = time.perf_counter, []
        processor = time.process_time()
        for _ in range(times):
            begun = clock()
            reply = call()
            seconds.append(clock() - begun)
            checker.check_next(reply)
        return {"seconds": seconds, "processor": time.process_time() - processor}

    def close(self, case: str) -> None:
        """Close the connection of this case."""
        self._open.pop(case)[0].close()

    def drive(self, base: str, case: str, threads: int, seconds: float, think: float) -> Rate:
        """Measure threads that each call in a loop, on separate connections.

        Each thread makes one request before the measurement starts.

        Args:
            base: The URL of the server.
            case: The name of the case.
            threads: The number of threads.
            seconds: The length of the measurement.
            think: Seconds that the server waits before each reply.

        Returns:
            The calls per second, the CPU cores used, the wall time, and the number of connections.
        """
        url, wanted = url_of(base, case, "measure", think), self._cases[case]
        ready, go = threading.Barrier(threads + 1), threading.Event()
        rates: list[float] = []
        checkers: list[Checker] = []
        failures: list[BaseException] = []
        begun = [0.0]

        def work() -> None:
            try:
                with contextlib.closing(self._client.connect(url, wanted.model)) as opened:
                    call, checker = opened.caller(wanted), Checker(wanted, self._lengths[case])
                    checkers.append(checker)
                    checker.check(call())
                    ready.wait()
                    go.wait()
                    until = begun[0] + seconds
                    now, calls = begun[0], 0
                    while now < until:
                        checker.check(call())
                        calls += 1
                        now = time.perf_counter()
                    # Complete calls divided by the time they took, including the last call.
                    rates.append(calls / (now - begun[0]))
            except BaseException as exc:  # noqa: BLE001 - raised again by the caller
                failures.append(exc)
                ready.abort()

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        with contextlib.suppress(threading.BrokenBarrierError):
            ready.wait()
        time.sleep(_SPARE)
        processor = time.process_time()
        begun[0] = time.perf_counter()
        go.set()
        for worker in workers:
            worker.join()
        wall = time.perf_counter() - begun[0]
        cores = (time.process_time() - processor) / wall
        if failures:
            raise next((exc for exc in failures if not isinstance(exc, threading.BrokenBarrierError)), failures[0])
        return {"rate": sum(rates), "cores": cores, "wall": wall, "connections": len(settle(checkers))}

    def fresh(self, base: str, case: str, times: int) -> list[float]:
        """Open, call and close ``times`` connections; return the seconds of each."""
        url, wanted = url_of(base, case), self._cases[case]
        seconds = []
        for _ in range(times):
            begun = time.perf_counter()
            opened = self._client.connect(url, wanted.model)
            try:
                reply = opened.caller(wanted)()
            finally:
                opened.close()
            seconds.append(time.perf_counter() - begun)
            Checker(wanted, self._lengths[case]).check_next(reply)
        return seconds

    def endure(self, base: str, case: str, times: int) -> dict[str, Any]:
        """Open, call and close ``times`` connections; return the number of successes and the first errors."""
        good, causes = 0, []
        for _ in range(times):
            try:
                self.fresh(base, case, 1)
                good += 1
            except Exception as exc:  # noqa: BLE001 - counted
                causes.append(f"{type(exc).__name__}: {exc}")
        return {"good": good, "causes": causes[:_CAUSES]}

    def hold(self, base: str, case: str, count: int) -> float:
        """Return the bytes per idle connection, after opening ``count`` of them and using each twice."""
        held = [self._used(base, case)]  # not measured: it loads what all connections share
        before = proportional_size()
        held += [self._used(base, case) for _ in range(count)]
        size = (proportional_size() - before) / count
        for opened in held:
            opened.close()
        return size

    def _used(self, base: str, case: str) -> Connection:
        opened = self._client.connect(url_of(base, case), self._cases[case].model)
        call, checker = opened.caller(self._cases[case]), Checker(self._cases[case], self._lengths[case])
        for _ in range(_USES):
            checker.check_next(call())
        return opened

    def end(self) -> None:
        """Close all connections."""
        for case in list(self._open):
            self.close(case)
