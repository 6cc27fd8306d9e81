"""Connections that a network forgot without a word: what one call learns of it, the others need not."""

from __future__ import annotations

import math
import signal
import socket as sockets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync import (
    ConnectionLost,
    HumeStreamClient,
    InputError,
    LanguageConfig,
    MisuseError,
    PoolClosed,
    ProsodyConfig,
    RetryPolicy,
    StreamPool,
    StreamResponse,
    StreamSocket,
    Timeout,
    TransportError,
)
from hume_sync.emulator import Emulator
from hume_sync.net import tcp
from hume_sync.net import websocket as transport
from hume_sync.net.deadline import Deadline
from hume_sync.net.frames import PING
from hume_sync.net.websocket import WebSocket, build_control_frame
from hume_sync.stream import connection
from tests.clocks import Later
from tests.emulator.support import tone, wav
from tests.faultproxy import FaultProxy, Flow, Hole, Peer
from tests.internals import raw_socket
from tests.net.support import deaf

CLIPS = [wav(tone(1.0, start=16_000 * i)) for i in range(3)]
TEXT = [LanguageConfig()]


@pytest.fixture
def hole(hume_emulator: Emulator) -> Iterator[Hole]:
    with Hole(hume_emulator.port) as hole:
        yield hole


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_PONG_TIMEOUT", 0.2)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(monkeypatch)


class Pings:
    """How many pings were sent."""

    def __init__(self) -> None:
        self.sent = 0
        self.one = threading.Event()

    def build_control_frame(self, opcode: int, payload: bytes) -> bytes:
        if opcode == PING:
            self.sent += 1
            self.one.set()
        return build_control_frame(opcode, payload)


@pytest.fixture
def pings(monkeypatch: pytest.MonkeyPatch) -> Pings:
    pings = Pings()
    monkeypatch.setattr(transport, "build_control_frame", pings.build_control_frame)
    return pings


def client_of(url: str, **more: Any) -> HumeStreamClient:
    return HumeStreamClient("k", base_url=url, proxy=False, **{"close_timeout": 0.1, **more})


def ask(socket: StreamSocket, **more: Any) -> StreamResponse:
    reply = socket.send_text("hello", **more)
    assert reply["language"]["predictions"][0]["text"] == "hello"
    return reply


def lease_and_ask(pool: StreamPool, stream: object = None, **more: Any) -> int | None:
    with pool.socket(stream=stream) as socket:
        assert ask(socket, **more).attempts == 1
        return socket.epoch


def warm(pool: StreamPool, threads: ThreadPoolExecutor, size: int) -> None:
    """Open so many connections, each by a thread of its own, which is done with it when all are."""
    barrier = threading.Barrier(size)

    def use(_: int) -> None:
        with pool.socket() as socket:
            ask(socket)
            barrier.wait(5)

    list(threads.map(use, range(size)))
    assert pool.stats()["created"] == size


def flow_of(hole: Hole, socket: StreamSocket) -> Flow:
    """The connection of a socket, as the hole sees it."""
    connection = socket._executor.stream.connection
    assert connection
    name = raw_socket(connection).getsockname()
    return next(flow for flow in hole.flows if flow.sockets[0].getpeername() == name)


# --- a check before use


@pytest.mark.parametrize("given", ["client", "call"])
def test_a_connection_that_answers_no_ping_is_replaced_before_the_request_goes_out(
    hole: Hole, given: str, impatient: None
) -> None:
    client = client_of(hole.url, **({"check_after": 0} if given == "client" else {}))
    more: dict[str, Any] = {"check_after": 0} if given == "call" else {}
    with client.connect(TEXT, **more) as socket, client.pool(TEXT, **more) as pool, pool.socket() as leased:
        for held in (socket, leased):
            ask(held)
            epoch = held.epoch
            hole.forget()
            assert ask(held).attempts == 1
            assert held.epoch != epoch
        stats = pool.stats()
        assert (stats["created"], stats["closed_stale"], stats["errors"]) == (2, 1, 0)


@pytest.mark.parametrize("retry", [RetryPolicy(), RetryPolicy.none()])
def test_a_connection_that_is_refused_by_the_network_is_replaced_before_the_request_goes_out(
    hole: Hole, retry: RetryPolicy
) -> None:
    with client_of(hole.url, check_after=0, retry=retry).connect(TEXT) as socket:
        ask(socket)
        hole.forget(reset=True)
        assert ask(socket).attempts == 1


