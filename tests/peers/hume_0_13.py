"""Plays a scenario with the official SDK 0.13.13, blocking; runs in its environment.

``hume_0_13.py URL SCENARIO.json``

This SDK has no configurations of a connection, so they go with each call; a window goes through ``send_publish``;
``send_file`` takes base64 too, for want of ``send_bytes``; and ``reset_stream`` is called ``reset``.

Prints a JSON list with one outcome a call, or one in place of all calls of a connection that was refused:
``{"error": [class, text]}``, or ``{"reply": ..., "type": its class, "typed": what its typed attributes hold}``.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

from hume import HumeClient
from hume.expression_measurement.stream.stream.socket_client import StreamSocketClient
from hume.expression_measurement.stream.stream.types import (
    Config,
    StreamFace,
    StreamLanguage,
    StreamModelPredictions,
    StreamModelsEndpointPayload,
)

Outcome = dict[str, Any]

_MODELS: dict[str, tuple[str, Any]] = {
    "BurstConfig": ("burst", dict),
    "FaceConfig": ("face", StreamFace),
    "FacemeshConfig": ("facemesh", dict),
    "LanguageConfig": ("language", StreamLanguage),
    "NerConfig": ("ner", dict),
    "ProsodyConfig": ("prosody", dict),
}
_SCORES = ("emotions", "facs", "descriptions", "sentiment", "toxicity")


def main() -> None:
    url, scenario = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    json.dump(_play(url, scenario), sys.stdout)


def _play(url: str, scenario: dict[str, Any]) -> list[Outcome]:
    client = HumeClient(base_url=url, api_key=scenario["api_key"])
    outcomes: list[Outcome] = []
    for socket in scenario["sockets"]:
        try:
            with client.expression_measurement.stream.connect() as connected:
                for call in socket["calls"]:
                    outcomes.append(_outcome(connected, socket, call, Path(scenario["media"])))
        except Exception as exc:  # any error is compared
            outcomes.append(_failed(exc))
    return outcomes


def _outcome(connected: StreamSocketClient, socket: dict[str, Any], call: dict[str, Any], media: Path) -> Outcome:
    try:
        reply = _call(connected, socket, call, media)
    except Exception as exc:  # likewise
        return _failed(exc)
    return {"reply": reply.dict(), "type": type(reply).__name__, "typed": _typed(reply)}


def _call(connected: StreamSocketClient, socket: dict[str, Any], call: dict[str, Any], media: Path) -> Any:
    method, argument = call["method"], call["argument"]
    if method == "get_job_details":
        return connected.get_job_details()
    if method == "reset_stream":
        return connected.reset()
    config = _config(socket["configs"] if call["configs"] is None else call["configs"])
    payload_id = call["payload_id"]
    if socket["stream_window_ms"] is not None or call["reset_first"]:
        connected.send_publish(
            StreamModelsEndpointPayload(
                data=_base64(media / argument),
                models=config,
                **_given(
                    stream_window_ms=socket["stream_window_ms"],
                    reset_stream=call["reset_first"] or None,
                    payload_id=payload_id,
                ),
            )
        )
        return connected.recv()
    if method == "send_text":
        return connected.send_text(argument, config=config, payload_id=payload_id)
    if method == "send_facemesh":
        landmarks = json.loads((media / argument).read_text())
        return connected.send_facemesh(landmarks, config=config, payload_id=payload_id)
    file = _base64(media / argument) if method == "send_bytes" else media / argument
    return connected.send_file(file, config=config, payload_id=payload_id)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _config(configs: list[tuple[str, dict[str, Any]]]) -> Any:
    models = {}
    for name, settings in configs:
        model, build = _MODELS[name]
        models[model] = build(**settings)
    return Config(**models) if models else None


def _typed(reply: Any) -> dict[str, Any]:
    """By model, what is reached through the attributes of the SDK's classes, and what those classes are."""
    if not isinstance(reply, StreamModelPredictions):
        return {}
    return {
        model: [_typed_prediction(prediction) for prediction in body.predictions]
        for model, _ in _MODELS.values()
        if (body := getattr(reply, model, None)) is not None and body.predictions is not None
    }


def _typed_prediction(prediction: Any) -> dict[str, Any]:
    scores = {kind: getattr(prediction, kind) for kind in _SCORES if getattr(prediction, kind, None) is not None}
    return {
        "class": type(prediction).__name__,
        "classes": sorted({type(score).__name__ for found in scores.values() for score in found}),
        **{kind: [[score.name, score.score] for score in found] for kind, found in scores.items()},
    }


def _failed(exc: Exception) -> Outcome:
    return {"error": [f"{type(exc).__module__}.{type(exc).__qualname__}", str(exc)]}


if __name__ == "__main__":
    main()
