"""Every error this library raises, in one tree.

::

    HumeClientException                 root; the official SDK's name, and its only class
    |-- ConfigurationError              a client that cannot work as it was built: URL, key, headers, a missing extra
    |-- InputError (ValueError)         an argument was refused before anything was sent
    |-- RequestError                    the server answered the request with an error; the connection stays good
    |   `-- ServerError                 the error is the server's own fault, not the request's (codes "I...")
    |-- HookError                       an application's own URL answered with an error (``status``); FastRTC only
    |-- OutputTooLarge                  an additional output beyond ``max_output_size``; FastRTC only
    |-- MisuseError                     a call that can never be right here: a closed socket, for one
    |-- PoolError                       the pool has no lease to give
    |   |-- PoolClosed                  it is closed
    |   |-- PoolTimeout (TimeoutError)  none came free in time
    |   `-- PoolFull                    ``max_waiting`` callers wait already
    |-- TransportError                  the connection failed; it is discarded
    |   |-- ConnectError                no connection could be made
    |   |   |-- AuthenticationError     HTTP 401 in answer to the upgrade
    |   |   |-- ConnectionAlreadyExists the server has a connection of that name; FastRTC only
    |   |   |-- CertificateRejected     the server's TLS certificate was not accepted
    |   |   |-- HandshakeRejected       any other answer than 101 (``status``, ``retry_after``)
    |   |   `-- TooManyConnections      the handler's ``limit`` is reached; FastRTC only
    |   |-- ConnectionLost              the connection ended in or before an exchange (``close_code``, ``close_reason``)
    |   |-- InboxOverflow               more messages came than were received; FastRTC only
    |   |-- Timeout (TimeoutError)      the call's deadline passed (``phase`` says where)
    |   |   `-- ReplyTimeout            no reply came in time; FastRTC only
    |   `-- ProtocolError               the server broke the protocol
    |       |-- MessageTooLarge         a message beyond ``max_message_size``
    |       `-- ReplyMismatch           a reply that answers another request

A file that is missing or unreadable stays the ``OSError`` it is.

No error carries a key, a header or media, in its text or in its attributes, and all survive ``pickle``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar, Final, Self

import attrs

from .reprs import safe_repr

__all__ = [
    "AuthenticationError",
    "CertificateRejected",
    "ConfigurationError",
    "ConnectError",
    "ConnectionAlreadyExists",
    "ConnectionLost",
    "HandshakeRejected",
    "HookError",
    "HumeClientException",
    "InboxOverflow",
    "InputError",
    "LeaseHolder",
    "MessageTooLarge",
    "MisuseError",
    "OutputTooLarge",
    "PoolClosed",
    "PoolError",
    "PoolFull",
    "PoolTimeout",
    "ProtocolError",
    "ReplyMismatch",
    "ReplyTimeout",
    "RequestError",
    "ServerError",
    "Timeout",
    "TooManyConnections",
    "TransportError",
]

_MAX_TEXT = 1024
"""Characters of a server's text that an error keeps: enough to read, too little to smuggle media."""

_MAX_CODE = 64

_SERVERS_OWN: Final = "I"
"""The first letter of the codes by which a server reports a fault of its own."""

_TEMPORARY: Final = frozenset({408, 425, 429})
"""HTTP statuses below 500 that may be another at the next try."""

_REDIRECT: Final = 300
"""The first HTTP status that is no success."""


class CloseCode(IntEnum):
    """The WebSocket close codes that this library sends or tells apart (RFC 6455, 7.4.1, and the IANA registry)."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RCVD = 1005
    """The close frame had no code."""
    ABNORMAL_CLOSURE = 1006
    """The connection ended without a close frame."""
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013


_REQUEST_REJECTED: Final = frozenset(
    {
        CloseCode.PROTOCOL_ERROR,
        CloseCode.UNSUPPORTED_DATA,
        CloseCode.INVALID_DATA,
        CloseCode.POLICY_VIOLATION,
        CloseCode.MESSAGE_TOO_BIG,
        CloseCode.MANDATORY_EXTENSION,
    }
)
"""Close codes with which a server rejects what it was sent; sending it again cannot succeed."""


def short_repr(value: object) -> str:
    """Return a short ``repr`` of a rejected value for an error text; never raise."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - integers of thousands of digits refuse, other people's reprs may do anything
        text = f"an unprintable {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."


