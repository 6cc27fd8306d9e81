"""The pool, against a real server: who gets which connection, what crosses between streams, and how it all ends."""

from __future__ import annotations

import gc
import math
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, TypeVar

import pytest

from hume_sync import (
    ConnectError,
    ConnectionLost,
    FaceConfig,
    HumeStreamClient,
    InputError,
    LanguageConfig,
    MisuseError,
    PoolClosed,
    PoolFull,
    PoolTimeout,
    ProsodyConfig,
    RequestError,
    RetryPolicy,
    StreamResponse,
    StreamSocket,
    Timeout,
)
from hume_sync.emulator import Emulator
from hume_sync.net.deadline import Deadline
from hume_sync.stream.connection import Connection
from hume_sync.stream.connections import PooledConnections
from hume_sync.stream.lease_report import LeaseReport
from hume_sync.stream.leases import LeaseQueue, WaitingClient
from hume_sync.stream.pool import StreamPool
from hume_sync.stream.stream import Stream
from tests.clocks import Later
from tests.emulator.support import tone, wav
from tests.faultproxy import FaultProxy, Peer

from .support import FACE

AUDIO = [wav(tone(1.0, start=16_000 * i)) for i in range(6)]
_T = TypeVar("_T")

ADTS = b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(64)  # AAC as broadcast: it tells no length
IDENTIFY = [FaceConfig(identify_faces=True)]


def words(reply: StreamResponse) -> list[str]:
    return [prediction["text"] for prediction in reply["language"]["predictions"]]


def begin(reply: StreamResponse) -> float:
    return min(float(prediction["time"]["begin"]) for prediction in reply["prosody"]["predictions"])


def heard(server: Emulator) -> list[tuple[float, float] | None]:
    return [request.audio for request in server.journal.requests]


@pytest.fixture(name="pool")
def _pool(hume_client: HumeStreamClient) -> Iterator[StreamPool]:
    with hume_client.pool([LanguageConfig()], max_size=2) as pool:
        yield pool


