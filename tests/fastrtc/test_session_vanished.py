"""Connections whose network forgets them: nothing comes through, not even an end."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hume_sync import Timeout
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import FastRTCClient, Reconnected, Session
from tests.faultproxy import Hole

from .fake import FakeFastRTC
from .talk import say, took

PATIENCE = 0.4


@pytest.fixture
def hole(fake: FakeFastRTC) -> Iterator[Hole]:
    """On the way to the server."""
    with Hole(fake.port) as hole:
        yield hole


def client(hole: Hole, path: str = "/echo", **more: Any) -> FastRTCClient:
    rates = {"input_sample_rate": 16000, "output_sample_rate": 16000}
    options = {"timeout": 30.0, "patience": PATIENCE, **rates, **more}
    return FastRTCClient(hole.url, path=path, proxy=False, **options)


def has_ended(session: Session) -> None:
    until = time.monotonic() + 10
    while session._connection.transport.error is None:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_idle_session_notices_without_a_call(hole: Hole) -> None:
    with client(hole).connect() as session:
        assert say(session)
        hole.forget()
        has_ended(session)
        for call in (session.reply, lambda: session.send_audio(bytes(2)), lambda: session.set_input(scale=2)):
            with pytest.raises(ConnectionLost, match=r"no data from the server for 0\.") as caught:
                call()
            assert caught.value.close_code == 1006
            assert caught.value.retryable


def test_an_idle_session_is_replaced_by_the_next_call(hole: Hole) -> None:
    with client(hole).connect(reconnect=True) as session:
        assert say(session)
        hole.forget()
        has_ended(session)
        events = iter(session)
        while not isinstance(event := next(events), Reconnected):
            pass
        assert "no data from the server" in event.error
        assert say(session)
        assert len(hole.flows) == 2


@pytest.mark.parametrize("reconnect", [False, True])
def test_a_reply_is_not_waited_for_without_end(hole: Hole, reconnect: bool) -> None:
    with client(hole, "/silent").connect(reconnect=reconnect) as session:
        session.send_audio(bytes(3200))
        hole.forget()
        with pytest.raises(ConnectionLost, match="no data from the server"):
            session.reply()


def test_who_sends_as_it_is_spoken_notices(hole: Hole) -> None:
    with client(hole).connect() as session:
        hole.forget()

        def speak() -> None:
            while True:
                session.send_audio(bytes(640))
                time.sleep(0.02)

        with pytest.raises(ConnectionLost, match="no data from the server"):
            speak()


def test_who_sends_much_at_once_notices_behind_it(hole: Hole) -> None:
    with client(hole).connect() as session:
        hole.forget()
        with pytest.raises(ConnectionLost, match="no data from the server"):  # (or still in it)
            session.send_audio(bytes(2**24))
            session.reply()


def test_connecting_keeps_to_its_deadline(hole: Hole, fake: FakeFastRTC) -> None:
    fake.knobs.pong = False
    with pytest.raises(Timeout, match="did not register"):
        client(hole, timeout=0.3, patience=20.0).connect()


def test_closing_keeps_to_its_time(hole: Hole) -> None:
    session = client(hole, patience=20.0).connect()
    hole.forget()
    assert took(lambda: session.close(0.2)) < 2


def test_outputs_end_soon_after_their_session(hole: Hole) -> None:
    with client(hole, "/addl").connect() as session, session.outputs() as outputs:
        hole.forget()
        assert list(outputs) == []
        with pytest.raises(ConnectionLost, match="no data from the server"):
            session.outputs()


def test_outputs_whose_own_connection_has_vanished_are_probed(hole: Hole) -> None:
    """Servers say nothing while there are no outputs: the system has to ask, and is reported to."""
    with client(hole, "/addl").connect() as session, session.outputs() as outputs:
        assert outputs.receive(timeout=0.3) is None
        response = outputs._opening._response
        assert response
        sock = response._stream._sock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        idle, interval, count = (sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names)
        assert idle + interval * count < 60
        hole.flows[-1].forgotten = True
        assert outputs.receive("none", timeout=0.3) == "none"
        assert not outputs.ended


@pytest.mark.parametrize("call", ["set_input", "latest_output"])
def test_hooks_keep_to_their_deadline(
    hole: Hole, fake: FakeFastRTC, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = {"input_hook": f"{hole.url.replace('ws', 'http')}/input_hook"}
    with (
        Hole(fake.port) as another,
        client(another, patience=20.0, timeout=0.5, latest="/latest", **near).connect() as session,
    ):
        for flow in hole.flows:
            flow.forgotten = True
        fake.knobs.latest_wait = 20.0
        silence(another if call != "set_input" else hole, monkeypatch)
        with pytest.raises(Timeout):
            session.set_input(scale=2) if call == "set_input" else getattr(session, call)()


def silence(hole: Hole, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it forget new connections as well."""
    start = hole._pump

    def pump(*args: Any) -> None:
        args[2].forgotten = True
        start(*args)

    monkeypatch.setattr(hole, "_pump", pump)
