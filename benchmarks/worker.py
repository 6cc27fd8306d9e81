"""The process that measures a client, in the environment of that client.

``python -m benchmarks.worker MODULE FACTORY DIRECTORY [--without-numpy] [CORE]`` calls the factory with the directory
of the cases' files, and then methods of the object it returned. For each JSON line ``{"do": method, ...arguments}`` on
its input it writes ``{"done": result}`` or ``{"failed": text}``. It ends when its standard input is closed.
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    *_, core = sys.argv
    if core.isdecimal():
        os.sched_setaffinity(0, {int(core)})
    if "--without-numpy" in sys.argv[4:]:
        sys.modules["numpy"] = None  # type: ignore[assignment]  # importing it fails, as if it were not installed
    # Send the output of a client to standard error, so that it is not read as an answer.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        host = getattr(importlib.import_module(module), factory)(Path(directory))
        for line in sys.stdin:
            arguments = json.loads(line)
            try:
                answer = {"done": getattr(host, arguments.pop("do"))(**arguments)}
            except Exception as exc:  # noqa: BLE001 - any error of a client is reported, and ends the run
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
