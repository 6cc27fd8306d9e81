"""The ``hume-sync`` command: demo, serve, send, fastrtc.

Exit status: 0; 2 for bad input, use or configuration, found here or by the server (codes E01.. and E02..); 1 when the
server cannot be reached or fails; 3 when ``send --keep-going`` has sent some inputs and others failed; 130 on Ctrl-C,
which is the usual end of ``serve``: 0 there.
Errors are one line on standard error. Keys come from ``HUME_API_KEY`` alone: a command line is no place for them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from typing import NoReturn

from .._version import __version__
from ..errors import HumeClientException, InputError
from ..net.extras import NeedsExtra
from ..reprs import safe_repr
from . import fastrtc as turns
from . import send
from .exit_codes import exit_status, one_line

__all__ = ["main"]

_Lines = Generator[str, None, int | None]
"""Lines to print, and the exit status (None: 0)."""

_DEMO_EPILOG = "Everything goes to a server in this process: HUME_BASE_URL, HUME_API_KEY and proxies are not used."

_SERVE_EPILOG = (
    "HUME_BASE_URL and HUME_API_KEY are not read; the line that is printed sets them for the other commands. Any key"
    " that is not empty opens the server."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a sign is no reason to fail
    interrupted = 130
    try:
        arguments = _parser().parse_args(argv)
        interrupted = arguments.interrupted
        run: Callable[[argparse.Namespace], _Lines] = arguments.run
        with contextlib.closing(run(arguments)) as lines:
            return _print(lines) or 0
    except KeyboardInterrupt:
        return interrupted
    except BrokenPipeError:
        # Whoever read our output has gone; what is still buffered must not fail again at exit.
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, and no path of anybody's
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return 0
    except (HumeClientException, OSError) as exc:
        print(one_line(exc), file=sys.stderr)
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
    """A parser whose complaint is one line, like every other."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hume-sync",
        description="Streaming expression measurement, blocking.",
        epilog="hume-sync COMMAND --help names the environment variables that a command reads.",
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
    command.add_argument("--port", type=int, default=0, help="port; 0, the default, takes any free one")
    command.add_argument("--seed", type=int, default=0, help="the invented scores are a function of it and the input")
    command.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="wait before each reply")
    command.set_defaults(run=_serve, interrupted=0)  # Ctrl-C is its usual end, whenever it comes

    command = commands.add_parser("send", help="send files or text to a v0 server, print what it measures")
    send.add_arguments(command)
    command.set_defaults(run=send.run)

    command = commands.add_parser("fastrtc", help="do one turn with a FastRTC handler")
    command.set_defaults(run=turns.run)
    turns.add_arguments(command)
    return parser


def _demo(arguments: argparse.Namespace) -> _Lines:  # noqa: ARG001 - it takes none
    with NeedsExtra("emulator", "the local server"):
        from . import demo  # noqa: PLC0415 - it needs the extra with the local server
    yield from demo.run()
    return 0


def _serve(arguments: argparse.Namespace) -> _Lines:
    with NeedsExtra("emulator", "the local server"):
        from ..emulator import Emulator  # noqa: PLC0415 - an extra; `send` works without it
    try:
        server = Emulator(arguments.host, arguments.port, seed=arguments.seed, latency=arguments.latency)
    except (TypeError, ValueError) as exc:
        raise InputError(str(exc)) from exc
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a supervisor's stop is a Ctrl-C
    with server:
        yield f"Serving v0 on {server.url} until Ctrl-C. EMULATED: its scores are invented."
        yield f"export HUME_BASE_URL={server.url} HUME_API_KEY=any"
        threading.Event().wait()  # nothing sets it: a signal ends the wait
    return 0
