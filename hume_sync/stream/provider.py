"""The interface between a socket and its source of connections: one dedicated connection, or a pool."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..errors import HumeClientException, RequestError
from ..net.call_lock import CallLock
from ..net.deadline import Deadline
from ..net.retry import RetryPolicy
from .breaker import CircuitBreaker
from .connection import Connection

__all__ = ["ConnectionProvider"]


class ConnectionProvider(ABC):
    """A source of connections for the calls on one socket.

    The circuit breaker stands behind it: `acquire` waits for it, and `report` tells it how an attempt ended. It knows
    each caller by its provider.
    """

    __slots__ = ("breaker", "lock")

    breaker: CircuitBreaker
    """The circuit breaker, shared by all providers of a pool."""
    lock: CallLock
    """Held for a whole call, retries and replays included; guards the stream and its connection."""

    @abstractmethod
    def before_call(self) -> None:
        """Raise if no call may begin."""

    def after_call(self) -> None:  # noqa: B027 - only pools have pending work
        """Process what became pending during the call."""

    @abstractmethod
    def acquire(self, deadline: Deadline) -> Connection:
        """Return a usable connection, just checked, for the socket's stream alone."""

    @abstractmethod
    def wait(self, delay: float) -> None:
        """Wait before a retry; raise as soon as the provider is closed."""

    @abstractmethod
    def close(self, timeout: float) -> None:
        """Close the connection or release the lease, from any thread."""

    def abort(self) -> None:  # noqa: B027 - releasing a lease never blocks, so there is nothing to abort
        """Abort the call in progress, from any thread."""

    def add_stats(self, **changes: float) -> None:  # noqa: B027 - only pools keep statistics
        """Add to the statistics."""

    @property
    @abstractmethod
    def closing(self) -> bool:
        """Whether it is closed, so that nothing is retried."""

    @property
    def policy(self) -> RetryPolicy:
        """The policy for retries."""
        return self.breaker.policy

    @property
    def name(self) -> str:
        """The name of the pool or socket and its server, for the log."""
        return self.breaker.name

    def report(self, connection: Connection, error: HumeClientException | None = None) -> None:
        """Report how an attempt ended on a connection that had never been answered before it."""
        if error is not None and self.policy.allows(error) and not isinstance(error, RequestError):
            self.breaker.record_failure(self, error)
        if connection.has_replied:  # any reply, an error too, shows that the server is there
            self.breaker.record_success()
        if error is None:
            self.breaker.release_probe(self)

    def may_retry(self, error: HumeClientException) -> bool:
        """Return whether a failure may be retried now."""
        if self.closing or (self.breaker.fail_fast and not self.breaker.is_healthy):
            return False
        return self.policy.max_attempts > 1 and self.policy.allows(error)

    def retry_delay(self, error: HumeClientException, failures: int) -> float:
        """Return the seconds until the next attempt."""
        return self.policy.delay(failures, error) if self.breaker.is_healthy else self.breaker.retry_delay(self)

    def stop_retrying(self) -> None:
        """Let another caller probe the server, if this one was the prober."""
        self.breaker.release_probe(self)
