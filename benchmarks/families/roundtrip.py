"""The round trip of a request, from the caller's values to the parsed reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from ..bench import Bench
from ..cases import CASES
from ..figures import Figure, figure, percentile, ratio
from ..processes import Server, Worker, rotated
from ..results import Chart, Result, Table, Target

__all__ = ["CLIENTS", "run"]

CLIENTS = (
    "ours", "ours, no numpy", "floor", "wire", "picows", "hume", "hume, facade", "websocket-client", "websockets.sync",
)  # fmt: skip

_TIMES = {"text": 300, "facemesh-1": 150, "facemesh-10": 24, "facemesh-100": 5, "file": 20}
"""Calls in a round."""

_WARM = 3
_TITLES = {
    "text": "text round trip",
    "facemesh-1": "facemesh round trip, n = 1",
    "facemesh-10": "facemesh round trip, n = 10",
    "facemesh-100": "facemesh round trip, n = 100",
    "file": "1 MB file round trip",
}

# (case, client, against, target, stretch): how much faster than hume, and how much slower than floor and picows.
_FASTER = (
    ("facemesh-1", "ours", "hume", 10, 12),
    ("facemesh-10", "ours", "hume", 9, 12),
    ("facemesh-100", "ours", "hume", 11, 15),
    ("facemesh-1", "ours, no numpy", "hume", 5, 6),
    ("facemesh-10", "ours, no numpy", "hume", 5, 6),
    ("facemesh-100", "ours, no numpy", "hume", 5, 6),
    ("text", "ours", "hume", 2.3, 3.5),
    ("text", "ours", "hume, facade", 4.6, 7),
    ("file", "ours", "hume", 8.5, 11),
)
_SLOWER = (
    ("facemesh-1", "ours", "floor", 1.35, 1.2),
    ("facemesh-10", "ours", "floor", 1.25, 1.15),
    ("facemesh-100", "ours", "floor", 1.15, 1.05),
    ("text", "ours", "floor", 1.6, 1.3),
    ("file", "ours", "floor", 1.45, 1.25),
    ("facemesh-1", "ours", "picows", 1.15, 1.0),
    ("facemesh-10", "ours", "picows", 1.15, 1.0),
    ("facemesh-100", "ours", "picows", 1.15, 1.0),
    ("text", "ours", "picows", 1.35, 1.1),
)


@attrs.frozen
class _Cell:
    """The figures of one client for one case, in seconds.

    Attributes:
        p50: The median of each round.
        p99: The 99th percentile of all calls.
        calls: The number of calls.
        processor: The CPU time of the client for a call.
        server: The CPU time of the server for a call.
        share: The share of the time in which the server was busy.
    """

    p50: Figure
    p99: float
    calls: int
    processor: Figure
    server: Figure
    share: Figure


def run(bench: Bench, clients: Sequence[str] = CLIENTS, cases: Sequence[str] = CASES, mode: str = "measure") -> Result:
    """Measure each case, the clients in turn."""
    cells: dict[str, dict[str, _Cell]] = {}
    with bench.server(len(clients) + 2, core=bench.core) as server, bench.workers(clients, core=bench.core) as workers:
        for case in cases:
            for worker in workers.values():
                worker.do("verify", base=server.base, case=case)
                worker.do("open", base=server.base, case=case, mode=mode)
                worker.do("run", case=case, times=_WARM)
            cells[case] = _measure(bench, case, server, workers)
            for worker in workers.values():
                worker.do("close", case=case)
    return Result(
        family="roundtrip",
        tables=[*(_table(case, of) for case, of in cells.items())],
        targets=_targets(cells),
        data={case: {name: attrs.asdict(cell) for name, cell in of.items()} for case, of in cells.items()},
        chart=Chart(
            title="Round trip: times of the floor (medians of the rounds' ratios)",
            unit="x floor",
            places=list(cells),
            series={
                name: [ratio(of[name].p50, of["floor"].p50).median for of in cells.values()]
                for name in clients
                if name not in {"floor", "wire"}
            },
        ),
        notes=[_bottleneck(cells)] if "wire" in clients else [],
    )


def _measure(bench: Bench, case: str, server: Server, workers: Mapping[str, Worker]) -> dict[str, _Cell]:
    times = bench.few(_TIMES[case])
    seconds: dict[str, list[list[float]]] = {name: [] for name in workers}
    processor: dict[str, list[float]] = {name: [] for name in workers}
    served: dict[str, list[float]] = {name: [] for name in workers}
    for number in range(bench.rounds):
        for name in rotated(list(workers), number):
            before = server.processor()
            done = workers[name].do("run", case=case, times=times)
            served[name].append((server.processor() - before) / times)
            seconds[name].append(done["seconds"])
            processor[name].append(done["processor"] / times)
    cells = {}
    for name in workers:
        flat = [value for round_ in seconds[name] for value in round_]
        cells[name] = _Cell(
            p50=figure([percentile(round_, 0.5) for round_ in seconds[name]]),
            p99=percentile(flat, 0.99),
            calls=len(flat),
            processor=figure(processor[name]),
            server=figure(served[name]),
            share=figure([used * times / sum(took) for used, took in zip(served[name], seconds[name], strict=True)]),
        )
    return cells


def _table(case: str, cells: Mapping[str, _Cell]) -> Table:
    floor = cells["floor"].p50
    rows = []
    for name, cell in cells.items():
        against = ratio(cell.p50, floor)
        rows.append(
            [
                name,
                f"{against.median:.2f}",
                f"{against.low:.2f}-{against.high:.2f}",
                f"{cell.p50.median * 1e6:.0f}",
                f"{cell.p99 * 1e6:.0f}",
                f"{cell.processor.median * 1e6:.0f}",
                f"{cell.server.median * 1e6:.0f}",
                f"{cell.share.median:.0%}",
            ]
        )
    head = ["client", "x floor", "spread", "p50 us", "p99 us", "CPU us", "server us", "server busy"]
    return Table(f"{_TITLES[case]} ({cells['floor'].calls} calls each)", head, rows)


def _targets(cells: Mapping[str, Mapping[str, _Cell]]) -> list[Target]:
    targets = []
    for case, name, other, target, stretch in _FASTER:
        if {name, other} <= set(cells.get(case, ())):
            found = ratio(cells[case][other].p50, cells[case][name].p50)
            work = _TITLES[case] + name.removeprefix("ours")
            targets.append(
                Target(
                    work, other, found, "x faster", target, stretch, more_is_better=True, detail=_is_detail(case, name)
                )
            )
    for case, name, other, target, stretch in _SLOWER:
        if {name, other} <= set(cells.get(case, ())):
            found = ratio(cells[case][name].p50, cells[case][other].p50)
            targets.append(Target(_TITLES[case], other, found, "x its time", target, stretch))
    return targets


def _is_detail(case: str, name: str) -> bool:
    return name != "ours" and case != "facemesh-1"


def _bottleneck(cells: Mapping[str, Mapping[str, _Cell]]) -> str:
    """Return the note that the server is not the bottleneck."""
    shares = ", ".join(
        f"{case} {of['wire'].p50.median / of['ours'].p50.median:.0%}" for case, of in cells.items() if "ours" in of
    )
    return (
        "Client and server share a core: one of them always waits for the other. The server is not the bottleneck:"
        " 'wire' sends the same bytes ready-made and leaves the reply unread, so its time is all that server and"
        f" kernel take; of ours it is: {shares}"
    )
