"""Connecting where there may be too many connections: as patiently as was asked for."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import HumeClientException
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.retry import AttemptCounter, RetryPolicy, retry
from .transport import Sleep, Transport

__all__ = ["connect_with_retry"]


def connect_with_retry(
    connect: Callable[[], Transport], policy: RetryPolicy, deadline: Deadline, sleep: Sleep
) -> Transport:
    """Connect; where the limit is reached, or the server is away, as often as the policy says.

    Raises:
        HumeClientException: the last failure, with ``attempts`` set.
    """
    attempts = AttemptCounter()
    try:
        try:
            return connect()
        except HumeClientException as first:
            if from_outside(first) or policy.max_attempts == 1 or not policy.allows(first):
                raise
            return retry(
                policy,
                first,
                connect,
                sleep=sleep,
                wait=lambda error, failures: policy.delay(failures, error),
                deadline=deadline,
                attempts=attempts,
                is_free=lambda _: False,
                tell=policy.tell,
            )
    except HumeClientException as exc:
        if not from_outside(exc):
            exc.attempts = attempts.number
        raise
