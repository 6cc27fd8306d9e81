"""The ``hume-sync send`` command: check all inputs, then send each as a separate stream."""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import BinaryIO, Self

import attrs

from ..errors import ConnectError, HumeClientException, InputError, RequestError
from ..net.interrupts import from_outside
from ..reprs import safe_repr
from ..stream import (
    BurstConfig,
    FaceConfig,
    HumeStreamClient,
    ModelConfigBase,
    ProsodyConfig,
    StreamResponse,
    StreamSocket,
)
from .exit_codes import exit_status, format_error
from .inputs import MODELS, Configs, Input, Payload, file_input, piped_input, text_input
from .report import JsonLines, Report, Table

__all__ = ["add_arguments", "parse_models", "run"]

_PARTIAL_FAILURE = 3


_EPILOG = """\
inputs:
  Each input is a separate stream, measured as if it were the only one. Its type is detected from its content:
  speech (WAV, MP3, MP4, WebM, Ogg, FLAC), images (JPEG, PNG), video, texts (UTF-8, or UTF-16 with a byte order
  mark), facemesh landmarks as JSON. A file name that contradicts the content is an error, unless --models is given.
  WAV is split into payloads of five seconds while it is read, and may be of any size, on standard input too. Other
  inputs are sent whole, up to 64 MiB (v0 servers accept five seconds of audio).
  All inputs are checked before the first is sent. Of WAV audio only the beginning is checked: if the rest cannot be
  read, that is reported when it is sent.

environment:
  HUME_BASE_URL                       the server, unless --url is given
  HUME_API_KEY                        the key, if the server requires one; there is no option for it
  wss_proxy, https_proxy, all_proxy   proxies for wss://, the first that is set; no_proxy: hosts without one
  ws_proxy, http_proxy, all_proxy     proxies for ws://, the first that is set
  SSL_CERT_FILE, SSL_CERT_DIR         certificates of authorities, in place of the system's

exit status:
  0 all inputs were measured; 1 the server cannot be reached, or failed;
  2 invalid input, usage or configuration; 3 some inputs failed, with --keep-going; 130 Ctrl-C
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = _EPILOG
    command.add_argument("inputs", nargs="*", metavar="INPUT", help="file, or - for standard input")
    command.add_argument("--text", action="append", default=[], metavar="TEXT", help="send this text; may be repeated")
    command.add_argument(
        "--models", type=parse_models, help=f"comma-separated, of {', '.join(MODELS)}; default: by type"
    )
    command.add_argument("--url", help="the server; default: HUME_BASE_URL")
    command.add_argument("--window", type=float, metavar="MS", help="sliding audio window, 500 to 10000")
    command.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="timeout of each payload (default 60)"
    )
    command.add_argument("--json", action="store_true", help="print a JSON object for each payload, not a table")
    command.add_argument(
        "--keep-going", action="store_true", help="if an input fails, report it and send the others (exit status 3)"
    )


def parse_models(names: str) -> list[str]:
    """Return the models of an option.

    Raises:
        argparse.ArgumentTypeError: There is no such model.
    """
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in MODELS:
            raise argparse.ArgumentTypeError(f"unknown model {name!r}; accepted: {', '.join(MODELS)}")
    return chosen


def run(arguments: argparse.Namespace) -> Generator[str, None, int]:
    """Send all inputs.

    Args:
        arguments: The parsed arguments of the command.

    Yields:
        The lines to print.

    Returns:
        The exit status.

    Raises:
        InputError: There is nothing to send.
        ConfigurationError: No server is configured.
    """
    client = HumeStreamClient(base_url=arguments.url, timeout=arguments.timeout)
    configs = [MODELS[name] for name in arguments.models] if arguments.models else None
    inputs = list(_inputs(arguments.inputs, arguments.text, configs))
    connect = functools.partial(client.connect, configs or [MODELS["language"]], arguments.window)
    connect()  # validates the arguments before any input is read; it does not connect yet
    report: Report = JsonLines() if arguments.json else Table()
    status = 0
    with _SharedConnection(connect) as connection:
        for result in _send_all(inputs, connection, keep_going=arguments.keep_going):
            if isinstance(result, _Failure):
                sys.stderr.write(format_error(result.error, result.name) + result.hint + "\n")
                yield from report.failure(result.source, result.part, result.error)
                if not arguments.keep_going or result.is_fatal:
                    status = exit_status(result.error)
                    break
                status = _PARTIAL_FAILURE
            else:
                yield from report.reply(*result)
    yield from report.end()
    return status


def _inputs(paths: list[str], texts: list[str], configs: Configs | None) -> Iterator[Input]:
    if not paths and not texts:
        raise InputError("nothing to send: name files, - for standard input, or --text")
    if paths.count("-") > 1:
        raise InputError("standard input (-) is named twice: it can be read once")
    for path in paths:
        yield piped_input(_standard_input(), "standard input", configs) if path == "-" else file_input(path, configs)
    for text in texts:
        yield text_input(text, configs)


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise InputError("standard input is closed")
    return sys.stdin.buffer


class _SharedConnection:
    """A connection for all inputs, replaced when the server might mix the state of two inputs.

    A second audio input on the same connection would also get times from zero, but servers round the times before the
    client shifts them.
    """

    def __init__(self, connect: Callable[[], StreamSocket]) -> None:
        self._connect = connect
        self._open = contextlib.ExitStack()
        self._socket: StreamSocket | None = None
        self._used = False

    def send(self, payload: Payload, *, first: bool) -> StreamResponse:
        """Send a payload.

        Args:
            payload: The payload.
            first: Whether it is the first one of an input.
        """
        stateful = any(map(_leaves_state, payload.configs))
        if self._socket is None or (first and stateful and self._used):
            self._open.close()
            self._socket, self._used = self._connect(), False
            self._open.push(self._socket)  # it connects at its first call, so a failure is reported for that input
        self._used = self._used or stateful
        return payload.send(self._socket)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, exc, traceback)


@safe_repr
@attrs.frozen
class _Failure:
    """An input that could not be read or sent.

    Attributes:
        source: The name of the input.
        part: The seconds of the source if it was split; else empty.
        error: The error.
        sent: Whether sending failed; errors in reading name the input themselves.
    """

    source: str
    part: str
    error: Exception
    sent: bool

    @property
    def name(self) -> str:
        """Return the name to put before the error's message."""
        if not self.sent and not (isinstance(self.error, OSError) and not self.error.filename):
            return ""
        source = self.source if len(self.source) <= 100 else f"{self.source[:97]}..."
        return f"{source}, {self.part}" if self.part else source

    @property
    def is_fatal(self) -> bool:
        """Return whether all other inputs would fail as well, as for a rejected key or certificate."""
        return isinstance(self.error, ConnectError) and not self.error.retryable

    @property
    def hint(self) -> str:
        """Return the advice to put after the error's message."""
        too_long = isinstance(self.error, RequestError) and self.error.code == "E0203" and not self.part
        return "; only WAV audio is split: convert it to WAV" if too_long else ""


