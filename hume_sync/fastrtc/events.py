"""Events received from a server, and messages and fields sent to it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import orjson

from ..errors import InputError, short_repr
from ..net.interrupts import from_outside
from ..net.tracebacks import clears_locals
from ..reprs import Secret, safe_repr

__all__ = [
    "AudioChunk",
    "ConnectFields",
    "Custom",
    "EndStream",
    "ErrorMessage",
    "Event",
    "FetchOutput",
    "LogMessage",
    "Reconnected",
    "SendInput",
    "StopWord",
    "UpdateConnection",
    "WarningMessage",
    "check_size",
    "json_or_text",
    "to_event",
    "to_json",
    "to_message",
]


@safe_repr
@attrs.frozen
class AudioChunk:
    """Audio of the handler, in the pieces that it yields. Comparisons ignore the times.

    Attributes:
        samples: s16le, mono.
        rate: Samples a second.
        delayed: Whether it was made before a pause and comes after it: over WebRTC the last 100 ms before a pause come
            as the first after it.
        arrived: When it came from the network, in seconds of ``time.monotonic()``, however late it was received. (Over
            WebRTC: when it left the jitter buffer.) NaN: not known, since it was made by hand.
        media_time: Over WebRTC, its position on the server's own time line (RTP), in seconds since the first audio of
            the connection. Lost audio, or silence that was left out, makes a gap there. A pause of the handler's does
            not: FastRTC sends nothing meanwhile, and continues where it was; `arrived` shows it (see `with_pauses`).
            None: over WebSocket, which has no such time.
    """

    samples: bytes = attrs.field(repr=lambda samples: f"<{len(samples)} bytes>")
    rate: int
    delayed: bool = False
    arrived: float = attrs.field(default=math.nan, eq=False, repr=False, kw_only=True)
    media_time: float | None = attrs.field(default=None, eq=False, repr=False, kw_only=True)

    @property
    def seconds(self) -> float:
        """The length of the audio."""
        return len(self.samples) / 2 / self.rate


@safe_repr
@attrs.frozen
class LogMessage:
    """Log text: ``started_talking``, ``pause_detected``, ``response_starting`` (per chunk), or another text."""

    text: str


@safe_repr
@attrs.frozen
class SendInput:
    """The handler waits for additional inputs, without a limit."""


@safe_repr
@attrs.frozen
class FetchOutput:
    """An additional output can be fetched. (Over WebSocket servers never report this.)"""


@safe_repr
@attrs.frozen
class StopWord:
    """The stop word was heard."""

    text: str


@safe_repr
@attrs.frozen
class ErrorMessage:
    """The handler has failed. Over WebSocket servers never report this; over WebRTC it is the handler's last event."""

    text: str


@safe_repr
@attrs.frozen
class WarningMessage:
    """The handler warns."""

    text: str


@safe_repr
@attrs.frozen
class EndStream:
    """The handler has closed the stream, with a text of its own."""

    text: str


@safe_repr
@attrs.frozen
class UpdateConnection:
    """The application has changed the connection's state: ``closed``."""

    text: str


@safe_repr
@attrs.frozen
class Reconnected:
    """The connection was lost, and replaced by one with another id. What was under way is lost.

    Attributes:
        webrtc_id: The id of the new connection.
        error: What ended the old one.
    """

    webrtc_id: str
    error: str


def _data_repr(data: object) -> str:
    return f"<{len(data)} bytes>" if isinstance(data, bytes) else repr(data)  # bytes may be media


@safe_repr
@attrs.frozen
class Custom:
    """A message of a type of the application's own.

    Attributes:
        type: Its ``type``, or its ``event`` if it has none; None: it has neither.
        data: Its ``data`` or ``message``; all of the message if it is not an object with ``type`` and one of these. For
            a binary message the bytes.
    """

    type: str | None
    data: Any = attrs.field(repr=_data_repr)


Event = (
    AudioChunk
    | Custom
    | EndStream
    | ErrorMessage
    | FetchOutput
    | LogMessage
    | Reconnected
    | SendInput
    | StopWord
    | UpdateConnection
    | WarningMessage
)

_TEXT_EVENTS: Final[dict[str, Callable[[str], Event]]] = {
    "log": LogMessage,
    "stopword": StopWord,
    "error": ErrorMessage,
    "warning": WarningMessage,
    "end_stream": EndStream,
    "update_connection": UpdateConnection,
}

_RESERVED_FIELDS: Final = frozenset({"candidate", "event", "sdp", "streamSid", "type", "webrtc_id", "websocket_id"})
"""Fields of the protocol in a first message or an offer."""

_RESERVED_EVENTS: Final[Mapping[str, str]] = {
    "start": "connect() sends it; pass its additional fields as fields",
    "stop": "close() sends it",
    "ping": "the session sends them itself, and counts the answers",
    "media": "send_audio() sends audio",
}
"""Events that a session sends itself over WebSocket, and what to use instead."""


