"""The ``hume-sync`` command: demo, serve, send, batch, report, check, fastrtc.

Exit status:

- 0: success, and Ctrl-C of ``serve``;
- 1: the server cannot be reached, or failed;
- 2: invalid input, usage, configuration or key, found here or by the server (codes E01.. and E02..);
- 3: ``batch`` or ``send --keep-going`` has measured some inputs, and others failed;
- 130: Ctrl-C.

Errors are one line on standard error. The key is read from ``HUME_API_KEY`` only: other users can see a command line.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from typing import NoReturn

from .._version import __version__
from ..errors import HumeClientException, InputError
from ..net.extras import NeedsExtra
from ..reprs import safe_repr
from . import batch, check, fastrtc, report_page, send
from .exit_codes import exit_status, format_error

__all__ = ["main"]

_Lines = Generator[str, None, int | None]
"""Lines to print, and the exit status (None: 0)."""

_DEMO_EPILOG = "Everything goes to a server in this process: HUME_BASE_URL, HUME_API_KEY and proxies are not used."

_SERVE_EPILOG = (
    "HUME_BASE_URL and HUME_API_KEY are not read; the line that is printed sets them for the other commands. The server"
    " accepts any key that is not empty."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # escape characters that the terminal cannot show
    interrupted = 130
    try:
        given = sys.argv[1:] if argv is None else argv
        arguments = _parser().parse_args(given)
        arguments.command_line = shlex.join(["hume-sync", *given])
        interrupted = arguments.interrupted
        run: Callable[[argparse.Namespace], _Lines] = arguments.run
        with contextlib.closing(run(arguments)) as lines:
            return _print(lines) or 0
    except KeyboardInterrupt:
        return interrupted
    except BrokenPipeError:
        # The reader of our output has exited. Discard what is buffered, so flushing it at exit does not fail again.
        with open(os.devnull, "wb") as null:  # noqa: PTH123 - a device
            os.dup2(null.fileno(), sys.stdout.fileno())
        return 0
    except (HumeClientException, OSError) as exc:
        print(format_error(exc), file=sys.stderr)
        return exit_status(exc)


def _print(lines: _Lines) -> int | None:
    while True:
        try:
            line = next(lines)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # of the generator's return type
        print(line, flush=True)


@safe_repr
class _Parser(argparse.ArgumentParser):
    """An argument parser that reports an error as one line, like all other errors of the command."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hume-sync",
        description="Streaming expression measurement, blocking.",
        epilog="hume-sync COMMAND --help lists the environment variables that a command reads.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(interrupted=130)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "demo", help="stream sample speech, image, texts and landmarks to a local server", epilog=_DEMO_EPILOG
    )
    command.set_defaults(run=_demo)

    command = commands.add_parser("serve", help="run the local server until Ctrl-C", epilog=_SERVE_EPILOG)
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    command.add_argument("--port", type=int, default=0, help="port (default 0: any free one)")
    command.add_argument("--seed", type=int, default=0, help="seed of the invented scores")
    command.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="wait before each reply")
    command.set_defaults(run=_serve, interrupted=0)  # Ctrl-C is the normal way to stop it

    command = commands.add_parser("send", help="send files or text to a v0 server, print what it measures")
    send.add_arguments(command)
    command.set_defaults(run=send.run)

    command = commands.add_parser("batch", help="measure many files, rows or texts; resumes where it was stopped")
    batch.add_arguments(command)
    command.set_defaults(run=batch.run)

    command = commands.add_parser("check", help="ask a v0 server whether it can be used")
    check.add_arguments(command)
    command.set_defaults(run=check.run)

    command = commands.add_parser("report", help="write the results of a batch as one HTML page")
    report_page.add_arguments(command)
    command.set_defaults(run=report_page.run)

    command = commands.add_parser("fastrtc", help="do one turn with a FastRTC handler")
    command.set_defaults(run=fastrtc.run)
    fastrtc.add_arguments(command)
    return parser


def _demo(arguments: argparse.Namespace) -> _Lines:  # noqa: ARG001 - it has no arguments
    with NeedsExtra("emulator", "the local server"):
        from . import demo  # noqa: PLC0415 - it needs the extra
    yield from demo.run()
    return 0


def _serve(arguments: argparse.Namespace) -> _Lines:
    with NeedsExtra("emulator", "the local server"):
        from ..emulator import Emulator  # noqa: PLC0415 - an extra; `send` works without it
    try:
        server = Emulator(arguments.host, arguments.port, seed=arguments.seed, latency=arguments.latency)
    except (TypeError, ValueError) as exc:
        raise InputError(str(exc)) from exc
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop in the same way when a supervisor sends SIGTERM
    with server:
        yield f"Serving v0 on {server.url} until Ctrl-C. EMULATED: its scores are invented."
        yield f"export HUME_BASE_URL={server.url} HUME_API_KEY=any"
        threading.Event().wait()  # never set: only a signal ends the wait
    return 0
