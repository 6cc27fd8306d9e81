"""Run many threads on few connections with frequent faults: ``python -m benchmarks.soak --minutes 10``.

Threads send text, landmarks, images and audio through one pool, over a proxy that injects a fault into at least every
sixth request. Each reply is compared with that of a server without faults. The exit status is 0 only if no reply was
wrong or late, no thread hung, nothing leaked, memory did not grow, and every fault occurred often enough.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import gc
import itertools
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from hume_sync import HumeClientException, HumeStreamClient, LanguageConfig, RetryPolicy, StreamPool
from hume_sync.emulator.knobs import Knobs
from hume_sync.net.deadline import Deadline
from hume_sync.net.pending import Watch
from hume_sync.stream.connection import Connection

from .faults import EMULATOR_SEED, FAULTS, REFUSED
from .traffic import TIMEOUT, WINDOW_MS, Tally, Traffic

__all__ = ["main"]

_LEASE_TIMEOUT = 20.0  # seconds
_PATIENCE = 15.0  # seconds for a thread to end after the deadline of its last call
_PHASES = 3
_GROWTH = 0.05
_SHARE = 0.15
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # malloc.h


@attrs.frozen
class Options:
    """The options of the command line.

    Attributes:
        minutes: The length of the run.
        threads: The number of threads.
        connections: The size of the pool.
        seed: The seed of all random choices.
        least: How often each fault must occur.
    """

    minutes: float
    threads: int
    connections: int
    seed: int
    least: int


class _Heap(ctypes.Structure):
    """The struct mallinfo2 of malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "free", "small", "maps", "mapped", "most", "fast", "used", "unused", "top")
    ]


@attrs.frozen
class Snapshot:
    """The resources of the process while it is idle.

    Attributes:
        resident: The resident memory in bytes.
        heap: The bytes in use on the heap of the C library, as for large objects and extensions; 0 if unknown.
        blocks: The allocated blocks of the interpreter, as for small objects.
        descriptors: The open file descriptors.
        threads: The running threads.
    """

    resident: int
    heap: int
    blocks: int
    descriptors: int
    threads: int

    @classmethod
    def take(cls) -> Snapshot:
        """Take a snapshot after collecting garbage."""
        for _ in range(3):
            gc.collect()
        heap = 0
        with contextlib.suppress(AttributeError):  # glibc only: return free memory to the system first
            library = ctypes.CDLL(None)
            library.malloc_trim(0)
            library.mallinfo2.restype = _Heap
            found = library.mallinfo2()
            heap = found.mapped + found.used
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        resident, blocks = pages * os.sysconf("SC_PAGESIZE"), sys.getallocatedblocks()
        return cls(resident, heap, blocks, descriptors, threading.active_count())


class Client(HumeStreamClient):
    """A client that counts refused connections, which no server can count."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.refused = 0

    def _connect(self, deadline: Deadline, watch: Watch) -> Connection:
        try:
            return super()._connect(deadline, watch)
        except HumeClientException as exc:
            self.refused += "refused" in str(exc)
            raise


@contextlib.contextmanager
def faulty_server(seed: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run the server and the proxy in a separate process.

    Args:
        seed: The seed of the faults.

    Yields:
        The port, and a dict of the injected faults that is filled at the end.
    """
    played: dict[str, Any] = {}
    command = [sys.executable, "-m", "benchmarks.faults", str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), played
        finally:
            process.stdin.close()
            played.update(json.loads(process.stdout.readline() or "{}"))


