"""The connections of a pool: which one serves a stream, which ones are expired, and that there are never too many."""

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
    connections: PooledConnections,
    clock: Clock,
    /,
    holds: tuple[object, int] | None = None,
    audio_clock: Fraction | None = Fraction(0),
    **attributes: Any,
) -> Connection:
    """A new connection, idle."""
    assert connections.size < 9
    connection = leased(connections)
    connection.created_at = connection.last_used_at = connection.last_received_at = clock.now
    for name, value in attributes.items():
        setattr(connection, name, value)
    connection.server_state.audio_clock = audio_clock
    if holds is not None:
        connection.server_state.set_position(*holds)
    assert put_back(connections, connection) == []
    return connection


def leased(connections: PooledConnections) -> Connection:
    """A new connection that a lease has."""
    connection = Connection(cast("Any", Silent()))
    connections.connecting.add(THREAD)
    connections.add(connection, THREAD, THREAD)
    return connection


def put_back(connections: PooledConnections, connection: Connection) -> ToClose:
    """The lease of the named stream that the connection holds is over."""
    mine = stream()
    mine.token = connection.server_state._window_token or mine.token
    return connections.checkin(connection, mine, kept=True)


def make(size: int = 9, **limits: float) -> PooledConnections:
    return PooledConnections(size, Limits(**limits))


def test_an_empty_shelf_asks_for_a_dial_and_counts_it() -> None:
    connections = make()
    assert connections.checkout(stream(), THREAD, THREAD) == (None, [])
    assert connections.size == 1
    connections.add(None, THREAD, THREAD)
    assert connections.size == 0


def test_a_picked_connection_is_leased_and_not_picked_again(clock: Clock) -> None:
    connections = make()
    connection = dial(connections, clock)
    assert connections.checkout(stream(), THREAD, THREAD)[0] is connection
    assert connections.checkout(stream(), OTHER, OTHER)[0] is None
    assert connections.size == 2
    assert connection.last_thread is THREAD


def test_the_one_that_holds_the_stream_comes_first_then_the_threads_own_then_the_one_used_last(clock: Clock) -> None:
    mine = stream()
    mine.connection = leased(make())
    connections = make()
    holding = dial(connections, clock, holds=(mine.token, 3), last_thread=OTHER)
    own = dial(connections, clock, last_thread=THREAD)
    early = dial(connections, clock, last_thread=OTHER)
    clock.now += 1
    late = dial(connections, clock, last_thread=OTHER)
    order = [connections.checkout(mine, THREAD, THREAD)[0] for _ in range(5)]
    assert order == [holding, own, late, early, None]


def test_a_connection_whose_clock_is_unknown_serves_only_the_stream_it_holds(clock: Clock) -> None:
    mine = stream()
    mine.connection = leased(make())
    connections = make()
    unknown = dial(connections, clock, audio_clock=None, holds=(mine.token, 1))
    assert connections.checkout(stream(), THREAD, THREAD)[0] is None
    assert connections.checkout(mine, THREAD, THREAD)[0] is unknown


def test_where_there_is_no_room_one_that_cannot_serve_makes_way(clock: Clock) -> None:
    connections = make(size=1)
    unknown = dial(connections, clock, audio_clock=None, holds=(object(), 1))
    assert connections.checkout(stream(), THREAD, THREAD) == (None, [(unknown, "evicted")])
    assert connections.size == 1


def test_max_idle_is_looked_at_when_a_connection_is_taken_and_when_another_comes_back(clock: Clock) -> None:
    connections = make(max_idle=50)
    old = dial(connections, clock)
    clock.now += 50
    assert connections.checkout(stream(), THREAD, THREAD) == (old, [])
    old.last_used_at = clock.now  # it was used
    young = dial(connections, clock)
    clock.now += 51
    old.last_used_at = clock.now
    assert put_back(connections, old) == [(young, "idle")]
    clock.now += 51
    assert connections.checkout(stream(), THREAD, THREAD) == (None, [(old, "idle")])


def test_max_lifetime_is_looked_at_when_a_connection_is_taken_and_when_it_comes_back(clock: Clock) -> None:
    connections = make(max_lifetime=20)
    first = dial(connections, clock)
    clock.now += 21
    assert connections.checkout(stream(), THREAD, THREAD) == (None, [(first, "lifetime")])
    connections.add(None, THREAD, THREAD)
    second = dial(connections, clock)
    assert connections.checkout(stream(), THREAD, THREAD)[0] is second
    clock.now += 21
    assert put_back(connections, second) == [(second, "lifetime")]
    assert connections.size == 0


