"""The environments of the clients, and what is installed there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import attrs

__all__ = ["CLIENTS", "ROOT", "Program", "child_environment", "python_of", "site_packages", "versions"]

ROOT = Path(__file__).parents[1]
_ENVIRONMENTS = ROOT / ".peers"

_PACKAGES = (
    "hume_sync", "hume", "websocket-client", "websockets", "picows", "uvloop", "orjson", "pybase64", "numpy", "attrs",
    "tenacity", "pydantic",
)  # fmt: skip


@attrs.frozen
class Program:
    """The program of a worker.

    Attributes:
        environment: The name of its environment; None for that of this process.
        module: The module to import.
        factory: The function of the module that makes the host.
        numpy: Whether numpy may be imported.
    """

    environment: str | None
    module: str
    factory: str
    numpy: bool = True


_HUME, _OTHERS = "hume_0_6", "clients"

CLIENTS = {
    "ours": Program(None, "benchmarks.clients.ours", "pooled"),
    "ours, no numpy": Program(None, "benchmarks.clients.ours", "pooled", numpy=False),
    "ours, lease each": Program(None, "benchmarks.clients.ours", "leasing"),
    "ours, own socket": Program(None, "benchmarks.clients.ours", "single"),
    "floor": Program(None, "benchmarks.clients.floor", "requests"),
    "wire": Program(None, "benchmarks.clients.floor", "wire"),
    "hume": Program(_HUME, "benchmarks.clients.hume_0_6", "on_asyncio"),
    "hume, facade": Program(_HUME, "benchmarks.clients.hume_0_6", "facade"),
    "websocket-client": Program(_OTHERS, "benchmarks.clients.websocket_client", "host"),
    "websockets.sync": Program(_OTHERS, "benchmarks.clients.websockets_sync", "host"),
    "picows": Program(_OTHERS, "benchmarks.clients.picows_uvloop", "host"),
    "serialization": Program(None, "benchmarks.probes.serialization", "probe"),
    "serialization, no numpy": Program(None, "benchmarks.probes.serialization", "probe", numpy=False),
    "serialization of hume": Program(_HUME, "benchmarks.probes.hume_serialization", "probe"),
    "overhead": Program(None, "benchmarks.probes.overhead", "probe"),
}
"""The clients by the names in the reports."""


def python_of(environment: str | None) -> Path:
    """Return the interpreter of an environment.

    Raises:
        FileNotFoundError: The environment has not been built.
    """
    if environment is None:
        return Path(sys.executable)
    python = _ENVIRONMENTS / environment / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(f"the environment {environment} is missing: run make bench")
    return python


@lru_cache
def site_packages(environment: str | None) -> str:
    """Return the directory of an environment's packages."""
    return _output(environment, "import sysconfig; print(sysconfig.get_path('purelib'))").strip()


def child_environment(**extra: str) -> dict[str, str]:
    """Return the environment variables of a child process, without settings that would affect a client."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HUME_", "PYTHON")) and not name.lower().endswith("_proxy")
    }
    return {**kept, **extra}


def versions(environment: str | None) -> dict[str, str]:
    """Return the versions of Python and of the relevant packages in an environment."""
    code = (
        "import importlib.metadata as m, json, platform, sys\n"
        "found = {'python': platform.python_version()}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name] = m.version(name)\n"
        "    except m.PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    return dict(json.loads(_output(environment, code, *_PACKAGES)))


def _output(environment: str | None, code: str, *arguments: str) -> str:
    command = [str(python_of(environment)), "-c", code, *arguments]
    done = subprocess.run(command, env=child_environment(), stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return done.stdout