def json_or_text(message: str | bytes) -> Any:
    """Return the value of a message that is JSON, else its text."""
    try:
        return orjson.loads(message)
    except orjson.JSONDecodeError:
        text = message if isinstance(message, str) else message.decode("utf-8", "replace")
    if not text.startswith(("{", "[")) or ("NaN" not in text and "Infinity" not in text):
        return text
    try:
        return json.loads(text)  # Python's json module writes NaN and Infinity, which JSON does not have
    except (ValueError, RecursionError) as exc:
        if from_outside(exc):
            raise
        return text


def to_event(message: object) -> Event:
    """Return the event for a control message; `Custom` for one of an unknown type. Never fails.

    The published page puts the text in ``data``; real servers put that of errors and warnings in ``message``.

    Args:
        message: The JSON value; bytes: a binary message.
    """
    if not isinstance(message, Mapping):
        return Custom(None, message)
    if not isinstance(message.get("type"), str):
        event = message.get("event")
        return Custom(event if isinstance(event, str) else None, message)
    kind = message["type"]
    data = message.get("message") if message.get("data") is None else message["data"]
    if kind == "send_input":
        return SendInput()
    if kind == "fetch_output":
        return FetchOutput()
    if kind in _TEXT_EVENTS and isinstance(data, str):
        return _TEXT_EVENTS[kind](data)
    return Custom(kind, data if "data" in message or "message" in message else dict(message))


@safe_repr
class ConnectFields:
    """The caller's fields for the first message and the offer, copied and kept secret: a token may be among them.

    Args:
        fields: The fields. None: none.

    Raises:
        InputError: They are not a mapping of names, use a reserved name, or are not JSON.
    """

    @clears_locals
    def __init__(self, fields: Mapping[str, Any] | None) -> None:
        if not isinstance(fields, Mapping | None):
            raise InputError(f"fields must be a mapping of names to values, or None; got {type(fields).__name__}")
        copied = dict(fields or {})
        for name in copied:
            if not isinstance(name, str):
                raise InputError(f"fields must have names of type str, got {short_repr(name)}")
            if name in _RESERVED_FIELDS:
                accepted = f"any name but {', '.join(sorted(_RESERVED_FIELDS))}"
                raise InputError(f"fields must not hold {name}: the connection sets it; accepted: {accepted}")
        self._json = Secret(to_json("fields", copied).decode())

    @clears_locals
    def merged_into(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return the message with these fields added to its own."""
        return {**orjson.loads(self._json.reveal()), **message}

    def __repr__(self) -> str:
        return "ConnectFields(***)"


def to_json(name: str, value: object) -> bytes:
    """Return a value as JSON.

    Args:
        name: The argument that errors name.
        value: The value.

    Raises:
        InputError: The value cannot be written as JSON.
    """
    try:
        text = orjson.dumps(value)
        if b"null" in text:  # orjson writes NaN as null; find it
            json.dumps(value, allow_nan=False, default=str)
    except (TypeError, ValueError) as exc:  # orjson fails first, and its text names a type, never a value
        if from_outside(exc):
            raise
        reason = str(exc)
    else:
        return text
    # Raised outside the handler, since some of those errors keep the value.
    raise InputError(f"{name} cannot be sent as JSON: {reason}")


def to_message(message: object) -> str | bytes:
    """Return the text or the bytes to send for a message of the application's own.

    Args:
        message: A str, sent as it is; a mapping or a list, sent as JSON; or bytes, sent as a binary message.

    Raises:
        InputError: It is of another type, a str that UTF-8 cannot encode, not JSON, or an event of the session's own.
    """
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message)
    if isinstance(message, str):
        _check_encodable(message)
        _check_event(_parse_as_server(message))
        return message
    if isinstance(message, Mapping):
        fields = dict(message)
        _check_event(fields)
        return to_json("message", fields).decode()
    if isinstance(message, list | tuple):
        return to_json("message", message).decode()
    accepted = "a str, a mapping or a list that JSON can hold, or bytes"
    raise InputError(f"message must be {accepted}; got {type(message).__name__}")


def check_size(size: int, limit: float, limited_by: str) -> None:
    """Raise `InputError` for a message that is too large.

    Args:
        size: The size of the message in bytes.
        limit: The limit in bytes.
        limited_by: What sets the limit, for the error.
    """
    if size > limit:
        raise InputError(f"message must have at most {limit} bytes, {limited_by}; got {size}")


def _check_encodable(text: str) -> None:
    index = -1
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        if from_outside(exc):
            raise
        index = exc.start
    if index >= 0:  # raised outside the handler, since that error keeps the message
        raise InputError(f"message must be text that UTF-8 can hold; character {index} is a surrogate")


def _parse_as_server(text: str) -> object:
    """Parse a message with Python's json module, as servers do; it accepts more than JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        if from_outside(exc):
            raise
        return None


def _check_event(message: object) -> None:
    event = message.get("event") if isinstance(message, Mapping) else None
    if isinstance(event, str) and event in _RESERVED_EVENTS:
        raise InputError(f"message must not be the event {event!r}: {_RESERVED_EVENTS[event]}")
