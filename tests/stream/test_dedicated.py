"""The connection of a socket of its own: made when needed, replaced when gone, closed from anywhere."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest

from hume_sync import HumeStreamClient, MisuseError, RetryPolicy
from hume_sync.emulator import Emulator
from hume_sync.net.deadline import Deadline
from hume_sync.net.pending import DialSockets, Watch
from hume_sync.stream.connection import Connection
from hume_sync.stream.dedicated import DedicatedProvider
from hume_sync.stream.limits import Limits
from hume_sync.stream.stream import Stream
from tests.internals import raw_socket


@pytest.fixture
def source(hume_client: HumeStreamClient) -> DedicatedProvider:
    return DedicatedProvider(hume_client._connect, RetryPolicy(), Limits())


@pytest.fixture
def stream() -> Stream:
    return Stream()


def take(source: DedicatedProvider, stream: Stream) -> Connection:
    return source.acquire(Deadline(5))


def test_one_connection_is_made_and_kept(source: DedicatedProvider, stream: Stream, hume_emulator: Emulator) -> None:
    first = take(source, stream)
    assert take(source, stream) is first
    assert hume_emulator.journal.counts["handshakes"] == 1
    source.close(1)


@pytest.mark.parametrize("code", [None, 1001])
def test_one_that_has_gone_is_replaced(
    source: DedicatedProvider, stream: Stream, hume_emulator: Emulator, code: int | None
) -> None:
    first = take(source, stream)
    hume_emulator.drop_connections(code)
    raw_socket(first).settimeout(5)
    raw_socket(first).recv(1, socket.MSG_PEEK)  # until the news is here
    second = take(source, stream)
    assert second is not first
    assert not first.usable
    source.close(1)


def test_a_discarded_one_is_replaced(source: DedicatedProvider, stream: Stream) -> None:
    first = take(source, stream)
    first.discard()
    assert take(source, stream).epoch != first.epoch
    source.close(1)


def test_closing_sends_a_close_frame(source: DedicatedProvider, stream: Stream, hume_emulator: Emulator) -> None:
    take(source, stream)
    source.close(1)
    assert hume_emulator.journal.wait_for(lambda journal: bool(journal.ends))
    assert [end.code for end in hume_emulator.journal.ends] == [1000]


def test_closing_again_or_before_anything_is_open_does_nothing(source: DedicatedProvider) -> None:
    source.close(1)
    source.close(1)
    assert source.closing


def test_once_closed_nothing_is_begun(source: DedicatedProvider, stream: Stream) -> None:
    source.close(1)
    for call in (source.before_call, lambda: source.wait(60), lambda: take(source, stream)):
        with pytest.raises(MisuseError, match="closed"):
            call()


def test_closing_wakes_a_sleep(source: DedicatedProvider) -> None:
    with ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(source.wait, 600)
        source.close(0.05)
        assert isinstance(sleeping.exception(5), MisuseError)


def test_an_undisturbed_sleep_just_ends(source: DedicatedProvider) -> None:
    began = time.monotonic()
    source.wait(0.01)
    assert time.monotonic() - began >= 0.01


def test_a_connection_made_while_it_is_closed_is_released(hume_client: HumeStreamClient, stream: Stream) -> None:
    made: list[Connection] = []

    def close_meanwhile(deadline: Deadline, watch: Watch) -> Connection:
        made.append(hume_client._connect(deadline, lambda _: None))
        sole._closing.set()
        return made[0]

    sole = DedicatedProvider(close_meanwhile, RetryPolicy(), Limits())
    with pytest.raises(MisuseError, match="closed"):
        take(sole, stream)
    assert not made[0].usable
    assert stream.epoch is None


def test_a_socket_that_begins_to_dial_after_the_close_is_refused(stream: Stream) -> None:
    def dial(deadline: Deadline, watch: Watch) -> Connection:
        sole._closing.set()
        watch(DialSockets())
        raise AssertionError("watch did not raise")

    sole = DedicatedProvider(dial, RetryPolicy(), Limits())
    with pytest.raises(MisuseError, match="closed"):
        take(sole, stream)


def test_closing_while_a_call_holds_the_lock_aborts_what_it_waits_on(
    source: DedicatedProvider, stream: Stream, hume_emulator: Emulator
) -> None:
    lock, held, end = source.lock, threading.Event(), threading.Event()
    connection = take(source, stream)

    def call() -> None:
        lock.acquire(Deadline(5))
        held.set()
        assert end.wait(5)
        lock.release()

    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(call)
        assert held.wait(5)
        source.close(0.01)
        assert raw_socket(connection).recv(1) == b""  # shut down, not yet closed: that is the call's to do
        end.set()
        busy.result(5)
    connection.discard()


def test_the_end_of_a_call_leaves_the_connection_and_what_it_holds(source: DedicatedProvider, stream: Stream) -> None:
    connection = take(source, stream)
    connection.server_state.set_position(stream.token, 3)
    connection.server_state.audio_clock = Fraction(4)
    source.add_stats(requests=1)
    source.after_call()
    again = take(source, stream)
    assert again.server_state.position(stream.token) == 3
    assert again.server_state.audio_clock == Fraction(4)
    source.close(1)
