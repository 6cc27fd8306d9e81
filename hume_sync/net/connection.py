"""One connection and the exchanges on it: sound or discarded, never in between; and what the server holds with it."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from ..errors import ProtocolError, ReplyMismatch
from .deadline import Deadline
from .endpoint import Endpoint
from .frames import Part
from .pending import Watch, unwatched
from .wire import Received

if TYPE_CHECKING:
    from .transport import Transport

__all__ = ["Connection"]

_NOT_JSON = "Unexpected error when fetching streaming API predictions"
"""The official SDK's text for a reply that is not JSON."""

_UNREADABLE_REQUEST = "E0100"
"""The one error whose reply cannot name its request: the server could not read the request as JSON."""


class Connection:
    """A connection that answers each request with one reply, in order.

    Whoever holds the lock of the stream it serves is its only user. Any exception in an exchange, Ctrl-C
    included, discards the connection: a reply that comes late must never answer the next request.

    The attributes say what the server keeps for this connection; they are the business of who uses it.
    """

    # The one count kept for the whole process: epochs are unique in it. `next` on it is a single step.
    _epochs: ClassVar[itertools.count[int]] = itertools.count(1)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.is_quiet = transport.is_quiet
        """Asks, without waiting, whether nothing has come since the last exchange. (If something has: `poll`.)"""
        self.sound = True
        """Whether the next exchange may use this connection."""
        self._payload_prefix = secrets.token_hex(4)
        self._payload_number = 0
        self._echoes = False  # whether this server has ever named a request in its reply
        self.epoch = next(self._epochs)
        """The number of this connection, unique in the process."""
        self.born = self.idle_since = time.monotonic()
        """Monotonic times at which it was opened and last used."""
        self.emulated = "x-hume-emulator" in transport.headers
        """Whether the server is the local one, by its answer to the upgrade."""
        self.answered = False
        """Whether it has ever had a reply that is no error: until then it proves nothing about the server."""
        self.holds: tuple[object, int] | None = None
        """(stream, number) of what the server's audio window is made of; None: nothing, or nobody knows what."""
        self.touched = False
        """Whether audio was ever sent: the window of an untouched connection is known to be empty."""
        self.clock: Fraction | None = Fraction(0)
        """Seconds of audio the server has counted; None after audio whose length nobody knows."""
        self.faces_of: object | None = None
        """The stream for which the server remembers faces; no reset makes it forget them."""
        self.last_user: object | None = None
        """Who used it last, as the pool names threads."""

    @classmethod
    def open(cls, endpoint: Endpoint, deadline: Deadline, watch: Watch = unwatched) -> Connection:
        """Dial and upgrade; raises as `Transport.open` does."""
        from .transport import Transport  # noqa: PLC0415 - 10 ms of imports, which a first connection does not notice

        return cls(Transport.open(endpoint, deadline, watch))

    def scrub(self, text: str) -> str:
        """A text of the server, without the key should it repeat it."""
        return self._transport.scrub(text)

    def poll(self) -> None:
        """Look, without waiting, whether the connection is as it was left. To be called before each exchange.

        Raises:
            ConnectionLost: it has ended, or something came that nobody asked for (``phase="idle"``); it is discarded.
        """
        if self.is_quiet():
            return
        try:
            self._transport.poll()
        except BaseException:
            self.discard()
            raise

    def exchange(self, members: Iterable[Part], deadline: Deadline) -> dict[str, Any]:
        """Send one request and return its reply.

        Args:
            members: the members of the request's JSON object, without braces; not empty. They are joined once,
                with a fresh ``payload_id`` behind them.
            deadline: of the whole call.

        Raises:
            ConnectionLost, Timeout: with the ``phase``: "send" or "receive".
            ProtocolError: the reply is not a JSON object, or breaks the WebSocket protocol.
            ReplyMismatch: the reply names another request.
        """
        try:
            payload_id = self._next_payload_id()
            self._transport.send((b"{", *members, b',"payload_id":"', payload_id.encode(), b'"}'), deadline)
            reply = _decode(self._transport.receive(deadline))
            self._check_payload_id(reply, payload_id)
        except BaseException:
            self.discard()
            raise
        self.idle_since = time.monotonic()
        return reply

    def _next_payload_id(self) -> str:
        self._payload_number += 1
        return f"{self._payload_prefix}-{self._payload_number}"

    def _check_payload_id(self, reply: dict[str, Any], sent: str) -> None:
        got = reply.get("payload_id")
        if got == sent:
            self._echoes = True
        elif got is not None or (self._echoes and reply.get("code") != _UNREADABLE_REQUEST):
            raise ReplyMismatch(
                "the reply is not for this request: "
                + ("it names another payload_id" if got is not None else "it names none, as replies before did"),
                phase="receive",
                maybe_processed=True,
            )

    def close(self, timeout: float) -> None:
        """Close in order, at most ``timeout`` seconds long; a connection no longer sound is just let go."""
        try:
            if self.sound:
                self.sound = False
                self._transport.close(timeout)
        finally:
            self._transport.discard()

    def retire(self) -> None:
        """Close without waiting for the server's answer."""
        try:
            if self.sound:
                self.sound = False
                self._transport.retire()
        finally:
            self._transport.discard()

    def discard(self) -> None:
        """Let go of the connection at once. Idempotent."""
        self.sound = False
        self._transport.discard()

    def let_go(self, *, close: bool) -> None:
        """In a forked child: drop the inherited descriptor in silence."""
        self.sound = False
        self._transport.let_go(close=close)

    def abort(self) -> None:
        """From any thread: end the exchange under way, which then fails with `ConnectionLost`."""
        self._transport.abort()


def _decode(message: Received) -> dict[str, Any]:
    try:
        reply = orjson.loads(message)
    except orjson.JSONDecodeError:
        reply = None
    if not isinstance(reply, dict):
        # The message itself stays out: it may be anything.
        raise ProtocolError(
            f"{_NOT_JSON} (not a JSON object, {len(message)} bytes)", phase="receive", maybe_processed=True
        )
    return reply
