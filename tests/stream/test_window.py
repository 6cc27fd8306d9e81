"""The window, against a server written from the protocol: after any events, what is replayed gives the same context."""

from __future__ import annotations

from fractions import Fraction

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hume_sync.stream.duration import Length
from hume_sync.stream.window import ReplayPlan, StreamWindow, WindowItem

SMALL = 8 * 2**20 // 3 + 1  # three of these are more than is kept


def payload(name: object, size: int = 1) -> tuple[bytes, ...]:
    return (str(name).encode(), bytes(size))


def exactly(seconds: int | Fraction) -> Length:
    return Length(Fraction(seconds), exact=True)


def about(seconds: int | Fraction) -> Length:
    return Length(Fraction(seconds), exact=False)


def name_of(item: WindowItem) -> str:
    name = item.members[0]
    assert isinstance(name, bytes)  # what is kept is the window's own, and no caller's buffer
    return name.decode()


@attrs.define
class Server:
    """One connection of a v0 server (protocol, section 4): the model sees ``min(history, max(0, W - d))`` of the past
    and the payload. Audio is a row of (payload, millisecond)."""

    width: int
    history: list[tuple[str, int]] = attrs.Factory(list)

    def hear(self, name: str, length: int, *, reset: bool = False) -> list[tuple[str, int]]:
        """Returns what the model sees."""
        if reset:
            self.history = []
        context = min(len(self.history), max(0, self.width - length))
        new = [(name, i) for i in range(length)]
        seen = self.history[len(self.history) - context :] + new
        self.history += new
        return seen


Step = tuple[str, int, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 50), st.integers(0, 3)),
        st.tuples(st.just("reset"), st.just(0), st.integers(0, 3)),
        st.tuples(st.just("part"), st.integers(0, 4), st.integers(0, 3)),  # a replay broken off after so many
        st.tuples(st.just("stray"), st.just(0), st.integers(0, 3)),  # another stream uses the connection
    ),
    max_size=40,
)


@attrs.define
class Connection:
    server: Server
    heard: int | None = None
    touched: bool = False


class Client:
    """Uses the window as `exchange` does, on several connections."""

    def __init__(self, width: int, *, preserve: bool = True) -> None:
        self.width = width
        self.window = StreamWindow(width, preserve=preserve)
        self.connections = [Connection(Server(width)) for _ in range(4)]
        self.lengths: dict[str, int] = {}

    def push(self, name: str, length: int, at: int) -> tuple[ReplayPlan, list[tuple[str, int]]]:
        connection = self.connections[at]
        plan = self.window.replay_plan(connection.heard)
        reset = plan.reset and connection.touched
        if not plan.complete:
            self.window.mark_lost()
        reset = self.replay(connection, plan, len(plan.replay), reset)
        self.lengths[name] = length
        seen = connection.server.hear(name, length, reset=reset)
        self.window.append(payload(name), exactly(Fraction(length, 1000)))
        connection.heard, connection.touched = self.window.position, True
        return plan, seen

    def replay(self, connection: Connection, plan: ReplayPlan, count: int, reset: bool) -> bool:
        for item in plan.replay[:count]:
            name = name_of(item)
            connection.server.hear(name, self.lengths[name], reset=reset)
            connection.heard, connection.touched, reset = item.number, True, False
        return reset

    def break_off(self, at: int, count: int) -> None:
        connection = self.connections[at]
        plan = self.window.replay_plan(connection.heard)
        if plan.complete:
            self.replay(connection, plan, count, plan.reset and connection.touched)

    def reset(self, at: int) -> None:
        connection = self.connections[at]
        self.window.reset()
        connection.server.history = []
        connection.heard = self.window.position

    def stray(self, at: int) -> None:
        connection = self.connections[at]
        connection.server.hear("stray", 30, reset=True)
        connection.heard, connection.touched = None, True


