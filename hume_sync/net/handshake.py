"""A socket stand-in for websocket-client: it adds secret headers to the request and limits the response.

websocket-client writes the request and checks the accept key. Everything else about a handshake is held here,
where it can be bounded: private headers are put in behind its back, so neither it nor its trace ever knows a
key; the answer is read within limits; any status but 101 ends here, so no redirect is followed and at most
8 KiB of a body are read; and cookies go neither way, even if other users of websocket-client in this process set some.
"""

from __future__ import annotations

import re

from ..errors import AuthenticationError, HandshakeRejected, HumeClientException, ProtocolError
from .body import body_reader
from .deadline import Deadline
from .endpoint import Endpoint
from .http1 import ResponseHead, parse_retry_after, read_head
from .interrupts import from_outside
from .sockets import SocketStream

__all__ = ["HandshakeEnded", "HandshakeSocket"]

_CHECKED = frozenset({"upgrade", "connection", "sec-websocket-accept"})

_MAX_READ = 8192
"""Bytes of a refusal's body that are read."""

_MAX_BODY = 512
"""Characters of it that are kept."""

_SENTENCE = 200
"""Characters of it in an error's text."""

_PATIENCE = 0.5
"""Seconds for the body to come."""


_NO_KEY = "no API key was sent: set HUME_API_KEY, or pass api_key"


class HandshakeEnded(Exception):
    """Raised in place of the error that ended a handshake, which is stored (`HandshakeSocket.take_failure`).

    websocket-client retries or waits after some exceptions, and keeps a descriptor open meanwhile.
    """


class HandshakeSocket:
    """The socket that websocket-client sees during the handshake; it holds the deadline for it."""

    def __init__(self, stream: SocketStream, endpoint: Endpoint, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline
        self._endpoint = endpoint
        self._answer = b""
        self.head: ResponseHead | None = None
        self._failure: Exception | None = None

    def send(self, data: bytes) -> int:
        """Send websocket-client's request, without cookies, and with the query and the private headers."""
        lines = [line for line in data.split(b"\r\n") if line and not line.lower().startswith(b"cookie:")]
        if self._endpoint.query:
            target, _, version = lines[0].rpartition(b" ")
            lines[0] = b"%b?%b %b" % (target, self._endpoint.query.reveal().encode(), version)
        lines += [f"{name}: {secret.reveal()}".encode() for name, secret in self._endpoint.secret_headers]
        try:
            self._stream.send(b"\r\n".join([*lines, b"", b""]), self._deadline)
        except Exception as exc:
            self._failure = exc
            raise HandshakeEnded("the handshake has ended") from exc
        return len(data)

    def recv(self, limit: int) -> bytes:
        """Hand out the answer, once it is known to be an upgrade."""
        if self.head is None:
            try:
                self.head = self._accept(read_head(self._stream, self._deadline))
            except Exception as exc:
                self._failure = exc
                raise HandshakeEnded("the handshake has ended") from exc
            # Only what websocket-client checks: the rest could be cookies, or repeat the key into its trace.
            lines = ["HTTP/1.1 101 Switching Protocols"]
            lines += [f"{name}: {value}" for name, value in self.head.fields if name in _CHECKED]
            self._answer = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        head, self._answer = self._answer[:limit], self._answer[limit:]
        return head

    def take_failure(self) -> Exception | None:
        """Return what ended the handshake, where `HandshakeEnded` was raised in its place; it is not kept."""
        failure, self._failure = self._failure, None
        return failure

    def _accept(self, head: ResponseHead) -> ResponseHead:
        if head.status != 101:
            raise self._refusal(head)
        if head.get("sec-websocket-extensions") or head.get("sec-websocket-protocol"):
            # RFC 6455, 4.1: an answer may only pick from what was offered, and nothing was.
            raise ProtocolError("the server selected an extension or subprotocol that was not offered", phase="connect")
        return head

    def _refusal(self, head: ResponseHead) -> HandshakeRejected | AuthenticationError:
        retry_after = parse_retry_after(head.get("retry-after"), head.get("date"))
        if head.status == 401:
            # The official SDK's text, word for word: callers match on it.
            wrong = "HumeStreamClient initialized with invalid API key."
            return AuthenticationError(
                wrong if self._endpoint.has_key else f"HTTP 401 from {self._endpoint.authority}: {_NO_KEY}",
                phase="connect",
                status=401,
                retry_after=retry_after,
            )
        what = f"HTTP {head.status} from {self._endpoint.authority}"
        body = ""
        if 300 <= head.status < 400:
            what += ", a redirect, which is never followed: give the final address as base_url"
        elif body := self._body(head):
            what += f": {body[:_SENTENCE]}"
        hint = f"; {_NO_KEY}" if head.status == 403 and not self._endpoint.has_key else ""
        error = HandshakeRejected(
            f"Unexpected error when creating streaming connection ({what}){hint}",
            phase="connect",
            status=head.status,
            retry_after=retry_after,
        )
        error.body = body
        return error

    def _body(self, head: ResponseHead) -> str:
        """How the body begins, as one line of printable text; what comes late is waited for, but not for long."""
        raw = bytearray()
        deadline = self._deadline.capped_at(_PATIENCE)
        try:
            body = body_reader(head.status, dict(head.fields))
            while not body.ended and len(raw) < _MAX_READ:
                raw += body.feed(bytes(self._stream.read(deadline)))
        except (OSError, HumeClientException) as exc:
            if from_outside(exc):
                raise
            # Else what has come tells more than nothing.
        text = raw.decode("utf-8", "replace")
        if len(raw) >= _MAX_READ:
            text = re.sub(r"\S+\Z", "", text)  # the cut-off last word may be part of a secret
        text = " ".join(self._endpoint.redact(text).split())
        return "".join(c if c.isprintable() else "?" for c in text)[:_MAX_BODY]

    # What websocket-client asks of a socket besides:

    def gettimeout(self) -> float:
        """Anything but zero: "blocking", for websocket-client; the deadline rules."""
        return 1.0

    def close(self) -> None:
        """Close the stream after websocket-client has failed."""
        self._stream.close()
