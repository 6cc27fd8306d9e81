"""One connection and the exchanges on it: sound or discarded, never in between; and what the server holds with it."""

from __future__ import annotations

import itertools
import math
import secrets
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from ..errors import ConnectionLost, ProtocolError, ReplyMismatch, Timeout
from . import clock
from .deadline import Deadline
from .endpoint import Endpoint
from .frames import Part
from .pending import Watch, unwatched
from .route import Route
from .wire import Received

if TYPE_CHECKING:
    from .transport import Transport

__all__ = ["Connection"]

_NOT_JSON = "Unexpected error when fetching streaming API predictions"
"""The official SDK's text for a reply that is not JSON."""

_UNREADABLE_REQUEST = "E0100"
"""The one error whose reply cannot name its request: the server could not read the request as JSON."""


_PONG_TIMEOUT = 2.0
"""Seconds that a server has to answer a ping."""


class Connection:
    """A connection that answers each request with one reply, in order.

    Whoever holds the lock of the stream it serves is its only user. Any exception in an exchange, Ctrl-C
    included, discards the connection: a reply that comes late must never answer the next request.

    The attributes say what the server keeps for this connection; they are the business of who uses it.
    """

    # The one count kept for the whole process: epochs are unique in it. `next` on it is a single step.
    _epochs: ClassVar[itertools.count[int]] = itertools.count(1)

    def __init__(self, transport: Transport, route: Route | None = None) -> None:
        self._transport = transport
        self.route = route or Route()
        """What its client knows of the way to the server."""
        self.is_quiet = transport.is_quiet
        """Asks, without waiting, whether nothing has come since the last exchange. (If something has: `poll`.)"""
        self.sound = True
        """Whether the next exchange may use this connection."""
        self._payload_prefix = secrets.token_hex(4)
        self._payload_number = 0
        self._echoes = False  # whether this server has ever named a request in its reply
        self.epoch = next(self._epochs)
        """The number of this connection, unique in the process."""
        self.born = self.idle_since = self.heard = self.taken = clock.boottime()
        """When it was opened, when it was last used, when the server was last heard, when it was last taken for use:
        by `clock.boottime`."""
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

        return cls(Transport.open(endpoint, deadline, watch), endpoint.route)

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
        except BaseException as exc:
            self.discard()
            self._report(exc)
            raise

    def may_be_dead(self, now: float, check_after: float) -> bool:
        """Tell whether the server has to be asked for a sign of life before a request goes out.

        Args:
            now: the time, by `clock.boottime`.
            check_after: seconds of silence after which that is so; ``math.inf``: it never is.
        """
        silent = now - self.heard >= check_after or self.heard <= self.route.suspect_before
        return silent and check_after != math.inf

    def check(self, deadline: Deadline) -> None:
        """Make sure, by a ping, that the server is there: a round trip. Called instead of `poll`.

        It takes no more than half of the time there is, so that a new connection can be made in the rest.

        Raises:
            ConnectionLost: as for `poll`, or no pong came in time; it is discarded.
        """
        try:
            self._transport.ping(deadline.within(min(_PONG_TIMEOUT, deadline.remaining() / 2)))
        except BaseException as exc:
            self.discard()
            self._report(exc)
            raise
        self.heard = clock.boottime()

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
        except BaseException as exc:
            self.discard()
            self._report(exc)
            raise
        self.idle_since = self.heard = clock.boottime()
        return reply

    def _report(self, exc: BaseException) -> None:
        """Tell the other connections of the client where this one was found dead.

        A connection made just now tells nothing of others: its server may be slow. A close frame is sent to each of
        them, and an orderly end seen while idle is this one's own.
        """
        if self.taken == self.born:
            return
        if isinstance(exc, Timeout) or (isinstance(exc, ConnectionLost) and exc.close_code is None):
            cause = exc.__cause__
            if exc.phase == "idle" and not isinstance(cause, OSError):
                return
            self.route.suspect(self.taken)

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
        """Close in order, at most ``timeout`` seconds long, but without waiting for a server that is likely gone."""
        try:
            if self.heard <= self.route.suspect_before:
                self.retire()
            elif self.sound:
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
