"""What can be set at the fake, and what it writes down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs


@attrs.define(kw_only=True)
class Knobs:
    """How the server behaves. They may be turned while it runs: ``fake.knobs.pong = False``."""

    input_rate: int = 16000
    """Samples a second that the streams expect."""
    output_rate: int = 16000
    """Samples a second of what they yield."""
    limit: int = 10
    """Connections that each stream bears."""
    refuse_first: int = 0
    """The number of connections or offers to refuse first, independent of the limit."""
    refusal: str = "start"
    """How: "start", a message in answer to ``start`` (HTTP 200 for an offer); "connect", a message before any
    ``start``; "http", status 429 for handshake and offer, with the same JSON."""
    reason: str = "concurrency_limit_reached"
    """Why those of ``refuse_first`` are refused."""
    offers: Sequence[tuple[int, str]] = ()
    """Answers to the first offers: status and body."""
    pace: float = 0.02
    """Seconds between two media messages."""
    think: float = 0.0
    """Seconds before a turn yields."""
    pong: bool = True
    """Whether ``ping`` is answered."""
    reads_most: int | None = None
    """Messages that are read of a connection; then the server stops reading, but not sending."""
    read_delay: float = 0.0
    """Seconds before each message is read."""
    buffers: int | None = None
    """Bytes of the kernel's buffers, taken when the server starts; small ones are soon full."""
    max_message: int = 16 * 2**20
    """Bytes; a client's message beyond them is answered with a reset connection."""
    hook_status: int = 200
    """What the hook answers; other than 200, it takes nothing."""
    latest_wait: float = 10.0
    """Seconds that ``/latest`` waits for an output before it fails with status 500."""
    app: str = ""
    """The path below which the application has its hook and its outputs; its streams are where they say."""
    late_head: bool = False
    """Whether the head of a stream of events is held back until the first of them, as by GZipMiddleware."""
    redirect: str = ""
    """Where any request below ``/redirect`` is sent, with status 307."""


@attrs.define
class RequestSeen:
    """An HTTP request, a handshake included."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """By their names in lower case."""
    body: bytes = b""
    status: int = 0
    """What it was answered; 0: not yet."""
    open: bool = True
    """Whether the answer is still under way: for long only that of events."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@attrs.define
class ConnectionSeen:
    """A WebSocket."""

    request: RequestSeen
    id: Any = None
    """As it says in ``start``."""
    start: dict[str, Any] = attrs.field(factory=dict)
    """That message."""
    events: list[str] = attrs.field(factory=list)
    """The name of each message."""
    media: list[int] = attrs.field(factory=list)
    """Samples in each media message."""
    sids: set[Any] = attrs.field(factory=set)
    """The ``streamSid`` of each, as telephones say."""
    said: list[str | bytes] = attrs.field(factory=list)
    """Messages of the application's own, of a stream that repeats them: text, or the bytes of a binary one."""
    audio: bytearray = attrs.field(factory=bytearray)
    """All of them, mu-law."""
    close_code: int | None = None
    """Of the client's close frame: its own, or its echo of ours."""
    open: bool = True