@pytest.fixture
def audio_pool(hume_client: HumeStreamClient) -> Iterator[StreamPool]:
    with hume_client.pool([ProsodyConfig()], max_size=2) as pool:
        yield pool


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    """Another thread, always the same."""
    with ThreadPoolExecutor(1) as aside:
        yield aside


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Waits until one more caller has to wait for a lease."""
    arrived = threading.Semaphore(0)
    wait = WaitingClient.wait
    seen: set[int] = set()

    def spy(self: WaitingClient, seconds: float) -> bool:
        if not self.ready and id(self) not in seen:
            seen.add(id(self))
            arrived.release()
        return wait(self, seconds)

    monkeypatch.setattr(WaitingClient, "wait", spy)

    def until_queued() -> None:
        assert arrived.acquire(timeout=5)

    return until_queued


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(monkeypatch)


def meet(first: Callable[[], _T], second: Callable[[], _T]) -> tuple[_T, _T]:
    """Do both, each of one request, so that both are under way at one time; the second in another thread."""
    exchange, barrier = Connection.request, threading.Barrier(2)

    def together(*args: Any, **more: Any) -> Any:
        barrier.wait(5)
        return exchange(*args, **more)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as aside:
        patch.setattr(Connection, "request", together)
        other = aside.submit(second)
        return first(), other.result(5)


def send_once(pool: StreamPool, text: str = "x", stream: object = None) -> int | None:
    with pool.socket(stream=stream) as socket:
        assert words(socket.send_text(text)) == [text]
        return socket.epoch


# --- slots


def test_many_threads_share_at_most_max_size_connections_and_each_gets_its_own_replies(
    hume_emulator: Emulator, hume_client: HumeStreamClient
) -> None:
    def work(number: int) -> None:
        for i in range(5):
            send_once(pool, f"w{number}x{i}")

    with hume_client.pool([LanguageConfig()], max_size=3) as pool, ThreadPoolExecutor(16) as threads:
        for done in [threads.submit(work, number) for number in range(16)]:
            done.result()
        stats = pool.stats()
    assert hume_emulator.journal.counts["peak"] <= 3
    assert hume_emulator.journal.counts["requests"] == stats["requests"] == 80
    assert stats["created"] == hume_emulator.journal.counts["handshakes"]
    assert (stats["leases"], stats["busy"], stats["waiting"], stats["errors"]) == (0, 0, 0, 0)


def test_one_who_waits_is_served_as_soon_as_a_lease_ends(
    hume_client: HumeStreamClient, aside: ThreadPoolExecutor, queued: Callable[[], None]
) -> None:
    with hume_client.pool([LanguageConfig()], max_size=1) as pool:
        with pool.socket():
            waiting = aside.submit(send_once, pool)
            queued()
            assert pool.stats()["waiting"] == 1
            assert not waiting.done()
        assert waiting.result(5) is not None
        assert pool.stats()["wait_seconds"] > 0


@pytest.mark.parametrize("own", [False, True])
def test_a_wait_ends_by_its_deadline_and_says_how_full_the_pool_is(
    hume_client: HumeStreamClient, aside: ThreadPoolExecutor, own: bool
) -> None:
    def wait() -> None:
        with pool.socket(timeout=0.1 if own else None):
            raise AssertionError

    with hume_client.pool([LanguageConfig()], max_size=1, timeout=30 if own else 0.1) as pool, pool.socket():
        began = time.monotonic()
        with pytest.raises(PoolTimeout, match=r"1 in use, 1 callers waiting\): .*test_pool.py:\d+ in thread") as caught:
            aside.submit(wait).result()
        assert time.monotonic() - began < 10
        assert isinstance(caught.value, TimeoutError)
        assert (pool.stats()["waiting"], pool.stats()["leases"]) == (0, 1)


def test_more_than_max_waiting_are_refused_at_once(
    hume_client: HumeStreamClient, queued: Callable[[], None], aside: ThreadPoolExecutor
) -> None:
    with hume_client.pool([LanguageConfig()], max_size=1, max_waiting=1) as pool:
        with ThreadPoolExecutor(1) as other, pool.socket():
            waiting = aside.submit(send_once, pool)
            queued()
            with pytest.raises(PoolFull, match="max_waiting=1"):
                other.submit(send_once, pool).result(5)
        assert waiting.result(5)


def test_a_waiter_that_stops_waiting_in_the_instant_of_its_grant_swallows_no_slot(
    hume_client: HumeStreamClient, aside: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hume_client.pool([LanguageConfig()], max_size=1) as pool:
        holder = pool.socket()
        holder.__enter__()
        wait = WaitingClient.wait

        def last_moment(self: WaitingClient, seconds: float) -> bool:
            holder.__exit__(None, None, None)
            assert self.lease.active
            raise KeyboardInterrupt

        def lease() -> None:
            with pytest.raises(KeyboardInterrupt):
                pool.socket().__enter__()

        monkeypatch.setattr(WaitingClient, "wait", last_moment)
        aside.submit(lease).result()
        monkeypatch.setattr(WaitingClient, "wait", wait)
        assert send_once(pool)
        assert aside.submit(send_once, pool).result()
        assert pool.stats()["leases"] == 0


@pytest.mark.parametrize("moment", ["try_acquire", "_grant"])
def test_an_interrupt_on_the_way_to_a_lease_leaves_nothing_behind(
    pool: StreamPool, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    original = getattr(LeaseQueue, moment)

    def interrupted(*args: Any, **more: Any) -> None:
        original(*args, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(LeaseQueue, moment, interrupted)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            pool.socket(stream="call").__enter__()
    monkeypatch.undo()
    assert (pool.stats()["waiting"], pool.stats()["leases"]) == (0, 0)
    assert send_once(pool, stream="call")


def test_ctrl_c_while_waiting_gives_the_place_back(
    hume_client: HumeStreamClient, aside: ThreadPoolExecutor, queued: Callable[[], None]
) -> None:
    leased, go = threading.Event(), threading.Event()

    def hold() -> None:
        with pool.socket():
            leased.set()
            assert go.wait(10)

    def interrupt() -> None:
        queued()
        signal.pthread_kill(main, signal.SIGINT)

    main = threading.get_ident()
    with hume_client.pool([LanguageConfig()], max_size=1) as pool:
        holder = aside.submit(hold)
        assert leased.wait(5)
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            pool.socket().__enter__()
        thread.join()
        assert pool.stats()["waiting"] == 0
        go.set()
        holder.result(5)
        assert send_once(pool)


@pytest.mark.parametrize(
    "where", [(PooledConnections, "checkout"), (PooledConnections, "add"), (Stream, "needs_replay_on")]
)
@pytest.mark.parametrize("used", [False, True])
def test_an_interrupt_between_shelf_and_exchange_loses_no_connection_and_no_slot(
    hume_client: HumeStreamClient, monkeypatch: pytest.MonkeyPatch, where: tuple[type, str], used: bool
) -> None:
    original = getattr(*where)

    def interrupted(*args: Any, **more: Any) -> None:
        original(*args, **more)
        raise KeyboardInterrupt

    with hume_client.pool([LanguageConfig()], max_size=1) as pool:
        if used:
            send_once(pool)
        reached = not used or where[1] != "add"
        with pool.socket() as socket:
            monkeypatch.setattr(*where, interrupted)
            if reached:
                with pytest.raises(KeyboardInterrupt):
                    socket.send_text("x")
            monkeypatch.undo()
            assert words(socket.send_text("next")) == ["next"]
        assert pool.stats()["busy"] == 0
        assert pool.stats()["idle"] == 1


# --- which connection


def test_a_lease_does_no_io_and_its_first_request_dials(hume_emulator: Emulator, pool: StreamPool) -> None:
    with pool.socket() as socket:
        assert socket.epoch is None
        assert pool.stats()["created"] == 0
        assert words(socket.send_text("x")) == ["x"]
        assert pool.stats()["created"] == 1
    assert hume_emulator.journal.counts["handshakes"] == 1


def test_a_connection_is_used_again_by_the_next_lease(hume_emulator: Emulator, pool: StreamPool) -> None:
    assert len({send_once(pool) for _ in range(5)}) == 1
    assert hume_emulator.journal.counts["handshakes"] == 1


def test_a_thread_gets_the_connection_it_used_last_though_another_was_used_later(
    hume_emulator: Emulator, pool: StreamPool, aside: ThreadPoolExecutor
) -> None:
    mine, theirs = meet(lambda: send_once(pool), lambda: aside.submit(send_once, pool).result())
    assert mine != theirs
    assert aside.submit(send_once, pool).result() == theirs
    assert send_once(pool) == mine
    with ThreadPoolExecutor(1) as third:
        assert third.submit(send_once, pool).result() == mine  # any: the one used last
    assert hume_emulator.journal.counts["handshakes"] == 2


def test_a_stream_gets_the_connection_that_holds_it_rather_than_the_threads_own(
    hume_emulator: Emulator, audio_pool: StreamPool, aside: ThreadPoolExecutor
) -> None:
    def send(audio: bytes, stream: str) -> tuple[int | None, StreamResponse]:
        with audio_pool.socket(stream=stream) as socket:
            reply = socket.send_media(audio)
            return socket.epoch, reply

    (first, _), (other, _) = meet(lambda: send(AUDIO[0], "a"), lambda: aside.submit(send, AUDIO[1], "b").result())
    assert first != other
    moved, reply = aside.submit(send, AUDIO[2], "a").result()
    assert moved == first
    assert (reply.window_state, reply.clock_offset) == ("warm", 0)
    assert heard(hume_emulator) == [(0, 1), (0, 1), (0, 2)]


# --- streams


def test_no_audio_context_crosses_from_one_lease_to_the_next(hume_emulator: Emulator, audio_pool: StreamPool) -> None:
    replies = []
    for _ in range(2):
        with audio_pool.socket() as socket:
            replies += [socket.send_media(AUDIO[0]), socket.send_media(AUDIO[1])]
    assert replies[0].emotions() == replies[2].emotions()
    assert replies[1].emotions() == replies[3].emotions()
    assert replies[0].emotions() != replies[1].emotions()
    requests = hume_emulator.journal.requests
    assert heard(hume_emulator) == [(0, 1), (0, 2), (2, 3), (2, 4)]
    assert [request.fields.get("reset_stream", False) for request in requests] == [False, False, True, False]
    assert {request.connection for request in requests} == {1}


def test_times_of_a_new_stream_on_a_used_connection_begin_at_zero(audio_pool: StreamPool) -> None:
    with audio_pool.socket() as socket:
        first = [socket.send_media(AUDIO[0]), socket.send_media(AUDIO[1])]
    with audio_pool.socket() as socket:
        second = [socket.send_media(AUDIO[0]), socket.send_media(AUDIO[1])]
    assert [reply.clock_offset for reply in first + second] == [0, 0, -2, -2]
    assert [begin(reply) for reply in second] == [begin(reply) for reply in first]
    assert [reply["prosody"] for reply in first] == [reply["prosody"] for reply in second]


def test_text_between_two_streams_does_not_let_context_through(hume_emulator: Emulator, audio_pool: StreamPool) -> None:
    for _ in range(2):
        with audio_pool.socket() as socket:
            socket.send_text("x", [LanguageConfig()])
            socket.get_job_details()
            socket.send_media(AUDIO[0])
    assert [audio for audio in heard(hume_emulator) if audio] == [(0, 1), (1, 2)]


def test_a_refused_payload_does_not_let_context_through(hume_emulator: Emulator, audio_pool: StreamPool) -> None:
    with audio_pool.socket() as socket:
        socket.send_media(AUDIO[0])
    with audio_pool.socket() as socket:
        hume_emulator.fail_next("E0200", "no")
        with pytest.raises(RequestError):
            socket.send_media(AUDIO[1])
        socket.send_media(AUDIO[2])
    assert [audio for audio in heard(hume_emulator) if audio] == [(0, 1), (1, 2)]


def test_a_named_stream_goes_on_from_any_thread(
    hume_emulator: Emulator, audio_pool: StreamPool, aside: ThreadPoolExecutor
) -> None:
    def send(number: int) -> StreamResponse:
        with audio_pool.socket(stream=("call", 7)) as socket:
            return socket.send_media(AUDIO[number])

    replies = [send(0), aside.submit(send, 1).result(), send(2)]
    assert heard(hume_emulator) == [(0, 1), (0, 2), (0, 3)]
    assert [reply.clock_offset for reply in replies] == [0, 0, 0]
    assert audio_pool.stats()["streams"] == 1


def test_a_named_stream_whose_connection_another_took_is_rebuilt_and_its_times_run_on(
    hume_emulator: Emulator, hume_client: HumeStreamClient
) -> None:
    with hume_client.pool([ProsodyConfig()], max_size=1) as pool:
        replies = []
        for key, number in [("a", 0), ("b", 1), ("a", 2), ("b", 3)]:
            with pool.socket(stream=key) as socket:
                replies.append(socket.send_media(AUDIO[number]))
        stats = pool.stats()
    assert [reply.window_state for reply in replies] == ["warm", "warm", "rebuilt", "rebuilt"]
    # On the connection's own clock: a; b; a again, then on; b again, then on.
    assert heard(hume_emulator) == [(0, 1), (1, 2), (2, 3), (2, 4), (4, 5), (4, 6)]
    assert [reply.clock_offset for reply in replies] == [0, -1, -2, -4]
    assert (stats["reconnects"], stats["replays"]) == (2, 2)
    assert stats["replayed_bytes"] > len(AUDIO[0])


def test_a_second_holder_of_a_stream_waits_its_turn(
    hume_emulator: Emulator, audio_pool: StreamPool, aside: ThreadPoolExecutor, queued: Callable[[], None]
) -> None:
    def send() -> StreamResponse:
        with audio_pool.socket(stream="call") as socket:
            return socket.send_media(AUDIO[1])

    with audio_pool.socket(stream="call") as socket:
        waiting = aside.submit(send)
        queued()
        socket.send_media(AUDIO[0])
        assert not waiting.done()
    assert waiting.result(5).window_state == "warm"
    assert heard(hume_emulator) == [(0, 1), (0, 2)]


def test_a_named_stream_is_forgotten_after_max_stream_idle(
    hume_emulator: Emulator, hume_client: HumeStreamClient, later: Later
) -> None:
    with hume_client.pool([ProsodyConfig()], max_stream_idle=5.0) as pool:
        for number, pause in enumerate([0.0, 4.0, 6.0]):
            later.offset += pause
            with pool.socket(stream="call") as socket:
                socket.send_media(AUDIO[number])
    assert heard(hume_emulator) == [(0, 1), (0, 2), (2, 3)]


def test_a_forgotten_stream_begins_again(hume_emulator: Emulator, audio_pool: StreamPool) -> None:
    for number in range(2):
        with audio_pool.socket(stream="call") as socket:
            socket.send_media(AUDIO[number])
        audio_pool.forget("call")
        audio_pool.forget("never seen")
        assert audio_pool.stats()["streams"] == 0
    assert heard(hume_emulator) == [(0, 1), (1, 2)]


def test_a_lost_connection_is_replaced_and_the_window_rebuilt(hume_emulator: Emulator, audio_pool: StreamPool) -> None:
    with audio_pool.socket() as socket:
        socket.send_media(AUDIO[0])
        hume_emulator.drop_connections()
        reply = socket.send_media(AUDIO[1])
    assert (reply.window_state, reply.clock_offset) == ("rebuilt", 0)
    assert heard(hume_emulator) == [(0, 1), (0, 1), (0, 2)]
    assert audio_pool.stats()["reconnects"] == 1


# --- faces, and audio of unknown length


def test_faces_are_identified_on_a_connection_of_their_own_that_ends_with_the_lease(
    hume_emulator: Emulator, hume_client: HumeStreamClient, aside: ThreadPoolExecutor
) -> None:
    with hume_client.pool([LanguageConfig()], max_size=2) as pool:
        shared = send_once(pool)
        with pool.socket() as socket:
            socket.send_media(FACE, IDENTIFY)
            faces = socket.epoch
            assert faces == shared  # no caller had identified faces there
            others = aside.submit(send_once, pool).result()
            assert others != faces
            socket.send_media(FACE, IDENTIFY)
            socket.send_text("and on")
            assert socket.epoch == faces
        assert pool.stats()["closed_faces"] == 1
        with pool.socket() as socket:
            socket.send_media(FACE, IDENTIFY)
            assert socket.epoch == others
    assert hume_emulator.journal.counts["handshakes"] == 2


def test_a_named_stream_keeps_no_connection_with_faces_between_its_leases(hume_client: HumeStreamClient) -> None:
    with hume_client.pool(IDENTIFY) as pool:
        epochs = []
        for _ in range(2):
            with pool.socket(stream="call") as socket:
                socket.send_media(FACE)
                epochs.append(socket.epoch)
        assert epochs[0] != epochs[1]
        assert (pool.stats()["closed_faces"], pool.stats()["idle"]) == (2, 0)


def test_every_slot_can_identify_faces_at_once(hume_emulator: Emulator, hume_client: HumeStreamClient) -> None:
    barrier = threading.Barrier(3)

    def work() -> None:
        for _ in range(3):
            with pool.socket() as socket:
                socket.send_media(FACE)
                barrier.wait(5)
                socket.send_media(FACE)

    with hume_client.pool(IDENTIFY, max_size=3) as pool, ThreadPoolExecutor(3) as threads:
        for done in [threads.submit(work) for _ in range(3)]:
            done.result()
        assert pool.stats()["closed_faces"] == 9


def test_a_connection_whose_clock_is_unknown_is_given_to_no_other_stream(
    hume_emulator: Emulator, audio_pool: StreamPool
) -> None:
    with audio_pool.socket() as socket:
        replies = [socket.send_media(ADTS), socket.send_media(AUDIO[0])]
        unknown = socket.epoch
    with audio_pool.socket() as socket:
        replies.append(socket.send_media(AUDIO[0]))
        assert socket.epoch != unknown
    assert [reply.clock_offset for reply in replies] == [0, None, 0]
    assert begin(replies[1]) == 1 - 1  # as received: the context is what came before
    assert audio_pool.stats()["closed_clock"] == 1


def test_a_named_stream_of_unknown_length_keeps_its_connection_until_there_is_no_room(
    hume_emulator: Emulator, hume_client: HumeStreamClient
) -> None:
    with hume_client.pool([ProsodyConfig()], max_size=1) as pool:
        with pool.socket(stream="call") as socket:
            socket.send_media(ADTS)
            unknown = socket.epoch
        with pool.socket(stream="call") as socket:
            socket.send_media(AUDIO[0])
            assert socket.epoch == unknown
        with pool.socket() as socket:
            socket.send_media(AUDIO[1])
            assert socket.epoch != unknown
        assert pool.stats()["closed_evicted"] == 1


# --- misuse


def test_a_thread_may_hold_several_leases_each_a_stream_of_its_own(audio_pool: StreamPool) -> None:
    with audio_pool.socket() as first, audio_pool.socket() as second:
        replies = [socket.send_media(AUDIO[0]) for socket in (first, second, first)]
        assert first.epoch != second.epoch
    assert replies[0]["prosody"] == replies[1]["prosody"] != replies[2]["prosody"]


@pytest.mark.parametrize("stream", [None, "call"])
@pytest.mark.parametrize("stacked", [False, True])
def test_a_thread_that_waits_for_its_own_leases_is_detected_at_once(
    hume_client: HumeStreamClient, stream: str | None, stacked: bool
) -> None:
    with hume_client.pool([LanguageConfig()], max_size=1 if stream is None else 5, timeout=60) as pool:
        began = time.monotonic()
        with ExitStack() as stack:
            line = sys._getframe().f_lineno + 1
            mine = pool.socket(stream=stream) if not stacked else stack.enter_context(pool.socket(stream=stream))
            with mine if not stacked else nullcontext():
                with pytest.raises(PoolTimeout, match="deadlock: this thread already holds") as caught:
                    pool.socket(stream=stream).__enter__()
        assert time.monotonic() - began < 30
        (holder,) = caught.value.holders
        assert holder.file == __file__
        assert holder.line in (line, line + 1)
        assert holder.thread == threading.current_thread().name
        assert holder.stream == (stream and repr(stream))
        assert f"{holder.file}:{holder.line}" in str(caught.value)
        assert pickle.loads(pickle.dumps(caught.value)).holders == caught.value.holders
        assert pool.stats()["timeouts"] == 1
        assert send_once(pool, stream=stream)


def test_a_lease_whose_block_another_thread_may_end_is_waited_for(
    hume_client: HumeStreamClient, aside: ThreadPoolExecutor, queued: Callable[[], None]
) -> None:
    @contextmanager
    def dependency() -> Iterator[StreamSocket]:  # as web frameworks take them: entered here, left elsewhere
        with pool.socket() as socket:
            yield socket

    with hume_client.pool([LanguageConfig()], max_size=1, timeout=30) as pool:
        entered = dependency()
        entered.__enter__()

        def leave() -> None:
            queued()
            entered.__exit__(None, None, None)

        left = aside.submit(leave)
        assert send_once(pool)
        left.result(5)


def looks(at_each: Callable[[int], None]) -> Callable[[LeaseReport], object]:
    """Return a property like `LeaseReport.usage` that passes the number of looks so far to a callback."""
    found_use: Any = LeaseReport.__dict__["usage"]
    use, seen = found_use.fget, [0]

    def spy(crowd: LeaseReport) -> object:
        found: object = use(crowd)
        seen[0] += 1
        at_each(seen[0])
        return found

    return spy


@pytest.mark.parametrize("way", ["by hand", "stack", "stack handed on"])
def test_a_lease_that_was_handed_to_another_thread_is_waited_for(
    hume_client: HumeStreamClient, aside: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    with hume_client.pool([LanguageConfig()], max_size=1, timeout=30) as pool, ExitStack() as stack:
        lease = pool.socket()
        socket = lease.__enter__() if way == "by hand" else stack.enter_context(lease)
        assert words(socket.send_text("here")) == ["here"]  # so it has a connection: using that leaves no mark
        handed = stack.pop_all() if way == "stack handed on" else stack

        def use_it_then_end_it(look: int) -> None:
            if look < 3:
                aside.submit(socket.send_text, "there").result(5)
            elif way == "by hand":
                aside.submit(lease.__exit__, None, None, None).result(5)
            else:
                aside.submit(handed.close).result(5)

        monkeypatch.setattr(LeaseReport, "usage", property(looks(use_it_then_end_it)))
        assert send_once(pool)
        assert pool.stats()["timeouts"] == 0


def test_a_lease_that_another_thread_is_using_is_waited_for_though_its_block_is_here(
    proxy: FaultProxy, aside: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    called, go = threading.Event(), threading.Event()

    def slow(peer: Peer, genuine: bytes) -> bool:
        called.set()
        assert go.wait(10)
        peer.send_frame(genuine)
        return True

    client = HumeStreamClient("k", base_url=proxy.url, proxy=False, timeout=30)
    with client.pool([LanguageConfig()], max_size=1, timeout=30) as pool:
        lease = pool.socket()
        with lease as socket:
            socket.send_text("here")
            proxy.on_reply(slow)

            def use_it_and_end_it() -> None:
                socket.send_text("there")
                lease.__exit__(None, None, None)

            left = aside.submit(use_it_and_end_it)
            assert called.wait(5)
            monkeypatch.setattr(LeaseReport, "usage", property(looks(lambda look: go.set() if look == 3 else None)))
            assert send_once(pool)
            left.result(5)
        assert pool.stats()["timeouts"] == 0


def test_leases_of_two_pools_go_together(pool: StreamPool, audio_pool: StreamPool) -> None:
    with pool.socket() as text, audio_pool.socket() as audio:
        assert words(text.send_text("x")) == ["x"]
        assert audio.send_media(AUDIO[0]).emotions()


def test_a_socket_that_was_given_back_is_refused(pool: StreamPool) -> None:
    with pool.socket() as socket:
        socket.send_text("x")
    with pytest.raises(MisuseError, match="given back"):
        socket.send_text("x")
    assert socket.epoch is None
    socket.close()
    assert pool.stats()["leases"] == 0


def test_any_thread_may_use_a_lease_one_call_at_a_time(pool: StreamPool, aside: ThreadPoolExecutor) -> None:
    with pool.socket() as socket:
        assert words(aside.submit(socket.send_text, "there").result(5)) == ["there"]
        assert words(socket.send_text("here")) == ["here"]
        with ThreadPoolExecutor(4) as threads:
            texts = [f"text{number}" for number in range(20)]
            assert [words(reply) for reply in threads.map(socket.send_text, texts)] == [[text] for text in texts]
        assert pool.stats()["created"] == 1


def test_a_lease_goes_from_thread_to_thread_as_frameworks_move_a_request(hume_client: HumeStreamClient) -> None:
    def request(number: int) -> list[str]:
        lease = pool.socket()
        with ThreadPoolExecutor(1) as enters:
            socket = enters.submit(lease.__enter__).result(5)  # this thread ends, and the lease goes on
        with ThreadPoolExecutor(1) as works:
            reply = works.submit(socket.send_text, f"text{number}").result(5)
        with ThreadPoolExecutor(1) as leaves:
            leaves.submit(lease.__exit__, None, None, None).result(5)
        return words(reply)

    with hume_client.pool([LanguageConfig()], max_size=2, timeout=20) as pool, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(request, range(24))) == [[f"text{number}"] for number in range(24)]
        assert (pool.stats()["leases"], pool.stats()["errors"]) == (0, 0)


def test_a_lease_is_entered_once(pool: StreamPool) -> None:
    lease = pool.socket()
    with lease:
        with pytest.raises(MisuseError, match="entered already"):
            lease.__enter__()
    with pytest.raises(MisuseError, match="entered already"):
        lease.__enter__()
    assert send_once(pool)


def test_leaving_a_lease_that_was_never_entered_is_harmless(pool: StreamPool) -> None:
    pool.socket().__exit__(None, None, None)
    assert pool.stats()["leases"] == 0


def test_a_lease_may_be_given_back_by_another_thread(pool: StreamPool, aside: ThreadPoolExecutor) -> None:
    lease = pool.socket()
    socket = lease.__enter__()
    socket.send_text("x")
    aside.submit(lease.__exit__, None, None, None).result()
    assert pool.stats()["leases"] == 0
    with pytest.raises(MisuseError, match="given back"):
        socket.send_text("x")
    assert send_once(pool)  # this thread has none open any more


def test_a_lease_given_back_during_a_call_ends_when_the_call_does(proxy: FaultProxy, aside: ThreadPoolExecutor) -> None:
    client = HumeStreamClient("k", base_url=proxy.url, proxy=False)
    held, go = threading.Event(), threading.Event()

    def slow(peer: Peer, genuine: bytes) -> bool:
        held.set()
        assert go.wait(5)
        peer.send_frame(genuine)
        return True

    def work() -> StreamResponse:
        lease = pool.socket()
        given.append(socket := lease.__enter__())
        return socket.send_text("x")

    given: list[StreamSocket] = []
    with client.pool([LanguageConfig()], max_size=1) as pool:
        proxy.on_reply(slow)
        busy = aside.submit(work)
        assert held.wait(5)
        given[0].close()
        assert pool.stats()["leases"] == 1
        with pytest.raises(PoolTimeout):
            pool.socket(timeout=0.01).__enter__()
        go.set()
        assert words(busy.result(5)) == ["x"]
        assert pool.stats()["leases"] == 0
        assert send_once(pool)


BAD_ARGUMENTS: list[dict[str, Any]] = [
    {"max_size": 0},
    {"max_size": -1},
    {"max_size": 1.5},
    {"max_size": True},
    {"max_size": "2"},
    {"max_size": None},
    {"max_waiting": -1},
    {"max_waiting": 1.0},
    {"max_waiting": True},
    *({name: value} for name in ("timeout", "max_idle", "max_lifetime", "max_stream_idle")
      for value in (0, -1, math.nan, True, "1")),
    {"timeout": None},
    {"max_idle": None},
    {"max_stream_idle": None},
    {"preserve_window": 1},
    {"preserve_window": None},
    {"stream_window_ms": 499},
    {"stream_window_ms": 10_001},
    {"configs": []},
    {"configs": None},
    {"configs": ["language"]},
]  # fmt: skip


@pytest.mark.parametrize("arguments", BAD_ARGUMENTS, ids=str)
def test_bad_arguments_of_a_pool_are_refused_by_name(hume_client: HumeStreamClient, arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(InputError, match=name.removesuffix("s")):
        hume_client.pool(**{"configs": [ProsodyConfig()], **arguments})


@pytest.mark.parametrize("timeout", [0, -1, math.nan, True, "1"])
def test_bad_timeouts_are_refused_before_anything_is_waited_for(pool: StreamPool, timeout: Any) -> None:
    with pytest.raises(InputError, match="timeout"):
        pool.socket(timeout=timeout)
    with pytest.raises(InputError, match="timeout"):
        pool.close(timeout)
    assert not pool.closed


@pytest.mark.parametrize("key", [[], {}, ("call", [])])
def test_a_key_that_is_not_hashable_is_refused(pool: StreamPool, key: Any) -> None:
    with pytest.raises(InputError, match="hashable key, got (list|dict|tuple)"):
        pool.socket(stream=key)
    with pytest.raises(InputError, match="hashable key"):
        pool.forget(key)


def test_the_window_its_preservation_and_the_configurations_land(
    hume_emulator: Emulator, hume_client: HumeStreamClient
) -> None:
    with hume_client.pool([ProsodyConfig()], 1500, preserve_window=False) as pool, pool.socket() as socket:
        assert socket.send_media(AUDIO[0]).window_state == "warm"
        hume_emulator.drop_connections()
        assert socket.send_media(AUDIO[1]).window_state == "cold"
        socket.send_media(AUDIO[2])
    assert {request.fields["stream_window_ms"] for request in hume_emulator.journal.requests} == {1500}
    assert heard(hume_emulator) == [(0, 1), (0, 1), (0.5, 2)]


def test_the_clients_timeout_and_retries_hold_in_its_pools() -> None:
    with Emulator(latency=60) as server:
        client = HumeStreamClient("k", base_url=server.url, timeout=0.1, retry=RetryPolicy.none())
        with client.pool([LanguageConfig()]) as pool, pool.socket() as socket:
            with pytest.raises(Timeout):
                socket.send_text("x")
            server.refuse(503)
            with pytest.raises(ConnectError) as caught:
                socket.send_text("x")
            assert caught.value.attempts == 1


# --- what was never given back


def test_a_socket_that_is_dropped_gives_its_lease_back(hume_client: HumeStreamClient) -> None:
    with hume_client.pool(IDENTIFY, max_size=1) as pool:
        for _ in range(3):
            socket = pool.socket().__enter__()
            socket.send_media(FACE)
            del socket
        assert (pool.stats()["leases"], pool.stats()["closed_faces"]) == (0, 3)


def test_what_a_dropped_lease_leaves_is_counted_by_its_reason(hume_client: HumeStreamClient) -> None:
    with hume_client.pool([ProsodyConfig()]) as pool:
        socket = pool.socket().__enter__()
        socket.send_media(ADTS)
        del socket
        stats = pool.stats()
        assert (stats["closed_clock"], stats["closed_faces"], stats["idle"]) == (1, 0, 0)


def test_a_lease_of_a_thread_that_has_ended_goes_on_while_its_socket_is_referred_to(
    hume_client: HumeStreamClient,
) -> None:
    kept: list[StreamSocket] = []

    def work() -> None:
        kept.append(pool.socket().__enter__())
        kept[-1].send_text("x")

    with hume_client.pool([LanguageConfig()], max_size=1, timeout=0.2) as pool:
        thread = threading.Thread(target=work, name="the one")
        thread.start()
        thread.join()
        with pytest.raises(PoolTimeout, match="in thread the one, which has ended") as caught:
            send_once(pool)
        assert caught.value.holders[0].thread_ended
        assert words(kept[0].send_text("y")) == ["y"]
        kept.clear()
        assert send_once(pool)


def test_a_socket_in_a_reference_cycle_of_an_ended_thread_is_found_by_who_waits(hume_client: HumeStreamClient) -> None:
    class ForkAware:
        def __init__(self) -> None:
            self.socket, self.me = pool.socket().__enter__(), self

    with hume_client.pool([LanguageConfig()], max_size=1, timeout=20) as pool:
        gc.disable()
        try:
            thread = threading.Thread(target=ForkAware)
            thread.start()
            thread.join()
            assert pool.stats()["leases"] == 1
            assert send_once(pool)
        finally:
            gc.enable()


def test_two_hundred_short_threads_leave_no_lease_and_no_connection_too_many(
    hume_emulator: Emulator, hume_client: HumeStreamClient
) -> None:
    kept: list[StreamSocket] = []

    def work(number: int) -> None:
        socket = pool.socket().__enter__()
        assert words(socket.send_text(f"w{number}")) == [f"w{number}"]
        if number % 3 == 0:
            socket.close()
        elif number % 3 == 1:
            kept.append(socket)

    with hume_client.pool([LanguageConfig()], max_size=4) as pool:
        for begin in range(0, 200, 4):
            threads = [threading.Thread(target=work, args=(begin + i,)) for i in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            kept.clear()
        stats = pool.stats()
        assert (stats["leases"], stats["busy"], stats["waiting"]) == (0, 0, 0)
        assert (stats["requests"], stats["errors"]) == (200, 0)
        assert stats["idle"] == stats["created"] <= 4
    assert hume_emulator.journal.counts["peak"] <= 4


# --- age


@pytest.mark.parametrize(
    ("arguments", "age", "reason"),
    [({"max_idle": 5.0}, 6.0, "idle"), ({"max_lifetime": 9.0}, 10.0, "lifetime"), ({}, 51.0, "idle")],
)
def test_a_connection_past_its_time_is_replaced(
    hume_client: HumeStreamClient, later: Later, arguments: dict[str, Any], age: float, reason: str
) -> None:
    with hume_client.pool([LanguageConfig()], **arguments) as pool:
        first = send_once(pool)
        later.offset += age - 2
        assert send_once(pool) == first
        later.offset += age
        assert send_once(pool) != first
        assert pool.stats()[f"closed_{reason}"] == 1


@pytest.mark.parametrize(("arguments", "reason"), [({"max_idle": 5.0}, "idle"), ({"max_lifetime": 5.0}, "lifetime")])
def test_a_connection_past_its_time_is_replaced_under_a_lease_that_goes_on(
    hume_client: HumeStreamClient, later: Later, arguments: dict[str, Any], reason: str
) -> None:
    with hume_client.pool([LanguageConfig()], **arguments) as pool, pool.socket() as socket:
        socket.send_text("x")
        first = socket.epoch
        later.offset += 6
        assert words(socket.send_text("y")) == ["y"]
        assert socket.epoch != first
        assert (pool.stats()["idle"], pool.stats()[f"closed_{reason}"]) == (1, 1)


def test_a_connection_that_grows_too_old_under_a_lease_is_closed_when_that_ends(
    hume_client: HumeStreamClient, later: Later
) -> None:
    with hume_client.pool([LanguageConfig()], max_lifetime=9.0) as pool:
        with pool.socket() as socket:
            socket.send_text("x")
            later.offset += 10
        assert (pool.stats()["idle"], pool.stats()["closed_lifetime"]) == (0, 1)


@pytest.mark.parametrize("code", [None, 1001])
def test_connections_that_went_while_idle_are_replaced_without_an_error(
    hume_emulator: Emulator, pool: StreamPool, code: int | None
) -> None:
    meet(lambda: send_once(pool), lambda: send_once(pool))
    hume_emulator.drop_connections(code)
    assert hume_emulator.journal.wait_for(lambda journal: journal.counts["open"] == 0)
    with pool.socket() as socket:
        reply = socket.send_text("y")
    stats = pool.stats()
    assert (words(reply), reply.attempts, stats["errors"]) == (["y"], 1, 0)
    assert (stats["closed_stale"], stats["closed_error"], stats["created"]) == (2, 0, 3)


# --- the end


class Hold:
    """Keeps the next reply back until it may go on."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.held, self.go = threading.Event(), threading.Event()
        proxy.on_reply(self)

    def __call__(self, peer: Peer, genuine: bytes) -> bool:
        self.held.set()
        assert self.go.wait(5)
        peer.send_frame(genuine)
        return True


