"""Messages of a v0 server as JSON objects, and which of them are replies.

A server may send more than replies: a greeting, a heartbeat. In a reply to a payload with data at least one thing is
named that such a message lacks: the ``payload_id``, a model, an error, a warning or job details.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from ..errors import ProtocolError
from .interrupts import from_outside
from .sockets import Received

__all__ = ["MODELS", "decode", "is_reply"]

MODELS = ("burst", "face", "facemesh", "language", "ner", "prosody")
"""The models of the protocol, by the names they have in replies."""

_STATEMENTS = ("payload_id", "error", "warning", "job_details")
"""Members other than models that make a message a reply. A null counts as absent, as in the official client's types."""

_FINDINGS = ("predictions", "warning")
"""Members of what a model has found. By these a model that is no part of the protocol is recognised."""

_NOT_JSON = "Unexpected error when fetching streaming API predictions"
"""The official SDK's text for a reply that is not JSON."""


def decode(message: Received) -> dict[str, Any]:
    """Return the JSON object in a message.

    What the standard library's parser takes is taken, as by the official client: NaN, Infinity, numbers beyond the
    range of a float, lone surrogates. orjson refuses these, and is asked first because it is several times faster.
    (Where orjson takes a message, an integer of more than 64 bits is the nearest float.)

    Raises:
        ProtocolError: The message is not a JSON object.
    """
    try:
        value = orjson.loads(message)
    except orjson.JSONDecodeError:
        value = _decode_leniently(message)
    if not isinstance(value, dict):
        # The message itself stays out: it may be anything.
        raise ProtocolError(
            f"{_NOT_JSON} (not a JSON object, {len(message)} bytes)", phase="receive", maybe_processed=True
        )
    return value


def _decode_leniently(message: Received) -> object:
    """Return the value as ``json.loads`` gives it for a text; None for what it refuses."""
    try:
        # Text messages are UTF-8 (RFC 6455, 5.6). Given bytes, json.loads would take UTF-16 and UTF-32 too.
        return json.loads(bytes(message).decode())
    except (ValueError, RecursionError) as exc:
        if from_outside(exc):
            raise
        return None  # not UTF-8, not JSON, or an integer of thousands of digits


def is_reply(message: dict[str, Any]) -> bool:
    """Tell a reply to a payload with data from a message that answers nothing, such as a greeting or a heartbeat."""
    return (
        any(message.get(name) is not None for name in _STATEMENTS)
        or any(name in message for name in MODELS)
        or any(name in value for value in message.values() if isinstance(value, dict) for name in _FINDINGS)
    )
