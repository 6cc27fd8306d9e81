"""The processes of a run: the server, and a worker for each client. Both end with this process, or before."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .environments import CLIENTS, ROOT, child_environment, python_of

__all__ = ["BenchmarkError", "Hang", "Server", "Worker", "rotated"]

_PATIENCE = 300.0  # seconds a worker may take for one order, unless it is known to take longer


class BenchmarkError(Exception):
    """A client returned something wrong, or nothing: the run proves nothing."""


class Hang(BenchmarkError):
    """A client did not answer in time, or its process has ended."""


class _Child:
    """A process that is talked to in JSON lines."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._received = b""

    def _read(self, patience: float) -> dict[str, Any] | None:
        """The next line; None where there is none in time, or ever."""
        assert self._process.stdout is not None
        until = time.monotonic() + patience
        while b"\n" not in self._received:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            data = os.read(self._process.stdout.fileno(), 2**16) if ready else b""
            if not data:
                return None
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return dict(json.loads(line))

    def _write(self, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(0 if kind else 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Server(_Child):
    """The server, on a port of this machine alone.

    Args:
        processes: how many connections it can serve at one time.
        tls: files of certificate and key.
        core: the one to run on; None: any.
    """

    def __init__(self, processes: int, tls: tuple[Path, Path] | None = None, core: int | None = None) -> None:
        options = [] if core is None else ["--core", str(core)]
        options += ["--cert", str(tls[0]), "--key", str(tls[1])] if tls else []
        command = [sys.executable, "-m", "benchmarks.server", "--processes", str(processes), *options]
        super().__init__(command, child_environment())
        said = self._read(60)
        if said is None:
            self._process.kill()
            raise BenchmarkError("the server did not start")
        self.base = f"{'wss' if tls else 'ws'}://127.0.0.1:{said['port']}"
        """Its URL, without a path."""
        self._pids: list[int] = said["processes"]

    def processor(self) -> float:
        """Seconds of the processor its processes have used so far."""
        return sum(_processor(pid) for pid in self._pids)


def _processor(pid: int) -> float:
    """Seconds that a process ran."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


class Worker(_Child):
    """The process of one client.

    Args:
        name: of the client.
        directory: where the cases' files are.
        authorities: file of the certificate authorities it is to trust.
        core: the one to run on; None: any.
    """

    def __init__(self, name: str, directory: Path, authorities: Path | None = None, core: int | None = None) -> None:
        self.name = name
        program = CLIENTS[name]
        options = [] if program.numpy else ["--without-numpy"]
        options += [] if core is None else [str(core)]
        command = [str(python_of(program.environment)), "-W", "ignore", "-m", "benchmarks.worker"]
        command += [program.module, program.factory, str(directory), *options]
        trusted = {"SSL_CERT_FILE": str(authorities)} if authorities else {}
        super().__init__(command, child_environment(**trusted))

    def do(self, order: str, *, patience: float = _PATIENCE, **arguments: Any) -> Any:
        """Have a method of its host called.

        Raises:
            BenchmarkError: it raised; the client and the case are named.
            Hang: it ended, or hangs.
        """
        where = ", ".join([self.name, *(str(arguments[key]) for key in ("case",) if key in arguments)])
        try:
            self._write(do=order, **arguments)
            answer = self._read(patience)
        except OSError as exc:
            raise Hang(f"{where}: the worker has ended") from exc
        if answer is None:
            raise Hang(f"{where}: no answer to {order!r}: the worker has ended, or hangs")
        if "failed" in answer:
            raise BenchmarkError(f"{where}: {answer['failed']}")
        return answer["done"]


def rotated(names: Sequence[str], by: int) -> list[str]:
    """The names in turn, each round beginning with another."""
    begin = by % len(names)
    return [*names[begin:], *names[:begin]]
