"""The ``hume-sync`` command: demo, serve, send, fastrtc.

Exit status: 0; 2 for bad input, use or configuration, found here or by the server (codes E01.. and E02..); 1 when the
server cannot be reached or fails; 130 on Ctrl-C, which is the usual end of ``serve``: 0 there.
Errors are one line on standard error. Keys come from ``HUME_API_KEY`` alone: a command line is no place for them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn

from . import turns
from ._version import __version__
from .errors import ConfigurationError, HumeClientException, InputError, RequestError
from .inputs import DRY_RUN, LIMIT, MODELS, Payload, payloads, table, text_payload
from .stream import HumeStreamClient, StreamResponse
from .stream.media import read_file, read_media
from .stream.responses import printable

__all__ = ["main"]

_BAD_INPUT_CODES = ("E01", "E02")
"""How the protocol's codes begin that object to what was sent; others are the server's own affair."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a sign is no reason to fail
    interrupted = 130
    try:
        arguments = _parser().parse_args(argv)
        interrupted = arguments.interrupted
        run: Callable[[argparse.Namespace], Iterable[str]] = arguments.run
        for line in run(arguments):
            print(line, flush=True)
    except KeyboardInterrupt:
        return interrupted
    except BrokenPipeError:
        # Whoever read our output has gone; what is still buffered must not fail again at exit.
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, and no path of anybody's
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
    except (InputError, ConfigurationError) as exc:
        return _complain(exc, 2)
    except RequestError as exc:
        return _complain(exc, 2 if (exc.code or "").startswith(_BAD_INPUT_CODES) else 1)
    except HumeClientException as exc:
        return _complain(exc, 1)
    except OSError as exc:
        return _complain(exc, 2)
    return 0


def _complain(exc: Exception, status: int) -> int:
    text = f"{exc.strerror}: {exc.filename!r}" if isinstance(exc, OSError) and exc.filename else str(exc)
    print(f"hume-sync: {printable(text)}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, like every other."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="hume-sync", description="Streaming expression measurement, blocking.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(interrupted=130)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("demo", help="stream sample speech, image, texts and landmarks to a local server")
    command.set_defaults(run=_demo)

    command = commands.add_parser("serve", help="run the local server until Ctrl-C")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    command.add_argument("--port", type=int, default=0, help="port; 0, the default, takes any free one")
    command.add_argument("--seed", type=int, default=0, help="the invented scores are a function of it and the input")
    command.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="wait before each reply")
    command.set_defaults(run=_serve, interrupted=0)  # Ctrl-C is its usual end, whenever it comes

    command = commands.add_parser("send", help="send files or text to a v0 server, print what it measures")
    command.add_argument("inputs", nargs="*", metavar="INPUT", help="file, or - for standard input")
    command.add_argument("--text", action="append", default=[], metavar="TEXT", help="send this text; may be repeated")
    command.add_argument("--models", type=_models, help=f"comma-separated, of {', '.join(MODELS)}; default: what fits")
    command.add_argument("--url", help="the server; default: HUME_BASE_URL")
    command.add_argument("--window", type=float, metavar="MS", help="sliding audio window, 500 to 10000")
    command.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="for each payload (default 60)")
    command.add_argument("--json", action="store_true", help="a JSON object a line and payload, instead of a table")
    command.set_defaults(run=_send)

    command = commands.add_parser("fastrtc", help="do one turn with a FastRTC handler")
    command.set_defaults(run=turns.run)
    turns.add_arguments(command)
    return parser


def _models(names: str) -> list[str]:
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in MODELS:
            raise argparse.ArgumentTypeError(f"unknown model {name!r}; accepted: {', '.join(MODELS)}")
    return chosen


def _demo(arguments: argparse.Namespace) -> Iterator[str]:  # noqa: ARG001 - it takes none
    try:
        from . import demo  # noqa: PLC0415 - it needs the extra with the local server
    except ImportError as exc:
        raise ConfigurationError('the local server needs: pip install "hume_sync[emulator]"') from exc
    return demo.run()


def _serve(arguments: argparse.Namespace) -> Iterator[str]:
    try:
        from .emulator import Emulator  # noqa: PLC0415 - an extra; `send` works without it
    except ImportError as exc:
        raise ConfigurationError('the local server needs: pip install "hume_sync[emulator]"') from exc
    try:
        server = Emulator(arguments.host, arguments.port, seed=arguments.seed, latency=arguments.latency)
    except (TypeError, ValueError) as exc:
        raise InputError(str(exc)) from exc
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a supervisor's stop is a Ctrl-C
    with server:
        yield f"Serving v0 on {server.url} until Ctrl-C. EMULATED: its scores are invented."
        yield f"export HUME_BASE_URL={server.url} HUME_API_KEY=any"
        threading.Event().wait()  # nothing sets it: a signal ends the wait


def _send(arguments: argparse.Namespace) -> Iterator[str]:
    client = HumeStreamClient(base_url=arguments.url, timeout=arguments.timeout)
    configs = [MODELS[name] for name in arguments.models] if arguments.models else None
    if not arguments.inputs and not arguments.text:
        raise InputError("nothing to send: name files, - for standard input, or --text")
    socket = client.connect(configs or [MODELS["language"]], arguments.window)
    piped = _read_standard_input() if "-" in arguments.inputs else b""

    def inputs() -> Iterator[Payload]:
        for path in arguments.inputs:
            data = piped if path == "-" else bytes(read_file(path, LIMIT))
            yield from payloads("standard input" if path == "-" else path, data, configs)
        for text in arguments.text:
            yield text_payload(text, configs)

    def replies() -> Iterator[tuple[Payload, StreamResponse]]:
        with socket:
            for payload in inputs():
                yield payload, payload.send(socket)

    for payload in inputs():  # all are read and checked before the first is sent, and read again then: no heap of media
        payload.send(DRY_RUN)
    if arguments.json:
        return (_json_line(payload, reply) for payload, reply in replies())
    return table(replies())


def _read_standard_input() -> bytes:
    if sys.stdin is None:
        raise InputError("standard input is closed")
    return bytes(read_media(sys.stdin.buffer, LIMIT, name="standard input"))


def _json_line(payload: Payload, reply: StreamResponse) -> str:
    # The standard library's writer: it takes file names that are not UTF-8, and replies of any depth.
    line = {"input": payload.source, "part": payload.part, "emulated": reply.emulated, "reply": reply}
    return json.dumps(line)
