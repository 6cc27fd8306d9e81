"""How servers refuse a connection, whichever way they put it: by a message, a status, or a success that is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from ..errors import (
    AuthenticationError,
    ConnectError,
    ConnectionAlreadyExists,
    HandshakeRejected,
    TooManyConnections,
)

__all__ = ["refusal", "refused"]

_SENTENCE = 200
"""Characters of a server's own words in an error's text."""

_MAX_BODY = 512
"""Characters of them beside it."""


def refusal(message: object, scrub: Callable[[str], str] = str) -> ConnectError | None:
    """The error that a server's message tells of (``status: failed``); None for any other message.

    Args:
        message: as JSON.
        scrub: takes private headers out of the server's own words.
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
    told = f" ({scrub(reason)[:_SENTENCE]!r})" if isinstance(reason, str) else ""
    return HandshakeRejected(f"the server refuses the connection{told}", phase="connect")


def refused(
    status: int, body: Any, scrub: Callable[[str], str] = str, *, retry_after: float | None = None
) -> ConnectError:
    """The error that an HTTP answer tells of, which is no success or says so: to a handshake or an offer.

    Args:
        status: of the answer.
        body: as JSON, or as text that may be JSON, and that an error may show: without a private header in it.
        scrub: as for `refusal`.
        retry_after: seconds the server asks to wait.
    """
    error = refusal(_as_json(body), scrub)
    if error is None and status == 429:
        error = _too_many(None)
    if error is None:
        what = f"the server refuses the connection (HTTP {status})"
        if status == 401:
            error = AuthenticationError(f"{what}: it wants other headers", phase="connect")
        elif 300 <= status < 400:
            what += ": it redirects, which is never followed; give the final address as url"
            error = HandshakeRejected(what, phase="connect")
        else:
            text = body if isinstance(body, str) else ""
            error = HandshakeRejected(what + (f": {text[:_SENTENCE]}" if text else ""), phase="connect")
            error.body = text[:_MAX_BODY]
    error.status, error.retry_after = status, retry_after
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
