"""A bounded record of what reached the server, for any thread to read."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import orjson
from attrs import field, frozen

from ..locks import make_lock
from ..reprs import safe_repr


@safe_repr
@frozen
class HandshakeSeen:
    """A handshake, accepted (status 101) or rejected. Neither the key nor the query is recorded."""

    connection: int
    """Number of the connection, from 1; rejected ones count as well."""
    path: str
    status: int
    client_name: str | None
    """The header X-Hume-Client-Name."""
    client_version: str | None
    """The header X-Hume-Client-Version."""
    user_agent: str | None


@safe_repr
@frozen
class RequestSeen:
    """A request and the outcome of its reply."""

    connection: int
    size: int
    """Characters of a text frame, bytes of a binary one."""
    fields: Mapping[str, Any]
    """The JSON object without ``data``; empty if it is not an object, or too long to keep."""
    data_size: int
    """Characters of ``data``."""
    data_digest: str | None
    """BLAKE2b of ``data`` as 32 hexadecimal digits, as `data_digest_of` returns it; None without ``data``."""
    data: str | None = field(repr=False)
    """``data`` itself, unless it is longer than the setting ``journal_data``."""
    code: str | None
    """Code of the error or of the top-level warning in the reply; None for any other reply."""
    audio: tuple[float, float] | None
    """Start and end, on the connection's clock in seconds, of the audio that the models saw, context included."""


@safe_repr
@frozen
class ConnectionEnded:
    """The end of a connection, with the close code received, or 1006 without a close frame."""

    connection: int
    code: int


def data_digest_of(data: str) -> str:
    """Return the digest of ``data`` that the journal records."""
    return blake2b(data.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Journal:
    """A thread-safe record of the latest handshakes, requests and ended connections, with totals.

    Reading returns a snapshot. Only ``clear`` resets the totals.

    Args:
        size: Entries of each kind to keep.
        data_limit: Characters of ``data``, and of the other fields together, up to which each is kept.
    """

    def __init__(self, size: int = 1000, data_limit: int = 4096) -> None:
        self._data_limit = data_limit
        self._handshakes: deque[HandshakeSeen] = deque(maxlen=size)
        self._requests: deque[RequestSeen] = deque(maxlen=size)
        self._ends: deque[ConnectionEnded] = deque(maxlen=size)
        self._counts = dict.fromkeys(("handshakes", "refused", "requests", "ended", "open", "peak"), 0)
        # Acquired directly, not through the condition, whose Python code a signal handler could interrupt.
        self._lock = make_lock()
        self._changed = threading.Condition(self._lock)

    @property
    def handshakes(self) -> tuple[HandshakeSeen, ...]:
        """Return the handshakes, oldest first."""
        with self._lock:
            return tuple(self._handshakes)

    @property
    def requests(self) -> tuple[RequestSeen, ...]:
        """Return the requests, in the order they were answered."""
        with self._lock:
            return tuple(self._requests)

    @property
    def ends(self) -> tuple[ConnectionEnded, ...]:
        """Return the ended connections, oldest first."""
        with self._lock:
            return tuple(self._ends)

    @property
    def counts(self) -> dict[str, int]:
        """Return the totals: handshakes, refused, requests, ended; and the connections open now and at their peak."""
        with self._lock:
            return dict(self._counts)

    def clear(self) -> None:
        """Remove all entries and reset the totals, but not the number of open connections."""
        with self._lock:
            for entries in (self._handshakes, self._requests, self._ends):
                entries.clear()
            now_open = self._counts["open"]
            self._counts = {**dict.fromkeys(self._counts, 0), "open": now_open, "peak": now_open}

    def wait_for(self, condition: Callable[[Journal], bool], timeout: float = 5.0) -> bool:
        """Wait until ``condition(journal)`` is true.

        Args:
            condition: Called after every change.
            timeout: The longest wait in seconds.

        Returns:
            Whether the condition became true in time.
        """
        # The lock is re-entrant, so the condition may read the journal.
        with self._lock:
            return self._changed.wait_for(lambda: condition(self), timeout)

    def add_handshake(self, seen: HandshakeSeen) -> None:
        """Record a handshake."""
        with self._lock:
            self._handshakes.append(seen)
            self._counts["handshakes"] += 1
            if seen.status == 101:
                self._counts["open"] += 1
                self._counts["peak"] = max(self._counts["peak"], self._counts["open"])
            else:
                self._counts["refused"] += 1
            self._changed.notify_all()

    def add_request(
        self, connection: int, raw: str | bytes, code: str | None, audio: tuple[float, float] | None
    ) -> None:
        """Record a request, with the code of its reply and the span of audio that the models saw."""
        fields, data = _split_data(raw)
        data_size = len(data or "")
        seen = RequestSeen(
            connection=connection,
            size=len(raw),
            fields=fields if len(raw) - data_size <= self._data_limit else {},
            data_size=data_size,
            data_digest=None if data is None else data_digest_of(data),
            data=data if data_size <= self._data_limit else None,
            code=code,
            audio=audio,
        )
        with self._lock:
            self._requests.append(seen)
            self._counts["requests"] += 1
            self._changed.notify_all()

    def add_end(self, ended: ConnectionEnded) -> None:
        """Record the end of an accepted connection."""
        with self._lock:
            self._ends.append(ended)
            self._counts["ended"] += 1
            self._counts["open"] -= 1
            self._changed.notify_all()


def _split_data(raw: str | bytes) -> tuple[dict[str, Any], str | None]:
    try:
        value = orjson.loads(raw) if isinstance(raw, str) else None
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        return {}, None
    data = value.get("data")
    if not isinstance(data, str):
        return value, None
    return {name: field for name, field in value.items() if name != "data"}, data
