"""The head of an HTTP/1.1 answer, read within bounds: a proxy's to CONNECT, a server's to the upgrade."""

from __future__ import annotations

from typing import Any

import attrs

from ..errors import ProtocolError
from ..reprs import safe_repr
from . import clock
from .deadline import Deadline
from .interrupts import from_outside
from .preload import import_whole
from .sockets import SocketStream

__all__ = ["ResponseHead", "parse_retry_after", "read_head"]

_MAX_LINE = 8192
_MAX_LINES = 128


@safe_repr
@attrs.frozen
class ResponseHead:
    """Status and header fields."""

    status: int
    fields: tuple[tuple[str, str], ...]
    """Names in lower case, in the order received."""

    def get(self, name: str) -> str | None:
        """Return the first value of a field, None if it is absent."""
        return next((value for key, value in self.fields if key == name), None)


def read_head(stream: SocketStream, deadline: Deadline) -> ResponseHead:
    """Read a response head up to and with its empty line; what follows stays in the stream.

    Raises:
        EOFError: The peer ended the connection before the head was complete.
        ProtocolError: Not HTTP/1.x, or beyond 128 lines of 8192 bytes.
        OSError: As the socket says; ``TimeoutError`` when the deadline passed.
    """
    lines: list[str] = []
    while True:
        line = stream.readline(_MAX_LINE, deadline)
        if not line.endswith(b"\n"):
            if len(line) == _MAX_LINE:
                raise ProtocolError(f"an HTTP header line is longer than {_MAX_LINE} bytes", phase="connect")
            raise EOFError("the peer ended the connection in the middle of its HTTP answer")
        text = line.decode("latin-1").rstrip("\r\n")
        if not lines and not text.startswith("HTTP/1."):  # another protocol may never send an empty line
            raise ProtocolError("the answer is not HTTP/1.1", phase="connect")
        if not text and lines:
            return _parse(lines)
        lines.append(text)
        if len(lines) > _MAX_LINES:
            raise ProtocolError(f"an HTTP answer has more than {_MAX_LINES} header lines", phase="connect")


def _parse(lines: list[str]) -> ResponseHead:
    version, _, rest = lines[0].partition(" ")
    digits = rest[:3]
    if not version.startswith("HTTP/1.") or not (digits.isascii() and digits.isdigit() and len(digits) == 3):
        raise ProtocolError("the answer is not HTTP/1.1", phase="connect")
    fields = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise ProtocolError("the HTTP answer has a malformed header line", phase="connect")
        fields.append((name.lower(), value.strip()))
    return ResponseHead(int(digits), tuple(fields))


def parse_retry_after(value: str | None, date: str | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for: a count or a date (RFC 9110, 10.2.3).

    Args:
        value: Of the header.
        date: The ``Date`` header of the same response, so that a date is compared with the server's own clock.

    Returns:
        None where it is neither.
    """
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    until = _timestamp(value)
    if until is None:
        return None
    now = None if date is None else _timestamp(date)
    return max(0.0, until - (clock.wall() if now is None else now))


def _timestamp(date: str) -> float | None:
    utils: Any = import_whole("email.utils")  # for the few servers that send a date
    try:
        return float(utils.parsedate_to_datetime(date).timestamp())
    except (ValueError, OverflowError) as exc:
        if from_outside(exc):
            raise
        return None
