"""An application's own fields beside those of the protocol, in the first message and in the offer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from ..errors import InputError, short_repr
from ..net.interrupts import from_outside
from ..net.secret import Secret
from ..net.tracebacks import hides_locals
from ..reprs import safe_repr

__all__ = ["OwnFields", "to_json"]

_RESERVED: Final = frozenset({"candidate", "event", "sdp", "streamSid", "type", "webrtc_id", "websocket_id"})
"""What the protocol itself says in a first message or an offer."""


@safe_repr
class OwnFields:
    """A copy of the caller's fields, which never shows: a token may be among them.

    Args:
        given: the fields; None: none.

    Raises:
        InputError: they are no mapping of names, hold a reserved name, or something that JSON cannot.
    """

    @hides_locals
    def __init__(self, given: Mapping[str, Any] | None) -> None:
        if not isinstance(given, Mapping | None):
            raise InputError(f"fields must be a mapping of names to values, or None; got {type(given).__name__}")
        fields = dict(given or {})
        for name in fields:
            if not isinstance(name, str):
                raise InputError(f"fields must have names of type str, got {short_repr(name)}")
            if name in _RESERVED:
                accepted = f"any name but {', '.join(sorted(_RESERVED))}"
                raise InputError(f"fields must not hold {name}: the connection sets it; accepted: {accepted}")
        self._json = Secret(to_json("fields", fields).decode())

    @hides_locals
    def beside(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return the message with these fields beside its own."""
        return {**orjson.loads(self._json.reveal()), **message}

    def __repr__(self) -> str:
        return "OwnFields(***)"


def to_json(name: str, value: object) -> bytes:
    """Return a value as JSON.

    Args:
        name: of the value, for the error.
        value: whatever JSON can hold.

    Raises:
        InputError: it cannot hold this.
    """
    try:
        text = orjson.dumps(value)
        if b"null" in text:  # what orjson writes for NaN, too
            json.dumps(value, allow_nan=False, default=str)
    except (TypeError, ValueError) as exc:  # (orjson's error is the first: its text names a type, never a value)
        if from_outside(exc):
            raise
        fault = str(exc)
    else:
        return text
    raise InputError(f"{name} cannot be sent as JSON: {fault}")  # (here, for some of those errors keep the value)
