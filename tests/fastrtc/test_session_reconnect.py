"""Sessions whose connection is cut, and replaced where that is wanted."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync import ConnectError, MisuseError, RetryPolicy, Timeout
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import FastRTCClient, Reconnected, ReplyTimeout
from hume_sync.fastrtc.transport_ws import WebSocketTransport
from hume_sync.fastrtc.turn_reader import TurnReader
from hume_sync.formats import mulaw
from tests.faultproxy import Peer, read_frame
from tests.net.support import server, upgraded

from .fake import FakeFastRTC
from .real.turns import level, media, message
from .talk import PONG, SPEECH, TURN, client, heard, keep_sending, say, say_to_its_end, took


def test_a_connection_that_is_cut_in_mid_turn_is_raised_and_replaced(fake: FakeFastRTC) -> None:
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


def test_a_session_closed_while_it_reconnects_leaves_no_connection(fake: FakeFastRTC) -> None:
    session = client(fake, "/echo").connect(reconnect=True)
    fake.knobs.pong = False
    fake.drop(reset=True)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(session.reply)
        fake.wait(lambda: len(fake.connections) == 2 and "ping" in fake.connections[1].events)
        assert took(session.close) < 1
        assert isinstance(waiting.exception(5), MisuseError)
    fake.wait(lambda: not fake._live)


def test_a_session_closed_while_it_waits_to_try_again_stops_waiting(fake: FakeFastRTC) -> None:
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


def test_reconnecting_keeps_to_the_timeout_of_the_call(fake: FakeFastRTC) -> None:
    with client(fake, "/echo", timeout=25.0).connect(reconnect=True) as session:
        fake.knobs.pong = False
        fake.drop(reset=True)
        with pytest.raises(Timeout) as caught:
            session.reply(timeout=0.3)
        assert caught.value.phase == "connect"
        fake.knobs.pong = True
        with pytest.raises(ConnectionLost):  # a gap is always reported
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


def test_a_question_that_was_lost_where_another_call_noticed_is_not_waited_for(fake: FakeFastRTC) -> None:
    with client(fake, "/silent").connect(reconnect=True) as session:
        session.send_audio(SPEECH, end=True)
        fake.end(1012)
        keep_sending(session)
        with pytest.raises(ConnectionLost):
            session.reply(timeout=25)
        assert session._connection.has_queued_events()
        with pytest.raises(ReplyTimeout) as caught:  # reported once
            session.reply(timeout=0.1)
        assert caught.value.messages == (Reconnected(session.webrtc_id, caught.value.messages[0].error),)


def test_a_loss_that_an_iteration_has_reported_is_not_reported_again(fake: FakeFastRTC) -> None:
    with client(fake, "/silent").connect(reconnect=True) as session:
        session.send_audio(SPEECH)
        fake.drop(reset=True)
        assert next(event for event in session if isinstance(event, Reconnected))
        with pytest.raises(ReplyTimeout):
            session.reply(timeout=0.1)


def test_a_question_asked_again_after_a_loss_is_answered(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect(reconnect=True) as session:
        fake.end(1012)
        keep_sending(session)
        assert heard(SPEECH) in say(session)


def test_an_interrupted_program_does_not_reconnect(fake: FakeFastRTC, monkeypatch: pytest.MonkeyPatch) -> None:
    listens = threading.Event()
    abort = WebSocketTransport.abort

    def abort_and_be_overtaken(transport: WebSocketTransport) -> None:
        abort(transport)
        assert listening.result(5) == 1

    monkeypatch.setattr(WebSocketTransport, "abort", abort_and_be_overtaken)

    def listen() -> int:
        for _ in session:
            listens.set()
        return len(fake.connections)

    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(KeyboardInterrupt), client(fake, "/custom").connect(reconnect=True) as session:
            listening = threads.submit(listen)
            assert listens.wait(5)
            raise KeyboardInterrupt


def test_a_question_asked_again_is_answered_after_a_part_of_the_first(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect(reconnect=True) as session:
        for _ in range(2):
            session.send_audio(SPEECH)
            fake.say(message("log", "pause_detected"), message("log", "response_starting"))
            fake.end(1012)
            keep_sending(session)
        session.send_audio(SPEECH, end=True)
        reply = session.reply(idle=0.05)
        assert heard(SPEECH) in reply.audio
        assert reply.complete
        reported = [event for event in reply.messages if isinstance(event, Reconnected)]
        assert [event.webrtc_id for event in reported] == [seen.id for seen in fake.connections[1:]]
        assert [event for event in reply.messages if event not in reported] == TURN
        with pytest.raises(ReplyTimeout):  # nothing came twice
            session.reply(timeout=0.1)


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
        for _ in ("start", "ping"):
            read_frame(peer.file)
        peer.send_frame(PONG)
        peer.reset()

    with server(upgraded(run), upgraded(hang_up)) as port:
        with FastRTCClient(f"http://127.0.0.1:{port}").connect(reconnect=True) as session:
            with pytest.raises(ConnectError, match="could not reconnect"):
                session.reply()


def test_a_greeting_that_was_cut_where_another_call_noticed_is_raised_once(fake: FakeFastRTC) -> None:
    with client(fake, "/silent").connect(reconnect=True) as session:
        fake.say(message("log", "response_starting"))
        fake.end(1012)
        with pytest.raises(ConnectionLost):
            while True:
                session.set_input(a=1)
        with pytest.raises(ConnectionLost):
            session.greeting(timeout=20, idle=15)
        fake.say(media(level(2000, 800)))
        assert session.greeting(idle=0.05).audio == mulaw.decode(level(2000, 800))


def test_a_reply_that_came_before_the_loss_that_another_call_noticed_is_not_lost(fake: FakeFastRTC) -> None:
    with client(fake, "/silent").connect(reconnect=True) as session:
        say_to_its_end(fake, session, bytes(2), end=False)
        fake.say(*(message("log", event.text) for event in TURN), media(level(1000, 800)))
        fake.end(1012)
        keep_sending(session)
        reply = session.reply(idle=4)
        assert reply.audio == mulaw.decode(level(1000, 800))
        assert not reply.complete
        with pytest.raises(ConnectionLost):  # of the question that is on its way since
            session.reply()


def test_who_is_reported_of_a_loss_does_not_forget_that_another_has_asked_again(
    fake: FakeFastRTC, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client(fake, "/silent").connect(reconnect=True) as session:
        hear = TurnReader._read_turn

        def overtaken(*args: Any, **kwargs: Any) -> bool:
            try:
                return hear(*args, **kwargs)
            finally:
                session.send_audio(SPEECH)  # by another thread

        session.send_audio(SPEECH)
        fake.drop()
        monkeypatch.setattr(TurnReader, "_read_turn", overtaken)
        with pytest.raises(ConnectionLost):
            session.reply()
        monkeypatch.undo()
        fake.end(1012)
        with pytest.raises(ConnectionLost):
            while True:
                session.set_input(a=1)
        with pytest.raises(ConnectionLost):
            session.reply(timeout=25)


def test_a_loss_that_an_iteration_has_reported_does_not_stand_for_another(fake: FakeFastRTC) -> None:
    with client(fake, "/silent").connect(reconnect=True) as session:
        session.send_audio(SPEECH)
        fake.drop()
        assert next(event for event in session if isinstance(event, Reconnected))
        fake.end(1012)
        with pytest.raises(ConnectionLost):
            while True:
                session.set_input(a=1)
        with pytest.raises(ReplyTimeout):  # nothing was asked, and nothing lost
            session.reply(timeout=0.1)


def test_each_connection_has_a_greeting_of_its_own(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect(reconnect=True) as session:
        assert say(session)
        fake.end(1012)
        keep_sending(session)
        assert next(event for event in session if isinstance(event, Reconnected))
        fake.say(media(level(1000, 800)), *(message("log", event.text) for event in TURN), media(level(2000, 800)))
        for wait, amplitude in ((session.greeting, 1000), (session.reply, 2000)):
            assert wait(idle=0.05).audio == mulaw.decode(level(amplitude, 800))
