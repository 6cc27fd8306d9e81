"""The overhead of a request through a pool, compared with the same request on a bare connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cases import Case, make, url_of
from benchmarks.checks import Checker, check_receipt
from hume_sync import HumeStreamClient, LanguageConfig
from hume_sync.net.deadline import Deadline
from hume_sync.net.pending import Pending
from hume_sync.stream.requests import RequestBuilder

__all__ = ["Probe", "probe"]

_TIMEOUT = 60.0


def probe(directory: Path) -> Probe:
    """Make the probe for a worker."""
    return Probe(make("text", directory))


def _beyond(greater: list[float], smaller: list[float]) -> float:
    return median(a - b for a, b in zip(greater, smaller, strict=True))


def _ignore(_pending: Pending) -> None:
    """Do nothing, as connecting is not aborted here."""


class Probe:
    """A measurement of the text case in four ways.

    ``bare``: with the library's `RequestBuilder` and `Connection` only.
    ``polled``: the same, after checking the state of the connection.
    ``held``: on a lease that is held.
    ``leased``: on a lease for each request.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._calls: dict[str, tuple[Callable[[], Mapping[str, Any]], Checker]] = {}

    def open(self, base: str) -> None:
        """Open a connection for each way, after verifying each way on another connection."""
        length = 0
        for call in self._ways(url_of(base, self._case.name, "verify")).values():
            length = check_receipt(self._case, call())
        ways = self._ways(url_of(base, self._case.name))
        self._calls = {name: (call, Checker(self._case, length)) for name, call in ways.items()}

    def _ways(self, url: str) -> dict[str, Callable[[], Mapping[str, Any]]]:
        client = HumeStreamClient(base_url=url, proxy=False, timeout=_TIMEOUT)
        models = RequestBuilder.create([LanguageConfig()], None, 64 * 2**20)
        text = self._case.value
        bare, polled = (client._connect(Deadline(_TIMEOUT), _ignore) for _ in range(2))
        held = client.pool([LanguageConfig()]).socket().__enter__()
        pool = client.pool([LanguageConfig()])
        deadline = Deadline(1e6)

        def look_first() -> Mapping[str, Any]:
            polled.drain_idle_messages()
            return polled.request(models.text(text).members, deadline)

        def leased() -> Mapping[str, Any]:
            with pool.socket() as socket:
                return socket.send_text(text)

        return {
            "bare": lambda: bare.request(models.text(text).members, deadline),
            "polled": look_first,
            "held": lambda: held.send_text(text),
            "leased": leased,
        }

    def run(self, blocks: int, size: int) -> dict[str, float]:
        """Measure blocks of requests in turn.

        Args:
            blocks: The number of blocks of each way.
            size: The number of requests in a block.

        Returns:
            The seconds of a request: ``bare``, and for each other way the median difference from the one before.
        """
        found: dict[str, list[float]] = {name: [] for name in self._calls}
        names = list(self._calls)
        for block in range(blocks):
            begin = block % len(names)
            for name in [*names[begin:], *names[:begin]]:
                found[name].append(self._time(name, size))
        return {
            "bare": median(found["bare"]),
            "polled": _beyond(found["polled"], found["bare"]),
            "held": _beyond(found["held"], found["bare"]),
            "leased": _beyond(found["leased"], found["held"]),
        }

    def _time(self, name: str, size: int) -> float:
        call, checker = self._calls[name]
        clock, seconds = time.perf_counter, []
        for _ in range(size):
            begun = clock()
            reply = call()
            seconds.append(clock() - begun)
            checker.check_next(reply)
        return median(seconds)
