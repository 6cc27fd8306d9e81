"""The processes of a run: the server and the workers. They end with this process at the latest."""

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

_PATIENCE = 300.0  # default timeout in seconds of an order to a worker


class BenchmarkError(Exception):
    """Raised when a client returned a wrong reply or none, which makes the run invalid."""


class Hang(BenchmarkError):
    """Raised when a worker did not answer in time, or has ended."""


class _Child:
    """A child process that exchanges JSON lines with this one."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._received = b""

    def _read(self, patience: float) -> dict[str, Any] | None:
        """Return the next line, or None at a timeout or the end of the output."""
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
    """The server, on a free port of the loopback interface.

    Args:
        processes: How many connections it can serve at the same time.
        tls: The files of the certificate and its key, to serve TLS.
        core: The core to run on; None for any.

    Attributes:
        base: The URL of the server, without a path.
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
        self._pids: list[int] = said["processes"]

    def processor(self) -> float:
        """Return the CPU seconds that its processes have used so far."""
        return sum(_processor(pid) for pid in self._pids)


def _processor(pid: int) -> float:
    """Return the CPU seconds of a process."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


class Worker(_Child):
    """The process that measures one client.

    Args:
        name: The name of the client.
        directory: The directory of the cases' files.
        authorities: The file of the trusted certificate authorities.
        core: The core to run on; None for any.
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
        """Call a method of its host.

        Args:
            order: The name of the method.
            patience: The timeout in seconds.
            **arguments: The arguments of the method.

        Returns:
            The result of the method.

        Raises:
            BenchmarkError: The method raised; the message names the client and the case.
            Hang: The worker did not answer in time, or has ended.
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
    """Return the names rotated by the number of the round, so that each round begins with another."""
    begin = by % len(names)
    return [*names[begin:], *names[:begin]]
