"""What ``hume-sync send`` does: every input checked, then sent as a stream of its own."""

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
from .exit_codes import exit_status, one_line
from .inputs import MODELS, Configs, Input, Payload, file_input, piped_input, text_input
from .report import JsonLines, Report, Table

__all__ = ["add_arguments", "run"]

_SOME_FAILED = 3


_EPILOG = """\
inputs:
  Each input is a stream of its own, measured as if it were the only one. What it is, is told by its content:
  speech (WAV, MP3, MP4, WebM, Ogg, FLAC), images (JPEG, PNG), video, texts (UTF-8, or UTF-16 with a byte order
  mark), facemesh landmarks as JSON. A name that the content contradicts is an error, unless --models are named.
  WAV is cut into payloads of five seconds while it is read, and may be of any size, on standard input too; all
  else is sent whole, up to 64 MiB (v0 servers take five seconds of audio).
  All inputs are checked before the first is sent. Of WAV audio only the beginning is: if the rest cannot be read,
  that is found when it is its turn.

environment:
  HUME_BASE_URL                       the server, where --url is not given
  HUME_API_KEY                        the key, where the server wants one; there is no option for it
  wss_proxy, https_proxy, all_proxy   proxies for wss://, the first that is set; no_proxy: hosts without one
  ws_proxy, http_proxy, all_proxy     likewise for ws://
  SSL_CERT_FILE, SSL_CERT_DIR         certificates of authorities, where the system's are not to be used

exit status:
  0 all was measured; 2 bad input, use or configuration; 1 the server cannot be reached, or fails;
  3 some inputs failed, with --keep-going; 130 Ctrl-C
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = _EPILOG
    command.add_argument("inputs", nargs="*", metavar="INPUT", help="file, or - for standard input")
    command.add_argument("--text", action="append", default=[], metavar="TEXT", help="send this text; may be repeated")
    command.add_argument("--models", type=_models, help=f"comma-separated, of {', '.join(MODELS)}; default: what fits")
    command.add_argument("--url", help="the server; default: HUME_BASE_URL")
    command.add_argument("--window", type=float, metavar="MS", help="sliding audio window, 500 to 10000")
    command.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="for each payload (default 60)")
    command.add_argument("--json", action="store_true", help="a JSON object a line and payload, instead of a table")
    command.add_argument(
        "--keep-going", action="store_true", help="where an input fails, say so and send the others (exit status 3)"
    )


def _models(names: str) -> list[str]:
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in MODELS:
            raise argparse.ArgumentTypeError(f"unknown model {name!r}; accepted: {', '.join(MODELS)}")
    return chosen


def run(arguments: argparse.Namespace) -> Generator[str, None, int]:
    """Send; yields lines to print, returns the exit status.

    Raises:
        InputError, ConfigurationError: there is nothing to send, or no server to send it to.
    """
    client = HumeStreamClient(base_url=arguments.url, timeout=arguments.timeout)
    configs = [MODELS[name] for name in arguments.models] if arguments.models else None
    inputs = list(_inputs(arguments.inputs, arguments.text, configs))
    connect = functools.partial(client.connect, configs or [MODELS["language"]], arguments.window)
    connect()  # what is wrong with the arguments is known before anything is read; nothing is dialled
    report: Report = JsonLines() if arguments.json else Table()
    status = 0
    with _Connection(connect) as connection:
        for result in _results(inputs, connection, keep_going=arguments.keep_going):
            if isinstance(result, _Failure):
                sys.stderr.write(one_line(result.error, result.name) + result.hint + "\n")
                yield from report.failure(result.source, result.part, result.error)
                if not arguments.keep_going or result.concerns_all:
                    status = exit_status(result.error)
                    break
                status = _SOME_FAILED
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


class _Connection:
    """One connection for all inputs, but for those behind audio: nothing of one input must be seen in another's reply.

    A stream on a connection that has heard audio begins at zero as well, but servers round its times before they are
    moved there.
    """

    def __init__(self, connect: Callable[[], StreamSocket]) -> None:
        self._connect = connect
        self._open = contextlib.ExitStack()
        self._socket: StreamSocket | None = None
        self._used = False

    def send(self, payload: Payload, *, first: bool) -> StreamResponse:
        """Send a payload; ``first`` says that it begins an input."""
        lasting = any(map(_leaves_something, payload.configs))
        if self._socket is None or (first and lasting and self._used):
            self._open.close()
            self._socket, self._used = self._connect(), False
            self._open.push(self._socket)  # it connects at its first call, whose failure is that of an input
        self._used = self._used or lasting
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
    """An input that could not be sent."""

    source: str
    part: str
    error: Exception
    sent: bool
    """Whether it happened in sending; what is found in reading names the input itself, where it can."""

    @property
    def name(self) -> str:
        """What to put before the error's text."""
        if not self.sent and not (isinstance(self.error, OSError) and not self.error.filename):
            return ""
        source = self.source if len(self.source) <= 100 else f"{self.source[:97]}..."
        return f"{source}, {self.part}" if self.part else source

    @property
    def concerns_all(self) -> bool:
        """Whether no other input would fare better: the server refuses the key, or the client its certificate."""
        return isinstance(self.error, ConnectError) and not self.error.retryable

    @property
    def hint(self) -> str:
        """What to put behind it."""
        too_long = isinstance(self.error, RequestError) and self.error.code == "E0203" and not self.part
        return "; only WAV audio is cut: convert it to WAV" if too_long else ""


_Result = tuple[Payload, StreamResponse] | _Failure


def _results(inputs: list[Input], connection: _Connection, *, keep_going: bool) -> Iterator[_Result]:
    """Check all inputs, then send those that are good."""
    good = []
    for each in inputs:
        failure = _checked(each)
        if failure is None:
            good.append(each)
        else:
            yield failure
            if not keep_going:
                return
    for each in good:
        yield from _sent(each, connection)


def _checked(each: Input) -> _Failure | None:
    """Read an input up to its first payload, which is all of it but where it is cut."""
    payload = None
    try:
        payload = next(each.payloads())
        payload.check()
    except (HumeClientException, OSError) as exc:
        return _failure(each, payload, exc)
    return None


def _sent(each: Input, connection: _Connection) -> Iterator[_Result]:
    """Send an input up to its end, or to its first failure: what comes behind that has lost its context."""
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


def _leaves_something(config: ModelConfigBase) -> bool:
    """Tell whether a connection remembers something of what this model has seen: audio, or faces to be identified."""
    return isinstance(config, BurstConfig | ProsodyConfig) or (
        isinstance(config, FaceConfig) and bool(config.identify_faces)
    )
