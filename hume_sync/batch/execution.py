"""The items of a run that are under way, on threads of this process or on any executor."""

from __future__ import annotations

import pickle
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

import attrs

from ..errors import HumeClientException, InputError, TransportError, short_repr
from ..net import clock
from ..net.interrupts import from_handler
from ..reprs import safe_repr
from ..stream import HumeStreamClient
from .item import Item, Result
from .processes import measure_in_process, workers_of_process
from .worker import Job, Worker, failure

__all__ = ["Execution", "ExecutorSource", "is_local"]

ExecutorSource = Executor | Callable[[], Executor] | None
"""An executor of the caller's, a function that makes one, or None for threads."""

_READ_AHEAD: Final = 2
"""Items that are handed out at one time, for each worker."""

_PATIENCE_ELSEWHERE: Final = 20.0
"""Seconds for which another process waits out an outage before it hands an item back: a run that was abandoned does not
keep it busy for longer."""

_MAX_BREAKS: Final = 2
"""How many executors may break with an item under way before it is measured alone."""

_MAX_REPLACED: Final = (3, 20)
"""How many executors in a row may break without a result: in the beginning, and later."""


def is_local(source: ExecutorSource) -> bool:
    """Return whether items are measured by threads of this process, which can use a client as it is."""
    return source is None or isinstance(source, ThreadPoolExecutor)


@safe_repr
@attrs.define(eq=False)
class _Task:
    """An item that is under way, and how many executors have broken meanwhile."""

    item: Item
    breaks: int = 0
    result: Result | None = None
    """Set where nothing was handed out."""