def test_close_refuses_newcomers_and_lets_a_running_call_end(proxy: FaultProxy, aside: ThreadPoolExecutor) -> None:
    pool = HumeStreamClient("k", base_url=proxy.url, proxy=False).pool([LanguageConfig()])
    with ThreadPoolExecutor(1) as closer, pool.socket() as own:
        own.send_text("before")
        hold = Hold(proxy)
        busy = aside.submit(send_once, pool)
        assert hold.held.wait(5)
        closing = closer.submit(pool.close)
        state = pool._state()
        assert state.changed.wait_for(lambda: state.closing or None, Deadline(5))
        assert pool.closed
        with pytest.raises(PoolClosed):
            own.send_text("no longer")
        with ThreadPoolExecutor(1) as third, pytest.raises(PoolClosed):
            third.submit(send_once, pool).result()
        assert not closing.done()
        hold.go.set()
        assert busy.result(5)
        closing.result(5)
    stats = pool.stats()
    assert (stats["busy"], stats["idle"], stats["closed_pool"]) == (0, 0, 2)


def test_close_wakes_all_who_wait(
    hume_client: HumeStreamClient, aside: ThreadPoolExecutor, queued: Callable[[], None]
) -> None:
    pool = hume_client.pool([LanguageConfig()], max_size=1)
    with pool.socket():
        waiting = aside.submit(send_once, pool)
        queued()
        pool.close()
        assert isinstance(waiting.exception(5), PoolClosed)


