"""Forked and spawned processes: nothing of the parent's is shared, harmed or waited for."""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection as Pipe

import pytest

from hume_sync import HumeStreamClient, LanguageConfig, MisuseError, ProsodyConfig, StreamResponse
from hume_sync.emulator import Emulator
from hume_sync.net import fork
from hume_sync.stream.pool import StreamPool
from tests.emulator.support import tone, wav
from tests.faultproxy import FaultProxy, Peer
from tests.internals import byte_stream

from .support import forking, in_child

AUDIO = [wav(tone(1.0, start=16_000 * i)) for i in range(2)]


def words(reply: StreamResponse) -> list[str]:
    return [prediction["text"] for prediction in reply["language"]["predictions"]]


def send(pool: StreamPool, text: str) -> int | None:
    with pool.socket() as socket:
        assert words(socket.send_text(text)) == [text]
        return socket.epoch


@pytest.fixture(params=[True, False], ids=["hook", "no hook"])
def hooked(request: pytest.FixtureRequest) -> Callable[[], None]:
    """To be called before the fork: whether the hook finds what it has to release."""
    return (lambda: None) if request.param else fork._REGISTERED.clear


@pytest.fixture(name="pool")
def _pool(hume_client: HumeStreamClient) -> Iterator[StreamPool]:
    with hume_client.pool([LanguageConfig()], max_size=2) as pool:
        yield pool


def test_parent_and_child_have_connections_of_their_own_and_neither_harms_the_other(
    hume_emulator: Emulator, pool: StreamPool, hooked: Callable[[], None]
) -> None:
    before = send(pool, "before")
    hooked()

    def child() -> None:
        assert send(pool, "child") != before
        assert pool.stats()["created"] == 1
        pool.close()
        assert pool.closed

    in_child(child)
    assert not pool.closed
    assert send(pool, "after") == before
    connections = [request.connection for request in hume_emulator.journal.requests]
    assert connections == [1, 2, 1]
    assert [ended.connection for ended in hume_emulator.journal.ends] == [2]


@pytest.mark.parametrize("hook", [True, False])
def test_an_inherited_descriptor_is_closed_by_the_hook_and_just_detached_without_one(
    pool: StreamPool, hook: bool
) -> None:
    send(pool, "before")
    (connection,) = pool._state().connections.idle
    descriptor = byte_stream(connection).fileno()
    if not hook:
        fork._REGISTERED.clear()

    def child() -> None:
        if hook:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(descriptor)
        pool.stats()
        assert byte_stream(connection).fileno() == -1
        if not hook:
            os.fstat(descriptor)

    in_child(child)


def test_a_stream_goes_on_in_the_parent_with_the_context_it_had(
    hume_emulator: Emulator, hume_client: HumeStreamClient, hooked: Callable[[], None]
) -> None:
    def one(number: int) -> StreamResponse:
        with pool.socket(stream="call") as socket:
            return socket.send_media(AUDIO[number])

    with hume_client.pool([ProsodyConfig()]) as pool:
        one(0)
        hooked()
        in_child(lambda: one(1))
        assert one(1).window_state == "warm"
    assert [request.audio for request in hume_emulator.journal.requests] == [(0, 1), (0, 1), (0, 2)]


def test_a_lease_taken_before_the_fork_is_refused_in_the_child_and_goes_on_in_the_parent(
    pool: StreamPool, hooked: Callable[[], None]
) -> None:
    with pool.socket() as socket:
        socket.send_text("before")
        epoch = socket.epoch
        hooked()

        def child() -> None:
            with pytest.raises(MisuseError, match="before the process was forked"):
                socket.send_text("child")
            socket.close()
            send(pool, "own")  # the thread of the child has no lease open

        in_child(child)
        assert words(socket.send_text("after")) == ["after"]
        assert socket.epoch == epoch


def test_a_dropped_pool_of_the_parent_says_and_breaks_nothing_in_the_child(
    hume_client: HumeStreamClient, hooked: Callable[[], None]
) -> None:
    pools = [hume_client.pool([LanguageConfig()])]
    before = send(pools[0], "before")
    hooked()
    in_child(pools.clear)
    assert send(pools[0], "after") == before
    pools[0].close()


