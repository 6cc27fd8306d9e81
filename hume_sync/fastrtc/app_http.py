"""HTTP to the application around a FastRTC server: hooks, outputs and offers, one connection per request.

Connections are made as for a WebSocket, so the same rules hold for proxies, TLS and plaintext, and every system call is
bounded by the deadline of the call. Bodies are read incrementally: a timeout in the middle of a body loses nothing, as
a reader of server-sent events needs.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_plus, urlencode

import attrs

from ..errors import (
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    HookError,
    MessageTooLarge,
    ProtocolError,
    Timeout,
)
from ..net.body import body_reader
from ..net.connect import open_stream
from ..net.deadline import Deadline
from ..net.endpoint import Endpoint, default_context
from ..net.http1 import ResponseHead, parse_retry_after, read_head
from ..net.interrupts import from_outside
from ..net.pending import Watch, unwatched
from ..net.proxies import environment_proxy
from ..net.sockets import SocketStream
from ..net.tracebacks import clears_locals
from ..net.urls import host_of, split_url
from ..reprs import Secret, safe_repr
from .events import json_or_text, to_json

__all__ = ["AppClient", "AppEndpoint", "QueryParams", "Response", "StreamingResponse", "shorten_url"]

QueryParams = Mapping[str, Any] | None
"""Parameters of a URL's query."""

_MIN_SECRET = 4
"""Minimum length of a header or query value to redact. Redacting shorter values, such as a tenant's one letter, would
make error messages unreadable."""

_MIN_SECRET_PART = 8
"""Minimum length of a part of a private header to redact by itself."""

_PARTS = re.compile(r'[^\s;,="]+')
"""The parts of a header's value. Many values are lists of names and values, such as cookies."""

_STREAM_PATH = "/websocket/offer"
"""What an endpoint's path has behind the path of its stream."""

_PORTS = {"http": 80, "https": 443}
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_ACCEPTED = "accepted: /path below the server's origin, or http(s)://host[:port]/path"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110, 5.6.2
_MAX_INTERIM = 100
"""Interim responses (1xx) that are skipped."""

_MAX_BODY = 16 * 2**20
_MAX_EXCERPT = 200
"""Characters of a response's body in an error's text."""
_MAX_URL = 200
"""Characters of a URL in an error's text."""


@safe_repr
@attrs.frozen
class AppEndpoint(Endpoint):
    """An endpoint whose private headers all count as credentials, since any of an application's headers may be one."""

    @property
    def has_credentials(self) -> bool:
        """Whether there are private headers."""
        return bool(self.secret_headers)

    def redact(self, text: str) -> str:
        """Return ``text`` without the private values, or parts of them: servers repeat a token without its "Bearer"."""
        values = [value for _, secret in self.secret_headers if len(value := secret.reveal()) >= _MIN_SECRET]
        parts = [part for value in values for part in (*value.split(), *_PARTS.findall(value))]
        values += [part for part in parts if len(part) >= _MIN_SECRET_PART]
        values += self._query_secrets()
        # All at once and the longest first: replacing a short value first would leave the rest of a longer one.
        secrets = sorted(set(values), key=len, reverse=True)
        return re.sub("|".join(map(re.escape, secrets)), "***", text, flags=re.IGNORECASE) if secrets else text

    def _query_secrets(self) -> list[str]:
        """Return the query, its fields, and their values that are long enough, encoded and decoded."""
        if self.query is None:
            return []
        query = self.query.reveal()
        fields = [field for field in query.split("&") if "=" in field]
        values = [field.partition("=")[2] for field in fields]
        values += [unquote_plus(value) for value in values]
        return [*fields, *(value for value in (query, *values) if len(value) >= _MIN_SECRET)]


def shorten_url(url: str) -> str:
    """Return a URL, without a query or secret in it, at a length that an error may show."""
    return url if len(url) <= _MAX_URL else f"{url[:_MAX_URL]}..."


@safe_repr
@attrs.frozen
class Response:
    """A whole response.

    Attributes:
        status: The HTTP status.
        text: The body as text.
        json: The body as JSON; None if it is not JSON.
        error_excerpt: How the body of an error begins: one printable line without a private header in it.
        retry_after: Seconds the server asked to wait.
        url: The URL that was requested, without its query, as an error may show it.
    """

    status: int
    text: str = attrs.field(repr=False)
    json: Any = attrs.field(default=None, repr=False)
    error_excerpt: str = attrs.field(default="", repr=False)
    retry_after: float | None = None
    url: str = ""


