"""The part of a batch that runs in each process: a client, a pool, and the measuring of one item after another."""

from __future__ import annotations

import functools
import logging
import os
import time
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

__all__ = ["Job", "Worker", "measure_in_process"]

_log = logging.getLogger("hume_sync.batch")

_REFUSALS: Final = (AuthenticationError, CertificateRejected, HandshakeRejected)
"""Errors of connecting that every item would meet again, where they are not retryable."""

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
        self._answered_at = clock.boottime()  # the last reply, or the beginning
        self._has_answered = False

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
        began = time.perf_counter()
        while True:
            self._check_running()
            try:
                with self._job.reader.open(item) as content:
                    content_hash = content.hash
                    reply, requests = self._send(content)
                seconds = time.perf_counter() - began
                result = Result.measured(item.key, content_hash, reply, seconds=seconds, requests=requests)
            except (TransportError, PoolTimeout) as exc:
                if not exc.retryable:
                    if isinstance(exc, _REFUSALS):
                        raise
                    return _failure(item, content_hash, exc, began)
                failures += 1
                if self._answers():
                    tries += 1
                    if tries >= _MAX_TRIES:
                        return _failure(item, content_hash, exc, began)
                elif not (known_server or self._has_answered) or self._is_out_of_patience():
                    raise
                _log.warning("%s: %s; trying again", item.key, type(exc).__name__)
                self._stopped.wait(_BACK_OFF.delay(failures, exc))
            except PoolClosed:
                raise
            except Exception as exc:
                if from_handler(exc) or _is_refusal_of_all(exc):
                    raise
                return _failure(item, content_hash, exc, began)
            else:
                self._note_answer()
                return result

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
        self._answered_at = clock.boottime()
        self._has_answered = True

    def _answers(self) -> bool:
        """Return whether the server answers a request without data, on any connection."""
        try:
            with self._pool.socket(timeout=_PROBE_TIMEOUT) as socket:
                socket.get_job_details(timeout=_PROBE_TIMEOUT)
        except (TransportError, PoolTimeout) as exc:
            if isinstance(exc, _REFUSALS) and not exc.retryable:
                raise
            return False
        except HumeClientException as exc:
            if isinstance(exc, PoolClosed):
                raise
        self._note_answer()
        return True

    def _is_out_of_patience(self) -> bool:
        return clock.boottime() - self._answered_at > self._job.patience

    def _check_running(self) -> None:
        if self._stopped.is_set():
            raise PoolClosed("the batch was stopped")


def _is_refusal_of_all(error: Exception) -> bool:
    return isinstance(error, RequestError) and str(error.code).startswith(_NO_CREDITS)


def _failure(item: Item, content_hash: str, error: Exception, began: float) -> Result:
    return Result(
        item.key,
        content_hash,
        error=ItemError.of(error),
        attempts=error.attempts if isinstance(error, HumeClientException) else 1,
        seconds=time.perf_counter() - began,
    )


def measure_in_process(job: Job, item: Item, *, known_server: bool = False) -> Result:
    """Measure an item with the worker of this process, which is made for the first item. Executors call this.

    Args:
        job: The job, with a ``spec``.
        item: The item.
        known_server: As for `Worker.measure`.

    Raises:
        HumeClientException: As for `Worker.measure`.
    """
    pid = os.getpid()
    _worker(job, pid)  # threads that come here at once make several, of which one is kept
    return _worker(job, pid).measure(item, known_server=known_server)


@functools.lru_cache(maxsize=4)
def _worker(job: Job, pid: int) -> Worker:  # noqa: ARG001 - a forked child makes its own
    assert job.spec is not None
    return Worker(HumeStreamClient.from_spec(job.spec), job)