_Result = tuple[Payload, StreamResponse] | _Failure


def _send_all(inputs: list[Input], connection: _SharedConnection, *, keep_going: bool) -> Iterator[_Result]:
    """Check all inputs, then send the valid ones."""
    good = []
    for each in inputs:
        failure = _check(each)
        if failure is None:
            good.append(each)
        else:
            yield failure
            if not keep_going:
                return
    for each in good:
        yield from _send(each, connection)


def _check(each: Input) -> _Failure | None:
    """Check the first payload of an input; it is the whole input unless that is split."""
    payload = None
    try:
        payload = next(each.payloads())
        payload.check()
    except (HumeClientException, OSError) as exc:
        return _failure(each, payload, exc)
    return None


def _send(each: Input, connection: _SharedConnection) -> Iterator[_Result]:
    """Send an input up to its first failure; later payloads would lack their audio context."""
    payload, first = None, True
    payloads = each.payloads()
    try:
        while payload := next(payloads, None):
            reply = connection.send(payload, first=first)
            yield payload, reply
            payload, first = None, False
    except (HumeClientException, OSError) as exc:
        yield _failure(each, payload, exc)


def _failure(each: Input, payload: Payload | None, exc: Exception) -> _Failure:
    if from_outside(exc):
        raise exc
    part = payload.part if payload else ""
    return _Failure(each.source, part, exc, sent=payload is not None)


def _leaves_state(config: ModelConfigBase) -> bool:
    """Return whether the server keeps state of this model for a connection: audio, or identified faces."""
    return isinstance(config, BurstConfig | ProsodyConfig) or (
        isinstance(config, FaceConfig) and bool(config.identify_faces)
    )