@safe_repr
class AppClient:
    """Makes requests to the application's URLs. It holds no connection and may be shared by threads.

    Private headers are only sent to the endpoint's own origin (scheme, host and port): never to another URL, never
    after a redirect (none is followed), and never unencrypted to another machine unless the endpoint allows plaintext.

    Args:
        endpoint: The server and its stream.
        ssl_context: The caller's TLS settings, also for other origins. Default: the endpoint's, else the system's.
        proxy: As given to the client. None looks into the environment for each origin; else the endpoint's is used.
    """

    def __init__(
        self, endpoint: AppEndpoint, *, ssl_context: ssl.SSLContext | None = None, proxy: str | bool | None = None
    ) -> None:
        self._base = endpoint
        self._tls = ssl_context or endpoint.tls
        self._use_environment = proxy is None

    def redact(self, text: str) -> str:
        """Return ``text`` without the endpoint's secrets."""
        return self._base.redact(text)

    def resolve(self, url: str, *, name: str = "url") -> str:
        """Return the absolute URL: "/path" is at the root of the server's origin; http(s) URLs are not changed.

        Args:
            url: A path or a URL.
            name: The argument that errors name.

        Raises:
            ConfigurationError: It is neither, or has user:password or a fragment.
        """
        origin, target = self._locate(url, name)
        return _join_url(origin, target)

    def candidates(self, url: str, *, name: str = "url") -> list[str]:
        """Return the absolute URLs that ``url`` may stand for, in the order in which to try them.

        An application may be mounted below a path of the origin, and its stream below a path of its own. So a path is
        looked for below the stream's whole path, then below each parent of that path, and last at the origin's root. A
        path that starts with such a parent is not looked for below it. An http(s) URL stands for itself.

        Raises:
            ConfigurationError: As for `resolve`.
        """
        absolute = self.resolve(url, name=name)
        if not url.startswith("/"):
            return [absolute]
        root, parent = absolute.removesuffix(url), self._base.path.removesuffix(_STREAM_PATH).rstrip("/")
        found = []
        while parent:
            if not url.startswith(f"{parent}/"):
                found.append(f"{root}{parent}{url}")
            parent = parent.rpartition("/")[0].rstrip("/")
        return [*found, absolute]

    def post_json(
        self, url: str, payload: Any, deadline: Deadline, *, watch: Watch = unwatched, query: Secret | None = None
    ) -> Response:
        """POST a value as JSON, and read the whole response, with any status but a redirect.

        Args:
            url: A path or a URL.
            payload: The value.
            deadline: The deadline of the whole call.
            watch: Receives the connection, so that another thread can abort it.
            query: A secret query for the URL.

        Raises:
            InputError: The value is not JSON.
            HookError: The server redirects.
            ConfigurationError: The URL cannot be used, or headers would go unencrypted to another machine.
            ConnectError: The server cannot be reached, or the request was aborted.
            ConnectionLost: The connection ended before the response did, or the request was aborted.
            Timeout: The deadline passed.
            ProtocolError: The response is not HTTP/1.1.
            MessageTooLarge: The body has more than 16 MiB.
        """
        body = to_json("this", payload)
        return self._open(url, None, deadline, watch, body=body, query=query).read_all(deadline)

    def get(
        self, url: str, params: QueryParams, deadline: Deadline, *, watch: Watch = unwatched, max_size: int = _MAX_BODY
    ) -> Response:
        """GET a URL with these parameters in its query; otherwise as `post_json`, with at most ``max_size`` bytes."""
        return self._open(url, params, deadline, watch).read_all(deadline, max_size=max_size)

    def stream(
        self,
        url: str,
        params: QueryParams,
        deadline: Deadline,
        *,
        watch: Watch = unwatched,
        head: Deadline | None = None,
    ) -> StreamingResponse:
        """GET a stream of events, and return the response before its body, for the caller to close. Raises as `get`.

        Args:
            url: The URL of the stream.
            params: The parameters of its query.
            deadline: The deadline for connecting and for sending the request.
            watch: Receives the connection, so that another thread can abort it.
            head: The deadline for the response's head. Default: the same. Behind a middleware that compresses, or a
                proxy that buffers, the head comes with the first event.
        """
        return self._open(url, params, deadline, watch, accept="text/event-stream", head=head)

    def __repr__(self) -> str:
        return f"<AppClient http{'s' if self._base.tls else ''}://{self._base.authority}/>"

    def _locate(self, url: object, name: str) -> tuple[AppEndpoint, str]:
        """Return the origin and the target of a path or URL."""
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
        same_origin = (encrypted, host, port) == (base.tls is not None, base.host, base.port)
        if encrypted and self._tls is None:
            self._tls = default_context()
        return AppEndpoint(
            host=host,
            port=port,
            path="",
            tls=self._tls if encrypted else None,
            headers=base.headers,
            secret_headers=base.secret_headers if same_origin else (),
            proxy=environment_proxy(scheme, host, port) if self._use_environment else base.proxy,
            allow_plaintext=base.allow_plaintext,
        )

    @clears_locals
    def _open(
        self,
        url: str,
        params: QueryParams,
        deadline: Deadline,
        watch: Watch,
        *,
        body: bytes | None = None,
        accept: str = "application/json",
        query: Secret | None = None,
        head: Deadline | None = None,
    ) -> StreamingResponse:
        origin, target = self._locate(url, "url")
        shown_url = shorten_url(_join_url(origin, target.partition("?")[0]))
        for more in (query.reveal() if query else "", urlencode(params or {})):
            if more:
                target += ("&" if "?" in target else "?") + more
        try:
            return self._request(origin, target, shown_url, deadline, head or deadline, watch, accept, body)
        except (HookError, ConnectError) as exc:
            if not from_outside(exc):
                exc.url = shown_url
            raise

    def _request(  # noqa: PLR0917 - the parts of a request, once
        self,
        origin: AppEndpoint,
        target: str,
        url: str,
        deadline: Deadline,
        head_deadline: Deadline,
        watch: Watch,
        accept: str,
        body: bytes | None,
    ) -> StreamingResponse:
        try:
            stream = open_stream(origin, deadline, watch)
        except ConfigurationError as exc:  # its text is about keys and wss://
            if from_outside(exc):
                raise
            raise ConfigurationError(
                f"headers would go unencrypted to {origin.authority}: use https://, or pass allow_plaintext=True"
            ) from None
        try:
            head = _exchange(stream, _encode_request(origin, target, accept, body), url, deadline, head_deadline)
            if 300 <= head.status < 400:
                what = f"{url} redirects (HTTP {head.status}), which is never followed: give the final URL"
                raise HookError(what, status=head.status)
            return StreamingResponse(stream, head, self.redact, url)
        except BaseException:
            stream.close()
            raise


