"""The part of a batch that runs in each process: a client, a pool, and the measuring of one item after another."""

from __future__ import annotations

import logging
from typing import Final

import attrs

from ..errors import (
    AuthenticationError,
    CertificateRejected,
    HandshakeRejected,
    HumeClientException,
    PoolClosed,
    PoolTimeout,
    RequestError,
    TransportError,
)
from ..net import clock
from ..net.condition import Latch
from ..net.interrupts import from_handler
from ..net.retry import RetryPolicy
from ..reprs import safe_repr
from ..stream import HumeStreamClient, LanguageConfig, StreamResponse
from ..stream.client_spec import ClientSpec
from .item import Item, ItemError, Result
from .merge import merge
from .reader import ItemReader, OpenItem

__all__ = ["Job", "Worker", "failure"]

_log = logging.getLogger("hume_sync.batch")

_REFUSALS: Final = (AuthenticationError, CertificateRejected, HandshakeRejected)
"""Errors of connecting that every item would meet again, unless they are retryable."""

_NO_CREDITS: Final = "E03"
"""How the codes begin by which a server refuses every request of an account."""

_MAX_TRIES: Final = 3
"""How often an item is sent whose connection fails while the server answers others."""

_PROBE_TIMEOUT: Final = 10.0
"""Seconds for asking whether the server answers at all."""

_ANY: Final = (LanguageConfig(),)
"""Models of a socket whose requests all name their own."""

_BACK_OFF: Final = RetryPolicy(initial=0.2, maximum=15.0)


@safe_repr
@attrs.frozen
class Job:
    """What all items of a batch have in common. It can be pickled."""

    spec: ClientSpec | None
    """How other processes build the client; None if only this process measures."""
    stream_window_ms: float | None
    connections: int
    """The most connections of a process."""
    timeout: float
    """Seconds that a request may take."""
    patience: float
    """Seconds for which an outage of the server is waited out."""
    reader: ItemReader
    """What reads the items, and chooses the models for each."""


class Worker:
    """Measures items over one pool, from any number of threads.

    Args:
        client: The client.
        job: What to measure, and how.
    """

    def __init__(self, client: HumeStreamClient, job: Job) -> None:
        self._job = job
        self._pool = client.pool(
            job.reader.configs or _ANY,
            job.stream_window_ms,
            max_size=job.connections,
            timeout=max(30.0, job.timeout),
            name="batch",
        )
        self._stopped = Latch()
        self._answered_at: float | None = None

    def measure(self, item: Item, *, known_server: bool = False) -> Result:
        """Measure an item; return its failure as a result too, unless every other item would fail in the same way.

        An outage of the server is waited out, for as long as the job's patience.

        Args:
            item: The item.
            known_server: Whether the server has answered another process already. Until it has answered anybody, an
                outage is taken for a wrong address.

        Raises:
            AuthenticationError: The server refuses the key.
            RequestError: The account has no credits left.
            ConnectError: It refuses connections, or cannot be reached.
            TransportError: It does not answer.
            PoolClosed: The worker was stopped.
        """
        content_hash = ""
        tries = failures = 0
        away_since: float | None = None
        began = clock.monotonic()
        while True:
            self._check_running()
            try:
                with self._job.reader.open(item) as content:
                    content_hash = content.hash
                    reply, requests = self._send(content)
                seconds = clock.monotonic() - began
                return Result.measured(item.key, content_hash, reply, seconds=seconds, requests=requests)
            except PoolTimeout:
                continue  # long items use all connections: this one waits on
            except TransportError as exc:
                if _is_refusal(exc):
                    raise
                failures += 1
                now = clock.monotonic()
                if not exc.retryable or self._answers():
                    tries, away_since = tries + 1, None
                    if not exc.retryable or tries >= _MAX_TRIES:
                        return failure(item, exc, content_hash, began)
                else:
                    away_since = now if away_since is None else away_since
                    known_server = known_server or self._answered_at is not None
                    if not known_server or clock.monotonic() - away_since >= self._job.patience:
                        raise
                _log.warning("%s: %s; trying again", item.key, type(exc).__name__)
                self._stopped.wait(_BACK_OFF.delay(failures, exc))
            except PoolClosed:
                raise
            except Exception as exc:
                if from_handler(exc) or _has_no_credits(exc):
                    raise
                return failure(item, exc, content_hash, began)

    def stop(self) -> None:
        """End all calls under way; from any thread, or a signal handler."""
        self._stopped.set()
        self._pool.abort()

    def close(self) -> None:
        """Close the pool, once no call is under way."""
        self._stopped.set()
        self._pool.close()

    def _send(self, content: OpenItem) -> tuple[StreamResponse, int]:
        parts, replies = [], []
        with self._pool.socket() as socket:
            for part in content.parts():
                self._check_running()
                replies.append(part.send(socket, timeout=self._job.timeout))
                parts.append(attrs.evolve(part, data=None))
                self._note_answer()
        return merge(replies, parts), len(replies)

    def _note_answer(self) -> None:
        self._answered_at = clock.monotonic()

    def _answers(self) -> bool:
        """Return whether the server answers a request without data, on any connection."""
        asked_at = clock.monotonic()
        try:
            with self._pool.socket(timeout=_PROBE_TIMEOUT) as socket:
                socket.get_job_details(timeout=_PROBE_TIMEOUT)
        except PoolTimeout:
            return self._answered_at is not None and self._answered_at > asked_at  # items that use all connections
        except TransportError as exc:
            if _is_refusal(exc):
                raise
            return False
        except HumeClientException as exc:
            if isinstance(exc, PoolClosed):
                raise
        self._note_answer()
        return True

    def _check_running(self) -> None:
        if self._stopped.is_set():
            raise PoolClosed("the batch was stopped")


def _has_no_credits(error: Exception) -> bool:
    return isinstance(error, RequestError) and str(error.code).startswith(_NO_CREDITS)


def _is_refusal(error: TransportError) -> bool:
    """Return whether every item would meet an error."""
    return isinstance(error, _REFUSALS) and not error.retryable


def failure(item: Item, error: Exception, content_hash: str = "", began: float | None = None) -> Result:
    """Return the result of an item that failed.

    Args:
        item: The item.
        error: Why.
        content_hash: The hash of its content, if that could be read.
        began: The time of `monotonic` at which its measuring began; None if it did not.
    """
    return Result(
        item.key,
        content_hash,
        error=ItemError.of(error),
        attempts=error.attempts if isinstance(error, HumeClientException) else 1,
        seconds=0.0 if began is None else clock.monotonic() - began,
        requests=1 if content_hash else 0,
    )
