"""The process in which one client is measured, in that client's own environment.

``python -m benchmarks.worker MODULE FACTORY DIRECTORY [--without-numpy] [CORE]`` calls the factory with the directory,
where the cases' files are, and then methods of what it made: a JSON line in, ``{"do": method, ...arguments}``, and one
out, ``{"done": ...}`` or ``{"failed": text}``. It ends with its standard input.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path

__all__ = ["main"]


def main() -> int:
    """Run the command."""
    module, factory, directory = sys.argv[1:4]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the affair of who started it
    *_, core = sys.argv
    if core.isdecimal():
        os.sched_setaffinity(0, {int(core)})
    if "--without-numpy" in sys.argv[4:]:
        sys.modules["numpy"] = None  # type: ignore[assignment]  # importing it fails, as where it is not installed
    # What a client prints must not be taken for an answer.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        host = getattr(importlib.import_module(module), factory)(Path(directory))
        for line in sys.stdin:
            arguments = json.loads(line)
            try:
                answer = {"done": getattr(host, arguments.pop("do"))(**arguments)}
            except Exception as exc:  # noqa: BLE001 - whatever a client raises is reported, and ends the run
                traceback.print_exc()
                answer = {"failed": f"{type(exc).__name__}: {exc}"}
            json.dump(answer, answers)
            answers.write("\n")
            answers.flush()
    if hasattr(host, "end"):
        host.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
