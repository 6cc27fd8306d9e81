"""Server-sent events out of bytes, in whatever pieces they come (HTML standard, 9.2.6).

Pure and incremental: a time-out between any two bytes loses nothing.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from ..reprs import safe_repr

__all__ = ["TOO_LARGE", "SSEParser", "ServerSentEvent"]

_LINE_END = re.compile(rb"\r\n?|\n")
_BOM = b"\xef\xbb\xbf"
_MAX_DIGITS = 9
"""Of a ``retry``: longer ones are a joke, and beyond some thousands Python itself refuses to read them."""
_FIELD = 16
"""Bytes of a line that are not its value: ``data: ``, and a byte order mark."""

TOO_LARGE: Final = None
"""In place of an event that was larger than the limit."""


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
    """Parses one stream. It does no I/O, and holds no more than a line and an event of the largest size.

    Args:
        max_event: bytes of the data of one event, and of any line.
    """

    def __init__(self, max_event: int = 16 * 2**20) -> None:
        self._max_event = max_event
        self._events: list[ServerSentEvent | None] = []  # complete, in their order
        self._line = bytearray()  # begun, its end has not come
        self._skips_line = False  # the rest of a line that is too long
        self._skips_event = False  # the rest of an event that is too large
        self._first = True  # no line has ended yet: a byte order mark may stand before it
        self._after_cr = False  # a line feed that comes next belongs to a line end that has been seen
        self._data = bytearray()
        self._event = ""
        self._id: str | None = None
        self._retry: int | None = None

    def feed(self, data: bytes) -> list[ServerSentEvent | None]:
        """The events that are complete with these bytes; `TOO_LARGE` as soon as one is beyond the limit.

        What is incomplete when the stream ends is no event.
        """
        if not data:
            return []
        start = 1 if self._after_cr and data.startswith(b"\n") else 0
        for end in _LINE_END.finditer(data, start):
            self._extend_line(data[start : end.start()])
            start = end.end()
            self._end_line()
        self._extend_line(data[start:])
        self._after_cr = data.endswith(b"\r")
        events, self._events = self._events, []
        return events

    def _extend_line(self, piece: bytes) -> None:
        if self._skips_line:
            return
        self._line += piece
        if len(self._line) > self._max_event + _FIELD:
            self._skips_line = True
            if not self._line.startswith(b":"):  # a comment is never too long
                self._give_up_event()
            self._line.clear()

    def _end_line(self) -> None:
        line, skipped = bytes(self._line), self._skips_line
        self._line.clear()
        self._skips_line = False
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if line:
            self._take(line)
        elif not skipped:
            self._dispatch()

    def _give_up_event(self) -> None:
        if not self._skips_event:
            self._skips_event = True
            self._events.append(TOO_LARGE)
        self._data.clear()

    def _take(self, line: bytes) -> None:
        """Take in one line. A comment begins with its colon, so its field has no name; unknown ones are ignored."""
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            if self._skips_event or len(self._data) + len(value) > self._max_event:
                self._give_up_event()
            else:
                self._data += value + b"\n"
        elif field == b"event":
            self._event = _decoded(value)
        elif field == b"id" and b"\0" not in value:
            self._id = _decoded(value)
        elif field == b"retry" and value.isdigit() and len(value) <= _MAX_DIGITS:
            self._retry = int(value)

    def _dispatch(self) -> None:
        """An empty line ends an event; without data it is none."""
        if self._data:
            event = ServerSentEvent(_decoded(self._data[:-1]), self._event or "message", self._id, self._retry)
            self._events.append(event)
        self._data.clear()
        self._skips_event = False
        self._event = ""
        self._retry = None


def _decoded(value: bytes | bytearray) -> str:
    # Line ends are never part of a character, so that decoding whole lines is the same as decoding the stream.
    return value.decode("utf-8", "replace")
