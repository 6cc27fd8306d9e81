"""The shelf: which connection serves a stream, which ones have had their time, and that there are never too many."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar, cast

import pytest

from hume_sync.stream.connection import Connection
from hume_sync.stream.connections import PooledConnections, ToClose
from hume_sync.stream.limits import Limits
from hume_sync.stream.stream import Stream
from tests.clocks import Clock

THREAD, OTHER = object(), object()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, "boottime")


def stream() -> Stream:
    return Stream()


class Silent:
    """A transport that nothing is asked of."""

    headers: ClassVar[dict[str, str]] = {}

    def is_quiet(self) -> bool:
        return True

    def discard(self) -> None: ...


def dial(
    shelf: PooledConnections,
    clock: Clock,
    /,
    holds: tuple[object, int] | None = None,
    audio_clock: Fraction | None = Fraction(0),
    **attributes: Any,
) -> Connection:
    """A new connection, idle."""
    assert shelf.size < 9
    connection = leased(shelf)
    connection.created_at = connection.last_used_at = connection.last_received_at = clock.now
    for name, value in attributes.items():
        setattr(connection, name, value)
    connection.server_state.audio_clock = audio_clock
    if holds is not None:
        connection.server_state.set_position(*holds)
    assert put_back(shelf, connection) == []
    return connection


def leased(shelf: PooledConnections) -> Connection:
    """A new connection that a lease has."""
    connection = Connection(cast("Any", Silent()))
    shelf.connecting.add(THREAD)
    shelf.add(connection, THREAD, THREAD)
    return connection


def put_back(shelf: PooledConnections, connection: Connection) -> ToClose:
    """The lease of the named stream that the connection holds is over."""
    mine = stream()
    mine.token = connection.server_state._window_token or mine.token
    return shelf.checkin(connection, mine, kept=True)


def make(size: int = 9, **limits: float) -> PooledConnections:
    return PooledConnections(size, Limits(**limits))


def test_an_empty_shelf_asks_for_a_dial_and_counts_it() -> None:
    shelf = make()
    assert shelf.checkout(stream(), THREAD, THREAD) == (None, [])
    assert shelf.size == 1
    shelf.add(None, THREAD, THREAD)
    assert shelf.size == 0


def test_a_picked_connection_is_leased_and_not_picked_again(clock: Clock) -> None:
    shelf = make()
    connection = dial(shelf, clock)
    assert shelf.checkout(stream(), THREAD, THREAD)[0] is connection
    assert shelf.checkout(stream(), OTHER, OTHER)[0] is None
    assert shelf.size == 2
    assert connection.last_thread is THREAD


def test_the_one_that_holds_the_stream_comes_first_then_the_threads_own_then_the_one_used_last(clock: Clock) -> None:
    mine = stream()
    mine.connection = leased(make())
    shelf = make()
    holding = dial(shelf, clock, holds=(mine.token, 3), last_thread=OTHER)
    own = dial(shelf, clock, last_thread=THREAD)
    early = dial(shelf, clock, last_thread=OTHER)
    clock.now += 1
    late = dial(shelf, clock, last_thread=OTHER)
    order = [shelf.checkout(mine, THREAD, THREAD)[0] for _ in range(5)]
    assert order == [holding, own, late, early, None]


def test_a_connection_whose_clock_nobody_knows_serves_the_stream_it_holds_alone(clock: Clock) -> None:
    mine = stream()
    mine.connection = leased(make())
    shelf = make()
    unknown = dial(shelf, clock, audio_clock=None, holds=(mine.token, 1))
    assert shelf.checkout(stream(), THREAD, THREAD)[0] is None
    assert shelf.checkout(mine, THREAD, THREAD)[0] is unknown


def test_where_there_is_no_room_one_that_cannot_serve_makes_way(clock: Clock) -> None:
    shelf = make(size=1)
    unknown = dial(shelf, clock, audio_clock=None, holds=(object(), 1))
    assert shelf.checkout(stream(), THREAD, THREAD) == (None, [(unknown, "evicted")])
    assert shelf.size == 1


def test_max_idle_is_looked_at_when_a_connection_is_taken_and_when_another_comes_back(clock: Clock) -> None:
    shelf = make(max_idle=50)
    old = dial(shelf, clock)
    clock.now += 50
    assert shelf.checkout(stream(), THREAD, THREAD) == (old, [])
    old.last_used_at = clock.now  # it was used
    young = dial(shelf, clock)
    clock.now += 51
    old.last_used_at = clock.now
    assert put_back(shelf, old) == [(young, "idle")]
    clock.now += 51
    assert shelf.checkout(stream(), THREAD, THREAD) == (None, [(old, "idle")])


def test_max_lifetime_is_looked_at_when_a_connection_is_taken_and_when_it_comes_back(clock: Clock) -> None:
    shelf = make(max_lifetime=20)
    first = dial(shelf, clock)
    clock.now += 21
    assert shelf.checkout(stream(), THREAD, THREAD) == (None, [(first, "lifetime")])
    shelf.add(None, THREAD, THREAD)
    second = dial(shelf, clock)
    assert shelf.checkout(stream(), THREAD, THREAD)[0] is second
    clock.now += 21
    assert put_back(shelf, second) == [(second, "lifetime")]
    assert shelf.size == 0


def test_a_connection_that_is_no_longer_sound_is_not_kept(clock: Clock) -> None:
    shelf = make()
    connection = dial(shelf, clock)
    shelf.checkout(stream(), THREAD, THREAD)
    connection.discard()
    assert put_back(shelf, connection) == [(connection, "error")]
    assert shelf.size == 0


def test_one_that_had_gone_while_idle_is_dropped(clock: Clock) -> None:
    shelf = make()
    connection = dial(shelf, clock)
    shelf.checkout(stream(), THREAD, THREAD)
    shelf.remove(connection)
    assert shelf.size == 0


@pytest.mark.parametrize("kept", [False, True])
def test_the_end_of_a_lease_takes_out_what_nobody_else_may_use(clock: Clock, kept: bool) -> None:
    mine = stream()
    shelf = make()
    faces, unknown, good = leased(shelf), leased(shelf), leased(shelf)
    faces.server_state.faces_token = mine.token
    unknown.server_state.audio_clock = None
    unknown.server_state.set_position(mine.token, 1)
    assert shelf.checkin(faces, mine, kept=kept) == [(faces, "faces")]
    assert shelf.checkin(unknown, mine, kept=kept) == ([] if kept else [(unknown, "clock")])
    assert shelf.checkin(good, mine, kept=kept) == []
    assert list(shelf.idle) == ([unknown, good] if kept else [good])
    assert shelf.in_use == {}


def test_what_a_signal_has_left_behind_is_taken_out_when_the_call_ends(clock: Clock) -> None:
    shelf = make()
    connection = dial(shelf, clock)
    shelf.checkout(stream(), THREAD, THREAD)
    shelf.checkout(stream(), OTHER, OTHER)
    shelf.checkout(stream(), THREAD, THREAD)
    assert shelf.reclaim(THREAD, None) == [(connection, "error")]
    assert shelf.connecting == {OTHER}
    assert shelf.reclaim(THREAD, None) == []


def test_what_a_lease_is_known_to_have_is_not_left_behind(clock: Clock) -> None:
    shelf = make()
    connection = dial(shelf, clock)
    shelf.checkout(stream(), THREAD, THREAD)
    assert shelf.reclaim(THREAD, connection) == []
    assert list(shelf.in_use) == [connection]


def test_clearing_takes_out_all_that_are_idle(clock: Clock) -> None:
    shelf = make()
    dial(shelf, clock)
    busy, _ = shelf.checkout(stream(), THREAD, THREAD)
    idle = dial(shelf, clock)
    assert shelf.pop_idle() == [idle]
    assert list(shelf.in_use) == [busy]


# --- connections that may be dead


def test_one_that_need_not_be_checked_is_taken_rather_than_the_threads_own_but_not_than_the_streams(
    clock: Clock,
) -> None:
    mine = stream()
    mine.connection = leased(make())
    shelf = make(check_after=15.0)
    holding = dial(shelf, clock, holds=(mine.token, 3), last_thread=OTHER)
    own = dial(shelf, clock, last_thread=THREAD)
    other = dial(shelf, clock, last_thread=OTHER)
    clock.now += 15
    fresh = dial(shelf, clock, last_thread=OTHER)
    order = [shelf.checkout(mine, THREAD, THREAD)[0] for _ in range(5)]
    assert order == [holding, fresh, own, other, None]


def test_those_that_have_to_be_checked_are_passed_over_where_none_may_be(clock: Clock) -> None:
    mine = stream()
    mine.connection = leased(make())
    shelf = make(check_after=15.0)
    silent = dial(shelf, clock, holds=(mine.token, 3))
    clock.now += 15
    fresh = dial(shelf, clock)
    assert shelf.checkout(mine, THREAD, THREAD, unchecked=True) == (fresh, [])
    assert shelf.checkout(mine, THREAD, THREAD, unchecked=True) == (None, [])
    assert list(shelf.idle) == [silent]


def test_a_connection_knows_when_it_was_taken(clock: Clock) -> None:
    shelf = make()
    connection = dial(shelf, clock)
    clock.now += 3
    shelf.checkout(stream(), THREAD, THREAD)
    assert connection.checked_out_at == clock.now
