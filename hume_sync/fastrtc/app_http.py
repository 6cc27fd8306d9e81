"""HTTP to the application around a FastRTC server: hooks, outputs and offers, one connection a request.

The connection is dialled as a WebSocket's is, so the same holds for its proxy, for TLS, and for what may go in the
clear; every system call on it has what is left of the call's deadline, whatever the server does. urllib3 writes the
request and reads the head of the answer. The body is read here: neither urllib3 nor http.client can go on after a
time-out (what they have half read is lost), and a reader of events runs into one all the time.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import attrs

from ..errors import (
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    HookError,
    MessageTooLarge,
    Timeout,
)
from ..net.body import body_reader
from ..net.connect import open_stream
from ..net.deadline import Deadline
from ..net.endpoint import default_context
from ..net.http1 import parse_retry_after
from ..net.interrupts import from_outside
from ..net.pending import Watch, unwatched
from ..net.proxies import environment_proxy
from ..net.secret import Secret
from ..net.sockets import SocketStream
from ..net.tracebacks import hides_locals
from ..net.urls import host_of, split_url
from ..reprs import safe_repr
from .events import json_or_text
from .fields import to_json
from .origin import AppEndpoint
from .request import Request, shown

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

__all__ = ["Answer", "AppClient", "Fields", "StreamingResponse"]

Fields = Mapping[str, Any] | None
"""What goes into the query of a URL."""

_MAX_BODY = 16 * 2**20
_SENTENCE = 200
_STREAM = "/websocket/offer"
"""What follows the path of a stream in that of its endpoint."""
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_PORTS = {"http": 80, "https": 443}
_ACCEPTED = "accepted: /path below the server's origin, or http(s)://host[:port]/path"


@safe_repr
@attrs.frozen
class Answer:
    """A whole answer."""

    status: int
    text: str = attrs.field(repr=False)
    json: Any = attrs.field(default=None, repr=False)
    """The body as JSON; None where it is not."""
    sentence: str = attrs.field(default="", repr=False)
    """Of an error: how the body begins, as our error may show it: one printable line without a private header in it."""

    retry_after: float | None = None
    """Seconds the server asked to wait."""
    url: str = ""
    """What was asked, as an error may show it: without its query."""


@safe_repr
class AppClient:
    """Speaks to the application's URLs. It holds no connection and may be shared by threads.

    Private headers go to the endpoint's own origin (scheme, host and port) alone: never to another URL, never after a
    redirect (none is followed), and never unencrypted to an address that is not this machine's, whatever its name,
    unless the endpoint allows plaintext.

    Args:
        endpoint: the server, and its stream.
        ssl_context: the caller's own TLS settings, for other origins too; default: the endpoint's, else the system's.
        proxy: as the client got it: None looks in the environment for each origin, all else is the endpoint's.
    """

    def __init__(
        self, endpoint: AppEndpoint, *, ssl_context: ssl.SSLContext | None = None, proxy: str | bool | None = None
    ) -> None:
        self._base = endpoint
        self._tls = ssl_context or endpoint.tls
        self._ask_environment = proxy is None

    def redact(self, text: str) -> str:
        """``text`` without the endpoint's secrets."""
        return self._base.redact(text)

    def resolve(self, url: str, *, name: str = "url") -> str:
        """The absolute URL: "/path" is at the root of the server's origin; http(s) URLs stay as they are.

        Raises:
            ConfigurationError: anything else, user:password or a fragment given; ``name`` is the argument it names.
        """
        origin, target = self._locate(url, name)
        return _url(origin, target)

    def candidates(self, url: str, *, name: str = "url") -> list[str]:
        """The absolute URLs that ``url`` may stand for, in the order in which they are to be asked.

        An application may be mounted below a path of the origin, and its stream below one of its own. So a path is
        looked for below the stream's whole path, then below each of that path's parents, and at last at the origin's
        root. One that names such a parent itself is not looked for below it. An http(s) URL stands for itself.

        Raises:
            ConfigurationError: as `resolve`.
        """
        absolute = self.resolve(url, name=name)
        if not url.startswith("/"):
            return [absolute]
        root, above = absolute.removesuffix(url), self._base.path.removesuffix(_STREAM).rstrip("/")
        found = []
        while above:
            if not url.startswith(f"{above}/"):
                found.append(f"{root}{above}{url}")
            above = above.rpartition("/")[0].rstrip("/")
        return [*found, absolute]

    def post_json(
        self,
        url: str,
        payload: Any,
        deadline: Deadline,
        *,
        watch: Watch = unwatched,
        query: Secret | None = None,
    ) -> Answer:
        """POST a value as JSON, and read the whole answer, whatever its status, but a redirect.

        ``watch`` is told of it. Aborted, it raises ConnectError or ConnectionLost. ``query`` goes into the URL.

        Raises:
            InputError: the value is not JSON.
            HookError: a redirect.
            ConfigurationError: the URL, or headers that would go unencrypted to another machine.
            ConnectError, ConnectionLost, Timeout, ProtocolError, MessageTooLarge: no answer; above 16 MiB it is none.
        """
        body = to_json("this", payload)
        return self._open(url, None, deadline, watch, body=body, query=query).answer(deadline)

    def get(
        self,
        url: str,
        fields: Fields,
        deadline: Deadline,
        *,
        watch: Watch = unwatched,
        max_size: int = _MAX_BODY,
    ) -> Answer:
        """GET the URL, with these fields in its query; otherwise as `post_json`. ``max_size``: bytes of the body."""
        return self._open(url, fields, deadline, watch).answer(deadline, max_size=max_size)

    def stream(
        self,
        url: str,
        fields: Fields,
        deadline: Deadline,
        *,
        watch: Watch = unwatched,
        head: Deadline | None = None,
    ) -> StreamingResponse:
        """GET a stream of events: the response with its body still to come; to be closed. Raises as `post_json`.

        Args:
            url: of the stream.
            fields: of its query.
            deadline: of connecting and asking.
            watch: told of it.
            head: deadline of the head of the answer; None: the same. Behind a middleware that compresses, or a proxy
                that buffers, the head comes with the first event.
        """
        return self._open(url, fields, deadline, watch, accept="text/event-stream", head=head)

    def __repr__(self) -> str:
        return f"<AppClient http{'s' if self._base.tls else ''}://{self._base.authority}/>"

    def _locate(self, url: object, name: str) -> tuple[AppEndpoint, str]:
        """Where a URL leads: the origin, and path and query."""
        if not isinstance(url, str):
            raise ConfigurationError(f"{name} must be a str, got {type(url).__name__}; {_ACCEPTED}")
        parts = split_url(url)
        # Nothing of the URL is repeated: it may hold a password or a token.
        if parts is None:
            raise ConfigurationError(f"{name} has a host or port that cannot be read; {_ACCEPTED}")
        if "@" in parts.netloc or "#" in url:
            raise ConfigurationError(f"{name} must not hold user:password or a fragment; {_ACCEPTED}")
        host, port = host_of(parts), parts.port
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if _VISIBLE.fullmatch(url) and not parts.scheme and url.startswith("/") and not url.startswith("//"):
            return self._origin(self._base.tls is not None, self._base.host, self._base.port), target
        if not _VISIBLE.fullmatch(url) or parts.scheme not in _PORTS or not host or port == 0:
            raise ConfigurationError(f"{name} is not a URL to use (it has {len(url)} characters); {_ACCEPTED}")
        return self._origin(parts.scheme == "https", host, port or _PORTS[parts.scheme]), target

    def _origin(self, encrypted: bool, host: str, port: int) -> AppEndpoint:
        base, scheme = self._base, "https" if encrypted else "http"
        own = (encrypted, host, port) == (base.tls is not None, base.host, base.port)
        if encrypted and self._tls is None:
            self._tls = default_context()
        return AppEndpoint(
            host=host,
            port=port,
            path="",
            tls=self._tls if encrypted else None,
            headers=base.headers,
            private=base.private if own else (),
            proxy=environment_proxy(scheme, host, port) if self._ask_environment else base.proxy,
            allow_plaintext=base.allow_plaintext,
        )

    @hides_locals
    def _open(
        self,
        url: str,
        fields: Fields,
        deadline: Deadline,
        watch: Watch,
        *,
        body: bytes | None = None,
        accept: str = "application/json",
        query: Secret | None = None,
        head: Deadline | None = None,
    ) -> StreamingResponse:
        origin, target = self._locate(url, "url")
        public = shown(_url(origin, target.partition("?")[0]))
        for more in (query.reveal() if query else "", urlencode(fields or {})):
            if more:
                target += ("&" if "?" in target else "?") + more
        request = Request(origin, target, public, accept, body)
        try:
            return self._send(request, deadline, head or deadline, watch)
        except (HookError, ConnectError) as exc:
            if not from_outside(exc):
                exc.url = public
            raise

    def _send(self, request: Request, deadline: Deadline, head_deadline: Deadline, watch: Watch) -> StreamingResponse:
        try:
            wire = open_stream(request.origin, deadline, watch)
        except ConfigurationError as exc:  # it speaks of keys and wss://
            if from_outside(exc):
                raise
            raise ConfigurationError(
                f"headers would go unencrypted to {request.origin.authority}: use https://, or pass"
                " allow_plaintext=True"
            ) from None
        try:
            head = request.exchange(wire, deadline, head_deadline)
            if 300 <= head.status < 400:
                what = f"{request.shown} redirects (HTTP {head.status}), which is never followed: give the final URL"
                raise HookError(what, status=head.status)
            return StreamingResponse(wire, head, self.redact, request.shown)
        except BaseException:
            wire.close()
            raise