def is_server_error(code: object) -> bool:
    """Tell whether an error reply's code reports a fault of the server's own, not an objection to the request."""
    return str(code).startswith(_SERVERS_OWN)


FOREIGN = (ArithmeticError, AttributeError, BufferError, LookupError, RuntimeError, TypeError, ValueError)
"""What an object of another library may raise when it is read as something that it is not.

Neither ``OSError`` nor ``EOFError``: those are of files, and of time limits by signal.
"""


def unreadable(name: str, value: object, exc: Exception) -> InputError:
    """Make the error for an argument that raised one of `FOREIGN` while it was read."""
    return InputError(f"{name} cannot be read: {type(value).__name__} raised {short_repr(exc)}")


def clone_error(error: HumeClientException) -> HumeClientException:
    """Return a copy of an error to raise in this thread.

    A shared error would collect the tracebacks of all threads, and keep their requests alive.
    """
    twin = type(error)(str(error))
    vars(twin).update(vars(error))
    return twin


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "..."


class HumeClientException(Exception):
    """Root of every error of this library.

    Attributes:
        code: The server's error code ("E0102"), where it sent one.
        phase: Where the call was: "lock", "connect", "idle", "replay", "send" or "receive"; None outside a connection.
        attempts: How often the request was tried. One more than ``max_attempts`` at most: see `RetryPolicy`.
        maybe_processed: True when the request had left in full and no reply says what became of it.
        status: The HTTP status that answered the upgrade.
        retry_after: Seconds the server asked to wait (its ``Retry-After``).
        close_code: The WebSocket close code the server sent (RFC 6455, 7.4).
        close_reason: The text beside that code.
    """

    _may_pass: ClassVar[bool] = False
    """Whether the same call usually succeeds later after an error of this class."""

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        phase: str | None = None,
        attempts: int = 1,
        maybe_processed: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
        close_code: int | None = None,
        close_reason: str | None = None,
    ) -> None:
        # args holds the message alone and the facts live in __dict__, which is what makes
        # every class below survive pickle without a __reduce__ of its own.
        super().__init__(message)
        self.code = code
        self.phase = phase
        self.attempts = attempts
        self.maybe_processed = maybe_processed
        self.status = status
        self.retry_after = retry_after
        self.close_code = close_code
        self.close_reason = close_reason

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed if it is repeated later, unchanged.

        It says nothing about the cost: with ``maybe_processed`` the request may be processed, and billed, twice.
        """
        if self.status is not None and self.status >= _REDIRECT:  # (a success may hold a refusal in its body)
            return self.status in _TEMPORARY or self.status >= 500
        return self._may_pass and self.close_code not in _REQUEST_REJECTED

    @classmethod
    def from_error(cls, code: str | None, message: str) -> Self:
        """Build the error for a code and a text of the server, in the official SDK's form.

        A missing code reads "unknown" in the text and is None as an attribute.
        """
        code = None if code is None else _cut(code, _MAX_CODE)
        return cls(f"hume({'unknown' if code is None else code}): {_cut(message, _MAX_TEXT)}", code=code)


class ConfigurationError(HumeClientException):
    """The client cannot work as it was built."""


class InputError(HumeClientException, ValueError):
    """An argument was refused before anything was sent; the socket stays usable."""


class RequestError(HumeClientException):
    """The server answered the request with an error. The connection stays good."""

    @classmethod
    def from_reply(cls, code: str | None, message: str) -> RequestError:
        """Build the error for an error reply: a `ServerError` where the code says that the fault is the server's."""
        kind = ServerError if is_server_error(code) else RequestError
        return kind.from_error(code, message)


class ServerError(RequestError):
    """The server failed to process the request through a fault of its own (codes that begin with "I")."""

    _may_pass = True


class MisuseError(HumeClientException):
    """A call that can never be right at this place."""


