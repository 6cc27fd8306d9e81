"""The same runs on every kind of executor: scores, killed processes, outages, refused keys."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from hume_sync import AuthenticationError, ConnectError, HumeStreamClient, InputError, LanguageConfig, RetryPolicy
from hume_sync.batch import Batch, Item, files, texts
from hume_sync.emulator import Emulator
from tests.faultproxy import FaultProxy

from .mixed import BROKEN, mixed_folder, scores_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.timeout(120),
]

LANGUAGE = [LanguageConfig(granularity="passage")]
RETRY = RetryPolicy(max_attempts=2, initial=0.05, maximum=0.2)


class ThreadEach(Executor):
    """An executor of somebody's own: a thread for each call."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as exc:
                    future.set_exception(exc)

        threading.Thread(target=run, name="somebody's").start()
        return future


Source = Callable[[], contextlib.AbstractContextManager[Any]]


def threads() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def own_threads() -> contextlib.AbstractContextManager[Executor]:
    return ThreadPoolExecutor(3)


def somebodys() -> contextlib.AbstractContextManager[Executor]:
    return ThreadEach()


def make_processes(method: str) -> Executor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method))


def processes(method: str) -> Source:
    return lambda: make_processes(method)


@contextlib.contextmanager
def loky() -> Iterator[Executor]:
    from loky import ProcessPoolExecutor as LokyExecutor

    executor = LokyExecutor(2)
    try:
        yield executor
    finally:
        executor.shutdown(kill_workers=True)


@contextlib.contextmanager
def cluster(*, processes: bool = True) -> Iterator[Any]:
    """Run a Dask cluster of two workers with four threads each; yield its client."""
    import dask
    from distributed import Client, LocalCluster

    with (
        # (Dask tries for as long to reach a process that was killed: 30 s by default.)
        dask.config.set({"distributed.comm.timeouts.connect": "3s"}),
        LocalCluster(
            n_workers=2, threads_per_worker=4, processes=processes, dashboard_address=None, silence_logs=50
        ) as workers,
        Client(workers) as client,
    ):
        yield client


@contextlib.contextmanager
def dask_futures() -> Iterator[Executor]:
    with cluster() as client:
        yield client.get_executor(pure=False)


@contextlib.contextmanager
def dask() -> Iterator[Executor]:
    from hume_sync.batch.dask import DaskExecutor

    with cluster() as client, DaskExecutor(client) as executor:
        yield executor


@contextlib.contextmanager
def dask_threads() -> Iterator[Executor]:
    from hume_sync.batch.dask import DaskExecutor

    with cluster(processes=False) as client, DaskExecutor(client) as executor:
        yield executor


slow = pytest.mark.slow
KINDS = [
    pytest.param(threads, id="threads"),
    pytest.param(own_threads, id="own threads"),
    pytest.param(somebodys, id="somebody's"),
    pytest.param(processes("fork"), id="fork"),
    pytest.param(processes("spawn"), id="spawn", marks=slow),
    pytest.param(processes("forkserver"), id="forkserver", marks=slow),
    pytest.param(loky, id="loky", marks=slow),
    pytest.param(dask_futures, id="dask futures", marks=slow),
    pytest.param(dask, id="dask", marks=slow),
    pytest.param(dask_threads, id="dask threads", marks=slow),
]


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(latency=0.005) as server:
        yield server


