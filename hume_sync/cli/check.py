"""The ``hume-sync check`` command: can the server be reached, is the key good, which models answer, and how fast."""

from __future__ import annotations

import argparse
import io
from collections.abc import Generator
from importlib.resources import files
from typing import Final

from ..errors import RequestError
from ..net.clock import monotonic
from ..stream import HumeStreamClient, StreamResponse, StreamSocket
from ..stream.responses import printable
from .inputs import MODELS, piped_input, text_input

__all__ = ["add_arguments", "run"]

_EPILOG = """\
Sends one small sample for each model. The exit status is 0 if the server answers, 1 if it cannot be reached or does not
answer for any model, 2 if it refuses the key or the configuration is not usable.
"""

_SAMPLES: Final = {"burst": "speech.wav", "prosody": "speech.wav", "face": "face.jpg", "facemesh": "facemesh.json"}
"""The sample of each model, in the package's data; text for all others."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    command.epilog = _EPILOG
    command.add_argument("--url", help="the server; default: HUME_BASE_URL")
    command.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="timeout of each request")


def run(arguments: argparse.Namespace) -> Generator[str, None, int]:
    """Ask the server for each model.

    Args:
        arguments: The parsed arguments of the command.

    Yields:
        The lines to print.

    Returns:
        The exit status.

    Raises:
        ConfigurationError: No server is configured.
        AuthenticationError: The server refuses the key.
        TransportError: It cannot be reached, or does not answer.
    """
    client = HumeStreamClient(base_url=arguments.url, timeout=arguments.timeout)
    began = monotonic()
    with client.connect(list(MODELS.values())) as socket:
        seconds = monotonic() - began
        yield f"{'server':<10} {client.url}, connected in {1000 * seconds:.1f} ms"
        yield f"{'key':<10} {'accepted' if client.has_key else 'none is sent (HUME_API_KEY is not set)'}"
        answering, emulated = 0, False
        for name in MODELS:
            began = monotonic()
            try:
                reply = _ask(socket, name)
            except RequestError as exc:
                yield f"{name:<10} {printable(str(exc))}"
            else:
                seconds = monotonic() - began
                answering += 1
                emulated = emulated or reply.emulated
                warning = "" if reply.warning is None else f" ({printable(reply.warning)})"
                yield f"{name:<10} answers in {1000 * seconds:.1f} ms{warning}"
        if emulated:
            yield "(emulated: invented scores, not measurements)"
    return 0 if answering else 1


def _ask(socket: StreamSocket, model: str) -> StreamResponse:
    configs = [MODELS[model]]
    if model in _SAMPLES:
        name = _SAMPLES[model]
        data = (files("hume_sync") / "data" / name).read_bytes()
        payload = next(piped_input(io.BytesIO(data), name, configs).payloads())
    else:
        (payload,) = text_input("Is anybody there?", configs).payloads()
    return payload.send(socket)
