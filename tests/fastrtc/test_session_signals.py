"""What a signal handler or another thread raises in a session over WebSocket, wherever that may wait.

It comes out as it is, and at once; nothing is posted or connected again for it; the session stays usable where the call
was not about its connection; and no thread or descriptor is left.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from hume_sync import RetryPolicy
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import FastRTCClient, Reconnected, Session
from hume_sync.net.call_lock import CallLock
from tests.faultproxy import Peer
from tests.net.support import server, tls_contexts

from .fake import FakeFastRTC
from .real.turns import message
from .striking import KINDS, Silent, struck, thrown, unanswering
from .talk import client, say
from .webtalk import EVENTS

pytestmark = pytest.mark.usefixtures("no_thread_is_left", "no_descriptor_is_left")

Contexts = tuple[ssl.SSLContext | None, ssl.SSLContext | None]
Strike = Callable[..., None]

LONG = 30.0
"""Seconds after which each call would end by itself: none may wait for that."""


@pytest.fixture(scope="module")
def certified() -> Contexts:
    """A server's and a client's settings."""
    return tls_contexts("127.0.0.1")


@pytest.fixture
def no_descriptor_is_left() -> Iterator[None]:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    yield
    until = time.monotonic() + 5
    while descriptors() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert descriptors() <= before


@attrs.frozen
class Place:
    """Where it happens, and what strikes there."""

    strike: Strike
    serving: ssl.SSLContext | None
    trusting: ssl.SSLContext | None

    def client(self, fake: FakeFastRTC, path: str = "/echo", **more: Any) -> FastRTCClient:
        return client(fake, path, **{"timeout": LONG, "ssl_context": self.trusting, "patience": 60.0, **more})

    @contextlib.contextmanager
    def session(
        self, path: str = "/echo", *, knobs: dict[str, Any] | None = None, **more: Any
    ) -> Iterator[tuple[FakeFastRTC, Session]]:
        """With a fake; ``more`` is the client's, and ``connect``'s."""
        options = {name: more.pop(name) for name in ("inputs", "reconnect", "retry") if name in more}
        with FakeFastRTC(ssl_context=self.serving, **(knobs or {})) as fake:
            with self.client(fake, path, **more).connect(**options) as session:
                yield fake, session

    def silent(self, answer: bytes | str = b"") -> Silent:
        return Silent(self.serving, answer)

    def url(self, port: int, path: str = "") -> str:
        return f"http{'s' if self.serving else ''}://127.0.0.1:{port}{path}"

    def connecting(self, port: int, **more: Any) -> Callable[[], Session]:
        url = self.url(port)
        one = FastRTCClient(url, proxy=False, timeout=LONG, ssl_context=self.trusting)
        return lambda: one.connect(**more)


# --- where it waits


def dialling(place: Place) -> None:
    with unanswering() as port:
        place.strike(place.connecting(port))


def encrypting(place: Place) -> None:
    if place.serving is None:
        pytest.skip("without TLS there is no handshake")
    with Silent() as silent:
        place.strike(place.connecting(silent.port), lambda: silent.received)
        assert silent.received == 1


def upgrading(place: Place) -> None:
    with place.silent() as silent:
        place.strike(place.connecting(silent.port), lambda: silent.received)
        assert silent.received == 1


def registering(place: Place) -> None:
    with place.silent("upgrade") as silent:
        place.strike(place.connecting(silent.port, reconnect=True), lambda: silent.received)
        assert silent.received == 1


def upgrading_patiently(place: Place) -> None:
    with place.silent() as silent:
        policy = RetryPolicy(initial=0.001, maximum=0.001)
        place.strike(place.connecting(silent.port, retry=policy), lambda: silent.received)
        assert silent.received == 1


def backing_off(place: Place) -> None:
    with place.silent(b"HTTP/1.1 503 Busy\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n") as silent:
        place.strike(place.connecting(silent.port, retry=RetryPolicy()), lambda: silent.received)
        assert silent.received == 1


def sending(place: Place) -> None:
    with place.session(knobs={"reads_most": 2, "buffers": 2**16}) as (_, session):
        place.strike(lambda: session.send_audio(bytes(40 * 2**20)))
        session._connection.transport.abort()


def sending_a_message(place: Place) -> None:
    with place.session(knobs={"reads_most": 2, "buffers": 2**16}) as (_, session):
        place.strike(lambda: flood(session))
        session._connection.transport.abort()


def flood(session: Session) -> None:
    while True:
        session.send(bytes(2**20))


def replying(place: Place) -> None:
    with place.session() as (_, session):
        place.strike(session.reply)
        assert say(session)
        assert say(session)


def replying_where_it_reconnects(place: Place) -> None:
    with place.session(reconnect=True) as (fake, session):
        place.strike(session.reply)
        assert say(session)
        assert len(fake.connections) == 1


def iterating(place: Place) -> None:
    with place.session(reconnect=True) as (fake, session):
        place.strike(lambda: next(iter(session)))
        assert say(session)
        assert len(fake.connections) == 1


def iterating_beside_another(place: Place) -> None:
    with place.session() as (_, session):
        other = threading.Thread(target=lambda: list(session))
        other.start()
        reading: CallLock = session._connection._receive_lock
        place.strike(lambda: next(iter(session)), lambda: reading.holder)
        session.close()
        other.join(5)


def giving_inputs(place: Place) -> None:
    with place.silent() as silent, place.session(input_hook=place.url(silent.port)) as (_, session):
        place.strike(lambda: session.set_input(scale=2), lambda: silent.received)
        assert silent.received == 1
        assert say(session)


def giving_inputs_that_are_large(place: Place) -> None:
    with unread() as (port, accepted), place.session(input_hook=f"http://127.0.0.1:{port}/hook") as (_, session):
        place.strike(lambda: session.set_input(scale="x" * 10_000_000), accepted.is_set)
        assert say(session)


def answering_a_handler(place: Place) -> None:
    with (
        place.silent() as silent,
        place.session("/silent", input_hook=place.url(silent.port), inputs=lambda: {"scale": 2}) as (fake, session),
    ):
        fake.say(message("send_input", ""))
        place.strike(session.reply, lambda: silent.received)
        assert silent.received == 1


def making_inputs(place: Place) -> None:
    never, asked = threading.Event(), list[int]()

    def inputs() -> None:
        asked.append(1)
        if len(asked) == 1:
            never.wait(LONG)

    with place.session("/silent", inputs=inputs) as (fake, session):
        fake.say(message("send_input", ""))
        place.strike(session.reply, lambda: asked)
        fake.say(message("log", "pause_detected"))
        events = iter(session)
        next(events)
        assert asked == [1, 1]  # inputs that were not delivered are requested again


def opening_outputs(place: Place) -> None:
    with place.silent() as silent, place.session(outputs=place.url(silent.port)) as (_, session):
        outputs = session.outputs()
        place.strike(outputs.receive, lambda: silent.received)
        assert silent.received == 1
        assert outputs.ended
        assert outputs.receive(timeout=1) is None
        assert say(session)


def refused_outputs(place: Place) -> None:
    head = b"HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\nhalf"
    with place.silent(head) as silent, place.session(outputs=place.url(silent.port)) as (_, session):
        outputs = session.outputs()
        place.strike(outputs.receive, lambda: silent.received)
        assert silent.received == 1
        assert outputs.ended


def awaiting_outputs(place: Place) -> None:
    with place.session("/addl") as (_, session):
        outputs = session.outputs()
        place.strike(lambda: next(outputs))
        assert outputs.ended
        with session.outputs() as others:
            assert say(session)
            assert next(others)


def awaiting_a_part_of_the_stream(place: Place) -> None:
    with place.silent(EVENTS + b"data: 1") as silent, place.session(outputs=place.url(silent.port)) as (_, session):
        outputs = session.outputs()
        place.strike(outputs.receive, lambda: silent.received)
        assert outputs.ended
        assert outputs.receive(timeout=1) is None


def asking_for_the_latest(place: Place) -> None:
    with place.silent() as silent, place.session(latest=place.url(silent.port)) as (_, session):
        place.strike(session.latest_output, lambda: silent.received)
        assert silent.received == 1
        assert say(session)


def awaiting_the_rest_of_the_latest(place: Place) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
    with place.silent(head) as silent, place.session(latest=place.url(silent.port)) as (_, session):
        place.strike(session.latest_output, lambda: silent.received)
        assert silent.received == 1


def reconnecting(place: Place) -> None:
    with place.session(reconnect=True) as (fake, session):
        first = session.webrtc_id
        fake.knobs.pong = False
        fake.drop()
        place.strike(session.reply, lambda: len(fake.connections) == 2 and "ping" in fake.connections[1].events)
        assert session.webrtc_id == first
        fake.wait(lambda: not fake.connections[1].open)
        fake.knobs.pong = True
        events = iter(session)
        assert isinstance(next(events), Reconnected)
        assert len(fake.connections) == 3
        assert say(session)


def giving_inputs_again(place: Place) -> None:
    with place.session("/args", reconnect=True) as (fake, session):
        session.set_input(scale=2)
        with place.silent() as silent:
            object.__setattr__(session._additional._config, "input_hook", place.url(silent.port))
            fake.drop()
            place.strike(session.reply, lambda: silent.received)
            assert silent.received == 1
            object.__setattr__(session._additional._config, "input_hook", "/input_hook")
        with pytest.raises(ConnectionLost):
            session.reply()
        assert [hook["scale"] for hook in fake.hooks] == [2, 2]
        assert say(session)


def closing(place: Place) -> None:
    with place.session(knobs={"reads_most": 2}) as (_, session):
        place.strike(lambda: session.close(LONG))


PHASES = [
    dialling,
    encrypting,
    upgrading,
    upgrading_patiently,
    registering,
    backing_off,
    sending,
    sending_a_message,
    replying,
    replying_where_it_reconnects,
    iterating,
    iterating_beside_another,
    giving_inputs,
    giving_inputs_that_are_large,
    answering_a_handler,
    making_inputs,
    opening_outputs,
    refused_outputs,
    awaiting_outputs,
    awaiting_a_part_of_the_stream,
    asking_for_the_latest,
    awaiting_the_rest_of_the_latest,
    reconnecting,
    giving_inputs_again,
    closing,
]


@contextlib.contextmanager
def unread() -> Iterator[tuple[int, threading.Event]]:
    """A server that accepts a connection, and reads nothing of what it is sent; its port, and whether it has."""
    accepted, over = threading.Event(), threading.Event()

    def script(_: Peer) -> None:
        accepted.set()
        over.wait(LONG)

    with server(script) as port:
        try:
            yield port, accepted
        finally:
            over.set()


def place(strike: Strike, transport: str, certified: Contexts) -> Place:
    return Place(strike, *(certified if transport == "wss" else (None, None)))


NOT_INTERRUPTED = {dialling, encrypting, making_inputs}
"""Phases in which a thread waits in the interpreter's own code: other threads cannot interrupt that."""