def test_a_connection_that_is_no_longer_sound_is_not_kept(clock: Clock) -> None:
    connections = make()
    connection = dial(connections, clock)
    connections.checkout(stream(), THREAD, THREAD)
    connection.discard()
    assert put_back(connections, connection) == [(connection, "error")]
    assert connections.size == 0


def test_one_that_had_gone_while_idle_is_dropped(clock: Clock) -> None:
    connections = make()
    connection = dial(connections, clock)
    connections.checkout(stream(), THREAD, THREAD)
    connections.remove(connection)
    assert connections.size == 0


@pytest.mark.parametrize("kept", [False, True])
def test_the_end_of_a_lease_removes_what_no_other_stream_may_use(clock: Clock, kept: bool) -> None:
    mine = stream()
    connections = make()
    faces, unknown, good = leased(connections), leased(connections), leased(connections)
    faces.server_state.faces_token = mine.token
    unknown.server_state.audio_clock = None
    unknown.server_state.set_position(mine.token, 1)
    assert connections.checkin(faces, mine, kept=kept) == [(faces, "faces")]
    assert connections.checkin(unknown, mine, kept=kept) == ([] if kept else [(unknown, "clock")])
    assert connections.checkin(good, mine, kept=kept) == []
    assert list(connections.idle) == ([unknown, good] if kept else [good])
    assert connections.in_use == {}


def test_what_a_signal_has_left_behind_is_taken_out_when_the_call_ends(clock: Clock) -> None:
    connections = make()
    connection = dial(connections, clock)
    connections.checkout(stream(), THREAD, THREAD)
    connections.checkout(stream(), OTHER, OTHER)
    connections.checkout(stream(), THREAD, THREAD)
    assert connections.reclaim(THREAD, None) == [(connection, "error")]
    assert connections.connecting == {OTHER}
    assert connections.reclaim(THREAD, None) == []


def test_what_a_lease_is_known_to_have_is_not_left_behind(clock: Clock) -> None:
    connections = make()
    connection = dial(connections, clock)
    connections.checkout(stream(), THREAD, THREAD)
    assert connections.reclaim(THREAD, connection) == []
    assert list(connections.in_use) == [connection]


def test_clearing_takes_out_all_that_are_idle(clock: Clock) -> None:
    connections = make()
    dial(connections, clock)
    busy, _ = connections.checkout(stream(), THREAD, THREAD)
    idle = dial(connections, clock)
    assert connections.pop_idle() == [idle]
    assert list(connections.in_use) == [busy]


# --- connections that may be dead


def test_one_that_need_not_be_checked_is_taken_rather_than_the_threads_own_but_not_than_the_streams(
    clock: Clock,
) -> None:
    mine = stream()
    mine.connection = leased(make())
    connections = make(check_after=15.0)
    holding = dial(connections, clock, holds=(mine.token, 3), last_thread=OTHER)
    own = dial(connections, clock, last_thread=THREAD)
    other = dial(connections, clock, last_thread=OTHER)
    clock.now += 15
    fresh = dial(connections, clock, last_thread=OTHER)
    order = [connections.checkout(mine, THREAD, THREAD)[0] for _ in range(5)]
    assert order == [holding, fresh, own, other, None]


def test_those_that_have_to_be_checked_are_passed_over_where_none_may_be(clock: Clock) -> None:
    mine = stream()
    mine.connection = leased(make())
    connections = make(check_after=15.0)
    silent = dial(connections, clock, holds=(mine.token, 3))
    clock.now += 15
    fresh = dial(connections, clock)
    assert connections.checkout(mine, THREAD, THREAD, skip_if_ping_needed=True) == (fresh, [])
    assert connections.checkout(mine, THREAD, THREAD, skip_if_ping_needed=True) == (None, [])
    assert list(connections.idle) == [silent]


def test_a_connection_knows_when_it_was_taken(clock: Clock) -> None:
    connections = make()
    connection = dial(connections, clock)
    clock.now += 3
    connections.checkout(stream(), THREAD, THREAD)
    assert connection.checked_out_at == clock.now
