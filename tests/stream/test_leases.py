"""Leases: whose turn it is, what the next holder of a stream goes on with, and that no slot is ever lost."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Hashable, Iterator

import pytest

from hume_sync import MisuseError, PoolClosed, PoolFull
from hume_sync.stream import leases as module
from hume_sync.stream.exchange import Stream
from hume_sync.stream.leases import Lease, Leases, ThreadMark, Waiter
from hume_sync.stream.window import StreamWindow


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def returned() -> list[Lease]:
    """What dead threads have left."""
    return []


def make(size: int = 1, max_waiting: int | None = None, max_stream_idle: float = 600.0) -> Leases:
    return Leases(size, max_waiting, max_stream_idle, lambda: Stream(StreamWindow()))


def ask(leases: Leases, key: Hashable | None = None) -> Waiter:
    waiter = Waiter(key)
    leases.ask(waiter, ThreadMark())
    return waiter


_marks: dict[int, ThreadMark] = {}


@pytest.fixture(autouse=True)
def _no_marks_left() -> Iterator[None]:
    yield
    _marks.clear()


def take(leases: Leases, key: Hashable | None = None, waiter: Waiter | None = None) -> Lease:
    """A lease, of a thread that lives as long as the test."""
    mark = ThreadMark()
    if waiter is None:
        leases.ask(waiter := Waiter(key), mark)
    lease = leases.begin(waiter, mark, "file.py:1", lambda _: None)
    _marks[id(lease)] = mark
    return lease


def test_a_free_slot_is_granted_at_once() -> None:
    leases = make(2)
    first, second, third = (ask(leases) for _ in range(3))
    assert (first.granted, second.granted, third.granted) == (True, True, False)
    assert first.wait(0)
    assert not third.wait(0)
    assert leases.waiting == 1


def test_waiters_are_served_in_the_order_they_came() -> None:
    leases = make(1)
    lease = take(leases)
    waiters = [ask(leases) for _ in range(4)]
    for number, waiter in enumerate(waiters):
        leases.end(lease)
        assert [w.granted for w in waiters] == [True] * (number + 1) + [False] * (3 - number)
        lease = take(leases, waiter=waiter)


def test_who_waits_for_a_stream_in_use_holds_up_nobody_else() -> None:
    leases = make(2)
    holder = take(leases, "call")
    second, other = ask(leases, "call"), ask(leases)
    assert [waiter.granted for waiter in (second, other)] == [False, True]
    leases.end(holder)
    assert second.granted
    assert take(leases, waiter=second).stream is holder.stream


def test_holders_of_one_stream_take_turns_in_the_order_they_came() -> None:
    leases = make(3)
    holder = take(leases, "call")
    waiters = [ask(leases, "call") for _ in range(2)]
    leases.end(holder)
    assert [w.granted for w in waiters] == [True, False]


def test_more_than_max_waiting_are_refused_and_leave_no_trace() -> None:
    leases = make(1, max_waiting=1)
    holder = take(leases)
    waiter = ask(leases)
    with pytest.raises(PoolFull, match="max_waiting is 1"):
        ask(leases)
    assert leases.waiting == 1
    leases.end(holder)
    assert waiter.granted


def test_with_max_waiting_zero_a_free_slot_is_still_granted() -> None:
    leases = make(1, max_waiting=0)
    assert ask(leases).granted
    with pytest.raises(PoolFull):
        ask(leases)


def test_one_who_leaves_the_queue_is_passed_over() -> None:
    leases = make(1)
    holder = take(leases)
    first, second = ask(leases), ask(leases)
    leases.leave_queue(first)
    leases.end(holder)
    assert (first.granted, second.granted) == (False, True)


@pytest.mark.parametrize("key", [None, "call"])
def test_one_who_leaves_in_the_instant_of_the_grant_hands_it_on(key: str | None) -> None:
    leases = make(1)
    holder = take(leases, key)
    first, second = ask(leases, key), ask(leases, key)
    leases.end(holder)
    assert first.granted
    leases.leave_queue(first)
    assert second.granted


def test_one_who_leaves_after_the_lease_began_ends_it() -> None:
    leases, mark = make(1), ThreadMark()
    waiter = Waiter("call")
    leases.ask(waiter, mark)
    leases.begin(waiter, mark, "file.py:1", lambda _: None)
    leases.leave_queue(waiter)
    assert (leases.held, mark.lease) == (0, None)
    assert ask(leases, "call").granted


def test_leaving_a_queue_that_was_never_joined_changes_nothing() -> None:
    leases = make(1)
    leases.leave_queue(Waiter(None))
    assert [ask(leases).granted for _ in range(2)] == [True, False]


def test_a_second_lease_of_one_thread_names_the_place_of_the_first() -> None:
    leases, mark = make(2), ThreadMark()
    waiter = Waiter(None)
    leases.ask(waiter, mark)
    lease = leases.begin(waiter, mark, "app.py:42", lambda _: None)
    with pytest.raises(MisuseError, match=r"app\.py:42"):
        leases.ask(Waiter(None), mark)
    leases.end(lease)
    leases.ask(again := Waiter(None), mark)
    assert again.granted


def test_ending_twice_gives_one_slot_back() -> None:
    leases = make(1)
    lease = take(leases)
    assert leases.end(lease)
    assert not leases.end(lease)
    assert leases.held == 0
    assert [ask(leases).granted for _ in range(2)] == [True, False]


def test_a_lease_that_ends_in_a_call_keeps_its_slot_until_the_call_is_over() -> None:
    leases = make(1)
    lease = take(leases)
    lease.busy = True
    assert not leases.end(lease)
    assert lease.ending
    waiter = ask(leases)
    assert not waiter.granted
    lease.busy = False
    assert leases.end(lease)
    assert waiter.granted


def test_the_death_of_its_thread_is_told_for_a_lease(returned: list[Lease]) -> None:
    leases, mark = make(1), ThreadMark()
    leases.ask(waiter := Waiter(None), mark)
    lease = leases.begin(waiter, mark, "file.py:1", returned.append)
    mark_lives = weakref.ref(mark)
    del mark
    assert mark_lives() is None
    assert returned == [lease]
    assert leases.end(lease)


def test_an_ended_lease_keeps_no_media_alive_and_needs_no_collector() -> None:
    gc.disable()
    try:
        leases, mark = make(1), ThreadMark()
        leases.ask(waiter := Waiter(None), mark)
        lease = leases.begin(waiter, mark, "file.py:1", lambda _: None)
        stream = weakref.ref(lease.stream)
        leases.end(lease)
        del lease, waiter
        assert stream() is None
    finally:
        gc.enable()


# --- named streams


def test_unnamed_leases_each_have_a_stream_of_their_own() -> None:
    leases = make(2)
    assert take(leases).stream is not take(leases).stream
    assert not list(leases)


def test_a_named_stream_is_forgotten_after_max_stream_idle_without_use(clock: Clock) -> None:
    leases = make(1, max_stream_idle=600)
    first = take(leases, "call")
    clock.now += 10_000  # held: that is use
    leases.forget_idle()
    assert list(leases) == ["call"]
    leases.end(first)
    clock.now += 600
    leases.forget_idle()
    second = take(leases, "call")
    assert second.stream is first.stream
    leases.end(second)
    clock.now += 601
    leases.forget_idle()
    assert not list(leases)
    assert take(leases, "call").stream is not first.stream


def test_forgetting_begins_a_new_stream_for_the_next_holder() -> None:
    leases = make(1)
    first = take(leases, "call")
    leases.end(first)
    leases.forget("call")
    leases.forget("never seen")
    assert not list(leases)
    assert take(leases, "call").stream is not first.stream


def test_forgetting_a_stream_in_use_leaves_it_to_its_holder_and_the_next_waits_still() -> None:
    leases = make(2)
    first = take(leases, "call")
    leases.forget("call")
    second = ask(leases, "call")
    assert not second.granted
    leases.end(first)
    assert take(leases, waiter=second).stream is not first.stream


def test_all_who_wait_can_be_sent_away() -> None:
    leases = make(1)
    take(leases)
    waiters = [ask(leases) for _ in range(2)]
    leases.refuse_all(lambda: PoolClosed("closed"))
    assert all(waiter.wait(0) for waiter in waiters)
    assert waiters[0].refused is not waiters[1].refused
    assert leases.waiting == 0
