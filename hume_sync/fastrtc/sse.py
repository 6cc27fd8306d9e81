"""Server-sent events out of bytes, in whatever pieces they come (HTML standard, 9.2.6).

Pure and incremental: a time-out between any two bytes loses nothing.
"""

from __future__ import annotations

import re

import attrs

from ..errors import ProtocolError
from ..reprs import safe_repr

__all__ = ["SSEParser", "ServerSentEvent"]

_LINE_END = re.compile(rb"\r\n?|\n")
_BOM = b"\xef\xbb\xbf"
_MAX_DIGITS = 9
"""Of a ``retry``: longer ones are a joke, and beyond some thousands Python itself refuses to read them."""


@safe_repr
@attrs.frozen
class ServerSentEvent:
    """One event of a stream."""

    data: str
    """Its lines, joined by line feeds."""
    event: str = "message"
    """Its name."""
    id: str | None = None
    """The last identifier the stream has named, with this event or before it."""
    retry: int | None = None
    """Milliseconds to wait before reconnecting, where this event names them."""


class SSEParser:
    """Parses one stream. It does no I/O, and never holds more than its two limits.

    Args:
        max_line: bytes of one line, whatever it holds; 1 MiB.
        max_event: bytes of the data of one event; 16 MiB.
    """

    def __init__(self, max_line: int = 2**20, max_event: int = 16 * 2**20) -> None:
        self._max_line = max_line
        self._max_event = max_event
        self._line = bytearray()  # begun, its end has not come
        self._first = True  # no line has ended yet: a byte order mark may stand before it
        self._after_cr = False  # a line feed that comes next belongs to a line end that has been seen
        self._data = bytearray()
        self._event = ""
        self._id: str | None = None
        self._retry: int | None = None

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that are complete with these bytes. What is incomplete when the stream ends is no event.

        Raises:
            ProtocolError: a line or an event beyond its limit; nothing sensible can follow.
        """
        if not data:
            return []
        events: list[ServerSentEvent] = []
        start = 1 if self._after_cr and data.startswith(b"\n") else 0
        for end in _LINE_END.finditer(data, start):
            self._extend_line(data[start : end.start()])
            start = end.end()
            line = bytes(self._line)
            self._line.clear()
            if self._first:
                self._first = False
                line = line.removeprefix(_BOM)
            if line:
                self._take(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
        self._extend_line(data[start:])
        self._after_cr = data.endswith(b"\r")
        return events

    def _extend_line(self, piece: bytes) -> None:
        if len(self._line) + len(piece) > self._max_line:
            raise ProtocolError(f"a line of the event stream is longer than {self._max_line} bytes", phase="receive")
        self._line += piece

    def _take(self, line: bytes) -> None:
        """Take in one line. A comment begins with its colon, so its field has no name; unknown ones are ignored."""
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            if len(self._data) + len(value) + 1 > self._max_event:
                raise ProtocolError(f"an event is larger than {self._max_event} bytes", phase="receive")
            self._data += value + b"\n"
        elif field == b"event":
            self._event = _decoded(value)
        elif field == b"id" and b"\0" not in value:
            self._id = _decoded(value)
        elif field == b"retry" and value.isdigit() and len(value) <= _MAX_DIGITS:
            self._retry = int(value)

    def _dispatch(self) -> ServerSentEvent | None:
        """An empty line ends an event; without data it is none."""
        event = None
        if self._data:
            event = ServerSentEvent(_decoded(self._data[:-1]), self._event or "message", self._id, self._retry)
        self._data.clear()
        self._event = ""
        self._retry = None
        return event


def _decoded(value: bytes | bytearray) -> str:
    # Line ends are never part of a character, so that decoding whole lines is the same as decoding the stream.
    return value.decode("utf-8", "replace")
