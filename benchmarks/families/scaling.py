"""Throughput of many threads, each on a connection of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ..bench import Bench
from ..figures import Figure, figure, ratio
from ..processes import Server, Worker, rotated
from ..results import Chart, Result, Table, Target

__all__ = ["run"]

_CLIENTS = ("ours", "floor", "hume", "hume, facade")
_THREADS = (1, 2, 4, 8, 16, 32)
_THINK = (0.0, 0.020)
_CASES = ("text", "facemesh-1")
_SECONDS = {0.0: 0.2, 0.020: 0.5}
_WORK = "32 threads, 20 ms think time, one face each"


@attrs.frozen
class _Cell:
    """One client with so many threads."""

    rate: Figure
    cores: Figure
    server: Figure
    """Cores that the server used."""


def run(bench: Bench) -> Result:
    """Measure each case, think time and number of threads, the clients by turns."""
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
    seconds = _SECONDS[order["think"]] / (4 if bench.quick else 1)
    for number in range(bench.rounds):
        for name in rotated(list(workers), number):
            before = server.processor()
            done = workers[name].do("drive", base=server.base, seconds=seconds, **order)
            rates[name].append(done["rate"])
            cores[name].append(done["cores"])
            served[name].append((server.processor() - before) / done["wall"])
    return {name: _Cell(figure(rates[name]), figure(cores[name]), figure(served[name])) for name in workers}


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
                    f"{cell.server.median:.2f}",
                ]
            )
    head = ["threads, client", "requests/s", "x hume", "of ideal", "cores", "server cores"]
    return Table(f"Scaling: {name} think time", head, rows)


def _targets(cells: Mapping[str, _Cell]) -> list[Target]:
    ours, hume = cells["ours"], cells["hume"]
    ideal = ours.rate.scaled(100 * 0.020 / 32)
    return [
        Target(_WORK, "hume", ratio(ours.rate, hume.rate), "x its throughput", 1.4, more_is_better=True),
        Target(_WORK, "32 / 0.020 s", ideal, "%", 95, 97, more_is_better=True),
        Target(_WORK, "itself", ours.cores, "cores", 0.25, 0.2),
    ]
