"""What a FastRTC server says, as typed values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import orjson

from ..net.interrupts import from_outside
from ..reprs import safe_repr

__all__ = [
    "AudioChunk",
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
    "json_or_text",
    "to_event",
]


@safe_repr
@attrs.frozen
class AudioChunk:
    """Audio of the handler, in the pieces it yields. When it came takes no part in comparisons."""

    samples: bytes = attrs.field(repr=lambda samples: f"<{len(samples)} bytes>")
    """s16le, mono."""
    rate: int
    """Samples a second."""
    delayed: bool = False
    """Whether it was spoken before a pause, and held back until now: over WebRTC the last 100 ms before a pause come as
    the first behind it."""
    arrived: float = attrs.field(default=math.nan, eq=False, repr=False, kw_only=True)
    """When it came from the network, in seconds of ``time.monotonic()``, however late it was received. (Over WebRTC:
    when it left the buffer against jitter.) NaN: not known, since it was made by hand."""
    media_time: float | None = attrs.field(default=None, eq=False, repr=False, kw_only=True)
    """Over WebRTC, where it stands on the server's own time line (RTP), in seconds since the first audio of the
    connection. Audio that was lost, or left out because it was silence, makes a gap there. A pause of the handler's
    does not: FastRTC sends nothing meanwhile, and goes on counting where it was; `arrived` tells of it (see
    `with_pauses`). None: over WebSocket, which has no such time."""

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return len(self.samples) / 2 / self.rate


@safe_repr
@attrs.frozen
class LogMessage:
    """Where a turn is: ``started_talking``, ``pause_detected``, ``response_starting`` (once a chunk), or other text."""

    text: str


@safe_repr
@attrs.frozen
class SendInput:
    """The handler waits for additional inputs, without limit."""


@safe_repr
@attrs.frozen
class FetchOutput:
    """There is an additional output to be fetched. (Over WebSocket servers never say so.)"""


@safe_repr
@attrs.frozen
class StopWord:
    """The stop word was heard."""

    text: str


@safe_repr
@attrs.frozen
class ErrorMessage:
    """The handler has failed. Over WebSocket servers never say so; over WebRTC nothing more comes of it."""

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
    """The connection was lost and made anew under another id: whatever was on its way is gone."""

    webrtc_id: str
    """Of the new connection."""
    error: str
    """What ended the old one."""


def _shown(data: object) -> str:
    """Of bytes only how many: they may be media."""
    return f"<{len(data)} bytes>" if isinstance(data, bytes) else repr(data)


@safe_repr
@attrs.frozen
class Custom:
    """A message of a type that nobody else has: an application's own."""

    type: str | None
    """Its ``type``, or its ``event`` where it has none; None: it has neither."""
    data: Any = attrs.field(repr=_shown)
    """The whole of it, where it is no object with ``type`` and ``data`` or ``message``. Of a binary message the bytes,
    whatever they hold."""


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

_TEXTS: dict[str, Callable[[str], Event]] = {
    "log": LogMessage,
    "stopword": StopWord,
    "error": ErrorMessage,
    "warning": WarningMessage,
    "end_stream": EndStream,
    "update_connection": UpdateConnection,
}


def json_or_text(message: str | bytes) -> Any:
    """The value, where a message is JSON; else the text of it."""
    try:
        return orjson.loads(message)
    except orjson.JSONDecodeError:
        text = message if isinstance(message, str) else message.decode("utf-8", "replace")
    if not text.startswith(("{", "[")) or ("NaN" not in text and "Infinity" not in text):
        return text
    try:
        return json.loads(text)  # JSON has no such numbers, and yet Python's own module writes them
    except (ValueError, RecursionError) as exc:
        if from_outside(exc):
            raise
        return text


def to_event(message: object) -> Event:
    """The event a control message tells of. Whatever nobody knows is `Custom`: it never fails.

    Args:
        message: as JSON; bytes: a binary message, which is nothing but data.

    The published page puts the text in ``data``, real servers that of errors and warnings in ``message``.
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
    if kind in _TEXTS and isinstance(data, str):
        return _TEXTS[kind](data)
    return Custom(kind, data if "data" in message or "message" in message else dict(message))