class StreamingResponse:
    """A response whose head has been read. One thread at a time reads the body; any thread may `abort`.

    Attributes:
        url: The URL that was requested, as an error may show it.
        status: The HTTP status.
        content_type: The media type alone, in lower case; empty if there is none.
    """

    def __init__(self, stream: SocketStream, head: ResponseHead, redact: Callable[[str], str], url: str) -> None:
        fields = _join_fields(head)
        self.url = url
        self.status = head.status
        self.content_type = redact(fields.get("content-type", "")).partition(";")[0].strip().lower()
        self._retry_after = parse_retry_after(fields.get("retry-after"), fields.get("date"))
        self._body = body_reader(head.status, fields)
        self._stream = stream
        self._redact = redact

    def read(self, deadline: Deadline) -> bytes:
        """Return the next bytes of the body, as they come; b"" at its end.

        Raises:
            Timeout: The deadline passed. Nothing is lost: the next call continues.
            ConnectionLost: The body was cut off.
            ProtocolError: The body is not framed as HTTP/1.1 requires.
        """
        while not self._body.ended:
            try:
                data = b"" if self._body.holds_more else bytes(self._stream.read(deadline))
            except OSError as exc:
                if from_outside(exc):
                    raise
                if isinstance(exc, TimeoutError):
                    raise Timeout(
                        "timed out waiting for the rest of the answer", phase="receive", maybe_processed=True
                    ) from None
                raise ConnectionLost(f"the answer was cut short: {exc}", phase="receive", maybe_processed=True) from exc
            if piece := self._body.feed(data):
                return piece
        return b""

    def read_all(self, deadline: Deadline, *, max_size: int = _MAX_BODY) -> Response:
        """Read the whole body and close the connection.

        Raises:
            MessageTooLarge: The body has more than ``max_size`` bytes.
            Timeout: The deadline passed.
            ConnectionLost: The body was cut off.
            ProtocolError: The body is not framed as HTTP/1.1 requires.
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
        excerpt = "" if self.status < 400 else " ".join(self._redact(text).split())[:_MAX_EXCERPT]
        printable = "".join(c if c.isprintable() else "?" for c in excerpt)
        return Response(self.status, text, None if value is text else value, printable, self._retry_after, self.url)

    def abort(self) -> None:
        """End the connection, from any thread. A reader gets what has come, and then the end or ConnectionLost."""
        self._stream.abort()

    @property
    def closed(self) -> bool:
        """Whether the connection was closed."""
        return self._stream.fileno() == -1

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._stream.close()

    def release_after_fork(self, *, close: bool) -> None:
        """Release the descriptor in a forked child, without sending anything to the server."""
        self._stream.release_after_fork(close=close)


@clears_locals
def _encode_request(origin: AppEndpoint, target: str, accept: str, body: bytes | None) -> bytes:
    """Return a POST of JSON, or without a body a GET. The caller's headers cannot replace those that it needs."""
    needed = {"Host": origin.authority, "Connection": "close", "Accept": accept, "Accept-Encoding": "identity"}
    if body is not None:
        needed |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    given = {name.lower(): value for name, value in origin.headers}
    given |= {name.lower(): secret.reveal() for name, secret in origin.secret_headers}
    fields = needed | {name: value for name, value in given.items() if name.title() not in needed}
    lines = [f"{'GET' if body is None else 'POST'} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def _exchange(
    stream: SocketStream, request: bytes, url: str, deadline: Deadline, head_deadline: Deadline
) -> ResponseHead:
    """Send a request on a new connection, and read the head of the response.

    Args:
        stream: The connection.
        request: The bytes of the request.
        url: The URL as an error may show it.
        deadline: The deadline for sending.
        head_deadline: The deadline for the head.

    Raises:
        Timeout: The request could not be sent, or no head came, in time.
        ConnectionLost: The server ended the connection.
        ProtocolError: The response is not HTTP/1.1.
    """
    sent = False
    try:
        try:
            stream.send(request, deadline)
        except (BrokenPipeError, ConnectionResetError) as exc:
            if from_outside(exc):
                raise
            # The server may have responded before it read everything; that response says why.
        sent = True
        return _read_final_head(stream, head_deadline)
    except (OSError, EOFError) as exc:
        if from_outside(exc):
            raise
        if isinstance(exc, TimeoutError):
            phase = "receive" if sent else "send"
            raise Timeout(f"no answer from {url} in time", phase=phase, maybe_processed=sent) from None
        reason = (exc.strerror if isinstance(exc, OSError) else None) or "it ended the connection"
        raise ConnectionLost(f"no answer from {url}: {reason}", phase="receive", maybe_processed=True) from exc
    except ProtocolError as exc:
        if from_outside(exc):
            raise
        raise ProtocolError(f"the answer from {url} is not HTTP/1.1: {exc}", phase="receive") from None


def _read_final_head(stream: SocketStream, deadline: Deadline) -> ResponseHead:
    """Read heads up to the first that is not interim (1xx), and check what `read_head` is lenient about."""
    for _ in range(_MAX_INTERIM):
        head = read_head(stream, deadline)
        if not all(_TOKEN.fullmatch(name) and "\r" not in value for name, value in head.fields):
            raise ProtocolError("the HTTP answer has a malformed header line")
        if head.status >= 200:
            return head
    raise ProtocolError(f"more than {_MAX_INTERIM} interim answers")


def _join_fields(head: ResponseHead) -> dict[str, str]:
    """Return the header fields by name; the values of repeated ones are joined (RFC 9110, 5.3)."""
    fields: dict[str, str] = {}
    for name, value in head.fields:
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _join_url(origin: AppEndpoint, target: str) -> str:
    return f"http{'s' if origin.tls else ''}://{origin.authority}{target}"