class Execution:
    """Hands items to an executor, and collects their results. A context manager; leaving it ends what is under way.

    If an executor made by ``source`` breaks because a process was killed, another one takes its items. An item that
    was under way each time is measured alone: if that breaks an executor once more, the item fails.

    Args:
        client: The client.
        job: What to measure, and how.
        source: The executor.
        workers: Items measured at one time.
    """

    def __init__(self, client: HumeStreamClient, job: Job, source: ExecutorSource, workers: int) -> None:
        self._worker = Worker(client, job) if is_local(source) else None
        self._patience = job.patience
        self._job = job
        if self._worker is None:
            self._job = attrs.evolve(job, patience=min(job.patience, _PATIENCE_ELSEWHERE))
        self._source = source
        self._limit = _READ_AHEAD * workers
        self._executor = _make(source, workers)
        self._is_own = self._executor is not source
        self._pending: dict[Future[Result], _Task] = {}
        self._suspects: list[_Task] = []
        self._is_alone = False  # whether a suspect is under way
        self._done: queue.SimpleQueue[Future[Result]] = queue.SimpleQueue()
        self._has_results = False
        self._server_has_answered = False
        self._away_since: float | None = None
        self._replaced = 0

    @property
    def is_full(self) -> bool:
        """Whether as many items are under way as may be."""
        return self._is_alone or len(self._pending) >= self._limit

    @property
    def is_busy(self) -> bool:
        """Whether any item is under way."""
        return bool(self._pending)

    def submit(self, item: Item) -> None:
        """Hand out an item.

        Raises:
            RuntimeError: The executor is the caller's own, and was shut down or is broken.
        """
        self._submit(_Task(item))

    def finished(self, timeout: float | None) -> Iterator[Result]:
        """Yield what has finished, once something has.

        Args:
            timeout: Seconds to wait for the first; None for no limit.

        Raises:
            HumeClientException: What every item would meet.
            BrokenExecutor: The processes of the executor were killed, and it is the caller's own.
            CancelledError: Somebody else has cancelled the items.
        """
        try:
            future = self._done.get(timeout=timeout) if timeout != 0.0 else self._done.get_nowait()
            while True:
                if (task := self._pending.pop(future, None)) is not None:
                    result = task.result or self._result_of(future, task)
                    self._continue_alone()
                    if result is not None:
                        yield result
                future = self._done.get_nowait()
        except queue.Empty:
            return

    def _submit(self, task: _Task) -> None:
        try:
            future = self._start(task.item)
        except BrokenExecutor as exc:
            self._replace_executor(exc)
            self._submit(task)
        else:
            self._pending[future] = task
            future.add_done_callback(self._done.put)

    def _start(self, item: Item) -> Future[Result]:
        if self._worker is not None:
            return self._executor.submit(self._worker.measure, item)
        return self._executor.submit(measure_in_process, self._job, item, known_server=self._server_has_answered)

    def _finish(self, task: _Task, result: Result) -> None:
        task.result = result
        future: Future[Result] = Future()
        self._pending[future] = task
        self._done.put(future)

    def _result_of(self, future: Future[Result], task: _Task) -> Result | None:
        """Return the result of an item; None if it was handed out again."""
        try:
            result = future.result()
        except BrokenExecutor as exc:
            self._replace_executor(exc, task)
            return None
        except CancelledError:
            raise
        except HumeClientException as exc:
            if not self._is_outage(exc):
                raise
            self._submit(task)
            return None
        except Exception as exc:
            # Workers return failures of items as results, so this is the executor's own error.
            can_travel = _can_be_pickled(task.item)
            if from_handler(exc) or (can_travel and not self._has_results):
                raise
            return _failure_of_process(task.item, exc, retryable=can_travel)
        self._replaced = 0
        self._has_results = True
        if result.error is None or result.error.code is not None:
            self._server_has_answered = True
            self._away_since = None
        return result

    def _is_outage(self, error: HumeClientException) -> bool:
        """Return whether an error of another process is to be waited out."""
        if self._worker is not None or not self._server_has_answered:
            return False
        if not (isinstance(error, TransportError) and error.retryable):
            return False
        now = clock.monotonic()
        if self._away_since is None:
            self._away_since = now
        return now - self._away_since < self._patience

    def _replace_executor(self, error: BrokenExecutor, *tasks: _Task) -> None:
        """Hand out what was under way to a new executor: a process of the old one was killed.

        What was under way each time may be the reason, and is measured alone.

        Raises:
            BrokenExecutor: The executor is the caller's own, or its successors break as well.
        """
        self._replaced += 1
        limit = _MAX_REPLACED[self._has_results]
        if self._source is None or isinstance(self._source, Executor) or self._replaced > limit:
            raise error
        lost = {
            future: task for future, task in self._pending.items() if task.result is None and not _has_succeeded(future)
        }
        for future in lost:
            del self._pending[future]
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = _make(self._source, 0)
        again = [*tasks, *lost.values()]
        for task in again:
            task.breaks += 1
            if task.breaks < _MAX_BREAKS:
                self._submit(task)
            elif task.breaks > _MAX_BREAKS and len(again) == 1 and self._has_results:
                self._finish(task, _failure_of_process(task.item, error, retryable=True))
            else:
                self._suspects.append(task)
        self._continue_alone()

    def _continue_alone(self) -> None:
        """Hand out the next suspect once nothing else is under way."""
        if self._pending:
            self._is_alone = self._is_alone or bool(self._suspects)
            return
        self._is_alone = bool(self._suspects)
        if self._suspects:
            self._submit(self._suspects.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._end(abandoned=kind is not None or bool(self._pending))
        except BaseException:  # of a signal handler
            self._end_at_once()
            raise

    def _end(self, *, abandoned: bool) -> None:
        if self._worker is not None and abandoned:
            self._worker.stop()
        for future in list(self._pending):
            future.cancel()
        try:
            if self._is_own:
                self._executor.shutdown(wait=self._worker is not None or not abandoned, cancel_futures=True)
        finally:
            if self._worker is not None:
                self._worker.close()
            else:
                workers_of_process().drop(self._job)

    def _end_at_once(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        if self._is_own:
            self._executor.shutdown(wait=False, cancel_futures=True)


def _make(source: ExecutorSource, workers: int) -> Executor:
    if isinstance(source, Executor):
        return source
    if source is None:
        return ThreadPoolExecutor(workers, thread_name_prefix="hume_sync batch")
    executor = source()
    if not isinstance(executor, Executor):
        raise InputError(f"executor must be a function that returns an Executor; it returned {short_repr(executor)}")
    return executor


def _has_succeeded(future: Future[Result]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _can_be_pickled(item: Item) -> bool:
    try:
        pickle.dumps(item)
    except Exception as exc:
        if from_handler(exc):
            raise
        return False
    return True


def _failure_of_process(item: Item, error: Exception, *, retryable: bool) -> Result:
    result = failure(item, error)
    assert result.error is not None
    return attrs.evolve(result, error=attrs.evolve(result.error, retryable=retryable))
