"""The items of a run that are under way, on threads of this process or on any executor."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from ..errors import InputError, short_repr
from ..stream import HumeStreamClient
from .item import Item, Result
from .worker import Job, Worker, measure_in_process

__all__ = ["Execution", "ExecutorSource", "is_local"]

ExecutorSource = Executor | Callable[[], Executor] | None
"""An executor of the caller's, a function that makes one, or None for threads."""

_READ_AHEAD: Final = 2
"""Items that are handed out at one time, for each worker."""

_MAX_REPLACED: Final = 3
"""How many executors in a row may break before one item is done."""


def is_local(source: ExecutorSource) -> bool:
    """Return whether items are measured by threads of this process, which can use a client as it is."""
    return source is None or isinstance(source, ThreadPoolExecutor)


class Execution:
    """Hands items to an executor, and collects their results. A context manager; leaving it ends what is under way.

    Args:
        client: The client.
        job: What to measure, and how.
        source: The executor.
        workers: Items measured at one time.
    """

    def __init__(self, client: HumeStreamClient, job: Job, source: ExecutorSource, workers: int) -> None:
        self.pending: dict[Future[Result], Item] = {}
        self._job = job
        self._source = source
        self._limit = _READ_AHEAD * workers
        self._worker = Worker(client, job) if is_local(source) else None
        self._executor = _make(source, workers)
        self._is_own = self._executor is not source
        self._done: queue.SimpleQueue[Future[Result]] = queue.SimpleQueue()
        self._server_has_answered = False
        self._replaced = 0

    @property
    def is_full(self) -> bool:
        """Whether as many items are under way as may be."""
        return len(self.pending) >= self._limit

    def submit(self, item: Item) -> None:
        """Hand out an item."""
        if self._worker is not None:
            future = self._executor.submit(self._worker.measure, item)
        else:
            future = self._executor.submit(measure_in_process, self._job, item, known_server=self._server_has_answered)
        self.pending[future] = item
        future.add_done_callback(self._done.put)

    def finished(self, timeout: float | None) -> Iterator[Result]:
        """Yield what has finished, once something has.

        Args:
            timeout: Seconds to wait for the first; None for no limit.

        Raises:
            HumeClientException: What every item would meet.
            BrokenExecutor: The processes of the executor were killed, and it is the caller's own.
        """
        try:
            future = self._done.get(timeout=timeout) if timeout != 0.0 else self._done.get_nowait()
            while True:
                if (item := self.pending.pop(future, None)) is not None:
                    yield from self._result_of(future, item)
                future = self._done.get_nowait()
        except queue.Empty:
            return

    def _result_of(self, future: Future[Result], item: Item) -> Iterator[Result]:
        try:
            result = future.result()
        except BrokenExecutor:
            self._replaced += 1
            if isinstance(self._source, Executor) or self._source is None or self._replaced > _MAX_REPLACED:
                raise
            self._replace_executor(item)
            return
        self._replaced = 0
        if result.error is None or result.error.code is not None:
            self._server_has_answered = True
        yield result

    def _replace_executor(self, item: Item) -> None:
        """Hand out all items again, to a new executor: the processes of the old one were killed."""
        again = [item, *self.pending.values()]
        self.pending.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = _make(self._source, 0)
        for each in again:
            self.submit(each)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._worker is not None and self.pending:
            self._worker.stop()
        for future in list(self.pending):
            future.cancel()
        if self._is_own:
            self._executor.shutdown(wait=self._worker is not None or not self.pending, cancel_futures=True)
        if self._worker is not None:
            self._worker.close()


def _make(source: ExecutorSource, workers: int) -> Executor:
    if isinstance(source, Executor):
        return source
    if source is None:
        return ThreadPoolExecutor(workers, thread_name_prefix="hume_sync batch")
    executor = source()
    if not isinstance(executor, Executor):
        raise InputError(f"executor must be a function that returns an Executor; it returned {short_repr(executor)}")
    return executor
