"""Messages of the application's own, as a session takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from ..errors import InputError
from ..net.interrupts import from_outside
from .fields import to_json

__all__ = ["check_size", "to_message"]

_ACCEPTED: Final = "a str, a mapping or a list that JSON can hold, or bytes"

_RESERVED: Final[Mapping[str, str]] = {
    "start": "connect() sends it; its fields are what others it shall have",
    "stop": "close() sends it",
    "ping": "the session sends them itself, and counts the answers",
    "media": "send_audio() sends audio",
}
"""Events by which a session itself speaks over WebSocket, and what to use instead."""


def to_message(message: object) -> str | bytes:
    """Return a message as it is sent: a str as text, bytes as a binary message.

    Args:
        message: a str, which goes as it is; a mapping or a list, which goes as JSON; or bytes.

    Raises:
        InputError: another type, a str that UTF-8 cannot hold, something that JSON cannot, or an event that the session
            itself sends.
    """
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message)
    if isinstance(message, str):
        _check_characters(message)
        _check_event(_parsed(message))
        return message
    if isinstance(message, Mapping):
        fields = dict(message)
        _check_event(fields)
        return to_json("message", fields).decode()
    if isinstance(message, list | tuple):
        return to_json("message", message).decode()
    raise InputError(f"message must be {_ACCEPTED}; got {type(message).__name__}")


def check_size(size: int, limit: float, whose: str) -> None:
    """Raise `InputError` for a message that the other side would not take.

    Args:
        size: of the message, bytes.
        limit: the most it may have.
        whose: the limit is, for the error.
    """
    if size > limit:
        raise InputError(f"message must have at most {limit} bytes, {whose}; got {size}")


def _check_characters(text: str) -> None:
    place = -1
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        if from_outside(exc):
            raise
        place = exc.start
    if place >= 0:  # (raised here, for that error keeps the message)
        raise InputError(f"message must be text that UTF-8 can hold; character {place} is a surrogate")


def _parsed(text: str) -> object:
    """Return what servers read: with Python's own module, which takes more than JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        if from_outside(exc):
            raise
        return None  # nothing that a server could take for an event of the session's


def _check_event(message: object) -> None:
    event = message.get("event") if isinstance(message, Mapping) else None
    if isinstance(event, str) and event in _RESERVED:
        raise InputError(f"message must not be the event {event!r}: {_RESERVED[event]}")
