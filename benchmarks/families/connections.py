"""A new TLS connection for each message, compared with one that is kept."""

from __future__ import annotations

from collections.abc import Mapping

from ..bench import Bench
from ..figures import Figure, figure, percentile, ratio
from ..processes import BenchmarkError, Worker, rotated
from ..results import Chart, Result, Table, Target

__all__ = ["run"]

_CASE = "text"
_FRESH = {"ours, own socket": 40, "floor": 40, "hume": 10}
"""Connections in a round."""

_KEPT = {"ours": 100, "floor": 100, "hume": 100}
"""Messages in a round."""

_CHUNK = 500


def run(bench: Bench) -> Result:
    """Measure both ways in turn, then connect many times in a row."""
    names = [*_FRESH, "ours"]
    # Include the system's authorities, as in practice: a client that loads them for each connection spends most of its
    # time on that.
    with (
        bench.server(12, tls=True, core=bench.core) as server,
        bench.workers(names, bench.authorities, bench.core) as workers,
    ):
        for worker in workers.values():
            worker.do("verify", base=server.base, case=_CASE)
        for name in _FRESH:
            workers[name].do("fresh", base=server.base, case=_CASE, times=2)
        for name in _KEPT:
            workers[name].do("open", base=server.base, case=_CASE)
            workers[name].do("run", case=_CASE, times=3)
        fresh: dict[str, list[float]] = {name: [] for name in _FRESH}
        kept: dict[str, list[float]] = {name: [] for name in _KEPT}
        used = 0.0
        for number in range(bench.rounds):
            for name in rotated(list(_FRESH), number):
                times, before = bench.few(_FRESH[name]), server.processor()
                fresh[name].append(
                    percentile(workers[name].do("fresh", base=server.base, case=_CASE, times=times), 0.5)
                )
                used = (server.processor() - before) / times if name == "floor" else used
            for name in rotated(list(_KEPT), number):
                done = workers[name].do("run", case=_CASE, times=bench.few(_KEPT[name]))
                kept[name].append(percentile(done["seconds"], 0.5))
        good = _endure(workers["ours, own socket"], server.base, bench.connects)
    return _result(
        {name: figure(rounds) for name, rounds in fresh.items()},
        {name: figure(rounds) for name, rounds in kept.items()},
        good,
        bench.connects,
        f"The server uses {used * 1e3:.2f} ms of CPU time for a fresh connection, the same for every client.",
    )


def _endure(worker: Worker, base: str, connects: int) -> int:
    """Connect, send and close ``connects`` times; return the number of successes.

    Raises:
        BenchmarkError: A connection failed or hung.
    """
    good = 0
    while good < connects:
        times = min(_CHUNK, connects - good)
        done = worker.do("endure", base=base, case=_CASE, times=times)
        good += done["good"]
        if done["good"] < times:
            raise BenchmarkError(f"{worker.name}, {_CASE}: {good} connects went well, then: {done['causes']}")
    return good


def _result(fresh: Mapping[str, Figure], kept: Mapping[str, Figure], good: int, connects: int, note: str) -> Result:
    pooled = kept["ours"]
    rows = [
        [
            f"{name}, {how}",
            f"{ratio(value, fresh['floor']).median:.2f}",
            f"{ratio(value, pooled).median:.1f}",
            f"{value.median * 1e3:.3f}",
        ]
        for how, of in (("fresh", fresh), ("kept", kept))
        for name, value in of.items()
    ]
    ours, work = fresh["ours, own socket"], "a fresh TLS connection and a text"
    targets = [
        Target(work, "hume", ratio(fresh["hume"], ours), "x cheaper", 10, more_is_better=True),
        Target(work, "bare sockets", ratio(ours, fresh["floor"]), "x its time", 1.3),
        Target(f"{connects} TLS connects in a row", "itself", figure([good]), "good", connects, more_is_better=True),
    ]
    return Result(
        family="connections",
        tables=[Table("TLS: connect, one text, close", ["client", "x bare fresh", "x ours kept", "ms"], rows)],
        targets=targets,
        data={
            "fresh": {name: value.rounds for name, value in fresh.items()},
            "kept": {name: value.rounds for name, value in kept.items()},
            "connects": {"wanted": connects, "good": good},
        },
        chart=Chart(
            title="A text over TLS: milliseconds (medians)",
            unit="ms",
            places=["fresh connection", "kept connection"],
            series={
                "ours": [ours.median * 1e3, pooled.median * 1e3],
                "floor": [fresh["floor"].median * 1e3, kept["floor"].median * 1e3],
                "hume": [fresh["hume"].median * 1e3, kept["hume"].median * 1e3],
            },
        ),
        notes=[note],
    )
