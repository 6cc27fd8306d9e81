"""One HTTP request on a connection of its own, and the head of its answer, by urllib3."""

from __future__ import annotations

import re
from http.client import HTTPException
from typing import TYPE_CHECKING

import attrs

from ..errors import ConnectionLost, ProtocolError, Timeout
from ..net.deadline import Deadline
from ..net.extras import NeedsExtra
from ..net.interrupts import from_outside
from ..net.preload import import_whole
from ..net.sockets import SocketStream
from ..reprs import safe_repr
from .origin import AppEndpoint

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

__all__ = ["Request", "require_urllib3", "shown"]

_LINE = re.compile(rb"(HTTP/|[!#$%&'*+.^_`|~0-9A-Za-z-]+:)[^\r\n]*\r?\n|\r?\n")  # RFC 9112, 4 and 5

_SHOWN = 200
"""Characters of a URL in an error's text."""


def require_urllib3() -> None:
    """Check that the extra is installed, before anything is asked.

    Raises:
        ConfigurationError: it is not.
    """
    with NeedsExtra("fastrtc", "a FastRTC hook, output or offer"):
        import_whole("urllib3.connection")  # an extra


def shown(url: str) -> str:
    """Return a URL, without a query or secret in it, at a length that an error may show."""
    return url if len(url) <= _SHOWN else f"{url[:_SHOWN]}..."


@safe_repr
@attrs.frozen
class Request:
    """A POST of JSON, or a GET."""

    origin: AppEndpoint
    target: str = attrs.field(repr=False)
    """Path and query."""
    shown: str
    """The URL as an error may show it: without its query."""
    accept: str
    body: bytes | None = attrs.field(default=None, repr=False)
    """JSON; None: there is none, and it is a GET."""

    def exchange(self, wire: SocketStream, deadline: Deadline, head_deadline: Deadline) -> BaseHTTPResponse:
        """Send the request, and read the head of its answer.

        Args:
            wire: a new connection.
            deadline: of sending.
            head_deadline: of the head.

        Raises:
            Timeout: it could not be sent, or no head came, in time.
            ConnectionLost: the server ended the connection.
            ProtocolError: what came is not HTTP/1.1.
        """
        with NeedsExtra("fastrtc", "a FastRTC hook, output or offer"):
            from urllib3.connection import HTTPConnection  # noqa: PLC0415 - an extra
            from urllib3.exceptions import HTTPError  # noqa: PLC0415 - likewise
        connection = HTTPConnection(self.origin.host, self.origin.port)
        connection.set_debuglevel(0)  # somebody else's trace would show the headers
        connection.sock = plug = _Plug(wire, deadline)
        sent = False
        try:
            try:
                method = "GET" if self.body is None else "POST"
                connection.request(
                    method, self.target, self.body, self._headers(), preload_content=False, decode_content=False
                )
            except (BrokenPipeError, ConnectionResetError) as exc:
                if from_outside(exc):
                    raise  # else the server may have answered before it has heard everything, and that answer says why
            sent = True
            plug.deadline = head_deadline
            return connection.getresponse()
        except OSError as exc:
            if from_outside(exc):
                raise
            if isinstance(exc, TimeoutError):
                phase = "receive" if sent else "send"
                raise Timeout(f"no answer from {self.shown} in time", phase=phase, maybe_processed=sent) from None
            what = f"no answer from {self.shown}: {exc.strerror or 'it ended the connection'}"
            raise ConnectionLost(what, phase="receive", maybe_processed=True) from exc
        except (HTTPException, HTTPError, ValueError) as exc:
            if from_outside(exc):
                raise
            # Their texts repeat what the server sent, at any length.
            what = f"the answer from {self.shown} is not HTTP/1.1 ({type(exc).__name__})"
            raise ProtocolError(what, phase="receive") from None

    def _headers(self) -> dict[str, str]:
        """What the request says; what it needs to be right is not for the caller to change."""
        needed = {"Host": self.origin.authority, "Connection": "close", "Accept": self.accept}
        needed["Accept-Encoding"] = "identity"
        if self.body is not None:
            needed["Content-Type"] = "application/json"
        given = {name.lower(): value for name, value in self.origin.headers}
        given |= {name.lower(): secret.reveal() for name, secret in self.origin.private}
        return needed | {name: value for name, value in given.items() if name.title() not in needed}


class _Plug:
    """What urllib3 and http.client see as a connected socket, and as the file made of it.

    They neither set its timeout nor close it: it holds the call's deadline for them, and the caller closes the stream.
    """

    def __init__(self, wire: SocketStream, deadline: Deadline) -> None:
        self.deadline = deadline
        self._wire = wire

    def sendall(self, data: bytes) -> None:
        self._wire.send(data, self.deadline)

    def readline(self, limit: int) -> bytes:
        line = self._wire.readline(limit, self.deadline)
        if not line.endswith(b"\n") and len(line) < limit:
            raise ConnectionAbortedError("cut off in its head")  # http.client would take it for the end of the head
        if not _LINE.fullmatch(line):
            # Of what follows nothing would be read as a field, and urllib3 would show all of it in its log.
            raise HTTPException("a line of a head that is none")
        return line

    def makefile(self, _mode: str) -> _Plug:
        return self

    def settimeout(self, timeout: float | None) -> None: ...

    def close(self) -> None: ...

    flush = close