class StreamingResponse:
    """An answer whose head has come. One thread at a time reads it; `abort` is for any."""

    def __init__(self, wire: SocketStream, head: BaseHTTPResponse, redact: Callable[[str], str], url: str) -> None:
        self.url = url
        """What was asked, as an error may show it."""
        self.status = head.status
        self.content_type = redact(head.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        """The media type alone, in lower case; empty where none is named."""
        self._retry_after = parse_retry_after(head.headers.get("Retry-After"), head.headers.get("Date"))
        self._body = body_reader(head.status, head.headers)
        self._wire = wire
        self._redact = redact

    def read(self, deadline: Deadline) -> bytes:
        """The next bytes of the body, as they come; none at its end.

        Raises:
            Timeout: the deadline passed. Nothing is lost by it: the next call goes on.
            ConnectionLost: the body was cut short.
            ProtocolError: it is not put together as HTTP/1.1 says.
        """
        while not self._body.ended:
            try:
                data = b"" if self._body.holds_more else bytes(self._wire.read(deadline))
            except OSError as exc:
                if from_outside(exc):
                    raise
                if isinstance(exc, TimeoutError):
                    raise Timeout("no more of the answer in time", phase="receive", maybe_processed=True) from None
                raise ConnectionLost(f"the answer was cut short: {exc}", phase="receive", maybe_processed=True) from exc
            if piece := self._body.feed(data):
                return piece
        return b""

    def answer(self, deadline: Deadline, *, max_size: int = _MAX_BODY) -> Answer:
        """Read all of it, and close.

        Raises:
            MessageTooLarge: more than ``max_size`` bytes.
            Timeout, ConnectionLost, ProtocolError: as `read`.
        """
        body = bytearray()
        try:
            while piece := self.read(deadline):
                body += piece
                if len(body) > max_size:
                    raise MessageTooLarge(f"the answer is larger than {max_size} bytes", phase="receive")
        finally:
            self.close()
        text = body.decode("utf-8", "replace")
        value = json_or_text(text)
        sentence = "" if self.status < 400 else " ".join(self._redact(text).split())[:_SENTENCE]
        shown = "".join(c if c.isprintable() else "?" for c in sentence)
        return Answer(self.status, text, None if value is text else value, shown, self._retry_after, self.url)

    def abort(self) -> None:
        """From any thread: end it; whoever reads gets what has come, and then the end or ConnectionLost."""
        self._wire.abort()

    @property
    def closed(self) -> bool:
        """Whether the connection was let go."""
        return self._wire.fileno() == -1

    def close(self) -> None:
        """Let the connection go. Idempotent."""
        self._wire.close()

    def release_after_fork(self, *, close: bool) -> None:
        """In a forked child: let the descriptor go without a word to the server."""
        self._wire.release_after_fork(close=close)


def _url(origin: AppEndpoint, target: str) -> str:
    return f"http{'s' if origin.tls else ''}://{origin.authority}{target}"