SHORT = {replying, opening_outputs, awaiting_outputs}
"""Phases in which each kind of exception is tried by each run of the tests."""


def named(phase: Callable[[Place], None]) -> str:
    return phase.__name__


def phases(*, short: bool) -> list[Any]:
    return [
        pytest.param(phase, marks=[] if not short or phase in SHORT else pytest.mark.slow, id=named(phase))
        for phase in PHASES
    ]


@pytest.mark.parametrize("transport", ["ws", pytest.param("wss", marks=pytest.mark.slow)])
@pytest.mark.parametrize("phase", phases(short=False))
@pytest.mark.parametrize("kind", ["TimeoutError", "ConnectionLost"])
def test_what_a_signals_handler_raises_comes_out_as_it_is_wherever_a_call_waits(
    phase: Callable[[Place], None], transport: str, kind: str, certified: Contexts
) -> None:
    exc = KINDS[kind]()
    phase(place(lambda call, *ready: struck(call, exc, *ready), transport, certified))


@pytest.mark.parametrize("phase", phases(short=True))
@pytest.mark.parametrize("kind", KINDS)
def test_all_that_a_signals_handler_raises_comes_out(
    phase: Callable[[Place], None], kind: str, certified: Contexts
) -> None:
    exc = KINDS[kind]()
    phase(place(lambda call, *ready: struck(call, exc, *ready), "ws", certified))


@pytest.mark.parametrize("transport", ["ws", pytest.param("wss", marks=pytest.mark.slow)])
@pytest.mark.parametrize("phase", phases(short=True))
@pytest.mark.parametrize("kind", [TimeoutError, ConnectionLost])
def test_what_another_thread_raises_in_a_call_comes_out_too(
    phase: Callable[[Place], None], transport: str, kind: type[BaseException], certified: Contexts
) -> None:
    if phase in NOT_INTERRUPTED:
        pytest.skip("the interpreter does not interrupt this")
    phase(place(lambda call, *ready: thrown(call, kind, *ready), transport, certified))