def test_close_ends_a_call_that_outlasts_its_patience(proxy: FaultProxy, aside: ThreadPoolExecutor) -> None:
    pool = HumeStreamClient("k", base_url=proxy.url, proxy=False).pool([LanguageConfig()])
    hold = Hold(proxy)
    busy = aside.submit(send_once, pool)
    assert hold.held.wait(5)
    began = time.monotonic()
    pool.close(0.1)
    assert time.monotonic() - began < 1
    error = busy.exception(5)
    assert isinstance(error, ConnectionLost)
    assert error.maybe_processed
    hold.go.set()
    assert (pool.stats()["busy"], pool.stats()["idle"]) == (0, 0)


def test_a_reply_that_beats_the_abort_leaves_no_connection_behind(
    hume_client: HumeStreamClient, aside: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = hume_client.pool([LanguageConfig()])
    replied, go = threading.Event(), threading.Event()
    exchange = Connection.request

    def late(*args: Any, **more: Any) -> Any:
        reply = exchange(*args, **more)
        replied.set()
        assert go.wait(5)
        return reply

    monkeypatch.setattr(Connection, "request", late)
    busy = aside.submit(send_once, pool)
    assert replied.wait(5)
    pool.close(0.05)
    go.set()
    assert busy.exception(5) is None
    assert (pool.stats()["busy"], pool.stats()["idle"], pool.stats()["closed_pool"]) == (0, 0, 1)


def test_close_ends_a_call_that_is_still_dialling(proxy: FaultProxy, aside: ThreadPoolExecutor) -> None:
    pool = HumeStreamClient("k", base_url=proxy.url, proxy=False).pool([LanguageConfig()])
    connecting = threading.Event()

    def deaf(peer: Peer) -> bool:
        connecting.set()
        peer.wait_gone()
        return False

    proxy.on_connect(deaf)
    busy = aside.submit(send_once, pool)
    assert connecting.wait(5)
    assert pool.stats()["busy"] == 1
    pool.close(0.1)
    assert isinstance(busy.exception(5), ConnectError)
    assert pool.stats()["busy"] == 0


def test_close_ends_the_wait_for_the_next_attempt(hume_emulator: Emulator, aside: ThreadPoolExecutor) -> None:
    retrying = threading.Event()
    policy = RetryPolicy(on_retry=lambda _: retrying.set())
    client = HumeStreamClient("k", base_url=hume_emulator.url, proxy=False, retry=policy)
    pool = client.pool([LanguageConfig()])
    hume_emulator.refuse(503, retry_after=30)
    busy = aside.submit(send_once, pool)
    assert retrying.wait(5)
    pool.close()
    assert isinstance(busy.exception(5), PoolClosed)


def test_closing_again_does_nothing(pool: StreamPool) -> None:
    send_once(pool)
    before = pool.closed
    pool.close()
    pool.close()
    assert (before, pool.closed) == (False, True)
    assert pool.stats()["closed_pool"] == 1
    with pytest.raises(PoolClosed):
        send_once(pool)


def test_leaving_the_block_closes_connections_in_order(hume_emulator: Emulator, hume_client: HumeStreamClient) -> None:
    with pytest.raises(ZeroDivisionError), hume_client.pool([LanguageConfig()]) as pool:
        send_once(pool)
        raise ZeroDivisionError
    assert pool.closed
    assert hume_emulator.journal.wait_for(lambda journal: bool(journal.ends))
    assert [end.code for end in hume_emulator.journal.ends] == [1000]


def test_a_pool_that_was_never_used_closes_in_silence(hume_emulator: Emulator, hume_client: HumeStreamClient) -> None:
    hume_client.pool([LanguageConfig()])
    hume_client.pool([LanguageConfig()]).close()
    assert hume_emulator.journal.counts["handshakes"] == 0


def test_a_forgotten_pool_warns_and_leaves_no_connection(
    hume_emulator: Emulator, hume_client: HumeStreamClient
) -> None:
    pool = hume_client.pool([LanguageConfig()])
    send_once(pool)
    lives = weakref.ref(pool)
    with pytest.warns(ResourceWarning, match="was not closed"):
        del pool
    assert lives() is None
    assert hume_emulator.journal.wait_for(lambda journal: journal.counts["open"] == 0)


def test_a_forgotten_pool_leaves_no_connection_even_where_warnings_are_errors(
    hume_emulator: Emulator, hume_client: HumeStreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(unraisable.exc_type))
    pool = hume_client.pool([LanguageConfig()])
    send_once(pool)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del pool
    assert seen == [ResourceWarning]
    assert hume_emulator.journal.wait_for(lambda journal: journal.counts["open"] == 0)


def test_a_pool_is_not_forgotten_while_a_socket_of_it_is_in_use(hume_client: HumeStreamClient) -> None:
    socket = hume_client.pool([LanguageConfig()]).socket().__enter__()
    socket.send_text("x")
    first = socket.epoch
    assert words(socket.send_text("y")) == ["y"]
    assert socket.epoch == first
    with pytest.warns(ResourceWarning, match="was not closed"):
        del socket


EXIT = """
import sys, threading
from hume_sync import HumeStreamClient, LanguageConfig
client = HumeStreamClient("k", base_url=sys.argv[1], proxy=False, timeout={timeout})
pool = client.pool([LanguageConfig()], max_size=1)
leased = threading.Event()
def call():
    with pool.socket() as socket:
        leased.set()
        try:
            socket.send_text("x")
        except Exception:
            pass
def wait():
    leased.wait()
    try:
        pool.socket({wait}).__enter__()
    except Exception:
        pass
for work in (call, wait):
    threading.Thread(target=work, daemon={daemon}).start()
leased.wait()
print("end", flush=True)
"""


@pytest.mark.parametrize(
    ("daemon", "timeout", "wait"), [(True, 60.0, "timeout=60"), (False, 0.3, "timeout=0.3")], ids=["daemon", "thread"]
)
def test_the_interpreter_ends_promptly_with_calls_under_way(daemon: bool, timeout: float, wait: str) -> None:
    with Emulator(latency=60) as server:
        code = EXIT.format(daemon=daemon, timeout=timeout, wait=wait)
        done = subprocess.run(
            [sys.executable, "-c", code, server.url], capture_output=True, text=True, timeout=10, check=False
        )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "end", "")


