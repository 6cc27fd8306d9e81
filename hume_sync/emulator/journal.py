"""What reached the server: a bounded record that any thread may read."""

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
    """One handshake, let in (status 101) or refused. The key is never recorded, nor is the query."""

    connection: int
    """Number of the connection, from 1; refused ones count."""
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
    """One request and what became of it."""

    connection: int
    size: int
    """Characters of a text frame, bytes of a binary one."""
    fields: Mapping[str, Any]
    """The JSON object without ``data``; empty for what is no object, or too long to keep."""
    data_size: int
    """Characters of ``data``."""
    data_digest: str | None
    """BLAKE2b of ``data``, 32 hexadecimal digits; see ``data_digest_of``. None without ``data``."""
    data: str | None = field(repr=False)
    """``data`` itself, unless it is longer than the knob ``journal_data``."""
    code: str | None
    """Code of the error or of the top-level warning in the reply, None for any other reply."""
    audio: tuple[float, float] | None
    """Seconds of the connection's clock between which the audio models heard, context included."""


@safe_repr
@frozen
class ConnectionEnded:
    """The end of a connection: the close code received, 1006 if there was no close frame."""

    connection: int
    code: int


def data_digest_of(data: str) -> str:
    """Return the digest by which the journal names ``data``."""
    return blake2b(data.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Journal:
    """What arrived, the latest ``size`` entries of each kind; counts are never forgotten but by ``clear``.

    Reading returns a snapshot. Thread-safe.
    """

    def __init__(self, size: int = 1000, data_limit: int = 4096) -> None:
        self._data_limit = data_limit
        self._handshakes: deque[HandshakeSeen] = deque(maxlen=size)
        self._requests: deque[RequestSeen] = deque(maxlen=size)
        self._ends: deque[ConnectionEnded] = deque(maxlen=size)
        self._counts = dict.fromkeys(("handshakes", "refused", "requests", "ended", "open", "peak"), 0)
        # Taken by itself, and not by way of the condition, whose Python code a signal handler may interrupt.
        self._lock = make_lock()
        self._changed = threading.Condition(self._lock)

    @property
    def handshakes(self) -> tuple[HandshakeSeen, ...]:
        """Handshakes, oldest first."""
        with self._lock:
            return tuple(self._handshakes)

    @property
    def requests(self) -> tuple[RequestSeen, ...]:
        """Requests, in the order they were answered."""
        with self._lock:
            return tuple(self._requests)

    @property
    def ends(self) -> tuple[ConnectionEnded, ...]:
        """Ended connections, oldest first."""
        with self._lock:
            return tuple(self._ends)

    @property
    def counts(self) -> dict[str, int]:
        """Totals: handshakes, refused, requests, ended; connections open now; the peak of that."""
        with self._lock:
            return dict(self._counts)

    def clear(self) -> None:
        """Forget all entries and totals, but not how many connections are open."""
        with self._lock:
            for entries in (self._handshakes, self._requests, self._ends):
                entries.clear()
            now_open = self._counts["open"]
            self._counts = {**dict.fromkeys(self._counts, 0), "open": now_open, "peak": now_open}

    def wait_for(self, condition: Callable[[Journal], bool], timeout: float = 5.0) -> bool:
        """Wait until ``condition(journal)`` holds, at most ``timeout`` seconds; return whether it does."""
        # The condition's lock is re-entrant, so the predicate may read the journal.
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
        """Record a request, with the code of its reply and the audio that was heard for it."""
        fields, data = _taken_apart(raw)
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
        """Record the end of a connection that had been let in."""
        with self._lock:
            self._ends.append(ended)
            self._counts["ended"] += 1
            self._counts["open"] -= 1
            self._changed.notify_all()


def _taken_apart(raw: str | bytes) -> tuple[dict[str, Any], str | None]:
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
