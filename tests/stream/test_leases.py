"""LeaseQueue: whose turn it is, what the next holder of a stream goes on with, and that no slot is ever lost."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Hashable

import pytest

from hume_sync import PoolClosed
from hume_sync.stream.leases import Lease, LeaseQueue, PoolThread, ThreadToken, WaitingClient
from hume_sync.stream.named_streams import NamedStreams
from hume_sync.stream.stream import Stream
from tests.clocks import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, "boottime")


def make(size: int = 1, max_waiting: int | None = None, max_stream_idle: float = 600.0) -> LeaseQueue:
    return LeaseQueue(size, max_waiting, Stream, NamedStreams(Stream, max_stream_idle))


def asked(key: Hashable | None = None) -> Lease:
    """A lease that was not given yet."""
    return Lease(key, PoolThread(ThreadToken()), sys._getframe())


def queue(leases: LeaseQueue, key: Hashable | None = None) -> WaitingClient:
    return leases.enqueue(asked(key))


def take(leases: LeaseQueue, key: Hashable | None = None) -> Lease:
    lease = asked(key)
    assert leases.try_acquire(lease)
    return lease


def can_begin(leases: LeaseQueue, key: Hashable | None = None) -> bool:
    return leases.try_acquire(asked(key))


def granted(waiters: list[WaitingClient]) -> list[bool]:
    return [not waiter._answer.locked() for waiter in waiters]


def test_as_many_leases_begin_at_once_as_there_are_slots() -> None:
    leases = make(2)
    assert [can_begin(leases) for _ in range(3)] == [True, True, False]


def test_waiters_are_served_in_the_order_they_came() -> None:
    leases = make(1)
    lease = take(leases)
    waiters = [queue(leases) for _ in range(4)]
    assert leases.waiting == 4
    for number in range(4):
        leases.release(lease)
        assert granted(waiters) == [True] * (number + 1) + [False] * (3 - number)
        lease = waiters[number].lease


def test_no_caller_overtakes_those_who_wait() -> None:
    leases = make(2)
    take(leases, "call")
    queue(leases, "call")
    assert not can_begin(leases)


def test_a_caller_that_waits_for_a_stream_in_use_holds_up_no_other() -> None:
    leases = make(2)
    holder, other = take(leases, "call"), take(leases)
    waiters = [queue(leases, "call"), queue(leases)]
    leases.release(other)
    assert granted(waiters) == [False, True]
    leases.release(holder)
    assert waiters[0].lease.stream is holder.stream


def test_holders_of_one_stream_take_turns_in_the_order_they_came() -> None:
    leases = make(3)
    holder = take(leases, "call")
    waiters = [queue(leases, "call") for _ in range(2)]
    leases.release(holder)
    assert granted(waiters) == [True, False]


@pytest.mark.parametrize("most", [0, 1])
def test_it_is_full_when_max_waiting_wait(most: int) -> None:
    leases = make(1, max_waiting=most)
    holder = take(leases)
    waiters = [queue(leases) for _ in range(most)]
    assert leases.is_full
    assert leases.waiting == most
    leases.release(holder)
    assert granted(waiters) == [True] * most


def test_one_who_leaves_the_queue_is_passed_over() -> None:
    leases = make(1)
    holder = take(leases)
    waiters = [queue(leases), queue(leases)]
    leases.cancel(waiters[0])
    leases.cancel(waiters[0])
    leases.release(holder)
    assert granted(waiters) == [False, True]


@pytest.mark.parametrize("key", [None, "call"])
def test_one_who_gives_a_grant_back_hands_it_on(key: str | None) -> None:
    leases = make(1)
    holder = take(leases, key)
    waiters = [queue(leases, key) for _ in range(2)]
    leases.release(holder)
    leases.release(waiters[0].lease)
    assert granted(waiters) == [True, True]


def test_a_thread_is_known_to_have_ended_when_its_life_has() -> None:
    life = ThreadToken()
    thread = PoolThread(life)
    assert not thread.ended
    del life
    assert thread.ended


def test_ending_twice_gives_one_slot_back() -> None:
    leases = make(1)
    lease = take(leases)
    assert leases.release(lease)
    assert not leases.release(lease)
    assert leases.active == set()
    assert [can_begin(leases) for _ in range(2)] == [True, False]


def test_an_ended_lease_keeps_no_media_alive_and_needs_no_collector() -> None:
    gc.disable()
    try:
        leases = make(1)
        lease = take(leases)
        stream = weakref.ref(lease.stream)
        leases.release(lease)
        del lease
        assert stream() is None
    finally:
        gc.enable()


# --- named streams


def test_unnamed_leases_each_have_a_stream_of_their_own() -> None:
    leases = make(2)
    assert take(leases).stream is not take(leases).stream
    assert len(leases.named) == 0


def test_a_named_stream_is_forgotten_after_max_stream_idle_without_use(clock: Clock) -> None:
    leases = make(1, max_stream_idle=600)
    first = take(leases, "call")
    clock.now += 10_000  # held: that is use
    leases.named.expire()
    assert len(leases.named) == 1
    leases.release(first)
    clock.now += 600
    leases.named.expire()
    second = take(leases, "call")
    assert second.stream is first.stream
    leases.release(second)
    clock.now += 601
    leases.named.expire()
    assert len(leases.named) == 0
    assert take(leases, "call").stream is not first.stream


def test_forgetting_begins_a_new_stream_for_the_next_holder() -> None:
    leases = make(1)
    first = take(leases, "call")
    leases.release(first)
    leases.named.forget("call")
    leases.named.forget("never seen")
    assert len(leases.named) == 0
    assert take(leases, "call").stream is not first.stream


def test_forgetting_a_stream_in_use_leaves_it_to_its_holder_and_the_next_waits_still() -> None:
    leases = make(2)
    first = take(leases, "call")
    leases.named.forget("call")
    second = queue(leases, "call")
    assert granted([second]) == [False]
    leases.release(first)
    assert second.lease.stream is not first.stream


def test_all_who_wait_can_be_sent_away() -> None:
    leases = make(1)
    take(leases)
    waiters = [queue(leases) for _ in range(2)]
    leases.fail_all(lambda: PoolClosed("closed"))
    assert all(waiter.wait(0) for waiter in waiters)
    assert waiters[0].error is not waiters[1].error
    assert leases.waiting == 0
