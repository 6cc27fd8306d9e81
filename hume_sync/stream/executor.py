"""The execution of requests: acquire a connection, restore its audio window, send, record what was accepted, retry.

A stream can outlive its connection. Before each request this module replays the audio that a new connection is missing,
so that the server measures the same as if nothing had happened.
"""

from __future__ import annotations

import logging

from ..errors import (
    CloseCode,
    ConnectionLost,
    HumeClientException,
    RequestError,
    Timeout,
    TransportError,
    is_server_error,
)
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.retry import AttemptCounter, brief, retry
from .connection import Connection
from .duration import Length
from .provider import ConnectionProvider
from .requests import RESET_STREAM, JSONParts, Request, ServerEffect
from .responses import StreamResponse
from .server_state import add_length
from .stream import Stream
from .window import WindowItem

__all__ = ["CONNECT", "RequestRunner"]

_log = logging.getLogger("hume_sync.retry")

CONNECT = Request((), ServerEffect())
"""A pseudo-request that only connects; its reply is empty."""

_IDLE_CLOSE_CODES = frozenset({None, CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY})
"""Close codes of a connection that was idle for too long, which is not a failure of the server."""


class RequestRunner:
    """Executes the requests of one stream, one at a time."""

    __slots__ = ("_stale", "provider", "stream")

    def __init__(self, stream: Stream, provider: ConnectionProvider) -> None:
        self.stream = stream
        self.provider = provider
        # Whether the last attempt failed because the connection had been closed while idle:
        self._stale = False

    def execute(self, request: Request, deadline: Deadline) -> StreamResponse:
        """Send a request and return its reply, with retries as the policy allows.

        Raises:
            HumeClientException: The last failure, with ``attempts`` set.
        """
        if request is RESET_STREAM:
            self.stream.window.reset()  # first, so that the window stays empty even if the request fails
        elif request.begins_stream:
            self._leave_known_faces()
        try:
            return self._attempt(request, deadline)
        except BaseException as first:
            if not isinstance(first, HumeClientException) or from_outside(first):
                self.provider.stop_retrying()
                raise
            return self._retry(first, request, deadline)

    def _leave_known_faces(self) -> None:
        """Close the connection if the server identifies faces of the stream that ends; no reset clears them."""
        connection = self.stream.connection
        if connection is not None and connection.server_state.faces_token is self.stream.token:
            connection.close_nowait()

    def _attempt(self, request: Request, deadline: Deadline) -> StreamResponse:
        stream, provider = self.stream, self.provider
        stream.connection = connection = provider.acquire(deadline)
        try:
            if not connection.has_replied:
                return self._attempt_on_new(connection, request, deadline)
            try:
                return _perform(stream, request, connection, provider, deadline)
            except BaseException as exc:
                self._stale = isinstance(exc, ConnectionLost) and exc.close_code in _IDLE_CLOSE_CODES
                if not isinstance(exc, HumeClientException) or from_outside(exc):
                    connection.discard()  # Ctrl-C: the server's state is no longer known
                raise
        finally:
            if connection.skipped:
                provider.add_stats(skipped=connection.skipped)
                connection.skipped = 0

    def _attempt_on_new(self, connection: Connection, request: Request, deadline: Deadline) -> StreamResponse:
        """Make an attempt on a connection that has not been answered yet, and report how it ended."""
        self._stale, failure = False, None
        try:
            return _perform(self.stream, request, connection, self.provider, deadline)
        except BaseException as exc:
            if not isinstance(exc, HumeClientException) or from_outside(exc):
                connection.discard()
            else:
                failure = exc
            raise
        finally:
            try:
                self.provider.report(connection, failure)
            finally:
                del failure  # its traceback keeps this call's frames, and so a dropped socket, alive

    def _retry(self, first: HumeClientException, request: Request, deadline: Deadline) -> StreamResponse:
        """Retry after a first failure as the policy allows, and set ``attempts``."""
        provider = self.provider
        attempts = AttemptCounter()
        try:
            if not provider.may_retry(first):
                raise first
            reply = retry(
                provider.policy,
                first,
                lambda: self._attempt(request, deadline),
                sleep=provider.wait,
                wait=provider.retry_delay,
                deadline=deadline,
                attempts=attempts,
                is_free=lambda _: self._stale,
                tell=provider.policy.tell,
                name=provider.name,
            )
        except HumeClientException as exc:
            if not from_outside(exc):
                exc.attempts = attempts.number
                if exc.retryable and (attempts.number > 1 or exc.phase != "connect"):
                    _log.warning("%s: failed after attempt %d: %s", provider.name, attempts.number, brief(exc))
            raise
        finally:
            del first  # its traceback keeps this call's frames, and so a dropped socket, alive
            provider.stop_retrying()
        reply.attempts = attempts.number
        return reply


