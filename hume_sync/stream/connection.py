"""One connection and the exchanges on it: sound or discarded, never in between; and what the server holds with it."""

from __future__ import annotations

import itertools
import logging
import math
import secrets
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ConnectionLost, ProtocolError, ReplyMismatch, Timeout
from ..net import clock
from ..net.deadline import Deadline
from ..net.endpoint import Endpoint
from ..net.frames import Part
from ..net.pending import Watch, unwatched
from ..net.replies import decode, is_reply
from ..net.route import Route
from ..net.sockets import Received

if TYPE_CHECKING:
    from ..net.websocket import WebSocket

__all__ = ["Connection"]

_log = logging.getLogger("hume_sync.connection")

_UNREADABLE_REQUEST = "E0100"
"""The one error whose reply cannot name its request: the server could not read the request as JSON."""

_MAX_SKIPPED = 32
"""Messages that answer nothing, while a reply is awaited."""

_MAX_PASSED_OVER = 10_000
"""Likewise, on a connection that was idle: there a heartbeat a second is no fault in hours."""


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

    def __init__(self, transport: WebSocket, route: Route | None = None) -> None:
        self._transport = transport
        self.route = route or Route()
        """What its client knows of the way to the server."""
        self.is_quiet = transport.is_quiet
        """Asks, without waiting, whether nothing has come since the last exchange. (If something has: `check_state`.)"""
        self.usable = True
        """Whether the next exchange may use this connection."""
        self._payload_prefix = secrets.token_hex(4)
        self._payload_number = 0
        self._echoes = False  # whether this server has ever named a request in its reply
        self._late_payload_id: str | None = (
            None  # the payload_id of a request answered by a message that may not be its reply
        )
        self.epoch = next(self._epochs)
        """The number of this connection, unique in the process."""
        self.created_at = self.last_used_at = self.last_received_at = self.checked_out_at = clock.boottime()
        """When it was opened, when it was last used, when the server was last heard, when it was last taken for use:
        by `clock.boottime`."""
        self.emulated = "x-hume-emulator" in transport.headers
        """Whether the server is the local one, by its answer to the upgrade."""
        self.proven = False
        """Whether it has ever had a reply that is no error: until then it proves nothing about the server."""
        self.holds: tuple[object, int] | None = None
        """(stream, number) of what the server's audio window is made of; None: nothing, or nobody knows what."""
        self.touched = False
        """Whether audio was ever sent: the window of an untouched connection is known to be empty."""
        self.clock: Fraction | None = Fraction(0)
        """Seconds of audio the server has counted; None after audio whose length nobody knows."""
        self.faces_of: object | None = None
        """The stream for which the server remembers faces; no reset makes it forget them."""
        self.last_thread: object | None = None
        """Who used it last, as the pool names threads."""
        self.skipped = 0
        """Messages that answered no request, such as heartbeats. Whoever keeps statistics takes them out."""

    @classmethod
    def open(cls, endpoint: Endpoint, deadline: Deadline, watch: Watch = unwatched) -> Connection:
        """Dial and upgrade; raises as `WebSocket.open` does."""
        from ..net.websocket import WebSocket  # noqa: PLC0415 - 10 ms of imports, which a first connection does not notice

        began = clock.monotonic()
        connection = cls(WebSocket.open(endpoint, deadline, watch), endpoint.route)
        took = 1000 * (clock.monotonic() - began)
        _log.debug("%s: connected in %.1f ms: connection %d", endpoint.authority, took, connection.epoch)
        return connection

    def redact(self, text: str) -> str:
        """A text of the server, without the key should it repeat it."""
        return self._transport.redact(text)

    def check_state(self) -> None:
        """Look, without waiting, whether the connection is as it was left. To be called before each exchange.

        Messages that answer nothing (a greeting, heartbeats) are read and skipped.

        Raises:
            ConnectionLost: it has ended, or anything else came (``phase="idle"``); it is discarded.
        """
        if self.is_quiet():
            return
        try:
            for number in itertools.count(1):
                message = self._transport.poll()
                if message is None:
                    return
                self._skip_while_idle(message, number)
        except BaseException as exc:
            self.discard()
            self._suspect_others(exc)
            raise

    def needs_ping(self, now: float, check_after: float) -> bool:
        """Tell whether the server has to be asked for a sign of life before a request goes out.

        Args:
            now: the time, by `clock.boottime`.
            check_after: seconds of silence after which that is so; ``math.inf``: it never is.
        """
        silent = now - self.last_received_at >= check_after or self.last_received_at <= self.route.suspect_before
        return silent and check_after != math.inf

    def ping(self, deadline: Deadline) -> None:
        """Make sure, by a ping, that the server is there: a round trip. Called instead of `check_state`.

        It takes no more than half of the time there is, so that a new connection can be made in the rest.

        Raises:
            ConnectionLost: as for `check_state`, or no pong came in time; it is discarded.
        """
        numbers = itertools.count(1)
        try:
            self._transport.ping(
                deadline.capped_at(min(_PONG_TIMEOUT, deadline.remaining() / 2)),
                lambda message: self._skip_while_idle(message, next(numbers)),
            )
        except BaseException as exc:
            self.discard()
            self._suspect_others(exc)
            raise
        self.last_received_at = clock.boottime()

    def request(self, members: Iterable[Part], deadline: Deadline, *, any_reply: bool = False) -> dict[str, Any]:
        """Send one request and return its reply.

        Args:
            members: the members of the request's JSON object, without braces; not empty. They are joined once,
                with a fresh ``payload_id`` behind them.
            deadline: of the whole call.
            any_reply: whether any object may be the reply, as to a request without data; else at most 32 objects that
                answer nothing (a greeting, heartbeats) are skipped.

        Raises:
            ConnectionLost, Timeout: with the ``phase``: "send" or "receive".
            ProtocolError: the reply is not a JSON object, breaks the WebSocket protocol, or does not come within
                32 messages.
            ReplyMismatch: the reply names another request.
        """
        try:
            payload_id = self._next_payload_id()
            self._transport.send((b"{", *members, b',"payload_id":"', payload_id.encode(), b'"}'), deadline)
            message = self._transport.receive(deadline)
            reply = decode(message)
            if reply.get("payload_id") == payload_id:
                self._echoes = True
            else:
                reply = self._find_reply(message, reply, payload_id, deadline, any_reply=any_reply)
        except BaseException as exc:
            self.discard()
            self._suspect_others(exc)
            raise
        self.last_used_at = self.last_received_at = clock.boottime()
        return reply

    def _skip_while_idle(self, message: Received, number: int) -> None:
        """Skip a message that came between two requests, if it answers nothing; it is the ``number``-th in a row.

        Raises:
            ConnectionLost: it may be a reply, or is one too many.
        """
        if number > _MAX_PASSED_OVER or not self._is_unsolicited(message):
            raise ConnectionLost("the server sent messages nobody asked for", phase="idle")
        self._skip(message)

    def _suspect_others(self, exc: BaseException) -> None:
        """Tell the other connections of the client where this one was found dead.

        A connection made just now tells nothing of others: its server may be slow. A close frame is sent to each of
        them, and an orderly end seen while idle is this one's own.
        """
        if self.checked_out_at == self.created_at:
            return
        if isinstance(exc, Timeout) or (isinstance(exc, ConnectionLost) and exc.close_code is None):
            cause = exc.__cause__
            if exc.phase == "idle" and not isinstance(cause, OSError):
                return
            self.route.suspect(self.checked_out_at)

    def _next_payload_id(self) -> str:
        self._payload_number += 1
        return f"{self._payload_prefix}-{self._payload_number}"

    def _find_reply(
        self, message: Received, content: dict[str, Any], sent: str, deadline: Deadline, *, any_reply: bool
    ) -> dict[str, Any]:
        """Return the reply to a request, given the first message behind it, which does not name the request."""
        skipped = 0
        while (got := content.get("payload_id")) != sent:
            if got is None and any_reply:
                self._late_payload_id = sent  # if it was a heartbeat after all, the true reply is still to come
                return content
            if not self._is_unsolicited(message, content):
                self._check_order(content)
                return content
            skipped += 1
            if skipped > _MAX_SKIPPED:
                raise ProtocolError(
                    f"the server sent more than {_MAX_SKIPPED} messages and no reply",
                    phase="receive",
                    maybe_processed=True,
                )
            self._skip(message)
            message = self._transport.receive(deadline)
            content = decode(message)
        self._echoes = True
        return content

    def _check_order(self, reply: dict[str, Any]) -> None:
        """Refuse a reply that does not name its request, unless this server never does."""
        got = reply.get("payload_id")
        if got is not None or (self._echoes and reply.get("code") != _UNREADABLE_REQUEST):
            raise ReplyMismatch(
                "the reply is not for this request: "
                + ("it names another payload_id" if got is not None else "it names none, as replies before did"),
                phase="receive",
                maybe_processed=True,
            )

    def _is_unsolicited(self, message: Received, content: dict[str, Any] | None = None) -> bool:
        """Tell whether a message may be skipped: it answers nothing, or a request that was answered already."""
        if content is None:
            try:
                content = decode(message)
            except ProtocolError:
                return False
        if self._late_payload_id is not None and content.get("payload_id") == self._late_payload_id:
            self._late_payload_id = None
            return True
        return not is_reply(content)

    def _skip(self, message: Received) -> None:
        self.skipped += 1
        _log.debug("connection %d: skipped a message of %d bytes that is no reply", self.epoch, len(message))

    def close(self, timeout: float) -> None:
        """Close in order, at most ``timeout`` seconds long, but without waiting for a server that is likely gone."""
        try:
            if self.last_received_at <= self.route.suspect_before:
                self.close_nowait()
            elif self.usable:
                self.usable = False
                self._transport.close(timeout)
        finally:
            self._transport.discard()

    def close_nowait(self) -> None:
        """Close without waiting for the server's answer."""
        try:
            if self.usable:
                self.usable = False
                self._transport.close_nowait()
        finally:
            self._transport.discard()

    def discard(self) -> None:
        """Let go of the connection at once. Idempotent."""
        self.usable = False
        self._transport.discard()

    def release_after_fork(self, *, close: bool) -> None:
        """In a forked child: drop the inherited descriptor in silence."""
        self.usable = False
        self._transport.release_after_fork(close=close)

    def abort(self) -> None:
        """From any thread: end the exchange under way, which then fails with `ConnectionLost`."""
        self._transport.abort()
