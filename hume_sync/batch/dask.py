"""Batches on a Dask cluster: an executor whose worker processes each keep one client and one pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final

import attrs

from ..errors import InputError, PoolClosed
from ..net.extras import NeedsExtra
from ..net.validation import to_count
from .item import Item, Result
from .processes import JobWorkers
from .worker import Job

with NeedsExtra("dask", "a batch on a Dask cluster"):
    from distributed import Client, Reschedule, WorkerPlugin, get_worker

__all__ = ["DaskExecutor", "PoolPlugin"]

_NAME: Final = "hume_sync-pool"


class PoolPlugin(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    """Keeps the client and the pool of a Dask worker, and closes them with it.

    `DaskExecutor` registers it, for workers that join later too.
    """

    name = _NAME
    idempotent = True  # a second batch must not replace what the first one uses

    def __init__(self) -> None:
        self.workers = JobWorkers()

    def setup(self, worker: Any) -> None:
        """Do nothing: the pool is made for the first item."""

    async def teardown(self, worker: Any) -> None:  # noqa: ARG002 - of the interface
        """End the calls under way, and close the pools."""
        await asyncio.to_thread(self.workers.stop)

    def __reduce__(self) -> tuple[type[PoolPlugin], tuple[()]]:
        return PoolPlugin, ()


class DaskExecutor(Executor):
    """Runs the items of a batch on a Dask cluster, each as a task.

    ::

        with Client("scheduler:8786") as cluster, DaskExecutor(cluster, max_connections=64) as executor:
            batch = Batch(HumeStreamClient(), [ProsodyConfig()], executor=executor, workers=64)

    ``workers`` of the batch is for the whole cluster: twice as many items are handed out at one time. Each process of
    the cluster keeps one pool, and uses it from all its threads; start it with many, as a thread mostly waits.

    A task whose process is lost runs on another one. Once that has happened more often than the cluster's setting
    ``distributed.scheduler.allowed-failures`` says (3), its item fails with ``KilledWorker``.

    Leaving the ``with`` block closes the idle connections of the cluster's processes; the cluster goes on.

    Args:
        cluster: The client of the cluster, which is left open.
        max_connections: The most connections of the whole cluster, shared evenly by its processes; None for as many
            as the batch has workers, in each process.
        processes: The most processes that the cluster will have, if they become more; None for those it has now.

    Raises:
        InputError: An argument is of another type, or there are more processes than connections.
        ConfigurationError: The extra "dask" is not installed.
    """

    def __init__(self, cluster: Client, *, max_connections: int | None = None, processes: int | None = None) -> None:
        if not isinstance(cluster, Client):
            raise InputError(f"cluster must be a distributed.Client, got {type(cluster).__name__}")
        if processes is not None:
            to_count("processes", processes, 1)
        self._connections: int | None = None
        if max_connections is not None:
            to_count("max_connections", max_connections, 1)
            shares = max(1, len(cluster.nthreads()), processes or 0)
            if max_connections < shares:
                raise InputError(
                    f"max_connections must be at least the number of the cluster's processes, {shares};"
                    f" got {max_connections}"
                )
            self._connections = max_connections // shares
        self._cluster = cluster
        self._executor = cluster.get_executor(pure=False)
        cluster.register_plugin(PoolPlugin())

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hand out a call; the measuring of an item goes to the pool of a worker process."""
        if args and isinstance(args[0], Job):
            fn = _measure
            if self._connections is not None:
                job = attrs.evolve(args[0], connections=min(args[0].connections, self._connections))
                args = (job, *args[1:])
        return self._executor.submit(fn, *args, **kwargs)  # type: ignore[no-any-return]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the tasks, and close the idle connections of the worker processes; the cluster itself goes on.

        Args:
            wait: Whether to wait for the tasks; otherwise they are cancelled.
            cancel_futures: Likewise to cancel them.
        """
        self._executor.shutdown(wait=wait and not cancel_futures)
        if self._cluster.status == "running":
            self._cluster.run(_close_idle)


def _measure(job: Job, item: Item, *, known_server: bool = False) -> Result:
    plugin: PoolPlugin = get_worker().plugins[_NAME]
    try:
        with plugin.workers.borrow(job) as worker:
            return worker.measure(item, known_server=known_server)
    except PoolClosed:
        raise Reschedule from None  # this process ends


def _close_idle(dask_worker: Any) -> None:
    """Close idle connections; Dask passes the worker."""
    plugin: PoolPlugin = dask_worker.plugins[_NAME]
    plugin.workers.close_idle()
