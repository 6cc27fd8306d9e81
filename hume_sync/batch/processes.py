"""The workers of one process: a client and a pool for each job, made when its first item comes."""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..locks import make_lock
from ..stream import HumeStreamClient
from .item import Item, Result
from .worker import Job, Worker

__all__ = ["JobWorkers", "measure_in_process", "workers_of_process"]


class JobWorkers:
    """Workers by their job. An idle one is closed when the first item of another job comes.

    All methods can be called from any thread.
    """

    def __init__(self) -> None:
        self._lock = make_lock()
        self._users: dict[Worker, int] = {}  # guarded by the lock, as all below
        self._by_job: dict[Job, Worker] = {}

    @contextmanager
    def borrow(self, job: Job) -> Iterator[Worker]:
        """Lend the worker of a job for a ``with`` block.

        Args:
            job: The job, with a ``spec``.

        Yields:
            The worker.

        Raises:
            ConfigurationError: The client cannot be built in this process: the variable with the key is not set.
        """
        with self._lock:
            worker = self._by_job.get(job)
            unused = [] if worker is not None else self._remove_idle()
            if worker is None:
                worker = self._by_job[job] = self._make(job)
            self._users[worker] = self._users.get(worker, 0) + 1
        try:
            for each in unused:
                each.close()
            yield worker
        finally:
            self._return(worker)

    def drop(self, job: Job) -> None:
        """Close the worker of a job as soon as nothing uses it."""
        with self._lock:
            worker = self._by_job.pop(job, None)
        if worker is not None and worker not in self._users:
            worker.close()

    def close_idle(self) -> None:
        """Close the workers that nothing uses."""
        with self._lock:
            unused = self._remove_idle()
        for worker in unused:
            worker.close()

    def stop(self) -> None:
        """End all calls under way, and close all workers."""
        with self._lock:
            workers = {*self._by_job.values(), *self._users}
            self._by_job.clear()
        for worker in workers:
            worker.stop()
            worker.close()

    def _return(self, worker: Worker) -> None:
        with self._lock:
            self._users[worker] -= 1
            if self._users[worker]:
                return
            del self._users[worker]
            dropped = worker not in self._by_job.values()
        if dropped:
            worker.close()

    def _remove_idle(self) -> list[Worker]:
        idle = {job: worker for job, worker in self._by_job.items() if worker not in self._users}
        for job in idle:
            del self._by_job[job]
        return list(idle.values())

    @staticmethod
    def _make(job: Job) -> Worker:
        assert job.spec is not None
        return Worker(HumeStreamClient.from_spec(job.spec), job)


def measure_in_process(job: Job, item: Item, *, known_server: bool = False) -> Result:
    """Measure an item with the worker that this process has for its job. Executors call this.

    Args:
        job: The job, with a ``spec``.
        item: The item.
        known_server: As for `Worker.measure`.

    Raises:
        HumeClientException: As for `Worker.measure`.
    """
    with workers_of_process().borrow(job) as worker:
        return worker.measure(item, known_server=known_server)


def workers_of_process() -> JobWorkers:
    """Return the workers of this process; a forked child has its own."""
    pid = os.getpid()
    _workers(pid)  # threads that come here at once make several, of which one is kept
    return _workers(pid)


@functools.lru_cache(maxsize=2)
def _workers(pid: int) -> JobWorkers:  # noqa: ARG001 - a forked child makes its own
    workers = JobWorkers()
    atexit.register(workers.stop)
    return workers