def run_threads(traffic: Traffic, count: int, until: float) -> int:
    """Run threads until a monotonic time; return how many hang."""
    # Daemon threads, so that a hanging one does not keep the process from reporting it.
    threads = [threading.Thread(target=traffic.run, args=(until,), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    last = until + _LEASE_TIMEOUT + 10 * TIMEOUT + _PATIENCE
    for thread in threads:
        thread.join(max(0.0, last - time.monotonic()))
    hung = sum(thread.is_alive() for thread in threads)
    if hung:
        faulthandler.dump_traceback()
    return hung


@contextlib.contextmanager
def watched(pool: StreamPool) -> Iterator[list[float]]:
    """Sample the pool every few milliseconds; yield a list that holds the highest number of connections."""
    most, stop = [0.0], threading.Event()

    def look() -> None:
        while not stop.wait(0.005):
            stats = pool.stats()
            most[0] = max(most[0], stats["busy"] + stats["idle"])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()


@attrs.frozen
class Outcome:
    """The outcome of a run."""

    tally: Tally
    snapshots: list[Snapshot]
    before: Snapshot
    after: Snapshot
    stats: dict[str, float]
    most: float
    hung: int
    complaints: list[str]
    played: dict[str, int]
    exchanges: int
    seconds: float

    @property
    def faulted(self) -> int:
        """Return the number of requests during or after which a fault was injected, without those of connecting."""
        return sum(count for name, count in self.played.items() if not name.startswith("connect"))

    def growth(self, name: str) -> float:
        """Return the relative growth of a resource from the end of the first third to the end of the run."""
        first, last = getattr(self.snapshots[0], name), getattr(self.snapshots[-1], name)
        return float(last / first - 1) if first else 0.0

    def failures(self, options: Options) -> list[str]:
        """Return a message for each failed check."""
        counts, after, before = self.tally.counts, self.after, self.before
        share = self.faulted / max(self.exchanges, 1)
        rare = [f"{name} ({self.played.get(name, 0)})" for name in _names() if self.played.get(name, 0) < options.least]
        checks = {
            f"{sum(self.tally.wrong.values())} replies are wrong": not self.tally.wrong,
            f"{counts['late']} calls ended late": not counts["late"],
            f"{counts['crashed']} jobs raised an error that is not the library's": not counts["crashed"],
            f"{self.hung} threads hang": not self.hung,
            f"descriptors: {before.descriptors}, then {after.descriptors}": after.descriptors <= before.descriptors,
            f"threads: {before.threads}, then {after.threads}": after.threads <= before.threads,
            f"leases never released: {self.stats['leases']:.0f}": not self.stats["leases"],
            f"resident memory grew by {self.growth('resident'):.1%}": self.growth("resident") <= _GROWTH,
            f"the heap in use grew by {self.growth('heap'):.1%}": self.growth("heap") <= _GROWTH,
            f"allocated blocks grew by {self.growth('blocks'):.1%}": self.growth("blocks") <= _GROWTH,
            f"{self.most:.0f} connections at one time": self.most <= options.connections,
            f"unraisable errors: {self.complaints[:3]}": not self.complaints,
            f"only {share:.1%} of the requests had a fault": share >= _SHARE,
            f"faults too rare: {', '.join(rare)}": not rare,
            "fewer replies were right than calls failed": counts["right"] > counts["errors"],
        }
        return [text for text, good in checks.items() if not good]


def soak(options: Options) -> Outcome:
    """Run the soak test."""
    with contextlib.suppress(AttributeError):
        # glibc only: use one heap, and place large blocks outside it; otherwise fragmentation looks like a leak.
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 64 * 2**10)
    complaints: list[str] = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda what: complaints.append(f"{what.exc_value!r} in {what.object!r}")
    try:
        with warnings.catch_warnings(), faulty_server(options.seed) as (port, played):
            warnings.simplefilter("error")
            before = Snapshot.take()
            began = time.monotonic()
            client = Client(
                "soak",
                base_url=f"ws://127.0.0.1:{port}",
                timeout=TIMEOUT,
                open_timeout=0.4,
                proxy=False,
                retry=RetryPolicy(max_attempts=6, initial=0.02, maximum=0.2),
            )
            pool = client.pool([LanguageConfig()], WINDOW_MS, max_size=options.connections, timeout=_LEASE_TIMEOUT)
            traffic = Traffic(pool, Knobs(seed=EMULATOR_SEED), options.seed)
            snapshots, hung = [], 0
            with watched(pool) as most:
                for phase in range(_PHASES):
                    until = began + options.minutes * 60 * (phase + 1) / _PHASES
                    hung += run_threads(traffic, options.threads, until)
                    snapshots.append(Snapshot.take())
            stats = pool.stats()
            pool.close()
            seconds = time.monotonic() - began
            after = Snapshot.take()
    finally:
        sys.unraisablehook = hook
    counts = {**played["played"], REFUSED: client.refused}
    tally, exchanges = traffic.tally, played["exchanges"]
    return Outcome(tally, snapshots, before, after, stats, most[0], hung, complaints, counts, exchanges, seconds)


def _names() -> list[str]:
    return sorted({*FAULTS, REFUSED})


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def report(outcome: Outcome, options: Options) -> Iterator[str]:
    """Yield the lines of the report."""
    counts, stats = outcome.tally.counts, outcome.stats
    wrong = sum(outcome.tally.wrong.values())
    yield f"{options.threads} threads, {options.connections} connections, {outcome.seconds:.0f} s, seed {options.seed}"
    yield ""
    rows: list[tuple[str, object]] = [
        ("calls", counts["calls"]),
        ("  right", counts["right"]),
        ("  wrong", wrong),
        ("  late", counts["late"]),
        ("  ended in an error", counts["errors"]),
        ("  right only after a retry, or wrong", counts["retried"]),
        ("threads hung", outcome.hung),
        ("most connections at one time", f"{outcome.most:.0f}"),
        ("exchanges at the proxy", outcome.exchanges),
        ("  faulted", f"{outcome.faulted} ({outcome.faulted / max(outcome.exchanges, 1):.1%})"),
        ("leaked descriptors", outcome.after.descriptors - outcome.before.descriptors),
        ("leaked threads", outcome.after.threads - outcome.before.threads),
        ("resident before, and after closing", f"{_mib(outcome.before.resident)}, {_mib(outcome.after.resident)}"),
        ("resident after each third", ", ".join(_mib(snapshot.resident) for snapshot in outcome.snapshots)),
        ("  growth", f"{outcome.growth('resident'):+.2%}"),
        ("heap in use after each third", ", ".join(_mib(snapshot.heap) for snapshot in outcome.snapshots)),
        ("  growth", f"{outcome.growth('heap'):+.2%}"),
        ("blocks after each third", ", ".join(str(snapshot.blocks) for snapshot in outcome.snapshots)),
        ("  growth", f"{outcome.growth('blocks'):+.2%}"),
    ]
    rows += sorted((f"reply: {name}", count) for name, count in counts.items() if name.startswith("window"))
    rows += [(f"wrong: {name}", count) for name, count in outcome.tally.wrong.most_common()]
    rows += [(f"error: {name}", count) for name, count in outcome.tally.errors.most_common()]
    rows += [(f"pool: {name}", f"{value:.0f}") for name, value in sorted(stats.items()) if value]
    rows += [(f"fault: {name}", outcome.played.get(name, 0)) for name in _names()]
    width = max(len(name) for name, _ in rows)
    yield from (f"{name:<{width}}  {value}" for name, value in rows)
    yield from itertools.chain([""], (f"example: {example}" for example in outcome.tally.examples))


def _parse(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=18)
    parser.add_argument("--connections", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=int, default=20, help="how often each fault must occur (default 20)")
    return Options(**vars(parser.parse_args(argv)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parse(argv)
    outcome = soak(options)
    for line in report(outcome, options):
        print(line)
    failures = outcome.failures(options)
    for failure in failures:
        print(f"FAILED: {failure}")
    if not failures:
        print("PASSED")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