@pytest.fixture
def client(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> HumeStreamClient:
    """A client that other processes can build."""
    monkeypatch.setenv("HUME_API_KEY", "key")
    return HumeStreamClient(base_url=server.url, proxy=False)


@pytest.fixture
def reachable(server: Emulator) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", server.port)) as proxy:
        yield proxy


def words(count: int) -> Iterator[Item]:
    return texts(f"word number {i}" for i in range(count))


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_same_on_every_executor(kind: Source, client: HumeStreamClient, tmp_path: Path) -> None:
    folder = mixed_folder(tmp_path / "mixed")
    alone: dict[str, Any] = {}
    for item in files(folder):
        alone |= scores_of(Batch(client, workers=1).stream([item]))
    assert [key for key, line in alone.items() if not line["ok"]] == [BROKEN]
    with kind() as executor:
        batch = Batch(client, executor=executor, workers=4)
        for _ in range(2):  # several batches after each other
            assert scores_of(batch.stream(files(folder))) == alone


@slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_outage_is_waited_out_on_every_executor(
    kind: Source, client: HumeStreamClient, server: Emulator, reachable: FaultProxy
) -> None:
    through = HumeStreamClient(base_url=reachable.url, proxy=False, retry=RETRY)
    with kind() as executor:
        results = Batch(through, LANGUAGE, executor=executor, workers=4, timeout=10.0).stream(words(200))
        found = [next(results)]
        reachable.go_away(4.0)
        found += results
    assert len(scores_of(found)) == 200
    assert all(result.ok for result in found)
    # (What was under way is sent again, and each connection that fails is followed by a request without data.)
    assert 200 <= server.journal.counts["requests"] <= 250


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_key_ends_a_run_on_every_executor(kind: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUME_API_KEY", "wrong")
    with Emulator(api_keys=["right"]) as server, kind() as executor:
        client = HumeStreamClient(base_url=server.url, proxy=False)
        with pytest.raises(AuthenticationError):
            list(Batch(client, LANGUAGE, executor=executor, workers=4).stream(words(200)))
        assert 1 <= server.journal.counts["refused"] <= 8  # for those that were handed out
        assert not server.journal.counts["requests"]


# --- what becomes of connections


def test_pools_of_this_process_are_closed_at_the_end_of_a_run(client: HumeStreamClient, server: Emulator) -> None:
    with ThreadEach() as executor:
        assert len(list(Batch(client, LANGUAGE, executor=executor, workers=2).stream(words(5)))) == 5
    assert server.journal.wait_for(lambda journal: journal.counts["open"] == 0)


def test_a_run_that_is_left_closes_its_pools_too(client: HumeStreamClient, server: Emulator) -> None:
    with ThreadEach() as executor:
        results = Batch(client, LANGUAGE, executor=executor, workers=2).stream(words(100))
        next(results)
        results.close()  # type: ignore[attr-defined]  # a generator
    assert server.journal.wait_for(lambda journal: journal.counts["open"] == 0)


def test_the_pool_of_another_job_is_closed_once_it_is_idle(client: HumeStreamClient, server: Emulator) -> None:
    with make_processes("fork") as executor:
        for configs in (LANGUAGE, [LanguageConfig(granularity="word")]):
            assert len(list(Batch(client, configs, executor=executor, workers=1).stream(words(5)))) == 5
        assert server.journal.wait_for(lambda journal: journal.counts["open"] <= 2)


# --- what executors do wrong


class Broken(Executor):
    """An executor that breaks again and again, and then works."""

    def __init__(self, breaks: list[str]) -> None:
        self._breaks = breaks
        self._works = ThreadPoolExecutor(2)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._breaks:
            where = self._breaks.pop()
            if where == "submit":
                raise BrokenProcessPool("a process was killed")
            future: Future[Any] = Future()
            future.set_exception(BrokenProcessPool("a process was killed"))
            return future
        return self._works.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._works.shutdown(wait, cancel_futures=cancel_futures)


@pytest.mark.parametrize("where", ["submit", "result"])
def test_an_executor_that_breaks_is_replaced(client: HumeStreamClient, where: str) -> None:
    breaks = [where, where]
    results = list(Batch(client, LANGUAGE, executor=lambda: Broken(breaks), workers=2).stream(words(20)))
    assert len(scores_of(results)) == 20
    assert all(result.ok for result in results)


@pytest.mark.parametrize("where", ["submit", "result"])
def test_executors_that_all_break_end_the_run(client: HumeStreamClient, where: str) -> None:
    breaks = [where] * 1000
    with pytest.raises(BrokenProcessPool):
        list(Batch(client, LANGUAGE, executor=lambda: Broken(breaks), workers=2).stream(words(1)))


def test_an_executor_that_is_shut_down_ends_the_run(client: HumeStreamClient) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures"):
        list(Batch(client, LANGUAGE, executor=executor).stream(words(3)))


class Deadly:
    """Landmarks that kill the process that reads them."""

    def __init__(self, parent: int) -> None:
        self._parent = parent

    def __reduce__(self) -> Any:
        return _die, (self._parent,)


def _die(parent: int) -> Any:
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return Deadly(parent)


def test_an_item_that_kills_its_process_fails_and_the_others_are_measured(client: HumeStreamClient) -> None:
    made: list[Executor] = []

    def make() -> Executor:
        made.append(make_processes("fork"))
        return made[-1]

    items = [*words(30), Item.of("deadly", Deadly(os.getpid())), *(Item.of(f"b{i}", f"word {i}") for i in range(30))]
    found = {result.key: result for result in Batch(client, executor=make, workers=2).stream(items)}
    assert len(found) == 61
    assert [key for key, result in found.items() if not result.ok] == ["deadly"]
    error = found["deadly"].error
    assert error is not None
    assert (error.type, error.retryable) == ("BrokenProcessPool", True)
    assert len(made) == 4


def test_an_item_that_cannot_travel_fails(client: HumeStreamClient) -> None:
    items = [Item.of("no", threading.Lock()), *words(5)]
    found = {result.key: result for result in Batch(client, executor=lambda: make_processes("fork")).stream(items)}
    assert [key for key, result in found.items() if not result.ok] == ["no"]
    assert found["no"].error is not None
    assert found["no"].error.type == "TypeError"
    assert not found["no"].error.retryable


class Unknown(Exception):
    """An error that cannot be made of its text alone, as unpickling does."""

    def __init__(self, row: int, text: str) -> None:
        super().__init__(text)


def test_the_error_of_a_rejected_item_need_not_travel(client: HumeStreamClient) -> None:
    items = [Item.of("bad", Unknown(7, "no such row")), *words(2)]
    found = {result.key: result for result in Batch(client, executor=lambda: make_processes("fork")).stream(items)}
    assert str(found["bad"].error) == "Unknown: no such row"
    assert found["bad"].requests == 0


def test_an_outage_that_one_process_meets_first_is_waited_out(client: HumeStreamClient) -> None:
    """Items are handed out before the server is known to answer."""
    fails = ["once"]

    class Elsewhere(ThreadEach):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            if args[1].key == "2" and not kwargs["known_server"] and fails:
                fails.clear()
                answered.result(10)
                future: Future[Any] = Future()
                future.set_exception(ConnectError("refused"))
                return future
            future = super().submit(fn, *args, **kwargs)
            if args[1].key == "1":
                future.add_done_callback(lambda done: answered.set_result(None))
            return future

    answered: Future[None] = Future()
    with Elsewhere() as executor:
        results = list(Batch(client, LANGUAGE, executor=executor, workers=1).stream(words(4)))
    assert not fails
    assert [result.ok for result in results] == [True] * 4


def test_a_source_that_fails_ends_the_run_and_leaves_no_thread(client: HumeStreamClient) -> None:
    def source() -> Iterator[Item]:
        yield from words(3)
        raise LookupError("the database went away")

    with pytest.raises(LookupError, match="went away"):
        list(Batch(client, LANGUAGE).stream(source()))
    assert not [thread for thread in threading.enumerate() if "batch" in thread.name]


# --- Dask


def pids(client: Any) -> list[int]:
    return list(client.run(os.getpid).values())


@slow
def test_a_dask_process_that_is_killed_loses_nothing(client: HumeStreamClient, server: Emulator) -> None:
    from hume_sync.batch.dask import DaskExecutor

    expected = scores_of(Batch(client, LANGUAGE).stream(words(300)))
    with cluster() as dask, DaskExecutor(dask, max_connections=6) as executor:
        results = Batch(client, LANGUAGE, executor=executor, workers=8).stream(words(300))
        found = [next(results) for _ in range(20)]
        os.kill(pids(dask)[0], signal.SIGKILL)
        found += results
    assert scores_of(found) == expected
    assert server.journal.counts["peak"] <= 8


@slow
def test_connections_of_a_whole_dask_cluster_are_bounded(client: HumeStreamClient, server: Emulator) -> None:
    from hume_sync.batch.dask import DaskExecutor

    with cluster() as dask, DaskExecutor(dask, max_connections=3) as executor:
        for configs in (LANGUAGE, [LanguageConfig(granularity="word")]):
            assert len(list(Batch(client, configs, executor=executor, workers=8).stream(words(60)))) == 60
        executor.shutdown()
        assert server.journal.wait_for(lambda journal: journal.counts["open"] == 0)  # the cluster still runs
    assert server.journal.counts["peak"] <= 3


@slow
def test_two_batches_at_once_share_a_dask_cluster(client: HumeStreamClient) -> None:
    from hume_sync.batch.dask import DaskExecutor

    with cluster() as dask, DaskExecutor(dask) as one, DaskExecutor(dask) as other:
        first = Batch(client, LANGUAGE, executor=one, workers=4).stream(words(40))
        second = Batch(client, [LanguageConfig(granularity="word")], executor=other, workers=4).stream(words(40))
        pairs = list(zip(first, second, strict=True))
    assert len(pairs) == 40
    assert all(result.ok for pair in pairs for result in pair)


@slow
def test_a_dask_worker_that_is_retired_hands_its_items_on(client: HumeStreamClient) -> None:
    from hume_sync.batch.dask import DaskExecutor

    with cluster() as dask, DaskExecutor(dask) as executor:
        results = Batch(client, LANGUAGE, executor=executor, workers=8).stream(words(200))
        found = [next(results) for _ in range(10)]
        dask.retire_workers([next(iter(dask.nthreads()))])
        found += results
    assert len(scores_of(found)) == 200
    assert all(result.ok for result in found)


@slow
def test_an_item_that_kills_dask_processes_fails(client: HumeStreamClient) -> None:
    from hume_sync.batch.dask import DaskExecutor

    items = [*words(10), Item.of("deadly", Deadly(os.getpid())), *(Item.of(f"b{i}", f"word {i}") for i in range(10))]
    with cluster() as dask, DaskExecutor(dask) as executor:
        found = {result.key: result for result in Batch(client, executor=executor, workers=1).stream(items)}
    assert len(found) == 21
    error = found["deadly"].error
    assert error is not None
    assert (error.type, error.retryable) == ("KilledWorker", True)
    assert "different workers" in error.text


@slow
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"max_connections": 1}, "max_connections must be at least the number of the cluster's processes, 2; got 1"),
        ({"max_connections": 6, "processes": 8}, "the number of the cluster's processes, 8; got 6"),
        ({"max_connections": 0}, "max_connections must be a whole number"),
        ({"processes": 0}, "processes must be a whole number"),
    ],
)
def test_bounds_of_a_cluster_that_cannot_be_are_refused(
    dask_client: Any, arguments: dict[str, Any], named: str
) -> None:
    from hume_sync.batch.dask import DaskExecutor

    with pytest.raises(InputError, match=named):
        DaskExecutor(dask_client, **arguments)


@pytest.fixture(scope="module")
def dask_client() -> Iterator[Any]:
    with cluster(processes=False) as client:
        yield client


@slow
def test_what_is_no_cluster_is_refused() -> None:
    from hume_sync.batch.dask import DaskExecutor

    with pytest.raises(InputError, match="cluster must be a distributed.Client, got str"):
        DaskExecutor("scheduler:8786")