def test_a_connection_is_pinged_when_it_was_silent_for_long_and_not_before(
    hume_emulator: Emulator, later: Later, pings: Pings
) -> None:
    client = client_of(hume_emulator.url)
    with client.connect(TEXT) as socket, client.pool(TEXT) as pool, pool.socket() as leased:
        for used in (socket, leased):
            ask(used)
            later.offset += 14
            ask(used)
            assert pings.sent == 0
            later.offset += 15
            ask(used)
            assert pings.sent == 1
            ask(used)
            assert pings.sent == 1
            pings.sent = 0
    with client.pool(TEXT) as pool:
        epoch = lease_and_ask(pool)
        later.offset += 20
        assert lease_and_ask(pool) == epoch
        assert pings.sent == 1
        assert lease_and_ask(pool) == epoch
        assert pings.sent == 1


def test_a_pong_does_not_count_as_use(hume_emulator: Emulator, later: Later) -> None:
    with client_of(hume_emulator.url).connect(TEXT) as socket:
        epoch = socket.epoch
        later.offset += 30
        socket.__enter__()  # which pings, and sends nothing
        assert socket.epoch == epoch
        later.offset += 30
        ask(socket)
        assert socket.epoch != epoch


def test_a_connection_is_never_pinged_where_that_is_asked_for(hole: Hole, later: Later, pings: Pings) -> None:
    client = client_of(hole.url, check_after=math.inf)
    with client.pool(TEXT) as pool, ThreadPoolExecutor(2) as threads:
        warm(pool, threads, 2)
        hole.forget()
        later.offset += 40
        for _ in range(2):
            with pool.socket() as socket, pytest.raises(Timeout):
                ask(socket, timeout=0.1)
        lease_and_ask(pool)
    assert pings.sent == 0


def test_a_call_waits_for_one_pong_at_most_and_then_takes_what_needs_none(
    hole: Hole, later: Later, pings: Pings, impatient: None
) -> None:
    with client_of(hole.url).pool(TEXT) as pool, ThreadPoolExecutor(4) as threads:
        warm(pool, threads, 4)
        hole.forget()
        later.offset += 20
        first = lease_and_ask(pool)
        assert pings.sent == 1
        assert {lease_and_ask(pool) for _ in range(3)} == {first}
        assert pings.sent == 1


def test_a_call_that_has_less_time_than_a_pong_may_take_is_answered_all_the_same(hole: Hole) -> None:
    with client_of(hole.url, check_after=0).connect(TEXT) as socket:
        ask(socket)
        hole.forget()
        assert ask(socket, timeout=1.0).attempts == 1


def test_a_window_is_replayed_where_the_connection_that_held_it_has_vanished(
    hole: Hole, hume_emulator: Emulator, impatient: None
) -> None:
    client = client_of(hole.url, check_after=0)
    with client.connect([ProsodyConfig()]) as own, client.pool([ProsodyConfig()]) as pool:

        def leased(clip: bytes) -> StreamResponse:
            with pool.socket(stream="call") as socket:
                return socket.send_media(clip)

        for send in (own.send_media, leased):
            assert send(CLIPS[0]).window_state == "warm"
            hole.forget()
            reply = send(CLIPS[1])
            assert (reply.window_state, reply.attempts, reply.clock_offset) == ("rebuilt", 1, 0.0)
            assert hume_emulator.journal.requests[-1].audio == (0, 2)


def test_pings_go_through_a_proxy_that_speaks_frames(proxy: FaultProxy, pings: Pings) -> None:
    with client_of(proxy.url, check_after=0).connect(TEXT) as socket:
        assert {ask(socket) and socket.epoch for _ in range(3)} == {socket.epoch}
    assert pings.sent == 3


