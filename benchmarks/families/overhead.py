"""The overhead of lock, deadline, ``payload_id`` and leases."""

from __future__ import annotations

from ..bench import Bench
from ..figures import figure
from ..results import Chart, Result, Table, Target

__all__ = ["run"]

_BLOCKS, _SIZE = 60, 100
_WORK = {
    "polled": "looking whether the connection is as it was left",
    "held": "a request on a held lease, beyond a bare connection's",
    "leased": "a lease for each request, beyond a held one",
}
_MOST = {"held": 5.0, "leased": 10.0}


def run(bench: Bench) -> Result:
    """Measure a text request in four ways, in alternating blocks."""
    rounds = []
    with bench.server(10, core=bench.core) as server, bench.workers(["overhead"], core=bench.core) as workers:
        worker = workers["overhead"]
        worker.do("open", base=server.base)
        worker.do("run", blocks=1, size=10)
        rounds = [worker.do("run", blocks=bench.few(_BLOCKS), size=_SIZE) for _ in range(bench.rounds)]
    found = {name: figure([round_[name] * 1e6 for round_ in rounds]) for name in ("bare", *_WORK)}
    rows = [
        [name, f"{value.median:.1f}", f"{value.low:.1f}-{value.high:.1f}"]
        for name, value in (
            ("a text request on a bare connection", found["bare"]),
            *((_WORK[name], found[name]) for name in _WORK),
        )
    ]
    return Result(
        family="overhead",
        tables=[Table("Overhead of pool and lease", ["work", "us", "spread"], rows)],
        targets=[Target(_WORK[name], "itself", found[name], "us more", most) for name, most in _MOST.items()],
        data={"rounds": rounds},
        chart=Chart(
            title="Overhead (medians of the rounds)",
            unit="us",
            places=["poll", "held lease", "lease for each request"],
            series={"ours": [found[name].median for name in _WORK], "target": [_MOST.get(name) for name in _WORK]},
            logarithmic=False,
        ),
    )
