"""The command ``hume-sync fastrtc``: one turn with a FastRTC handler, from a WAV file to a WAV file."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputTooLarge, short_repr
from ..net.deadline import Deadline
from ..net.pending import open_into

__all__ = ["add_arguments", "run"]

_OUTPUT_WAIT = 0.5
"""Seconds to wait for outputs that follow the reply."""

_FIRST_OUTPUT_WAIT = 0.2
"""Seconds to wait for outputs before the question. This opens their stream, so an error is raised before the turn."""

_EPILOG = """\
environment:
  wss_proxy, https_proxy, all_proxy   proxies for wss://, the first that is set; no_proxy: hosts without one
  ws_proxy, http_proxy, all_proxy     likewise for ws://
  SSL_CERT_FILE, SSL_CERT_DIR         certificates of authorities, where the system's are not to be used
  HUME_BASE_URL and HUME_API_KEY are not read: they are for v0 servers, and the application is named by URL.
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = _EPILOG
    command.add_argument("url", metavar="URL", help="the application and where the stream is mounted")
    command.add_argument("--wav", required=True, metavar="FILE", help="what to say: a WAV file, of any rate")
    command.add_argument("--out", metavar="FILE", help="where to write the reply, as WAV")
    command.add_argument("--input-rate", type=int, default=48000, metavar="HZ", help="of the handler (default 48000)")
    command.add_argument("--output-rate", type=int, default=24000, metavar="HZ", help="of its audio (default 24000)")
    command.add_argument("--transport", choices=("websocket", "webrtc"), default="websocket", help="default: websocket")
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="additional input, for a handler that asks"
    )
    command.add_argument("--input-hook", default="/input_hook", metavar="URL", help="where those are posted")
    command.add_argument("--outputs", action="store_true", help="print additional outputs, to 0.5 s behind the reply")
    command.add_argument("--outputs-url", metavar="URL", help="likewise, from there (default /updates)")
    command.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="for the reply (default 30)")


def run(arguments: argparse.Namespace) -> Generator[str]:
    """Do one turn with the handler.

    Yields:
        Lines to print.
    """
    from ..fastrtc import FastRTCClient, ReplyTimeout, SendInput  # noqa: PLC0415 - the other commands start faster without it
    from ..fastrtc.audio import pieces, write_wav  # noqa: PLC0415 - likewise

    # Check the arguments before the turn, not after it.
    fields = dict(_parse_field(text) for text in arguments.set)
    if arguments.out:
        _check_writable(Path(arguments.out))
    outputs_url = arguments.outputs_url or ("/updates" if arguments.outputs else None)
    client = FastRTCClient(
        arguments.url,
        input_hook=arguments.input_hook,
        outputs=outputs_url,
        input_sample_rate=arguments.input_rate,
        output_sample_rate=arguments.output_rate,
        timeout=arguments.timeout,
    )
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(Path(arguments.wav).open("rb"))  # a pipe, too
        question = stack.enter_context(contextlib.closing(pieces(file, arguments.input_rate)))
        first = next(question)
        session = stack.enter_context(client.connect(arguments.transport, inputs=(lambda: fields) if fields else None))
        outputs = session.outputs() if outputs_url else None
        if outputs is not None and (output := outputs.receive(_NOTHING, timeout=_FIRST_OUTPUT_WAIT)) is not _NOTHING:
            yield _format_value(json.dumps, output)
        session.send_audio(itertools.chain([first], question), end=True)
        try:
            reply = session.reply()
        except ReplyTimeout as exc:
            yield from _format_events(exc.messages)
            yield from _format_outputs(outputs, arguments.timeout)
            raise
        if arguments.out:  # first: the reader of the lines may have gone
            write_wav(arguments.out, reply.audio, reply.sample_rate)
        yield from _format_events(reply.messages)
        if fields and not any(isinstance(event, SendInput) for event in reply.messages):
            yield "the handler has not asked for additional inputs"
        where = f", in {arguments.out}" if arguments.out else ""
        yield f"{reply.seconds:.2f} s of audio{where}" + ("" if reply.complete else " (incomplete)")
        yield from _format_outputs(outputs, arguments.timeout)


def _check_writable(path: Path) -> None:
    """Raise `InputError` if the reply cannot be written there. Leave no file behind."""
    if not path.parent.is_dir():
        raise InputError(f"--out is in a directory that does not exist: {path.parent}")
    if path.is_dir():
        raise InputError(f"--out is a directory: {path}")
    existed = path.exists()
    descriptors: list[int] = []
    try:
        if not existed or path.is_file():  # opening a FIFO would block
            descriptor = open_into(descriptors, path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.lseek(descriptor, 0, os.SEEK_END)  # some special files can be opened but not written
    except OSError as exc:
        raise InputError(f"--out cannot be written: {exc.strerror}: {path}") from None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
            if not existed:
                path.unlink()


def _format_outputs(outputs: Any, timeout: float) -> Iterator[str]:
    """Yield the outputs that follow the reply, for at most ``timeout`` seconds."""
    deadline = Deadline(timeout)  # outputs may be endless
    while outputs is not None and (left := deadline.remaining()):
        try:
            output = outputs.receive(_NOTHING, timeout=min(left, _OUTPUT_WAIT))
        except OutputTooLarge as exc:
            yield str(exc)
            continue
        if output is _NOTHING:
            return
        yield _format_value(json.dumps, output)


def _format_events(messages: tuple[Any, ...]) -> Iterator[str]:
    from ..fastrtc import FetchOutput, LogMessage  # noqa: PLC0415 - as in `run`

    return (_format_value(repr, event) for event in messages if not isinstance(event, FetchOutput | LogMessage))


def _format_value(write: Callable[[Any], str], value: Any) -> str:
    try:
        return write(value)
    except RecursionError:  # a server may nest values too deeply for Python to format
        return short_repr(value)


_NOTHING: Any = object()


def _parse_field(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"--set takes NAME=VALUE, got {text!r}")
    if name == "webrtc_id":
        raise InputError("--set must not give webrtc_id: the connection's own is sent")
    from ..fastrtc.events import json_or_text  # noqa: PLC0415 - as in `run`

    return name, json_or_text(value)
