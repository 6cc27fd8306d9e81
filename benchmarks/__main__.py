"""Run the benchmarks: ``python -m benchmarks [FAMILY ...] [--rounds N] [--quick] [--connects N] [--readme]``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .bench import bench
from .charts import draw
from .environments import ROOT, versions
from .families import FAMILIES
from .processes import BenchmarkError
from .publish import publish
from .report import lines, target_table, write_json
from .results import Result, Target

__all__ = ["main"]

_ENVIRONMENTS = {"main": None, "hume_0_6": "hume_0_6", "clients": "clients"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"of {', '.join(FAMILIES)}; default: all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="run little of everything, to check that it works")
    parser.add_argument("--connects", type=int, help="TLS connects in a row (default 10000; 200 if quick)")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--readme", action="store_true", help="write the figures into README.md and docs")
    options = parser.parse_args(argv)
    unknown = set(options.families) - set(FAMILIES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if options.readme and (options.families or options.quick):
        parser.error("--readme needs a complete run")
    connects = options.connects or (200 if options.quick else 10_000)
    targets: list[Target] = []
    try:
        about = {name: versions(environment) for name, environment in _ENVIRONMENTS.items()}
        with bench(rounds=options.rounds, quick=options.quick, connects=connects) as run:
            for name in options.families or FAMILIES:
                begun = time.monotonic()
                result: Result = FAMILIES[name](run)
                print(f"\n== {name} ({options.rounds} rounds, {time.monotonic() - begun:.0f} s)")
                for line in lines(result):
                    print(line)
                sys.stdout.flush()
                targets += result.targets
                write_json(result, options.results, about)
                draw(result.chart, options.results / f"{name}.svg")
    except (BenchmarkError, FileNotFoundError) as exc:
        print(f"FAILED: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print()
    for line in target_table(targets):
        print(line)
    if options.readme:
        publish(ROOT, options.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
