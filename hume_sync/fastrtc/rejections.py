"""How servers refuse a connection, whichever way they put it: by a message, a status, or a success that is none."""

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

__all__ = ["meaning", "refusal", "refused"]

_SENTENCE = 200
"""Characters of a server's own words in an error's text."""

_MAX_BODY = 512
"""Characters of them beside it."""

_NO_PATH: Final = "nothing is mounted at this path; see url and path of FastRTCClient"

_MEANINGS: Final[Mapping[str, Mapping[int, str]]] = {
    "websocket": {
        200: "a web page, and no FastRTC stream, is at this path",
        403: "no stream is mounted at this path (see url and path of FastRTCClient), or access is denied",
        404: "nothing is mounted at this path, or a proxy has made a plain GET of the WebSocket handshake",
        405: "nothing that speaks WebSocket is mounted at this path",
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
"""What servers of this kind, and the applications around them, mean by a status."""

_GATEWAY: Final = "a gateway answers, and cannot reach the application behind it"


def meaning(asked: str, status: int) -> str:
    """Return what a status means, for an error's text.

    Args:
        asked: what it answers: "websocket", "offer", or the name of the argument for one of the application's URLs.
        status: of the answer.

    Returns:
        A clause, or an empty text where the status alone tells as much.
    """
    if status in {502, 504}:
        return _GATEWAY
    return _MEANINGS.get(asked, {}).get(status, "")


def refusal(message: object, redact: Callable[[str], str] = str) -> ConnectError | None:
    """The error that a server's message tells of (``status: failed``); None for any other message.

    Args:
        message: as JSON.
        redact: takes private headers out of the server's own words.
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
    told = f" ({redact(reason)[:_SENTENCE]!r})" if isinstance(reason, str) else ""
    return HandshakeRejected(f"the server refuses the connection{told}", phase="connect")


def refused(
    status: int,
    body: Any,
    redact: Callable[[str], str] = str,
    *,
    retry_after: float | None = None,
    asked: str = "",
    url: str = "",
) -> ConnectError:
    """The error that an HTTP answer tells of, which is no success or says so: to a handshake or an offer.

    Args:
        status: of the answer.
        body: as JSON, or as text that may be JSON, and that an error may show: without a private header in it.
        redact: as for `refusal`.
        retry_after: seconds the server asks to wait.
        asked: as for `meaning`.
        url: that was asked, as the error may show it.
    """
    error = refusal(_as_json(body), redact)
    if error is None and status == 429:
        error = _too_many(None)
    if error is None:
        what = f"the server refuses the connection (HTTP {status}{f' from {url}' if url else ''})"
        if status == 401:
            error = AuthenticationError(f"{what}: it wants other headers", phase="connect")
        elif 300 <= status < 400:
            what += ": it redirects, which is never followed; give the final address as url"
            error = HandshakeRejected(what, phase="connect")
        else:
            text = body if isinstance(body, str) else ""
            told = [told for told in (text[:_SENTENCE], meaning(asked, status)) if told]
            error = HandshakeRejected(": ".join([what, *told]), phase="connect")
            error.body = text[:_MAX_BODY]
    error.status, error.retry_after, error.url = status, retry_after, url or None
    return error


def _as_json(body: Any) -> Any:
    try:
        return orjson.loads(body) if isinstance(body, str) else body
    except orjson.JSONDecodeError:
        return None


def _too_many(limit: int | None) -> TooManyConnections:
    told = "" if limit is None else f" ({limit})"
    error = TooManyConnections(f"the handler takes no more connections at present{told}", phase="connect")
    error.limit = limit
    return error
