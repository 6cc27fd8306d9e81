"""Retries. tenacity runs the loop of attempts and waits; this module decides which failures it retries, and when.

What is retried is decided by what may have happened to the request, not by the class of an error alone:

=====================================================  ======================================================
failure                                                 tried again?
=====================================================  ======================================================
no connection, HTTP 408, 425, 429 or 5xx                yes: nothing was sent
HTTP 401, 403, other 4xx; a certificate not accepted    never: the next answer would be the same
lost before the request was complete                    yes: it cannot have been processed
lost or closed while the reply was awaited              where ``resend_unknown`` allows it, for it may have been
closed with 1002, 1003 or 1007 to 1010                  never: the server objects to what is sent
a reply that breaks the protocol or names another       once, where ``resend_unknown`` allows it
a reply beyond ``max_message_size``                     never
the server's own fault (codes that begin with "I")      yes
the server's objection to the request (E codes)         never
no time left                                            never
=====================================================  ======================================================
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from ..errors import (
    HumeClientException,
    InputError,
    ProtocolError,
    RequestError,
    Timeout,
    TransportError,
    short_repr,
)
from ..reprs import safe_repr
from . import clock
from .deadline import Deadline
from .interrupts import from_outside
from .validation import to_bool, to_seconds

__all__ = ["AttemptCounter", "RetryEvent", "RetryPolicy", "brief", "retry"]

_log = logging.getLogger("hume_sync.retry")

_T = TypeVar("_T")


@safe_repr
@attrs.frozen
class RetryEvent:
    """The argument of `RetryPolicy.on_retry`, before each wait."""

    attempt: int
    """The attempt that failed, from 1."""
    error: str
    """Class of its error."""
    code: str | None
    """The server's error code, where that was the error."""
    phase: str | None
    wait: float
    """Seconds until the next attempt."""
    elapsed: float
    """Seconds since the first attempt failed."""


def _attempts(_: object, __: object, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"max_attempts must be a whole number above zero, got {short_repr(value)}")


