"""Plays a scenario with the official SDK 0.6.0; runs in its environment.

``hume_0_6.py URL SCENARIO.json``

Prints a JSON list with one outcome a call, or one in place of all calls of a connection that was refused:
``{"reply": ...}`` or ``{"error": [class, text]}``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import hume.models.config
from hume import HumeStreamClient, StreamSocket

Outcome = dict[str, Any]


def main() -> None:
    url, scenario = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    json.dump(asyncio.run(_play(url, scenario)), sys.stdout)


async def _play(url: str, scenario: dict[str, Any]) -> list[Outcome]:
    client = HumeStreamClient(scenario["api_key"], _api_ws_base_uri=url)
    outcomes: list[Outcome] = []
    for socket in scenario["sockets"]:
        connecting = client.connect(_configs(socket["configs"]), stream_window_ms=socket["stream_window_ms"])
        try:
            async with connecting as connected:
                for call in socket["calls"]:
                    outcomes.append(await _outcome(connected, call, Path(scenario["media"])))
        except Exception as exc:  # any error is compared
            outcomes.append(_failed(exc))
    return outcomes


async def _outcome(socket: StreamSocket, call: dict[str, Any], media: Path) -> Outcome:
    method = getattr(socket, call["method"])
    try:
        if call["argument"] is None:
            return {"reply": await method()}
        argument = _argument(call["method"], call["argument"], media)
        if call["configs"] is None:
            return {"reply": await method(argument)}
        return {"reply": await method(argument, configs=_configs(call["configs"]))}
    except Exception as exc:  # likewise
        return _failed(exc)


def _argument(method: str, argument: str, media: Path) -> Any:
    if method == "send_text":
        return argument
    if method == "send_bytes":
        return base64.b64encode((media / argument).read_bytes())
    if method == "send_facemesh":
        return json.loads((media / argument).read_text())
    return str(media / argument)


def _configs(configs: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    return [getattr(hume.models.config, name)(**settings) for name, settings in configs]


def _failed(exc: Exception) -> Outcome:
    return {"error": [type(exc).__name__, str(exc)]}


if __name__ == "__main__":
    main()