def test_the_interpreter_ends_promptly_with_an_open_pool(hume_emulator: Emulator) -> None:
    code = """
import sys
from hume_sync import HumeStreamClient, LanguageConfig
pool = HumeStreamClient("k", base_url=sys.argv[1], proxy=False).pool([LanguageConfig()])
lease = pool.socket()
lease.__enter__().send_text("x")
"""
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", code, hume_emulator.url],
        capture_output=True, text=True, timeout=10, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "a StreamPool was not closed" in done.stderr
    assert "Traceback" not in done.stderr


# --- what it tells


def test_every_count_is_documented_and_every_documented_count_is_there(pool: StreamPool) -> None:
    documented = set(re.findall(r"``(\w+)``", StreamPool.stats.__doc__ or ""))
    assert documented == set(pool.stats())


def test_the_counts_tell_what_has_happened(hume_emulator: Emulator, hume_client: HumeStreamClient) -> None:
    with hume_client.pool([ProsodyConfig()], max_size=1) as pool:
        with pool.socket(stream="call") as socket:
            socket.send_media(AUDIO[0])
            hume_emulator.fail_next("E0200", "no")
            with pytest.raises(RequestError):
                socket.send_media(AUDIO[1])
            hume_emulator.fail_next("I0100", "try again")
            assert socket.send_media(AUDIO[1]).attempts == 2
            now = pool.stats()
            assert (now["leases"], now["idle"], now["busy"], now["waiting"], now["streams"]) == (1, 1, 0, 0, 1)
        with pool.socket() as socket:
            socket.send_media(FACE, IDENTIFY)
        stats = pool.stats()
    counts = {name: count for name, count in stats.items() if count and not name.endswith(("_seconds", "_bytes"))}
    assert counts == {
        "requests": 5, "errors": 1, "created": 2, "closed_error": 1, "closed_faces": 1, "reconnects": 1, "replays": 1,
        "streams": 1,
    }  # fmt: skip
    assert stats["replayed_bytes"] > len(AUDIO[0])


def test_the_repr_shows_counts_and_nothing_else(hume_client: HumeStreamClient) -> None:
    with hume_client.pool([LanguageConfig()], max_size=3) as pool:
        assert repr(pool) == "<StreamPool max_size 3, busy 0, idle 0, waiting 0>"
        with pool.socket(stream="secret") as socket:
            socket.send_text("secret")
            assert repr(pool) == "<StreamPool max_size 3, busy 0, idle 1, waiting 0>"
    assert repr(pool) == "<StreamPool max_size 3, closed>"


def test_a_pool_made_by_many_threads_at_once_has_one_state(hume_client: HumeStreamClient) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            pool = stack.enter_context(hume_client.pool([LanguageConfig()]))
            barrier = threading.Barrier(8)

            def use(pool: StreamPool = pool, barrier: threading.Barrier = barrier) -> object:
                barrier.wait(5)
                return pool._state()

            with ThreadPoolExecutor(8) as threads:
                states = {id(done.result()) for done in [threads.submit(use) for _ in range(8)]}
            assert len(states) == 1
