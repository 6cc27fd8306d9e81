"""Inputs and the connection they are for: when it is cut, and replaced."""

from __future__ import annotations

import pytest

from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import HookError, Reconnected, SendInput
from tests.faultproxy import Peer
from tests.net.support import server

from .fake import FakeFastRTC
from .real.turns import level, media, message
from .talk import TURN, answers, client, keep_sending, say, say_to_its_end
from .webtalk import answer, request


def test_after_a_reconnect_the_last_inputs_are_given_again(fake: FakeFastRTC) -> None:
    with client(fake, "/args").connect(reconnect=True) as session:
        session.set_input(stream="x", scale=2)
        fake.end(1012)
        with pytest.raises(ConnectionLost):
            session.reply()
        assert [hook["webrtc_id"] for hook in fake.hooks][-1] == session.webrtc_id
        assert [hook["scale"] for hook in fake.hooks] == [2, 2]
        assert say(session)


def test_inputs_that_a_hook_refuses_after_a_reconnect_are_given_by_the_next_call(fake: FakeFastRTC) -> None:
    with client(fake, "/args").connect(reconnect=True) as session:
        session.set_input(stream="x", scale=2)
        fake.knobs.hook_status = 500
        fake.drop(reset=True)
        with pytest.raises(HookError):
            session.reply()
        assert not session._connection.has_queued_events()  # it was never whole
        fake.knobs.hook_status = 200
        with pytest.raises(ConnectionLost):
            session.reply()
        assert fake.hooks[-1] == {"webrtc_id": session.webrtc_id, "stream": "x", "scale": 2}
        assert say(session)


def test_a_handler_that_is_gone_is_given_no_inputs(fake: FakeFastRTC) -> None:
    asked: list[int] = []

    def inputs() -> dict[str, int]:
        asked.append(1)
        return {"scale": 3}

    with client(fake, "/silent").connect(reconnect=True, inputs=inputs) as session:
        fake.say(message("send_input", ""))
        fake.end(1012)
        keep_sending(session)
        events = iter(session)
        assert next(events) == SendInput()
        assert isinstance(next(events), Reconnected)
        assert asked == []
        fake.say(message("send_input", ""))
        assert next(events) == SendInput()
    assert asked == [1]
    assert [hook["webrtc_id"] for hook in fake.hooks] == [session.webrtc_id]


def test_an_iteration_does_not_go_on_connecting_where_inputs_cannot_be_given(fake: FakeFastRTC) -> None:
    def cut(peer: Peer) -> None:
        request(peer)

    def accept(peer: Peer) -> None:
        request(peer)
        peer.send(answer())

    with server(accept, cut) as port:
        hook = f"http://127.0.0.1:{port}/"
        with client(fake, "/args", input_hook=hook).connect(reconnect=True) as session:
            session.set_input(scale=2)
            fake.drop()
            with pytest.raises(HookError):
                list(session)
    assert len(fake.connections) == 2


def test_inputs_that_a_hook_has_refused_are_not_given_at_a_reconnect(fake: FakeFastRTC) -> None:
    with client(fake, "/args").connect(reconnect=True) as session:
        session.set_input(scale=2)
        fake.knobs.hook_status = 422
        with pytest.raises(HookError):
            session.set_input(scale=3)
        fake.knobs.hook_status = 200
        fake.end(1012)
        keep_sending(session)
    assert [hook["scale"] for hook in fake.hooks] == [2, 3, 2]


def test_requests_of_a_handler_that_is_gone_are_not_counted_among_those_that_were_answered(fake: FakeFastRTC) -> None:
    inputs = answers(LookupError("nothing there"), {"scale": 3})
    with client(fake, "/silent").connect(reconnect=True, inputs=inputs) as session:
        fake.say(message("send_input", ""))
        fake.end(1012)
        keep_sending(session)
        say_to_its_end(fake, session, end=False)
        fake.say(*(message("log", event.text) for event in TURN), message("send_input", ""), media(level(1000, 800)))
        with pytest.raises(LookupError):
            session.reply()
        assert session.reply(idle=0.05).audio
    assert [hook["scale"] for hook in fake.hooks] == [3]


def test_requests_that_were_answered_by_a_handler_that_is_gone_use_up_none_of_the_next_ones(fake: FakeFastRTC) -> None:
    inputs = answers({"number": 1}, LookupError("nothing there"), {"number": 2})
    with client(fake, "/silent").connect(reconnect=True, inputs=inputs) as session:
        ask = message("send_input", "")
        fake.say(ask, ask)
        with pytest.raises(LookupError):
            session.reply()
        fake.end(1012)
        keep_sending(session)
        say_to_its_end(fake, session)
        fake.say(message("log", "pause_detected"), ask, message("log", "response_starting"), media(level(1000, 800)))
        assert session.reply(idle=0.05).audio
    assert [hook["number"] for hook in fake.hooks] == [1, 2]


def test_inputs_made_for_a_handler_that_is_gone_meanwhile_are_not_given_to_the_next(fake: FakeFastRTC) -> None:
    asked: list[int] = []

    def inputs() -> dict[str, int]:
        asked.append(1)
        fake.end(1012)
        keep_sending(session)
        return {"scale": 3}

    with client(fake, "/silent").connect(reconnect=True, inputs=inputs) as session:
        fake.say(message("send_input", ""))
        events = iter(session)
        assert next(events) == SendInput()
        assert isinstance(next(events), Reconnected)
    assert asked == [1]
    assert fake.hooks == []
