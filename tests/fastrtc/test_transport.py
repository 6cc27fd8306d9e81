"""The reconnecting transport, on scripted transports: what is received in which order, and what is interrupted."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync import ConnectError, HumeClientException, MisuseError, Timeout
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import Custom, HookError, Reconnected
from hume_sync.fastrtc.events import Event
from hume_sync.fastrtc.transport import Mark, OnReconnect, ReconnectingTransport, Sleep, Transport
from hume_sync.net.deadline import Deadline
from hume_sync.net.pending import DialSockets, Watch

from .talk import SPEECH

pytestmark = pytest.mark.usefixtures("errors_of_fakes_are_own")

pytestmark = pytest.mark.usefixtures("own_fakes")


class Scripted:
    """A transport that has some events, and then ends."""

    real_time = False
    queued_seconds = 0.0
    error = None

    def __init__(self, name: str, *events: Event, code: int | None = 1006) -> None:
        self.webrtc_id = name
        self.lost = ConnectionLost("cut", close_code=code)
        self.aborted = False
        self._events = deque(events)

    def receive(self, deadline: Deadline) -> Event | None:
        if self._events:
            return self._events.popleft()
        raise self.lost

    def send_audio(self, samples: bytes, deadline: Deadline) -> None:
        raise self.lost

    def send(self, message: str | bytes, deadline: Deadline) -> None:
        raise self.lost

    def send_mark(self, mark: Mark, deadline: Deadline, *, before: int = 0) -> None:
        raise self.lost

    def close(self, timeout: float) -> None:
        self.aborted = True

    def abort(self) -> None:
        self.aborted = True


def connection(
    *transports: Transport, reconnect: bool = True, on_reconnect: OnReconnect | None = None
) -> ReconnectingTransport:
    """One that goes through these."""
    coming = iter(transports)

    def connect(deadline: Deadline, watch: Watch, sleep: Sleep) -> Transport:
        transport = next(coming, None)
        if transport is None:
            raise ConnectError("no server there")
        return transport

    return ReconnectingTransport(
        connect, timeout=5.0, reconnect=reconnect, on_reconnect=on_reconnect or (lambda *_: None)
    )


def soon() -> Deadline:
    return Deadline(5.0)


def received(it: ReconnectingTransport) -> Event | None:
    event = it.receive(soon(), soon())
    assert not isinstance(event, Mark)
    return event


def all_of(it: ReconnectingTransport) -> list[Event | None]:
    """What comes until there is a failure."""
    got: list[Event | None] = []
    with pytest.raises(HumeClientException):
        while True:
            got.append(received(it))
    return got


A, B, C = (Custom(name, None) for name in "ABC")


# --- what is received, and in which order


def test_what_came_before_the_end_is_received_before_the_next_connection_begins() -> None:
    it = connection(Scripted("one", A, B), Scripted("two", C))
    with pytest.raises(ConnectionLost):  # noticed by who sends: the reader has seen nothing yet
        it.call(lambda transport: transport.send_audio(SPEECH, soon()), soon())
    assert it.has_queued_events()
    assert all_of(it) == [A, B, Reconnected("two", "cut"), C]


def test_what_was_put_back_comes_next() -> None:
    it = connection(Scripted("one", C), reconnect=False)
    it.push_back([B])
    it.push_back([A])
    assert all_of(it) == [A, B, C]


def test_the_end_can_be_left_to_the_next_call() -> None:
    it = connection(Scripted("one"), Scripted("two"))
    assert it.receive(soon(), soon(), ignore=lambda error: error.close_code == 1006) is None
    assert it.transport.webrtc_id == "one"
    with pytest.raises(ConnectionLost):
        received(it)
    assert received(it) == Reconnected("two", "cut")


def test_who_reconnects_takes_nothing_that_another_thread_is_taking() -> None:
    class Watched(Scripted):
        def receive(self, deadline: Deadline) -> Event | None:
            (both if reading.is_set() else reading).set()
            assert may_go_on.wait(5)
            return super().receive(deadline)

    reading, both, may_go_on = threading.Event(), threading.Event(), threading.Event()
    it = connection(Watched("one", A, B), Scripted("two"))
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(received, it)
        assert reading.wait(5)
        losing = threads.submit(it.call, lambda transport: transport.send_audio(SPEECH, soon()), soon())
        assert not both.wait(0.2)
        may_go_on.set()
        assert isinstance(losing.exception(5), ConnectionLost)
        assert first.result(5) == A
    assert all_of(it) == [B, Reconnected("two", "cut")]


def test_the_next_connection_is_read_by_no_thread_before_it_was_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    it = connection(Scripted("one"), Scripted("two", A))
    publish = ReconnectingTransport._swap
    seen: list[Event | None] = []

    def overtaken(self: ReconnectingTransport, *args: Any) -> None:
        publish(self, *args)
        seen.append(received(it))

    monkeypatch.setattr(ReconnectingTransport, "_swap", overtaken)
    with pytest.raises(ConnectionLost):
        received(it)
    assert seen == [Reconnected("two", "cut")]
    assert received(it) == A


def test_who_waits_for_another_reader_keeps_to_its_deadline() -> None:
    class Silent(Scripted):
        def receive(self, deadline: Deadline) -> Event | None:
            reading.set()
            assert may_end.wait(5)
            return A

    reading, may_end = threading.Event(), threading.Event()
    it = connection(Silent("one"))
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(received, it)
        assert reading.wait(5)
        assert it.receive(Deadline(0.05), soon()) is None
        may_end.set()
        assert first.result(5) == A


def test_a_link_that_cannot_be_made_what_the_old_one_was_is_ended_and_another_made_by_the_next_call() -> None:
    failures = [HookError("out of order")] * 2

    def renewed(_: ReconnectingTransport, transport: Transport, __: Deadline) -> None:
        if failures:
            raise failures.pop()

    made = [Scripted(name) for name in ("one", "two", "three", "four")]
    it = connection(*made, on_reconnect=renewed)
    for _ in range(2):
        with pytest.raises(HookError):
            received(it)
        assert it.transport is made[0]
        assert not it.has_queued_events()
    with pytest.raises(ConnectionLost):
        received(it)
    assert [transport.aborted for transport in made] == [False, True, True, False]
    assert received(it) == Reconnected("four", "cut")


@pytest.mark.parametrize("code", [None, 1000, 1001, 1002, 1006, 1008, 1009, 1011, 1012, 1013, 4000])
def test_what_was_cut_is_replaced_and_what_was_ended_is_not(code: int | None) -> None:
    reconnects = code not in {1000, 1002, 1008, 1009, 4000}
    it = connection(Scripted("one", code=code), Scripted("two"))
    with pytest.raises(ConnectionLost):
        received(it)
    assert it.transport.webrtc_id == ("two" if reconnects else "one")
    assert it.has_queued_events() == reconnects


def test_a_connection_that_cannot_be_replaced_is_tried_again_by_the_next_call() -> None:
    it = connection(Scripted("one"))
    for _ in range(2):
        with pytest.raises(ConnectError, match="no server there"):
            received(it)
    assert not it.has_queued_events()


def test_nothing_is_replaced_unless_asked() -> None:
    it = connection(Scripted("one"), Scripted("two"), reconnect=False)
    assert all_of(it) == []
    assert it.transport.webrtc_id == "one"


# --- threads


def test_two_threads_that_lose_a_connection_reconnect_once() -> None:
    it = connection(Scripted("one"), Scripted("two"), Scripted("three"))
    lost = it.transport
    together = threading.Barrier(2)

    def lose(transport: Transport) -> None:
        assert transport is lost
        together.wait(5)  # both have the first one
        transport.send_audio(SPEECH, soon())

    with ThreadPoolExecutor(2) as threads:
        losing = [threads.submit(it.call, lose, soon()) for _ in range(2)]
        assert [type(each.exception(5)) for each in losing] == [ConnectionLost] * 2
    assert it.transport.webrtc_id == "two"
    assert received(it) == Reconnected("two", "cut")
    assert not it.has_queued_events()


def test_what_is_done_exclusively_is_done_before_the_connection_is_replaced_or_after() -> None:
    order: list[str] = []
    it = connection(
        Scripted("one"),
        Scripted("two"),
        on_reconnect=lambda _, transport, __: order.append(f"renewed {transport.webrtc_id}"),
    )
    under_way, may_end = threading.Event(), threading.Event()

    def work(transport: Transport) -> None:
        under_way.set()
        assert may_end.wait(5)
        order.append(f"worked with {transport.webrtc_id}")

    with ThreadPoolExecutor(2) as threads:
        working = threads.submit(it.call_locked, work, soon())
        assert under_way.wait(5)
        losing = threads.submit(received, it)
        with pytest.raises(Timeout) as caught:
            it.call_locked(work, Deadline(0.05))
        assert caught.value.phase == "lock"
        may_end.set()
        working.result(5)
        assert isinstance(losing.exception(5), ConnectionLost)
    assert order == ["worked with one", "renewed two"]


def test_what_is_done_exclusively_does_nothing_steadily() -> None:
    it = connection(Scripted("one"))
    with pytest.raises(MisuseError, match="inside its own call"):
        it.call_locked(lambda _: it.call_locked(lambda _: None, soon()), soon())
    assert it.call_locked(lambda transport: transport.webrtc_id, soon()) == "one"


# --- interrupted


def test_what_waits_for_its_turn_is_not_done_once_it_is_closed() -> None:
    it = connection(Scripted("one"))
    under_way, may_end = threading.Event(), threading.Event()

    def hold(_: Transport) -> None:
        under_way.set()
        assert may_end.wait(5)

    with ThreadPoolExecutor(2) as threads:
        holding = threads.submit(it.call_locked, hold, soon())
        assert under_way.wait(5)
        waiting = threads.submit(it.call_locked, hold, soon())
        it.cancel_waits()
        may_end.set()
        holding.result(5)
        assert isinstance(waiting.exception(5), MisuseError)


def test_a_request_is_interrupted_whenever_it_begins() -> None:
    it = connection(Scripted("one"))
    sockets = DialSockets()

    def hang(watch: Watch) -> None:
        watch(sockets)
        it.cancel_waits()
        sockets.check()

    with pytest.raises(MisuseError, match="closed"):
        it.run_cancellable(hang)

    def begin(watch: Watch) -> None:
        watch(DialSockets())
        raise AssertionError("it was closed before")

    with pytest.raises(MisuseError, match="closed"):
        it.run_cancellable(begin)


def test_a_connection_that_comes_after_the_end_is_never_leaked() -> None:
    late = Scripted("two")
    transports = iter([Scripted("one"), late])

    def connect(deadline: Deadline, watch: Watch, sleep: Sleep) -> Transport:
        transport = next(transports)
        if transport is late:
            it.cancel_waits()
        return transport

    it = ReconnectingTransport(connect, timeout=5.0, reconnect=True, on_reconnect=lambda *_: None)
    with pytest.raises(MisuseError, match="closed"):
        received(it)
    assert late.aborted
