"""Play the same scenario with an official client, in a separate process, and with ours."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

import hume_sync
from hume_sync import HumeClientException, HumeStreamClient, RetryPolicy, StreamSocket
from hume_sync.emulator import Emulator, HandshakeSeen, RequestSeen

from .scenario import Call, Config, Socket

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".peers"

KEPT = 4 * 2**20
"""Characters of ``data`` that the journal keeps; no request here is longer."""

KEY = "the-key-of-the-peers-proof"


@attrs.frozen
class Outcome:
    reply: dict[str, Any] | None = None
    error: tuple[str, str] | None = None
    """Class and text."""
    type: str | None = None
    """hume 0.13.13: class of the reply."""
    typed: dict[str, Any] | None = None
    """hume 0.13.13: what its typed attributes hold."""


@attrs.frozen
class Played:
    """The results of a scenario at the client and at the server."""

    outcomes: list[Outcome]
    requests: tuple[RequestSeen, ...]
    handshakes: tuple[HandshakeSeen, ...]


Client = Callable[[Emulator, Mapping[str, Socket], Path], list[Outcome]]


def play(client: Client, sockets: Mapping[str, Socket], media: Path, **options: Any) -> Played:
    """Play a scenario on a new server."""
    with Emulator(journal_data=KEPT, **options) as server:
        outcomes = client(server, sockets, media)
        return Played(outcomes, server.journal.requests, server.journal.handshakes)


def hume_0_6(server: Emulator, sockets: Mapping[str, Socket], media: Path) -> list[Outcome]:
    return _peer("hume_0_6", server.url, sockets, media)


def hume_0_13(server: Emulator, sockets: Mapping[str, Socket], media: Path) -> list[Outcome]:
    return _peer("hume_0_13", server.url.replace("ws://", "http://"), sockets, media)


def _peer(name: str, url: str, sockets: Mapping[str, Socket], media: Path) -> list[Outcome]:
    python = ENVIRONMENTS / name / "bin" / "python"
    if not python.exists():
        pytest.fail(f"the environment of {name} is missing: run make test-peers", pytrace=False)
    scenario = {"api_key": KEY, "media": str(media), "sockets": [attrs.asdict(socket) for socket in sockets.values()]}
    written = media / f"{name}-scenario.json"
    written.write_text(json.dumps(scenario))
    # Without the settings of this process, such as keys and proxies.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HUME_") and not name.lower().endswith("_proxy")
    }
    done = subprocess.run(
        [python, "-I", HERE / f"{name}.py", url, written],
        env=environment,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [_read(**outcome) for outcome in json.loads(done.stdout)]


def _read(error: list[str] | None = None, **members: Any) -> Outcome:
    return Outcome(error=None if error is None else (error[0], error[1]), **members)


def ours(server: Emulator, sockets: Mapping[str, Socket], media: Path) -> list[Outcome]:
    client = HumeStreamClient(KEY, base_url=server.url, proxy=False, timeout=10.0, retry=RetryPolicy.none())
    outcomes: list[Outcome] = []
    for socket in sockets.values():
        try:
            with client.connect(_configs(socket.configs), socket.stream_window_ms) as connected:
                outcomes += [_outcome(connected, call, media) for call in socket.calls]
        except HumeClientException as exc:
            outcomes.append(_failed(exc))
    return outcomes


def _outcome(connected: StreamSocket, call: Call, media: Path) -> Outcome:
    method = getattr(connected, call.method)
    try:
        if call.argument is None:
            reply = method()
        else:
            argument = _argument(call.method, call.argument, media)
            reply = method(argument, None if call.configs is None else _configs(call.configs))
    except HumeClientException as exc:
        return _failed(exc)
    return Outcome(dict(reply))


def _argument(method: str, argument: str, media: Path) -> Any:
    if method == "send_text":
        return argument
    if method == "send_bytes":
        return b64encode((media / argument).read_bytes())
    if method == "send_facemesh":
        return json.loads((media / argument).read_text())
    return media / argument


def _configs(configs: list[Config]) -> list[hume_sync.ModelConfigBase]:
    return [getattr(hume_sync, name)(**settings) for name, settings in configs]


def _failed(exc: HumeClientException) -> Outcome:
    return Outcome(error=(type(exc).__name__, str(exc)))


def without_payload_id(members: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a request or reply of ours without the member that the official clients do not send."""
    return None if members is None else {name: value for name, value in members.items() if name != "payload_id"}


def decoded(request: RequestSeen) -> Any:
    """Return the landmarks of a request, which are sent as base64."""
    assert request.data is not None
    return json.loads(b64decode(request.data, validate=True))


def sends_landmarks(call: Call) -> bool:
    return call.method == "send_facemesh"


def sends_other_data(call: Call) -> bool:
    return call.argument is not None and not sends_landmarks(call)


def sends_audio(call: Call) -> bool:
    return call.argument is not None and call.argument.endswith(".wav")


def asks_for_job_details(call: Call) -> bool:
    return call.method == "get_job_details"


def each(
    sockets: Mapping[str, Socket], among: Collection[str] | None = None, *, of: Callable[[Call], bool] = lambda _: True
) -> pytest.MarkDecorator:
    """Parametrise a test by the indexes of the calls in a scenario; ``among`` names sockets, ``of`` selects calls."""
    places = [(name, call) for name, socket in sockets.items() for call in socket.calls]
    chosen = [
        pytest.param(place, id=f"{name}: {call}")
        for place, (name, call) in enumerate(places)
        if (among is None or name in among) and of(call)
    ]
    return pytest.mark.parametrize("place", chosen)