@given(width=st.integers(5, 120), steps=STEPS)
def test_on_any_connection_the_server_sees_what_it_would_on_one_that_nothing_disturbs(
    width: int, steps: list[Step]
) -> None:
    client, undisturbed = Client(width), Server(width)
    for number, (kind, amount, at) in enumerate(steps):
        if kind == "reset":
            client.reset(at)
            undisturbed.history = []
        elif kind == "part":
            client.break_off(at, amount)
        elif kind == "stray":
            client.stray(at)
        else:
            plan, seen = client.push(str(number), amount, at)
            assert plan.complete
            assert seen == undisturbed.hear(str(number), amount)


@given(width=st.integers(5, 120), steps=STEPS)
def test_without_preservation_a_context_is_either_whole_or_said_to_be_lost_and_empty(
    width: int, steps: list[Step]
) -> None:
    client, undisturbed = Client(width, preserve=False), Server(width)
    for number, (kind, amount, at) in enumerate(steps):
        if kind == "reset":
            client.reset(at)
            undisturbed.history = []
        elif kind == "stray":
            client.stray(at)
        elif kind == "push":
            plan, seen = client.push(str(number), amount, at)
            assert not plan.replay
            if plan.complete:
                assert seen == undisturbed.hear(str(number), amount)
            else:
                assert {name for name, _ in seen} == {str(number)}
                undisturbed = Server(width, list(seen))  # from here on this is the context
    assert client.window.items == ()


@given(
    width=st.integers(5, 120),
    pushes=st.lists(st.tuples(st.integers(1, 50), st.sampled_from([1, SMALL])), max_size=40),
    data=st.data(),
)
def test_at_any_sizes_a_plan_is_complete_only_where_it_gives_the_whole_context(
    width: int, pushes: list[tuple[int, int]], data: st.DataObject
) -> None:
    window, undisturbed = StreamWindow(width), Server(width)
    lengths = {}
    for number, (length, size) in enumerate(pushes):
        name = str(number)
        lengths[name] = length
        undisturbed.hear(name, length)
        window.append(payload(name, size), exactly(Fraction(length, 1000)))
        plan = window.replay_plan(None)
        assert sum(item.size for item in window.items) <= 8 * 2**20
        fresh = Server(width)
        for item in plan.replay:
            replayed = name_of(item)
            fresh.hear(replayed, lengths[replayed])
        probe = data.draw(st.integers(1, width), label="next payload")
        if plan.complete:
            assert fresh.hear("next", probe) == Server(width, undisturbed.history[:]).hear("next", probe)
        else:
            assert plan.replay == ()


@given(
    pushes=st.lists(st.tuples(st.integers(1, 50), st.sampled_from([None, 0, 20, -20])), max_size=60),
)
def test_lengths_that_are_unknown_or_not_exact_never_make_a_plan_too_short(
    pushes: list[tuple[int, int | None]],
) -> None:
    window, undisturbed = StreamWindow(100), Server(100)
    lengths = {}
    for number, (length, error) in enumerate(pushes):
        lengths[str(number)] = length
        undisturbed.hear(str(number), length)
        measured = None
        if error == 0:
            measured = exactly(Fraction(length, 1000))
        elif error is not None and length + error > 0:  # never more than twice as long: see Length.at_least
            measured = about(Fraction(min(length + error, 2 * length), 1000))
        window.append(payload(number), measured)
    fresh = Server(100)
    plan = window.replay_plan(None)
    assert plan.complete
    for item in plan.replay:
        name = name_of(item)
        fresh.hear(name, lengths[name])
    assert fresh.hear("next", 1) == undisturbed.hear("next", 1)


def test_more_bytes_than_are_kept_lose_the_context_until_what_is_kept_fills_the_window() -> None:
    window = StreamWindow(5000)
    for _ in range(3):
        window.append((bytes(SMALL),), exactly(1))
    assert window.replay_plan(None) == ReplayPlan((), reset=True, complete=False)
    assert window.replay_plan(window.position).complete  # the connection that heard it all is none the worse
    for number in range(3, 5):
        window.append(payload(number), exactly(1))
        assert not window.replay_plan(None).complete
    window.append(payload(5), exactly(1))
    assert window.replay_plan(None).complete
    assert window.seconds == 5


def test_a_payload_larger_than_all_that_is_kept_leaves_nothing_to_replay() -> None:
    window = StreamWindow(500)
    window.append((bytes(8 * 2**20 + 1),), exactly(5))
    assert window.items == ()
    assert not window.replay_plan(None).complete
    window.append(payload("small"), exactly(1))
    assert window.replay_plan(None).complete


