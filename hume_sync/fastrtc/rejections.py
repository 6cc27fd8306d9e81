"""Rejected connections: by a message, by an HTTP status, or by a success whose body says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from ..errors import (
    AuthenticationError,
    ConnectError,
    ConnectionAlreadyExists,
    HandshakeRejected,
    TooManyConnections,
)

__all__ = ["rejection_from_message", "rejection_from_response", "status_hint"]

_MAX_EXCERPT: Final = 200
"""Characters of a server's message in an error's text."""

_MAX_BODY: Final = 512
"""Characters of it in the error's ``body``."""

_NO_PATH: Final = "nothing is mounted at this path; see url and path of FastRTCClient"

_HINTS: Final[Mapping[str, Mapping[int, str]]] = {
    "websocket": {
        200: "a web page, and no FastRTC stream, is at this path",
        403: "no stream is mounted at this path (see url and path of FastRTCClient), or access is denied",
        404: "nothing is mounted at this path, or a proxy has made a plain GET of the WebSocket handshake",
        405: "nothing that uses WebSocket is mounted at this path",
        426: "a proxy has taken the upgrade to WebSocket out of the handshake",
        500: "the stream has no audio, or a plain function as its handler, which WebSocket cannot serve; or it failed",
    },
    "offer": {
        403: "access is denied",
        404: _NO_PATH,
        405: _NO_PATH,
        422: "the offer lacks a field that this application asks for; see fields of connect",
        500: "the stream is not of audio in both directions, or its handler failed",
    },
    "input_hook": {
        404: "there is no such path; see input_hook of FastRTCClient",
        405: "the path does not take POST; see input_hook of FastRTCClient",
        422: "it expects other fields; see inputs of connect, and shape of FastRTCClient",
    },
    "outputs": {
        404: "there is no such path; see outputs of FastRTCClient",
        405: "the path does not take GET; see outputs of FastRTCClient",
        422: "it expects other parameters than webrtc_id; they may stand in the query of outputs",
    },
    "latest": {
        404: "there is no such path; see latest of FastRTCClient",
        405: "the path does not take GET; see latest of FastRTCClient",
        422: "it expects other parameters than webrtc_id; they may stand in the query of latest",
        500: "no output came while it waited, or it failed",
    },
}
"""What a status means from these servers and applications."""

_GATEWAY: Final = "a gateway answers, and cannot reach the application behind it"


def status_hint(asked: str, status: int) -> str:
    """Return what a status means, for an error's text.

    Args:
        asked: What was requested: "websocket", "offer", or the name of the argument for one of the application's URLs.
        status: The status of the response.

    Returns:
        A clause, or "" if there is nothing to add to the status.
    """
    if status in {502, 504}:
        return _GATEWAY
    return _HINTS.get(asked, {}).get(status, "")


def rejection_from_message(message: object, redact: Callable[[str], str] = str) -> ConnectError | None:
    """Return the error for a server's message that rejects the connection (``status: failed``), else None.

    Args:
        message: The JSON value.
        redact: Removes private headers from the server's text.
    """
    if not isinstance(message, Mapping) or message.get("status") != "failed":
        return None
    meta = message.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    reason, limit = meta.get("error"), meta.get("limit")
    if reason == "connection_already_exists":
        return ConnectionAlreadyExists("the server has a connection of this id already", phase="connect")
    if reason == "concurrency_limit_reached" or "limit" in meta:
        return _too_many(limit if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0 else None)
    quoted = f" ({redact(reason)[:_MAX_EXCERPT]!r})" if isinstance(reason, str) else ""
    return HandshakeRejected(f"the server refuses the connection{quoted}", phase="connect")


def rejection_from_response(
    status: int,
    body: Any,
    redact: Callable[[str], str] = str,
    *,
    retry_after: float | None = None,
    asked: str = "",
    url: str = "",
) -> ConnectError:
    """Return the error for the HTTP response that rejects a handshake or an offer.

    Args:
        status: The status of the response.
        body: The JSON value; or text, which may be JSON, without private headers.
        redact: As for `rejection_from_message`.
        retry_after: Seconds the server asks to wait.
        asked: As for `status_hint`.
        url: The URL that was requested, as the error may show it.
    """
    error = rejection_from_message(_as_json(body), redact)
    if error is None and status == 429:
        error = _too_many(None)
    if error is None:
        what = f"the server refuses the connection (HTTP {status}{f' from {url}' if url else ''})"
        if status == 401:
            error = AuthenticationError(f"{what}: it requires other headers", phase="connect")
        elif 300 <= status < 400:
            what += ": it redirects, which is never followed; give the final address as url"
            error = HandshakeRejected(what, phase="connect")
        else:
            text = body if isinstance(body, str) else ""
            details = [detail for detail in (text[:_MAX_EXCERPT], status_hint(asked, status)) if detail]
            error = HandshakeRejected(": ".join([what, *details]), phase="connect")
            error.body = text[:_MAX_BODY]
    error.status, error.retry_after, error.url = status, retry_after, url or None
    return error


def _as_json(body: Any) -> Any:
    try:
        return orjson.loads(body) if isinstance(body, str) else body
    except orjson.JSONDecodeError:
        return None


def _too_many(limit: int | None) -> TooManyConnections:
    shown = "" if limit is None else f" ({limit})"
    error = TooManyConnections(f"the handler accepts no further connections at present{shown}", phase="connect")
    error.limit = limit
    return error