class HookError(HumeClientException):
    """An application's own URL, for additional inputs or outputs, answered with an error, or not at all."""

    url: str | None = None
    """The URL that was asked, without its query."""

    body: str = ""
    """How the answer's body begins: one printable line of at most 200 characters, without a private header in it."""

    _passes: bool = False

    @classmethod
    def from_failure(cls, message: str, failure: HumeClientException) -> Self:
        """Build the error for a URL that gave no answer; it is as ``retryable`` as what kept it from that."""
        error = cls(message, status=failure.status)
        error._passes = failure.retryable
        return error

    @property
    def retryable(self) -> bool:
        """See `HumeClientException.retryable`."""
        return self._passes or super().retryable


class OutputTooLarge(HumeClientException):
    """An additional output was larger than ``max_output_size``. It was dropped; what comes behind it is not."""

    limit: int | None = None
    """Bytes that an output may have."""


@safe_repr
@attrs.frozen(repr=False)
class LeaseHolder:
    """A lease that was held when another one could not be given."""

    file: str
    """The file in which it was taken."""
    line: int
    """The line, of the ``with`` statement as a rule."""
    thread: str
    """Name of the thread that took it. (Another one may use it, or end it.)"""
    seconds: float
    """How long it has been held."""
    stream: str | None = None
    """The ``repr`` of its stream's name, cut at 100 characters; None: the stream has none."""
    thread_ended: bool = False
    """Whether that thread has ended; something still refers to the socket then."""

    def __repr__(self) -> str:
        return f"<LeaseHolder {self._described()}>"

    def __str__(self) -> str:
        """Say where, by whom, for how long."""
        return self._described()

    def _described(self) -> str:
        ended = ", which has ended" if self.thread_ended else ""
        stream = "" if self.stream is None else f", stream {self.stream}"
        return f"{self.file}:{self.line} in thread {self.thread}{ended}, for {self.seconds:.1f} s{stream}"


class PoolError(HumeClientException):
    """The pool has no lease to give.

    Attributes:
        holders: Who holds the leases, at most ten: those in the way first, then the oldest first. The text names them.
    """

    holders: tuple[LeaseHolder, ...] = ()


class PoolClosed(PoolError):
    """The pool is closed, or was closed meanwhile."""


class PoolTimeout(PoolError, TimeoutError):
    """No lease came free before the deadline."""

    _may_pass = True


class PoolFull(PoolError):
    """As many callers wait for a lease as ``max_waiting`` allows."""

    _may_pass = True


class TransportError(HumeClientException):
    """The connection failed and was discarded."""

    _may_pass = True


class ConnectError(TransportError):
    """No connection could be made: nothing of the request was sent."""

    url: str | None = None
    """The URL that was asked, without its query; FastRTC only."""


class CertificateRejected(ConnectError):
    """The server's TLS certificate was not accepted."""

    _may_pass = False


class AuthenticationError(ConnectError):
    """The server refused the key (HTTP 401)."""

    _may_pass = False


class ConnectionAlreadyExists(ConnectError):
    """The server has a connection of that name already."""

    _may_pass = False


class TooManyConnections(ConnectError):
    """The handler accepts no further connections at present."""

    limit: int | None = None
    """How many it takes, where the server says so."""


class HandshakeRejected(ConnectError):
    """The server answered the upgrade with another status than 101."""

    _may_pass = False

    body: str = ""
    """How the answer's body begins: one printable line of at most 512 characters, without a private header in it."""


class ConnectionLost(TransportError):
    """The connection ended before the reply was there."""


class Timeout(TransportError, TimeoutError):
    """The deadline of the call passed."""


class ReplyTimeout(Timeout):
    """No reply came before the deadline, or the handler has failed instead of giving one."""

    messages: tuple[Any, ...] = ()
    """What came in place of audio: events, in their order."""


class InboxOverflow(TransportError):
    """More messages came than were received: the session was ended rather than drop any."""

    _may_pass = False


class ProtocolError(TransportError):
    """The server sent something the protocol does not allow."""


class MessageTooLarge(ProtocolError):
    """The server announced a message beyond ``max_message_size``; none of it was kept."""

    _may_pass = False


class ReplyMismatch(ProtocolError):
    """The reply names another request's ``payload_id``, or none where it should."""
