"""Sessions whose connection is cut, and made anew where that is wanted."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hume_sync import MisuseError, RetryPolicy, Timeout
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import HookError, Reconnected, ReplyTimeout, SendInput, Session
from hume_sync.fastrtc.websocket import WebSocketLink

from .fake import FakeFastRTC
from .real.turns import message
from .talk import SPEECH, client, heard, say, took


def keep_sending(session: Session) -> None:
    """As a thread of its own does, until that notices the end."""
    with pytest.raises(ConnectionLost):
        while True:
            session.send_audio(bytes(2))


def test_a_connection_that_is_cut_in_mid_turn_is_raised_and_made_anew(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect(reconnect=True) as session:
        assert say(session)
        first = session.webrtc_id
        fake.drop(reset=True)
        with pytest.raises(ConnectionLost):
            session.reply()
        event = next(iter(session))
        assert isinstance(event, Reconnected)
        assert event.webrtc_id == session.webrtc_id != first
        assert heard(SPEECH) in say(session)


def test_after_a_reconnect_the_last_inputs_are_given_again(fake: FakeFastRTC) -> None:
    with client(fake, "/args").connect(reconnect=True) as session:
        session.set_input(stream="x", scale=2)
        fake.end(1012)
        with pytest.raises(ConnectionLost):
            session.reply()
        assert [hook["webrtc_id"] for hook in fake.hooks][-1] == session.webrtc_id
        assert [hook["scale"] for hook in fake.hooks] == [2, 2]
        assert say(session)


def test_a_session_closed_while_it_connects_anew_leaves_no_connection(fake: FakeFastRTC) -> None:
    session = client(fake, "/echo").connect(reconnect=True)
    fake.knobs.pong = False
    fake.drop(reset=True)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(session.reply)
        fake.wait(lambda: len(fake.connections) == 2 and "ping" in fake.connections[1].events)
        assert took(session.close) < 1
        assert isinstance(waiting.exception(5), MisuseError)
    fake.wait(lambda: not fake._live)


def test_a_session_closed_while_it_waits_to_try_again_waits_no_more(fake: FakeFastRTC) -> None:
    tried = threading.Event()
    patient = RetryPolicy(max_attempts=5, initial=600.0, maximum=600.0, on_retry=lambda _: tried.set())
    session = client(fake, "/echo", timeout=3000.0).connect(reconnect=True, retry=patient)
    fake.knobs.refusal, fake.knobs.limit = "http", 0
    fake.drop(reset=True)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(session.reply)
        assert tried.wait(5)
        assert took(session.close) < 1
        assert isinstance(waiting.exception(5), MisuseError)


def test_connecting_anew_keeps_to_the_time_of_the_call(fake: FakeFastRTC) -> None:
    with client(fake, "/echo", timeout=25.0).connect(reconnect=True) as session:
        fake.knobs.pong = False
        fake.drop(reset=True)
        with pytest.raises(Timeout) as caught:
            session.reply(timeout=0.3)
        assert caught.value.phase == "connect"
        fake.knobs.pong = True
        with pytest.raises(ConnectionLost):  # a gap is always told
            session.reply()
        assert say(session)


def test_a_hook_that_fails_after_a_reconnect_hides_it_from_nobody(fake: FakeFastRTC) -> None:
    with client(fake, "/args").connect(reconnect=True) as session:
        session.set_input(stream="x", scale=2)
        fake.knobs.hook_status = 500
        fake.drop(reset=True)
        with pytest.raises(HookError):
            session.reply()
        assert isinstance(next(iter(session)), Reconnected)


def test_an_end_of_the_servers_own_is_not_made_undone(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect(reconnect=True) as session:
        fake.end(1000)
        with pytest.raises(ConnectionLost):
            session.reply()
        with pytest.raises(ConnectionLost):
            next(iter(session))
    assert len(fake.connections) == 1


def test_inputs_that_a_hook_refuses_after_a_reconnect_are_given_by_the_next_call(fake: FakeFastRTC) -> None:
    with client(fake, "/args").connect(reconnect=True) as session:
        session.set_input(stream="x", scale=2)
        fake.knobs.hook_status = 500
        fake.drop(reset=True)
        with pytest.raises(HookError):
            session.reply()
        fake.knobs.hook_status = 200
        with pytest.raises(ConnectionLost):  # of the connection that was never whole
            session.reply()
        assert fake.hooks[-1] == {"webrtc_id": session.webrtc_id, "stream": "x", "scale": 2}
        assert say(session)


def test_a_question_that_was_lost_where_another_call_noticed_is_not_waited_for(fake: FakeFastRTC) -> None:
    with client(fake, "/silent").connect(reconnect=True) as session:
        session.send_audio(SPEECH, end=True)
        fake.drop(reset=True)
        keep_sending(session)
        with pytest.raises(ConnectionLost):
            session.reply(timeout=25)
        assert session._line.has_waiting()
        with pytest.raises(ReplyTimeout) as caught:  # told once
            session.reply(timeout=0.1)
        assert caught.value.messages == (Reconnected(session.webrtc_id, caught.value.messages[0].error),)


def test_a_loss_that_an_iteration_has_told_is_not_told_again(fake: FakeFastRTC) -> None:
    with client(fake, "/silent").connect(reconnect=True) as session:
        session.send_audio(SPEECH)
        fake.drop(reset=True)
        assert isinstance(next(iter(session)), Reconnected)
        with pytest.raises(ReplyTimeout):
            session.reply(timeout=0.1)


def test_a_question_asked_anew_after_a_loss_is_answered(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect(reconnect=True) as session:
        fake.drop(reset=True)
        keep_sending(session)
        assert heard(SPEECH) in say(session)


def test_an_interrupted_program_connects_no_more(fake: FakeFastRTC, monkeypatch: pytest.MonkeyPatch) -> None:
    listens = threading.Event()
    abort = WebSocketLink.abort

    def abort_and_be_overtaken(link: WebSocketLink) -> None:
        abort(link)
        assert listening.result(5) == 1

    monkeypatch.setattr(WebSocketLink, "abort", abort_and_be_overtaken)

    def listen() -> int:
        for _ in session:
            listens.set()
        return len(fake.connections)

    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(KeyboardInterrupt), client(fake, "/custom").connect(reconnect=True) as session:
            listening = threads.submit(listen)
            assert listens.wait(5)
            raise KeyboardInterrupt


def test_a_handler_that_is_gone_is_given_no_inputs(fake: FakeFastRTC) -> None:
    asked: list[int] = []

    def inputs() -> dict[str, int]:
        asked.append(1)
        return {"scale": 3}

    with client(fake, "/silent").connect(reconnect=True, inputs=inputs) as session:
        fake.say(message("send_input", ""))
        fake.drop()
        keep_sending(session)
        events = iter(session)
        assert next(events) == SendInput()
        assert isinstance(next(events), Reconnected)
        assert asked == []
        fake.say(message("send_input", ""))
        assert next(events) == SendInput()
    assert asked == [1]
    assert [hook["webrtc_id"] for hook in fake.hooks] == [session.webrtc_id]