def _time(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if to_seconds(attribute.name, value) == math.inf:
        raise InputError(f"{attribute.name} must be finite, got {value!r}")


def _flag(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    to_bool(attribute.name, value)


def _callback(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not callable(value):
        raise InputError(f"{attribute.name} must be callable, or None; got {short_repr(value)}")


@safe_repr
@attrs.frozen
class RetryPolicy:
    """How often and how patiently a request is tried again. Immutable; without it: three attempts.

    Args:
        max_attempts: Attempts in all, the first included. One retry a call is free, and does not count here: the one
            after a connection that turns out to have gone stale while it was idle, which is no failure of the server.
            So ``attempts``, of a reply or an error, may be ``max_attempts + 1``. (1: no retry at all, a free one
            neither.)
        initial: Seconds; the wait before attempt n + 1 is drawn evenly from 0 to ``initial * 2 ** (n - 1)``
            ("full jitter"), or is what the server asked for in ``Retry-After``.
        maximum: Seconds; the most that is drawn from.
        resend_unknown: Whether a request that may have been processed is sent again. It then goes to a new
            connection with its window rebuilt, so the measurement is right; it may be billed twice.
        on_retry: Called with a `RetryEvent` before each wait, inside the call and on its thread. What it raises is
            logged and forgotten.

    Raises:
        InputError: A number out of range, or an argument of another type.
    """

    max_attempts: int = attrs.field(default=3, validator=_attempts)
    initial: float = attrs.field(default=0.2, validator=_time)
    maximum: float = attrs.field(default=5.0, validator=_time)
    resend_unknown: bool = attrs.field(default=True, validator=_flag)
    on_retry: Callable[[RetryEvent], object] | None = attrs.field(default=None, validator=_callback)

    @classmethod
    def none(cls) -> RetryPolicy:
        """Never try again."""
        return cls(max_attempts=1)

    def delay(self, failures: int, error: HumeClientException | None = None) -> float:
        """Seconds to wait after that many failures in a row (full jitter), and no less than the last one asks for.

        A server that asks for none, or whose clock is behind, is not to be asked again at once by everybody.
        """
        most = min(self.maximum, self.initial * 2.0 ** min(failures - 1, 60))
        jitter = random.uniform(0.0, most)  # noqa: S311 - it spreads callers in time, and guards no secret
        return max(jitter, (error and error.retry_after) or 0.0)

    def tell(self, event: RetryEvent) -> None:
        """Run the caller's callback, inside the call and on its thread; what it raises changes nothing."""
        if self.on_retry is None:
            return
        try:
            self.on_retry(event)
        except Exception:  # noqa: BLE001 - a callback must not change what the call does
            _log.exception("on_retry failed")

    def allows(self, error: HumeClientException, earlier: int = 0) -> bool:
        """Whether a failure may be tried again; ``earlier`` counts broken replies before this one."""
        if not error.retryable:
            return False
        again = self.resend_unknown or not error.maybe_processed
        match error:
            case RequestError():
                return True
            case ProtocolError():
                return error.phase != "connect" and again and earlier == 0
            case Timeout():
                return error.phase == "connect"  # the dial's own limit; the call may have time left
            case TransportError():
                return again
        return False


@safe_repr
@attrs.define
class AttemptCounter:
    """The count of one call's attempts."""

    number: int = 1
    free: int = 0
    """Attempts that do not count: a connection that had gone stale is no failure of the server."""


def retry(
    policy: RetryPolicy,
    first: HumeClientException,
    again: Callable[[], _T],
    *,
    sleep: Callable[[float], None],
    wait: Callable[[HumeClientException, int], float],
    deadline: Deadline,
    attempts: AttemptCounter,
    is_free: Callable[[HumeClientException], bool],
    tell: Callable[[RetryEvent], None],
    name: str = "",
) -> _T:
    """Go on after a first failure, as the policy says.

    tenacity is entered here and not before: a call that succeeds at once has nothing to do with it.

    Args:
        policy: The caller's.
        first: The failure of the attempt that was made outside.
        again: Makes another attempt.
        sleep: Waits that many seconds, or raises where waiting has become pointless.
        wait: Seconds to wait after a failure, given how many there have been.
        deadline: Of the whole call.
        attempts: Counted up here.
        is_free: Whether a failure is none of the server's: tried again at once, without counting, once a call.
        tell: Called before each wait.
        name: Of the pool or socket and its server, for the log.

    Raises:
        HumeClientException: The last failure, with ``attempts`` set.
    """
    import tenacity  # noqa: PLC0415 - preloaded by the clients; 25 ms that `import hume_sync` need not take

    started = clock.monotonic()
    broken = 0
    states: list[tenacity.RetryCallState] = []  # the one state of this call, once an attempt

    def pause(state: tenacity.RetryCallState) -> float:
        error = _own_error(state)
        if error is None:
            return 0.0
        if attempts.free == 0 and is_free(error):
            attempts.free = 1
            return 0.0
        return wait(error, state.attempt_number - attempts.free)

    def stop(state: tenacity.RetryCallState) -> bool:
        nonlocal broken
        error = _own_error(state)
        allowed = error is not None and policy.allows(error, broken)
        broken += isinstance(error, ProtocolError)
        spent = state.attempt_number - attempts.free >= policy.max_attempts
        # A wait that does not fit is never begun: the caller learns now what it would learn then.
        return not allowed or spent or state.upcoming_sleep >= deadline.remaining()

    def before_sleep(state: tenacity.RetryCallState) -> None:
        error = _own_error(state)
        assert error is not None
        event = RetryEvent(
            attempt=state.attempt_number,
            error=type(error).__name__,
            code=error.code,
            phase=error.phase,
            wait=state.upcoming_sleep,
            elapsed=clock.monotonic() - started,
        )
        _log.info("%s: attempt %d failed, next in %.2f s: %s", name, event.attempt, event.wait, brief(error))
        tell(event)

    retrying = tenacity.Retrying(
        retry=lambda state: _failure(state) is not None,
        wait=pause,
        stop=stop,
        sleep=sleep,
        before_sleep=before_sleep,
        before=states.append,
        retry_error_callback=lambda _: None,  # when to stop: the last failure is raised below
    )
    outside = [first]  # the attempt that was made outside counts as the first
    del first

    def attempt() -> _T:
        if outside:
            raise outside.pop()
        attempts.number += 1
        return again()

    failure: BaseException | None = None
    try:
        # Called, not iterated over: of a StopIteration that a signal handler raises a generator makes a RuntimeError.
        reply = retrying(attempt)
        failure = _failure(states[0])
        if failure is None:
            return reply
        raise failure
    finally:
        # An error keeps the frames of its traceback alive, and they their sockets and media: not by this one, nor by
        # tenacity's objects, which refer to themselves. Tools that show local variables call its repr.
        for state in states:
            state.outcome = state.fn = None
        vars(retrying).clear()
        tenacity.Retrying.__init__(retrying)
        del retrying, failure


def brief(error: HumeClientException) -> str:
    """Describe a failure for the log by its class and facts: no text of the server's, or of the caller's."""
    facts = {
        "HTTP": error.status,
        "code": error.code,
        "close code": error.close_code,
        "phase": error.phase,
        "Retry-After": error.retry_after,
    }
    return ", ".join([type(error).__name__, *(f"{name} {fact}" for name, fact in facts.items() if fact is not None)])


def _failure(state: Any) -> BaseException | None:
    failure: BaseException | None = state.outcome.exception()
    return failure


def _own_error(state: Any) -> HumeClientException | None:
    """Return the failure if it is this library's own; an exception of a signal handler is never retried."""
    error = _failure(state)
    return error if isinstance(error, HumeClientException) and not from_outside(error) else None