def _perform(
    stream: Stream, request: Request, connection: Connection, provider: ConnectionProvider, deadline: Deadline
) -> StreamResponse:
    """Make one attempt on one connection."""
    effect = request.effect
    if effect is None:
        return _send_request(stream, request.members, connection, deadline, any_reply=request.any_reply)
    if request is CONNECT:
        return StreamResponse()
    window_state, reset = None, effect.reset or request.begins_stream
    if effect.audio:
        window_state = "warm"  # a new stream needs no context
        if not reset:
            window_state, reset = _restore_window(stream, connection, provider, deadline)
    if effect.identifies:
        connection.server_state.faces_token = stream.token
    if reset:
        connection.server_state.mark_window_unknown()  # the server resets even if it then refuses the payload
    members = request.with_reset() if reset and not effect.reset else request.members
    try:
        reply = _send_request(stream, members, connection, deadline, any_reply=request.any_reply)
    except RequestError as exc:
        if effect.audio and is_server_error(exc.code):
            connection.discard()  # the server may have kept the payload
        raise
    if request.begins_stream:
        stream.restart()  # only now: a refused payload leaves the stream unchanged
    if effect.audio:
        reply.window_state = window_state
        _record_accepted(stream, request.members, effect.length, connection, reply)
    elif reset:
        connection.server_state.set_position(stream.token, stream.window.position)
    return reply


def _send_request(
    stream: Stream, members: JSONParts, connection: Connection, deadline: Deadline, *, any_reply: bool
) -> StreamResponse:
    """Send the caller's request; raise `RequestError` for an error in the reply."""
    stream.sent += 1
    reply = StreamResponse.received(connection.request(members, deadline, any_reply=any_reply))
    if connection.emulated:
        reply.emulated = True
    if reply.get("error") is not None:
        error = _request_error(reply, connection)
        connection.has_replied = True
        try:
            raise error
        finally:
            del error  # as in `RequestRunner._retry`
    connection.has_replied = True
    return reply


def _restore_window(
    stream: Stream, connection: Connection, provider: ConnectionProvider, deadline: Deadline
) -> tuple[str, bool]:
    """Replay the audio of the stream that the connection is missing.

    Returns:
        The reply's ``window_state``, and whether the request has to empty the server's window first.
    """
    plan = stream.window.replay_plan(connection.server_state.position(stream.token))
    reset = plan.reset and connection.server_state.has_audio
    if not plan.complete:
        _log_context_lost(stream, provider, "it is no longer kept")
        stream.window.mark_lost()
        return "cold", reset
    if plan.replay:
        _log.debug("%s: replaying %d payloads on connection %d", provider.name, len(plan.replay), connection.epoch)
    for item in plan.replay:
        _check_deadline(deadline)
        if not _replay_item(stream, item, connection, provider, deadline, reset=reset):
            _log_context_lost(stream, provider, "the server refused a payload of it")
            stream.window.mark_lost()  # never a partial window
            return "cold", True
        reset = False
    if plan.replay:
        _check_deadline(deadline)
    return "rebuilt" if plan.replay else "warm", reset


def _log_context_lost(stream: Stream, provider: ConnectionProvider, why: str) -> None:
    level = logging.WARNING if stream.preserves else logging.DEBUG
    _log.log(level, "%s: audio context lost: the stream is cold, its window cannot be replayed: %s", provider.name, why)


def _check_deadline(deadline: Deadline) -> None:
    """Raise if no time is left. Between two items the connection stays usable, and the next call continues there."""
    if deadline.expired():
        raise Timeout("timed out while replaying the window", phase="replay")


def _replay_item(
    stream: Stream,
    item: WindowItem,
    connection: Connection,
    provider: ConnectionProvider,
    deadline: Deadline,
    *,
    reset: bool,
) -> bool:
    """Send one payload of the window again and discard its reply; return False for an error reply."""
    state = connection.server_state
    state.mark_window_unknown()
    state.has_audio = True
    members = (*RESET_STREAM.members, b",", *item.members) if reset else item.members
    provider.add_stats(replays=1, replayed_bytes=item.size)
    try:
        reply = connection.request(members, deadline)
        if reply.get("error") is None:
            connection.drain_idle_messages()  # a second reply to one item must not become the reply to the next
    except TransportError as exc:
        if not from_outside(exc):
            exc.phase, exc.maybe_processed = "replay", False  # the request itself has not been sent
        raise
    if reply.get("error") is not None:
        if is_server_error(reply.get("code")):
            state.audio_clock = None  # the server may have counted the payload
        return False
    connection.has_replied = True
    state.record_audio(stream.token, item.number, item.length)
    return True


def _record_accepted(
    stream: Stream, members: JSONParts, length: Length | None, connection: Connection, reply: StreamResponse
) -> None:
    """Record audio that the server has accepted in the window and the clocks, and shift the reply's times."""
    state = connection.server_state
    if stream.audio_clock is None or state.audio_clock is None:
        reply.clock_offset = None
    else:
        reply.shift_times(stream.audio_clock - state.audio_clock)
    stream.window.append(members, length)
    stream.audio_clock = add_length(stream.audio_clock, length)
    state.record_audio(stream.token, stream.window.position, length)


def _request_error(reply: StreamResponse, connection: Connection) -> RequestError:
    code, text = reply.get("code"), reply["error"]
    text = text if isinstance(text, str) else repr(text)
    return RequestError.from_reply(None if code is None else connection.redact(str(code)), connection.redact(text))
