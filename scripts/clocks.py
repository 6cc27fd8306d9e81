"""Run a command as on a machine that started 20 seconds ago, and again as on one that has run for ten years.

Usage: clocks.py COMMAND [ARGUMENT ...]

Each run has a separate Linux time namespace with shifted clocks of the uptime. Without time namespaces, the command is
skipped with a message. With REQUIRE_CLOCKS set, it fails if the kernel has time namespaces and only the permission or
the command unshare (util-linux) is missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

UPTIMES = {"20 seconds": 20, "ten years": 10 * 365 * 24 * 3600}

WAYS = (["unshare", "--time"], ["unshare", "--user", "--map-current-user", "--time"])
"""How to make a time namespace: as root, and as a user who may create user namespaces."""

CHECK = "import time; print(time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))"


def at(way: list[str], seconds: int) -> list[str]:
    """Return the beginning of a command line that runs the rest of it with this uptime."""
    offsets = [f"{seconds - now:.0f}" for now in (time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))]
    return [*way, "--monotonic", offsets[0], "--boottime", offsets[1], "--"]


def works(way: list[str]) -> bool:
    """Return whether the clocks can be shifted in this way, by reading them."""
    for seconds in UPTIMES.values():
        command = [*at(way, seconds), sys.executable, "-c", CHECK]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
        except FileNotFoundError:
            return False
        if done.returncode or not all(abs(float(clock) - seconds) < 10 for clock in done.stdout.split()):
            return False
    return True


def main(command: list[str]) -> int:
    """Run the command at each uptime; return the first exit status that is not 0."""
    kernel = Path("/proc/self/ns/time").exists()
    way = next((way for way in WAYS if works(way)), None) if kernel else None
    if way is None:
        why = "time namespaces may not be made here" if kernel else "this system has no time namespaces"
        print(f"test-clocks: skipped: {why}", flush=True)
        return int(kernel and bool(os.environ.get("REQUIRE_CLOCKS")))
    for name, seconds in UPTIMES.items():
        print(f"== on a machine that started {name} ago: {' '.join(command)}", flush=True)
        if status := subprocess.run([*at(way, seconds), *command], check=False).returncode:  # noqa: S603 - the caller's
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
