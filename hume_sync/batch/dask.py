"""Batches on a Dask cluster: an executor whose worker processes each keep one client and one pool."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final

import attrs

from ..errors import InputError
from ..locks import make_lock
from ..net.extras import NeedsExtra
from ..net.validation import to_count
from ..stream import HumeStreamClient
from .item import Item, Result
from .worker import Job, Worker

with NeedsExtra("dask", "a batch on a Dask cluster"):
    from distributed import Client, WorkerPlugin, get_worker

__all__ = ["DaskExecutor", "PoolPlugin"]

_NAME: Final = "hume_sync-pool"
_LOST: Final = 3
"""How often a task is run again whose process was lost."""


class PoolPlugin(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    """Keeps the client and pool of a worker process, and closes them with it.

    `DaskExecutor` registers it.
    """

    name = _NAME

    def __init__(self) -> None:
        self._lock: threading.RLock | None = None
        self._workers: dict[Job, Worker] = {}

    def setup(self, worker: Any) -> None:  # noqa: ARG002 - of the interface
        """Prepare a worker process."""
        self._lock = make_lock()

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - of the interface
        """Close the pools of a worker process."""
        for each in list(self._workers.values()):
            each.stop()
            each.close()
        self._workers.clear()

    def worker_for(self, job: Job) -> Worker:
        """Return what measures the items of a job in this process."""
        assert self._lock is not None
        assert job.spec is not None
        with self._lock:
            if job not in self._workers:
                self._workers[job] = Worker(HumeStreamClient.from_spec(job.spec), job)
            return self._workers[job]

    def __getstate__(self) -> dict[str, Any]:
        return {"_lock": None, "_workers": {}}


class DaskExecutor(Executor):
    """Runs the items of a batch as tasks of a Dask cluster, each item as one task.

    ::

        with Client("scheduler:8786") as cluster:
            batch = Batch(HumeStreamClient(), [ProsodyConfig()], executor=DaskExecutor(cluster), workers=64)

    A task whose process is lost is run again on another one. ``workers`` of the batch is how many items are under way
    on the whole cluster. Start the cluster's processes with many threads each: a thread waits most of its time.

    Args:
        cluster: The client of the cluster, which is left open.
        max_connections: The most connections of the whole cluster, shared evenly by the processes that it has now;
            None for one per thread.
        retries: How often a task is run again that raised an error, such as one that found the server away.

    Raises:
        InputError: An argument is of another type, or there are more processes than connections.
        ConfigurationError: The extra "dask" is not installed.
    """

    def __init__(self, cluster: Client, *, max_connections: int | None = None, retries: int = 0) -> None:
        if not isinstance(cluster, Client):
            raise InputError(f"cluster must be a distributed.Client, got {type(cluster).__name__}")
        self._executor = cluster.get_executor(retries=to_count("retries", retries, 0), pure=False)
        self._connections: int | None = None
        if max_connections is not None:
            processes = max(1, len(cluster.scheduler_info(n_workers=-1)["workers"]))
            if to_count("max_connections", max_connections, 1) < processes:
                raise InputError(
                    f"max_connections must be at least the number of the cluster's processes, {processes};"
                    f" got {max_connections}"
                )
            self._connections = max_connections // processes
        cluster.register_plugin(PoolPlugin())

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hand out a call; the measuring of an item goes to the pool of a worker process."""
        if args and isinstance(args[0], Job):
            job, *rest = args
            if self._connections is not None:
                job = attrs.evolve(job, connections=min(job.connections, self._connections))
            return self._executor.submit(_measure_on_worker, job, *rest, **kwargs)  # type: ignore[no-any-return]
        return self._executor.submit(fn, *args, **kwargs)  # type: ignore[no-any-return]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - it always cancels
        """End the tasks; the cluster itself goes on."""
        self._executor.shutdown(wait=wait)


def _measure_on_worker(job: Job, item: Item, *, known_server: bool = False) -> Result:
    plugin: PoolPlugin = get_worker().plugins[_NAME]
    return plugin.worker_for(job).measure(item, known_server=known_server)
