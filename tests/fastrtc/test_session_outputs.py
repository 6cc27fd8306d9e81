"""Outputs and the connection they are of: when it has ended, is cut, is replaced."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync.errors import ConnectionLost, InputError, OutputTooLarge
from hume_sync.fastrtc import Reconnected, Session
from tests.faultproxy import Peer
from tests.net.support import Script, server

from .fake import FakeFastRTC
from .talk import SPEECH, client, say
from .webtalk import EVENTS, elapsed, request

CUT = [FakeFastRTC.drop, FakeFastRTC.end, lambda fake: fake.drop(reset=True)]


def endless(then: Callable[[Peer], object] = lambda peer: None) -> Script:
    """A stream of one output and then of nothing, even if its connection ends."""

    def run(peer: Peer) -> None:
        request(peer)
        peer.send(EVENTS + b"data: 1\n\n")
        then(peer)
        peer.wait_gone()

    return run


def notice_the_end(session: Session) -> None:
    with pytest.raises(ConnectionLost):
        session.reply()


@pytest.mark.parametrize("cut", CUT)
def test_a_connection_that_has_ended_has_no_outputs_and_no_request_is_made(
    fake: FakeFastRTC, cut: Callable[[FakeFastRTC], None]
) -> None:
    with client(fake, "/addl", latest="/latest").connect() as session:
        cut(fake)
        notice_the_end(session)
        for call in (session.outputs, session.latest_output):
            with pytest.raises(ConnectionLost):
                call()
    assert [seen.path for seen in fake.requests] == ["/addl/websocket/offer"]


def test_outputs_end_about_a_second_after_their_connection_though_their_server_does_not_end_them(
    fake: FakeFastRTC,
) -> None:
    with server(endless()) as port, ThreadPoolExecutor(1) as threads:
        with client(fake, "/echo", outputs=f"http://127.0.0.1:{port}/").connect() as session:
            outputs = session.outputs()
            assert next(outputs) == 1
            waiting = threads.submit(list, outputs)  # waits already, and not for the connection
            fake.drop()
            assert elapsed(lambda: waiting.result(5)) < 4
            assert waiting.result() == []
            assert outputs.ended


def test_a_stream_that_only_lives_on_ends_with_its_connection_too(fake: FakeFastRTC) -> None:
    with server(endless(lambda peer: peer.drip(b":\n" * 500, 0.01))) as port:
        with client(fake, "/echo", outputs=f"http://127.0.0.1:{port}/").connect() as session:
            outputs = session.outputs()
            assert next(outputs) == 1
            fake.drop()
            assert elapsed(lambda: list(outputs)) < 4


def test_what_was_given_out_before_the_end_still_comes(fake: FakeFastRTC) -> None:
    ended = threading.Event()

    def late(peer: Peer) -> None:
        assert ended.wait(5)
        peer.send(b"data: 2\n\n")

    with server(endless(late)) as port:
        with client(fake, "/echo", outputs=f"http://127.0.0.1:{port}/").connect() as session:
            outputs = session.outputs()
            assert next(outputs) == 1
            fake.drop()
            notice_the_end(session)
            ended.set()
            assert list(outputs) == [2]


def test_outputs_of_a_connection_end_at_once_when_another_takes_its_place(
    fake: FakeFastRTC, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hume_sync.fastrtc.outputs._LINGER", 60)
    with server(endless()) as port:
        with client(fake, "/echo", outputs=f"http://127.0.0.1:{port}/").connect(reconnect=True) as session:
            outputs = session.outputs()
            assert next(outputs) == 1
            fake.drop()
            assert isinstance(next(iter(session)), Reconnected)
            assert elapsed(lambda: list(outputs)) < 10


def test_outputs_opened_after_a_reconnect_are_those_of_the_new_connection(fake: FakeFastRTC) -> None:
    with client(fake, "/addl").connect(reconnect=True) as session:
        old, unread, first = session.outputs(), session.outputs(), session.webrtc_id
        assert old.receive(timeout=0.3) is None
        fake.drop()
        assert isinstance(next(iter(session)), Reconnected)
        assert list(old) == []
        assert list(unread) == []
        with session.outputs() as outputs:
            assert outputs.receive(timeout=0.3) is None
            asked = [seen.query["webrtc_id"] for seen in fake.requests if seen.path == "/updates"]
            assert asked == [first, session.webrtc_id]
            assert first != session.webrtc_id
            session.send_audio(SPEECH, end=True)
            session.reply(idle=0.05)
            assert next(outputs)["rate"] == 16000


def test_a_stream_that_was_dropped_stops_reading(fake: FakeFastRTC) -> None:
    with client(fake, "/addl").connect() as session:
        streams = [session.outputs()]
        say(session)
        assert next(streams[0])
        response = streams[0]._opening._response
        assert response
        with pytest.warns(ResourceWarning, match="outputs was not closed"):
            streams.clear()
        assert response._stream.fileno() == -1
        with session.outputs() as outputs:
            say(session)
            assert next(outputs)


def test_a_stream_that_ended_or_was_closed_may_be_dropped(fake: FakeFastRTC) -> None:
    with client(fake, "/addl").connect() as session:
        session.outputs().close()
        ends = session.outputs()
        session.close()
        assert list(ends) == []
        del ends
        gc.collect()


def test_the_servers_end_is_reported_in_the_same_words_by_all_that_is_asked_for(fake: FakeFastRTC) -> None:
    with client(fake, "/addl").connect() as session:
        fake.end(1000)
        notice_the_end(session)
        with pytest.raises(ConnectionLost, match="the server ended the session: its handler has"):
            session.outputs()


@pytest.mark.parametrize("moment", ["before the question", "after the reply"])
def test_an_application_that_holds_its_head_back_until_there_is_an_output_is_no_deadlock(
    fake: FakeFastRTC, moment: str
) -> None:
    fake.knobs.late_head = True
    with client(fake, "/addl").connect() as session:
        outputs = session.outputs()
        if moment == "before the question":
            assert outputs.receive("none", timeout=0.2) == "none"
        assert say(session)
        assert outputs.receive(timeout=5)["rate"] == 16000
        assert [next(outputs), next(outputs)] == ["with audio", "zwei Zeilen:\nÄußerung"]
        assert [seen.path for seen in fake.requests if seen.status == 200] == ["/updates"]
    assert list(outputs) == []


def test_closing_the_session_ends_all_waits_for_a_head_that_never_comes(fake: FakeFastRTC) -> None:
    fake.knobs.late_head = True
    with ThreadPoolExecutor(1) as threads:
        session = client(fake, "/echo").connect()
        waiting = threads.submit(list, session.outputs())
        fake.wait(lambda: any(seen.path == "/updates" for seen in fake.requests))
        assert elapsed(session.close) < 2
        assert waiting.result(5) == []
        fake.wait(lambda: not any(seen.open for seen in fake.requests))


@pytest.mark.parametrize("cut", CUT)
def test_the_end_of_the_connection_ends_all_waits_for_a_head(
    fake: FakeFastRTC, cut: Callable[[FakeFastRTC], None]
) -> None:
    with server(lambda peer: peer.wait_gone()) as port, ThreadPoolExecutor(1) as threads:
        with client(fake, "/echo", outputs=f"http://127.0.0.1:{port}/").connect() as session:
            outputs = session.outputs()
            assert outputs.receive(timeout=0.2) is None
            waiting = threads.submit(list, outputs)
            cut(fake)
            assert elapsed(lambda: waiting.result(5)) < 4
            assert waiting.result() == []


def test_outputs_that_were_not_asked_for_before_the_connection_ended_are_reported_as_lost(
    fake: FakeFastRTC,
) -> None:
    with client(fake, "/addl").connect() as session:
        outputs = session.outputs()
        assert say(session)
        fake.end(1000)
        notice_the_end(session)
        with pytest.raises(ConnectionLost, match="the server ended the session"):
            outputs.receive()
        assert outputs.ended
        assert [seen.path for seen in fake.requests] == ["/addl/websocket/offer"]


def test_outputs_that_were_not_asked_for_ask_for_nothing(fake: FakeFastRTC) -> None:
    with client(fake, "/addl").connect() as session:
        streams = [session.outputs(), session.outputs()]
        streams.pop().close()
        streams.clear()  # dropped without a warning, which would be an error
        gc.collect()
        unread = session.outputs()
    assert list(unread) == []
    assert [seen.path for seen in fake.requests] == ["/addl/websocket/offer"]


def test_an_output_that_is_too_large_costs_the_session_nothing(fake: FakeFastRTC) -> None:
    with client(fake, "/addl", max_output_size=20, latest="/latest").connect() as session:
        outputs = session.outputs()
        assert say(session)
        with pytest.raises(OutputTooLarge, match="larger than 20 bytes"):  # {"samples": ..., "rate": ...}
            outputs.receive()
        assert outputs.receive() == "with audio"
        outputs.close()
        assert say(session)
        with pytest.raises(OutputTooLarge, match="larger than 20 bytes"):
            session.latest_output()
        assert say(session)


@pytest.mark.parametrize("size", [0, -1, True, 1.5, "1", None])
def test_the_largest_size_of_outputs_is_a_number_of_bytes(fake: FakeFastRTC, size: Any) -> None:
    with pytest.raises(InputError, match="^max_output_size must be a number of bytes above zero, got"):
        client(fake, "/addl", max_output_size=size)
