"""Sessions whose connection is cut, and made anew where that is wanted."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hume_sync import ConnectError, MisuseError, RetryPolicy, Timeout
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import FastRTCClient, HookError, Reconnected, ReplyTimeout, SendInput, Session, mulaw
from hume_sync.fastrtc.websocket import WebSocketLink
from tests.faultproxy import Peer
from tests.net.support import server, upgraded

from .fake import FakeFastRTC
from .real.turns import level, media, message
from .talk import PONG, SPEECH, TURN, client, heard, say, took
from .webtalk import answer, request


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
        assert not session._line.has_waiting()  # it was never whole
        fake.knobs.hook_status = 200
        with pytest.raises(ConnectionLost):
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


def test_a_question_asked_anew_is_answered_whatever_came_of_the_first(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect(reconnect=True) as session:
        for _ in range(2):
            session.send_audio(SPEECH)
            fake.say(message("log", "pause_detected"), message("log", "response_starting"))
            fake.drop()
            keep_sending(session)
        session.send_audio(SPEECH, end=True)
        reply = session.reply(idle=0.05)
        assert heard(SPEECH) in reply.audio
        assert reply.complete
        told = [event for event in reply.messages if isinstance(event, Reconnected)]
        assert [event.webrtc_id for event in told] == [seen.id for seen in fake.connections[1:]]
        assert [event for event in reply.messages if event not in told] == TURN
        with pytest.raises(ReplyTimeout):  # nothing came twice
            session.reply(timeout=0.1)


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
        fake.drop()
        keep_sending(session)
    assert [hook["scale"] for hook in fake.hooks] == [2, 3, 2]


def test_an_iteration_waits_for_a_new_connection_no_longer_than_any_call(fake: FakeFastRTC) -> None:
    with client(fake, "/echo", timeout=0.3).connect(reconnect=True) as session:
        fake.knobs.pong = False
        fake.drop()
        with pytest.raises(Timeout) as caught:
            list(session)
        assert caught.value.phase == "connect"


def test_a_server_that_hangs_up_at_a_reconnect_has_not_been_connected_to(fake: FakeFastRTC) -> None:
    def hang_up(peer: Peer) -> None:
        peer.close()

    def run(peer: Peer) -> None:
        peer.send_frame(PONG)
        peer.reset()

    with server(upgraded(run), upgraded(hang_up)) as port:
        with FastRTCClient(f"http://127.0.0.1:{port}").connect(reconnect=True) as session:
            with pytest.raises(ConnectError, match="could not be made anew"):
                session.reply()


def test_a_greeting_that_was_cut_where_another_call_noticed_is_raised_once(fake: FakeFastRTC) -> None:
    with client(fake, "/silent").connect(reconnect=True) as session:
        fake.say(media(level(1000, 800)))
        fake.drop()
        with pytest.raises(ConnectionLost):
            while True:
                session.set_input(a=1)
        with pytest.raises(ConnectionLost):
            session.reply(timeout=20, idle=15)
        fake.say(media(level(2000, 800)))
        assert session.reply(idle=0.05).audio == mulaw.decode(level(2000, 800))


def test_requests_of_a_handler_that_is_gone_are_not_counted_among_those_that_were_answered(fake: FakeFastRTC) -> None:
    failures = [LookupError("nothing there")]

    def inputs() -> dict[str, int]:
        if failures:
            raise failures.pop()
        return {"scale": 3}

    with client(fake, "/silent").connect(reconnect=True, inputs=inputs) as session:
        fake.say(message("send_input", ""))
        fake.drop()
        keep_sending(session)
        session.send_audio(SPEECH)
        fake.say(message("send_input", ""), media(level(1000, 800)))
        with pytest.raises(LookupError):
            session.reply()
        assert session.reply(idle=0.05).audio
    assert [hook["scale"] for hook in fake.hooks] == [3]