@pytest.mark.parametrize("lock", ["pool", "gate"])
def test_a_fork_while_another_thread_holds_a_lock_does_not_block_the_child(pool: StreamPool, lock: str) -> None:
    send(pool, "before")
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with pool._state().lock if lock == "pool" else pool._state().breaker._lock:
            held.set()
            assert go.wait(5)

    def child() -> None:
        send(pool, "child")
        assert pool.stats()["created"] == 1
        pool.close()

    with ThreadPoolExecutor(1) as threads:
        threads.submit(hold)
        assert held.wait(5)
        in_child(child)
        go.set()
    assert send(pool, "after")


def test_a_fork_while_another_thread_is_in_a_call_leaves_that_call_alone(proxy: FaultProxy) -> None:
    held, go = threading.Event(), threading.Event()

    def slow(peer: Peer, genuine: bytes) -> bool:
        held.set()
        assert go.wait(10)
        peer.send_frame(genuine)
        return True

    client = HumeStreamClient("k", base_url=proxy.url, proxy=False)
    with client.pool([LanguageConfig()], max_size=1) as pool, ThreadPoolExecutor(1) as threads:
        proxy.on_reply(slow)
        busy = threads.submit(send, pool, "busy")
        assert held.wait(5)
        in_child(lambda: send(pool, "child"))
        go.set()
        assert busy.result(5) == send(pool, "after")


def test_children_of_children_have_connections_of_their_own_too(pool: StreamPool) -> None:
    before = send(pool, "before")

    def child() -> None:
        mine = send(pool, "child")
        in_child(lambda: send(pool, "grandchild"))
        assert send(pool, "again") == mine

    in_child(child)
    assert send(pool, "after") == before


def test_a_closed_pool_is_closed_for_the_process_that_closed_it(pool: StreamPool) -> None:
    send(pool, "before")
    in_child(pool.close)
    assert send(pool, "after")


def work(pool: StreamPool, pipe: Pipe) -> None:
    """What a worker process does with its pool."""
    with pool, ThreadPoolExecutor(4) as threads:
        epochs = threads.map(lambda number: send(pool, f"w{os.getpid()}x{number}"), range(20))
        pipe.send(len(set(epochs)))


def spawned(url: str, pipe: Pipe) -> None:
    work(HumeStreamClient("k", base_url=url, proxy=False).pool([LanguageConfig()], max_size=2), pipe)


def run_workers(context: multiprocessing.context.BaseContext, target: object, first: object) -> list[int]:
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    workers = [context.Process(target=target, args=(first, end)) for _, end in pipes]  # type: ignore[attr-defined]
    for worker in workers:
        with forking() if context.get_start_method() == "fork" else contextlib.nullcontext():
            worker.start()
    counts = [ours.recv() for ours, _ in pipes]
    for worker in workers:
        worker.join(10)
        assert worker.exitcode == 0
        worker.close()
    for pair in pipes:
        for end in pair:
            end.close()
    return counts


def test_workers_made_by_fork_use_the_pool_they_inherit(hume_emulator: Emulator, pool: StreamPool) -> None:
    before = send(pool, "before")
    assert all(1 <= count <= 2 for count in run_workers(multiprocessing.get_context("fork"), work, pool))
    assert send(pool, "after") == before
    assert hume_emulator.journal.counts["requests"] == 42
    assert hume_emulator.journal.counts["peak"] <= 5


def test_workers_made_by_spawn_build_a_pool_of_their_own(hume_emulator: Emulator) -> None:
    context = multiprocessing.get_context("spawn")
    assert all(1 <= count <= 2 for count in run_workers(context, spawned, hume_emulator.url))
    assert hume_emulator.journal.counts["requests"] == 40
    assert hume_emulator.journal.counts["peak"] <= 4


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("operation", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_pool_is_neither_copied_nor_pickled(
    pool: StreamPool, used: bool, operation: Callable[[object], object]
) -> None:
    if used:
        send(pool, "x")
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        operation(pool)


def test_the_hook_releases_what_is_registered_and_nothing_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    class ForkAware:
        calls: list[bool] = []  # noqa: RUF012 - of the class: it outlives the holder that is dropped

        def release_after_fork(self, *, hooked: bool) -> None:
            self.calls.append(hooked)

    kept = ForkAware()
    fork.register(kept)
    fork.register(ForkAware())
    fork._release_all()
    assert kept.calls == [True]
