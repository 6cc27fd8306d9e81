"""The time of an import in a new process, above that of a bare interpreter."""

from __future__ import annotations

import json
import subprocess
import time

from ..bench import Bench
from ..environments import ROOT, child_environment, python_of, site_packages
from ..figures import Figure, difference, figure, ratio
from ..processes import rotated
from ..results import Chart, Result, Table, Target

__all__ = ["run"]

_LEAST_ROUNDS = 15
_HUME = "hume_0_6"
_PROGRAMS = {
    "bare": (None, "pass"),
    "hume_sync": (None, "import hume_sync"),
    "bare, hume's environment": (_HUME, "pass"),
    "hume": (_HUME, "import hume"),
}
_BARE = {"hume_sync": "bare", "hume": "bare, hume's environment"}

# Without site customizations that run at every start, such as the finder of an editable package: they differ between
# environments. VmHWM is the peak of this program; ru_maxrss would start at that of its parent.
_LOOK = (
    "import site, sys; sys.path.append(sys.argv[1]); sys.modules['numpy'] = None; {what}; n = len(sys.modules)\n"
    "with open('/proc/self/status') as f: peak = next(l for l in f if l.startswith('VmHWM'))\n"
    "print('[%d, %d]' % (n, int(peak.split()[1])))"
)


def run(bench: Bench) -> Result:
    """Start each program in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in _PROGRAMS}
    seen: dict[str, list[int]] = {}
    for name in _PROGRAMS:
        _start(name)  # write its bytecode, and load it into the system's cache
    for number in range(max(bench.rounds, 2 if bench.quick else _LEAST_ROUNDS)):
        for name in rotated(list(_PROGRAMS), number):
            taken, seen[name] = _start(name)
            seconds[name].append(taken)
    times = {name: figure(rounds).scaled(1000) for name, rounds in seconds.items()}
    above = {name: difference(times[name], times[bare]) for name, bare in _BARE.items()}
    return _result(times, above, seen)


def _start(name: str) -> tuple[float, list[int]]:
    """Run a program; return its wall time in seconds, its number of modules and its peak memory in KB."""
    environment, what = _PROGRAMS[name]
    packages = site_packages(environment)
    command = [str(python_of(environment)), "-S", "-W", "ignore", "-c", _LOOK.format(what=what), packages]
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - begun, list(json.loads(done.stdout))


def _result(times: dict[str, Figure], above: dict[str, Figure], seen: dict[str, list[int]]) -> Result:
    rows = [
        [
            name,
            f"{above[name].median:.0f}" if name in above else "-",
            f"{above[name].low:.0f}-{above[name].high:.0f}" if name in above else "-",
            f"{value.median:.0f}",
            f"{seen[name][1] / 1024:.1f}",
            str(seen[name][0]),
        ]
        for name, value in times.items()
    ]
    ours, work = above["hume_sync"], "import above a bare interpreter, without numpy"
    return Result(
        family="imports",
        tables=[Table("Imports", ["program", "ms above bare", "spread", "ms", "peak MB", "modules"], rows)],
        targets=[
            Target(work, "hume", ratio(above["hume"], ours), "x faster", 2, more_is_better=True),
            Target(work, "itself", ours, "ms", 90),
        ],
        data={
            "ms": {name: value.rounds for name, value in times.items()},
            "modules, peak KB": seen,
        },
        chart=Chart(
            title="Import above a bare interpreter (medians of the rounds)",
            unit="ms",
            places=["import"],
            series={name: [value.median] for name, value in above.items()},
            logarithmic=False,
        ),
    )
