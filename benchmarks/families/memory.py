"""The memory of an idle TLS connection that has been used."""

from __future__ import annotations

from collections import Counter

from ..bench import Bench
from ..figures import figure, ratio
from ..processes import Hang, Server, rotated
from ..results import Chart, Result, Table, Target

__all__ = ["run"]

_CLIENTS = ("ours", "hume", "websocket-client", "websockets.sync")
_CONNECTIONS = 96
_CASE = "facemesh-1"
_PATIENCE = 10.0  # seconds
_HANGS = 25
_FEWEST = 12
_SYSTEM = ", system's authorities"


def run(bench: Bench) -> Result:
    """Open many connections in a new process of each client, in turn.

    Clients that load certificate authorities for each connection keep a copy for each. With the authorities of a
    system, that is most of their memory. So the main figures use one authority; those with the system's are separate.
    """
    connections = 24 if bench.quick else _CONNECTIONS
    names = [*_CLIENTS, *(name + _SYSTEM for name in _CLIENTS)]
    found: dict[str, list[float]] = {name: [] for name in names}
    hangs: Counter[str] = Counter()
    with bench.server(connections + 16, tls=True) as server:
        for number in range(bench.rounds):
            for name in rotated(names, number):
                found[name].append(_hold(bench, server, name, connections, hangs))
    sizes = {name: figure(rounds) for name, rounds in found.items()}
    ours, work = sizes["ours"], "memory of an idle pooled TLS connection"
    rows = [
        [name, f"{size.median:.1f}", f"{size.low:.1f}-{size.high:.1f}", f"{ratio(size, ours).median:.2f}"]
        for name, size in sizes.items()
    ]
    return Result(
        family="memory",
        tables=[Table(f"PSS of {connections} idle TLS connections, each", ["client", "KB", "spread", "x ours"], rows)],
        targets=[
            Target(work, "hume", ratio(sizes["hume"], ours), "x smaller", 5, more_is_better=True),
            Target(work, "itself", ours, "KB", 40),
        ],
        data={**{name: size.rounds for name, size in sizes.items()}, "hangs": dict(hangs)},
        chart=Chart(
            title="Memory of an idle TLS connection (medians of the rounds)",
            unit="KB",
            places=["PSS"],
            series={name: [size.median] for name, size in sizes.items()},
            logarithmic=False,
        ),
        notes=[f"{name} hung {count} times while connecting, and was restarted." for name, count in hangs.items()],
    )


def _hold(bench: Bench, server: Server, name: str, connections: int, hangs: Counter[str]) -> float:
    """Return the KB of each connection.

    Another client may hang (websockets.sync does with TLS, once in some hundred connects). It is then restarted with
    half as many connections, which does not change the memory of each.
    """
    client = name.removesuffix(_SYSTEM)
    trusted = bench.authority if client == name else bench.authorities
    while True:
        try:
            with bench.workers([client], trusted) as workers:
                order = {"base": server.base, "case": _CASE}
                workers[client].do("verify", patience=_PATIENCE, **order)
                return float(workers[client].do("hold", patience=_PATIENCE, count=connections, **order)) / 1024
        except Hang:
            hangs[client] += 1
            connections = max(connections // 2, _FEWEST)
            if client == "ours" or hangs[client] > _HANGS:
                raise
