"""A v0 connection: one request at a time, each answered by one reply.

Any error during a request makes the connection unusable.
"""

from __future__ import annotations

import itertools
import logging
import math
import secrets
from collections.abc import Callable, Iterable
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
from .server_state import ServerState

if TYPE_CHECKING:
    from ..net.websocket import WebSocket

__all__ = ["Connect", "Connection"]

_log = logging.getLogger("hume_sync.connection")

_UNREADABLE_REQUEST = "E0100"
"""The error code for a request that is not JSON; its reply carries no payload_id."""

_MAX_SKIPPED = 32
"""Limit on the unsolicited messages skipped while waiting for a reply."""

_MAX_SKIPPED_IDLE = 10_000
"""Limit on the unsolicited messages skipped on an idle connection: hours of one heartbeat a second."""

_PONG_TIMEOUT = 2.0
"""Seconds to wait for a pong."""


Connect = Callable[[Deadline, Watch], "Connection"]
"""Opens a connection. The second argument is called with the sockets before they are connected."""


class Connection:
    """A connection that answers each request with one reply, in order.

    Only the caller that holds the lock of the stream being served may use it. Any exception during a request, Ctrl-C
    included, discards the connection, so that a late reply cannot answer the next request.
    """

    # Shared by the whole process, so that epochs are unique. (`next` on a count is atomic.)
    _epochs: ClassVar[itertools.count[int]] = itertools.count(1)

    def __init__(self, transport: WebSocket, route: Route | None = None) -> None:
        self._transport = transport
        self.route = route or Route()
        """What the client has learned about the network route to the server."""
        self.is_quiet = transport.is_quiet
        """Returns, without blocking, whether no data is waiting to be read. (If there is: `drain_idle_messages`.)"""
        self.usable = True
        """Whether the connection may serve another request."""
        self.server_state = ServerState()
        """What the server remembers for this connection."""
        self._payload_prefix = secrets.token_hex(4)
        self._payload_number = 0
        self._echoes = False  # whether this server has ever returned a payload_id
        self._late_payload_id: str | None = None  # of a request whose true reply may still come
        self.epoch = next(self._epochs)
        """The number of this connection, unique in the process."""
        self.created_at = self.last_used_at = self.last_received_at = self.checked_out_at = clock.boottime()
        """When it was opened, last used, last received data, and last taken for use; by `clock.boottime`."""
        self.emulated = "x-hume-emulator" in transport.headers
        """Whether the server is the local emulator, by a header of its handshake."""
        self.has_replied = False
        """Whether the server has answered a request; until then a failure counts against the server."""
        self.last_thread: object | None = None
        """The thread that used it last, as the pool names threads."""
        self.skipped = 0
        """Unsolicited messages since statistics were last collected."""

    @classmethod
    def open(cls, endpoint: Endpoint, deadline: Deadline, watch: Watch = unwatched) -> Connection:
        """Connect and upgrade to WebSocket.

        Raises:
            TransportError: The connection could not be opened.
        """
        from ..net.websocket import WebSocket  # noqa: PLC0415 - preloaded by the client; 10 ms that `import hume_sync` need not take

        began = clock.monotonic()
        connection = cls(WebSocket.open(endpoint, deadline, watch), endpoint.route)
        took = 1000 * (clock.monotonic() - began)
        _log.debug("%s: connected in %.1f ms: connection %d", endpoint.authority, took, connection.epoch)
        return connection

    def redact(self, text: str) -> str:
        """Remove the key from a text of the server."""
        return self._transport.redact(text)

    def drain_idle_messages(self) -> None:
        """Check, without blocking, that no reply or close frame is waiting. Call it before each request.

        Unsolicited messages, such as greetings and heartbeats, are read and skipped.

        Raises:
            ConnectionLost: The connection has ended, or an unexpected message came (``phase="idle"``); it is discarded.
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
        """Return whether the server has to be pinged before the next request.

        Args:
            now: The time, by `clock.boottime`.
            check_after: Seconds of silence after which to ping; ``math.inf`` for never.
        """
        silent = now - self.last_received_at >= check_after or self.last_received_at <= self.route.maybe_dead_since
        return silent and check_after != math.inf

    def ping(self, deadline: Deadline) -> None:
        """Verify that the server is alive by one ping and its pong. Replaces `drain_idle_messages`.

        At most half of the remaining time is used, which leaves the rest to a new connection.

        Raises:
            ConnectionLost: As for `drain_idle_messages`, or no pong came in time; the connection is discarded.
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
            members: The members of the request's JSON object, without braces; not empty. They are joined once, and a
                new ``payload_id`` is appended.
            deadline: The deadline of the whole call.
            any_reply: Whether any object may be the reply, as for a request without data. Otherwise at most 32
                unsolicited objects, such as greetings and heartbeats, are skipped.

        Raises:
            ConnectionLost: The connection has ended; ``phase`` is "send" or "receive".
            Timeout: The deadline has passed; ``phase`` is "send" or "receive".
            ProtocolError: The reply is not a JSON object, violates the WebSocket protocol, or does not come within
                32 messages.
            ReplyMismatch: The reply carries the payload_id of another request.
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
        """Skip an unsolicited message between two requests, the ``number``-th in a row.

        Raises:
            ConnectionLost: The message may be a reply, or is one too many.
        """
        if number > _MAX_SKIPPED_IDLE or not self._consume_if_unsolicited(message):
            raise ConnectionLost("unexpected message on an idle connection", phase="idle")
        self._skip(message)

    def _suspect_others(self, exc: BaseException) -> None:
        """If this connection was found dead, make the client ping its others before their next use.

        A new connection says nothing about the others: its server may be slow. Nor does a close frame, or an orderly
        end seen while idle: those concern one connection only.
        """
        if self.checked_out_at == self.created_at:
            return
        if isinstance(exc, Timeout) or (isinstance(exc, ConnectionLost) and exc.close_code is None):
            cause = exc.__cause__
            if exc.phase == "idle" and not isinstance(cause, OSError):
                return
            self.route.mark_maybe_dead(self.checked_out_at)

    def _next_payload_id(self) -> str:
        self._payload_number += 1
        return f"{self._payload_prefix}-{self._payload_number}"

    def _find_reply(
        self, message: Received, content: dict[str, Any], sent: str, deadline: Deadline, *, any_reply: bool
    ) -> dict[str, Any]:
        """Return the reply to a request, given the first message, which does not carry the request's payload_id."""
        skipped = 0
        while (got := content.get("payload_id")) != sent:
            if got is None and any_reply:
                self._late_payload_id = sent  # it may have been a heartbeat: the true reply may still come
                return content
            if not self._consume_if_unsolicited(message, content):
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
        """Raise if the reply does not carry the payload_id of its request, unless this server never returns any."""
        got = reply.get("payload_id")
        if got is not None or (self._echoes and reply.get("code") != _UNREADABLE_REQUEST):
            raise ReplyMismatch(
                "the reply does not match the request: "
                + ("its payload_id differs" if got is not None else "it has no payload_id, unlike earlier replies"),
                phase="receive",
                maybe_processed=True,
            )

    def _consume_if_unsolicited(self, message: Received, content: dict[str, Any] | None = None) -> bool:
        """Return whether a message may be skipped: it answers no request, or one that was answered already."""
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
        _log.debug("connection %d: skipped a message of %d bytes that is not a reply", self.epoch, len(message))

    def close(self, timeout: float) -> None:
        """Close with the closing handshake, within ``timeout`` seconds; do not wait for a server suspected dead."""
        try:
            if self.last_received_at <= self.route.maybe_dead_since:
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
        """Close the socket at once, without a close frame. Idempotent."""
        self.usable = False
        self._transport.discard()

    def release_after_fork(self, *, close: bool) -> None:
        """Release the inherited descriptor in a forked child, without a close frame."""
        self.usable = False
        self._transport.release_after_fork(close=close)

    def abort(self) -> None:
        """End the request in progress, which then fails with `ConnectionLost`. May be called from any thread."""
        self._transport.abort()