def test_closing_ends_a_wait_for_a_pong(hole: Hole, pings: Pings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_PONG_TIMEOUT", 600.0)
    client = client_of(hole.url, check_after=0, timeout=3600.0)
    socket, pool = client.connect(TEXT), client.pool(TEXT)
    ends: list[tuple[Callable[[], object], Callable[[], None]]] = [
        (lambda: ask(socket), socket.close),
        (lambda: lease_and_ask(pool), lambda: pool.close(0.1)),
    ]
    with ThreadPoolExecutor(1) as aside:
        for use, close in ends:
            aside.submit(use).result(5)
            hole.forget()
            pings.one.clear()
            busy = aside.submit(use)
            assert pings.one.wait(5)
            close()
            assert isinstance(busy.exception(5), MisuseError | PoolClosed)


def test_ctrl_c_while_a_pong_is_awaited_is_raised_and_discards(hole: Hole, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(hole.url, check_after=0)
    with client.connect(TEXT) as socket:
        ask(socket)
        epoch = socket.epoch
        with monkeypatch.context() as patch:

            def interrupted(self: WebSocket, deadline: Deadline, *_: object) -> None:
                raise KeyboardInterrupt

            patch.setattr(WebSocket, "ping", interrupted)
            with pytest.raises(KeyboardInterrupt):
                ask(socket)
        assert socket.epoch is None
        ask(socket)
        assert socket.epoch != epoch


@pytest.mark.parametrize("error", [TimeoutError, ConnectionResetError, EOFError, ConnectionLost, Timeout])
def test_what_a_signal_handler_raises_while_a_pong_is_awaited_comes_out_as_it_is(
    hole: Hole, pings: Pings, error: type[Exception]
) -> None:
    def strike(number: int, frame: object) -> None:
        raise error("time is up")

    def send() -> None:
        assert pings.one.wait(5)
        signal.pthread_kill(main, signal.SIGUSR1)

    client, main = client_of(hole.url, check_after=0), threading.get_ident()
    before = signal.signal(signal.SIGUSR1, strike)
    try:
        with client.connect(TEXT) as own, client.pool(TEXT) as pool, pool.socket() as leased:
            for socket in (own, leased):
                ask(socket)
                hole.forget()
                pings.one.clear()
                thread = threading.Thread(target=send)
                thread.start()
                with pytest.raises(error, match="time is up"):
                    ask(socket)
                thread.join()
                assert socket.epoch is None
                ask(socket)
    finally:
        signal.signal(signal.SIGUSR1, before)


# --- what one call learns


def test_after_a_network_forgot_all_connections_one_call_fails_and_no_other(
    hole: Hole, pings: Pings, impatient: None
) -> None:
    with client_of(hole.url).pool(TEXT) as pool, ThreadPoolExecutor(4) as threads:
        warm(pool, threads, 4)
        hole.forget()
        with pool.socket() as socket, pytest.raises(Timeout) as caught:
            ask(socket, timeout=0.3)
        assert caught.value.phase == "receive"
        barrier = threading.Barrier(4)

        def again(_: int) -> None:
            with pool.socket() as socket:
                barrier.wait(5)
                assert ask(socket).attempts == 1

        list(threads.map(again, range(4)))  # the threads that used them before, each with its own
        assert pool.stats()["errors"] == 1
        assert pool.stats()["closed_stale"] == pings.sent == 3


@pytest.mark.parametrize("reset", [False, True])
def test_a_lease_that_is_held_meanwhile_learns_of_it_too(hole: Hole, reset: bool, impatient: None) -> None:
    retry = RetryPolicy.none()
    with client_of(hole.url, retry=retry).pool(TEXT) as pool, ThreadPoolExecutor(1) as aside:
        other = aside.submit(pool.socket().__enter__).result(5)
        aside.submit(ask, other).result(5)
        with pool.socket() as socket:
            ask(socket)
            hole.forget(reset=reset)
            with pytest.raises(TransportError):
                ask(socket, timeout=0.3)
            assert ask(socket).attempts == 1
        assert aside.submit(ask, other).result(5).attempts == 1
        other.close()


def test_all_sockets_and_pools_of_a_client_learn_of_it_and_no_other_client(hole: Hole, impatient: None) -> None:
    client, other = client_of(hole.url), client_of(hole.url)
    with client.connect(TEXT) as one, client.connect(TEXT) as two, client.pool(TEXT) as pool:
        with other.connect(TEXT) as another:
            for socket in (one, two, another):
                ask(socket)
            lease_and_ask(pool)
            hole.forget()
            with pytest.raises(Timeout):
                ask(one, timeout=0.3)
            assert ask(two).attempts == 1
            lease_and_ask(pool)
            with pytest.raises(Timeout):
                ask(another, timeout=0.3)


def test_closing_does_not_wait_for_suspects(hole: Hole, monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    waited: list[WebSocket] = []
    monkeypatch.setattr(WebSocket, "close", lambda self, timeout: waited.append(self))
    with client_of(hole.url).pool(TEXT) as pool, ThreadPoolExecutor(3) as threads:
        warm(pool, threads, 3)
        hole.forget()
        with pool.socket() as socket, pytest.raises(Timeout):
            ask(socket, timeout=0.3)
    assert pool.stats()["closed_pool"] == 2
    assert waited == []


def test_a_suspect_that_answers_is_kept(hole: Hole, pings: Pings) -> None:
    client = client_of(hole.url)
    with client.connect(TEXT) as one, client.connect(TEXT) as two:
        ask(one)
        ask(two)
        epoch = two.epoch
        flow_of(hole, one).forgotten = True
        with pytest.raises(Timeout):
            ask(one, timeout=0.3)
        assert ask(two).attempts == 1
        assert (pings.sent, two.epoch) == (1, epoch)


def test_a_connection_that_was_heard_since_is_no_suspect(hole: Hole, pings: Pings) -> None:
    client = client_of(hole.url)
    with client.connect(TEXT) as one, client.connect(TEXT) as two, ThreadPoolExecutor(1) as aside:
        ask(one)
        flow = flow_of(hole, one)
        flow.forgotten = True
        failing = aside.submit(ask, one, timeout=0.5)
        assert flow.lost.wait(5)
        ask(two)  # after that request was sent, and before it failed
        assert isinstance(failing.exception(5), Timeout)
        ask(two)
    assert pings.sent == 0


def test_silence_to_the_first_request_of_a_connection_makes_no_other_suspect(proxy: FaultProxy, pings: Pings) -> None:
    client = client_of(proxy.url)

    def silent(peer: Peer, genuine: bytes) -> bool:
        peer.wait_gone()
        return False

    with client.connect(TEXT) as one, client.pool(TEXT) as pool:
        ask(one)
        proxy.on_reply(silent)
        with pool.socket() as socket, pytest.raises(Timeout):
            ask(socket, timeout=0.3)
        ask(one)
    assert pings.sent == 0


# --- age, and the way there


@pytest.mark.parametrize(("arguments", "age"), [({}, 51.0), ({"max_idle": 5.0}, 6.0)])
def test_a_socket_of_ones_own_replaces_a_connection_that_was_idle_for_too_long(
    hume_emulator: Emulator, later: Later, arguments: dict[str, Any], age: float
) -> None:
    with client_of(hume_emulator.url).connect([ProsodyConfig()], **arguments) as socket:
        socket.send_media(CLIPS[0])
        epoch = socket.epoch
        later.offset += age - 2
        socket.send_media(CLIPS[1])
        assert socket.epoch == epoch
        later.offset += age
        assert socket.send_media(CLIPS[2]).window_state == "rebuilt"
        assert socket.epoch != epoch
    assert hume_emulator.journal.wait_for(lambda journal: len(journal.ends) == 2)
    assert [end.code for end in hume_emulator.journal.ends] == [1000, 1000]


@pytest.mark.parametrize("value", [-1, -0.1, math.nan, True, "15", None])
@pytest.mark.parametrize("where", ["client", "connect", "pool"])
def test_check_after_is_a_number_of_seconds_from_zero(where: str, value: Any) -> None:
    url = "ws://127.0.0.1:1"
    if value is None and where != "client":
        return  # the client's
    with pytest.raises(InputError, match=r"^check_after must be a number of seconds from zero \(math\.inf: no limit\)"):
        if where == "client":
            client_of(url, check_after=value)
        else:
            getattr(client_of(url), where)(TEXT, check_after=value)


@pytest.mark.parametrize("value", [0, -1, math.nan, None])
def test_max_idle_of_a_socket_is_a_number_of_seconds_above_zero(value: Any) -> None:
    with pytest.raises(InputError, match="^max_idle must be a number of seconds above zero"):
        client_of("ws://127.0.0.1:1").connect(TEXT, max_idle=value)


def test_the_address_that_works_is_remembered_by_the_client(
    hume_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = hume_emulator.port
    found = [(sockets.AF_INET, sockets.SOCK_STREAM, 6, "", (f"127.0.0.{i}", port)) for i in (2, 3, 1)]
    monkeypatch.setattr(sockets, "getaddrinfo", lambda *_, **__: found)
    client = client_of(f"ws://many.example:{port}")
    with deaf("127.0.0.2", port), deaf("127.0.0.3", port):
        with client.connect(TEXT) as socket:
            ask(socket)
        monkeypatch.setattr(tcp, "_STAGGER", 600.0)
        with client.pool(TEXT) as pool:
            lease_and_ask(pool)