@pytest.mark.parametrize("length", [exactly(Fraction(1, 1000)), None], ids=["tiny", "unknown"])
def test_no_more_than_a_hundred_payloads_are_kept(length: Length | None) -> None:
    window = StreamWindow(5000)
    for number in range(100):
        window.append(payload(number), length)
    assert window.replay_plan(None).complete
    window.append(payload(100), length)
    assert len(window.items) == 100
    assert not window.replay_plan(None).complete
    window.append(payload(101), exactly(5))
    assert [item.number for item in window.items] == [102]
    assert window.replay_plan(None).complete


def test_a_payload_of_unknown_length_leaves_the_window_once_those_behind_it_fill_it() -> None:
    window = StreamWindow(5000)
    window.append(payload("before"), exactly(1))
    window.append(payload("unknown"), None)
    window.append(payload("after"), exactly(3))
    assert len(window.items) == 3
    assert window.seconds is None
    window.append(payload("last"), exactly(2))
    assert [item.members[0] for item in window.items] == [b"after", b"last"]
    assert window.seconds == 5


def test_what_may_still_be_in_the_servers_window_is_kept_where_lengths_are_not_exact() -> None:
    window = StreamWindow(5000)
    for number in range(20):
        window.append(payload(number), about(1))
    # Six of them are 4.5 s at least, and what is older may count.
    assert [item.number for item in window.items] == [14, 15, 16, 17, 18, 19, 20]
    assert window.seconds == 7


@pytest.mark.parametrize(("length", "least"), [(exactly(1), 1), (about(4), Fraction(15, 4)), (about(1), Fraction(3, 4)),
                                               (about(Fraction(1, 5)), Fraction(1, 10))])  # fmt: skip
def test_what_any_decoder_gives_of_a_length(length: Length, least: Fraction) -> None:
    assert length.at_least == least


def test_the_servers_five_seconds_hold_where_no_length_is_given() -> None:
    window = StreamWindow()
    for number in range(8):
        window.append(payload(number), exactly(1))
    assert window.seconds == 5


def test_a_connection_that_is_behind_hears_only_what_it_lacks() -> None:
    window = StreamWindow(5000)
    for number in range(4):
        window.append(payload(number), exactly(1))
    plan = window.replay_plan(2)
    assert [item.number for item in plan.replay] == [3, 4]
    assert (plan.reset, plan.complete) == (False, True)


def test_a_connection_that_is_too_far_behind_forgets_and_hears_all() -> None:
    window = StreamWindow(2000)
    for number in range(6):
        window.append(payload(number), exactly(1))
    plan = window.replay_plan(2)
    assert [item.number for item in plan.replay] == [5, 6]
    assert plan.reset


def test_a_reset_makes_what_a_connection_heard_before_worthless() -> None:
    window = StreamWindow(5000)
    window.append(payload("old"), exactly(1))
    window.reset()
    assert window.replay_plan(1) == ReplayPlan((), reset=True, complete=True)
    assert window.replay_plan(window.position) == ReplayPlan((), reset=False, complete=True)


def test_what_was_marked_lost_stays_lost_until_a_payload_is_accepted() -> None:
    window = StreamWindow(5000)
    window.append(payload("old"), exactly(1))
    window.mark_lost()
    for heard in (None, 1, window.position):
        assert window.replay_plan(heard) == ReplayPlan((), reset=True, complete=False)
    window.append(payload("new"), exactly(1))
    assert [item.members[0] for item in window.replay_plan(None).replay] == [b"new"]


def test_a_reset_by_the_caller_ends_what_was_marked_lost() -> None:
    window = StreamWindow(5000)
    window.mark_lost()
    window.reset()
    assert window.replay_plan(None).complete


def test_the_repr_shows_counts_and_no_media() -> None:
    window = StreamWindow()
    window.append((b"secret", b"media"), None)
    assert repr(window) == "<StreamWindow 1 payloads, 11 bytes, number 1>"
    assert "secret" not in repr(window.items)
