"""Throughput and CPU time of many threads, with a connection for each.

"ours" holds a lease in each thread. "ours, lease each" acquires a lease for each request, as the views of a web server
and the tasks of a batch do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ..bench import Bench
from ..figures import Figure, figure, ratio
from ..processes import BenchmarkError, Server, Worker, rotated
from ..results import Chart, Result, Table, Target

__all__ = ["run"]

_CLIENTS = ("ours", "ours, lease each", "floor", "hume", "hume, facade")
_THREADS = (1, 2, 4, 8, 16, 32)
_THINK = (0.0, 0.020)
_CASES = ("text", "facemesh-1")
_SECONDS = {0.0: 0.2, 0.020: 0.5}
_WORK = "32 threads, 20 ms think time, one face each"
_LEASED = "32 threads, 20 ms think time, one face and a lease for each request"


@attrs.frozen
class _Cell:
    """The figures of one client with one number of threads.

    Attributes:
        rate: Requests per second.
        cores: CPU cores used by the client.
        server: CPU cores used by the server.
        call: Seconds of the client's CPU time for each request.
    """

    rate: Figure
    cores: Figure
    server: Figure
    call: Figure


def run(bench: Bench) -> Result:
    """Measure each case, think time and number of threads, the clients in turn."""
    found: dict[str, dict[int, dict[str, _Cell]]] = {}
    with bench.server(2 * max(_THREADS)) as server, bench.workers(_CLIENTS) as workers:
        for case in _CASES:
            for worker in workers.values():
                worker.do("verify", base=server.base, case=case)
            for think in _THINK:
                found[f"{case}, {think * 1000:.0f} ms"] = {
                    threads: _measure(bench, server, workers, {"case": case, "think": think, "threads": threads})
                    for threads in _THREADS
                }
    return Result(
        family="scaling",
        tables=[_table(name, of) for name, of in found.items()],
        targets=_targets(found["facemesh-1, 20 ms"][32]),
        data={
            name: {
                threads: {client: attrs.asdict(cell) for client, cell in cells.items()} for threads, cells in of.items()
            }
            for name, of in found.items()
        },
        chart=Chart(
            title="One face a request, 20 ms think time: requests a second",
            unit="requests/s",
            places=[str(threads) for threads in _THREADS],
            series={
                **{
                    name: [cells[name].rate.median for cells in found["facemesh-1, 20 ms"].values()]
                    for name in _CLIENTS
                },
                "ideal": [threads / 0.020 for threads in _THREADS],
            },
            lines=True,
        ),
    )


def _measure(bench: Bench, server: Server, workers: Mapping[str, Worker], order: Mapping[str, Any]) -> dict[str, _Cell]:
    rates: dict[str, list[float]] = {name: [] for name in workers}
    cores: dict[str, list[float]] = {name: [] for name in workers}
    served: dict[str, list[float]] = {name: [] for name in workers}
    calls: dict[str, list[float]] = {name: [] for name in workers}
    seconds = _SECONDS[order["think"]] / (4 if bench.quick else 1)
    for number in range(bench.rounds):
        for name in rotated(list(workers), number):
            before = server.processor()
            done = workers[name].do("drive", base=server.base, seconds=seconds, **order)
            rates[name].append(done["rate"])
            cores[name].append(done["cores"])
            served[name].append((server.processor() - before) / done["wall"])
            calls[name].append(done["cores"] / done["rate"])
            if done["connections"] != order["threads"]:
                raise BenchmarkError(f"{name}: {order['threads']} threads have used {done['connections']} connections")
    return {
        name: _Cell(figure(rates[name]), figure(cores[name]), figure(served[name]), figure(calls[name]))
        for name in workers
    }


def _table(name: str, found: Mapping[int, Mapping[str, _Cell]]) -> Table:
    think = float(name.split()[1]) / 1000
    rows = []
    for threads, cells in found.items():
        for client, cell in cells.items():
            against = ratio(cell.rate, cells["hume"].rate)
            rows.append(
                [
                    f"{threads}, {client}",
                    f"{cell.rate.median:.0f}",
                    f"{against.median:.2f}",
                    f"{cell.rate.median * think / threads:.0%}" if think else "-",
                    f"{cell.cores.median:.2f}",
                    f"{ratio(cell.call, cells['floor'].call).median:.2f}",
                    f"{cell.server.median:.2f}",
                ]
            )
    head = ["threads, client", "requests/s", "x hume", "of ideal", "cores", "CPU x floor", "server cores"]
    return Table(f"Scaling: {name} think time", head, rows)


def _targets(cells: Mapping[str, _Cell]) -> list[Target]:
    ours, leased, floor, hume = (cells[name] for name in ("ours", "ours, lease each", "floor", "hume"))
    to_percent = 100 * 0.020 / 32
    return [
        Target(_WORK, "hume", ratio(ours.rate, hume.rate), "x its throughput", 1.4, more_is_better=True),
        Target(_WORK, "32 / 0.020 s", ours.rate.scaled(to_percent), "%", 95, 97, more_is_better=True),
        Target(_WORK, "itself", ours.cores, "cores", 0.25, 0.2),
        Target(_WORK, "floor", ratio(ours.call, floor.call), "x its CPU", 1.6),
        Target(_LEASED, "32 / 0.020 s", leased.rate.scaled(to_percent), "%", 95, 97, more_is_better=True),
        Target(_LEASED, "floor", ratio(leased.call, floor.call), "x its CPU", 2),
    ]
