"""The predictions and scores within a reply, without what has an unexpected shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeGuard

from ..net.replies import MODELS

__all__ = ["SCORE_KINDS", "is_number", "model_names", "predictions", "scores", "times"]

_NO_MODELS = frozenset({*MODELS, "payload_id", "job_details", "error", "warning", "code"})
"""Members of a reply that cannot be a model of the server's own."""

_LARGEST = 1023
"""Bits of an integer that any float can be added to."""

SCORE_KINDS: Final = ("emotions", "facs", "descriptions", "sentiment", "toxicity")
"""The lists of scores that a prediction may have."""


def model_names(reply: Mapping[str, Any]) -> list[str]:
    """Return the models of the protocol, and the other models that a reply contains."""
    own = (name for name, body in reply.items() if name not in _NO_MODELS and isinstance(body, dict | None))
    return [*MODELS, *own]


def predictions(reply: Mapping[str, Any], model: str | None = None) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield the model, the index and the object of each prediction.

    Args:
        reply: The JSON object received.
        model: The only model to look at; None: all.
    """
    for name in model_names(reply) if model is None else (model,):
        body = reply.get(name)
        if isinstance(body, dict):
            found = body.get("predictions")
            for segment, prediction in enumerate(found if isinstance(found, list) else ()):
                if isinstance(prediction, dict):
                    yield name, segment, prediction


def scores(prediction: Mapping[str, Any], kind: str) -> Iterator[tuple[str, float]]:
    """Yield the name and the score of each score of a kind."""
    items = prediction.get(kind)
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            name, score = item.get("name"), item.get("score")
            if isinstance(name, str) and is_number(score):
                yield name, score


def times(prediction: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return begin and end in seconds, of a range (burst, prosody) or of one moment (a frame of a video)."""
    time = prediction.get("time")
    if isinstance(time, dict):
        return time.get("begin"), time.get("end")
    return time, time


def is_number(value: object) -> TypeGuard[float]:
    """Return whether it can be calculated with: NaN can, a bool or an integer beyond the range of a float cannot."""
    return isinstance(value, float) or (type(value) is int and value.bit_length() <= _LARGEST)
