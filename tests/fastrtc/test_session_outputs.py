"""Outputs and the connection they are of: when it has ended, is cut, is made anew."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import Reconnected, Session
from tests.faultproxy import Peer
from tests.net.support import Script, server

from .fake import FakeFastRTC
from .talk import SPEECH, client, say
from .webtalk import EVENTS, elapsed, request

CUT = [FakeFastRTC.drop, FakeFastRTC.end, lambda fake: fake.drop(reset=True)]


def endless(then: Callable[[Peer], object] = lambda peer: None) -> Script:
    """A stream of one output, and then of nothing, whatever becomes of the connection it is of."""

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
def test_a_connection_that_has_ended_has_no_outputs_and_nobody_is_asked(
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


def test_outputs_of_a_connection_end_at_once_when_another_takes_its_place(fake: FakeFastRTC) -> None:
    with server(endless()) as port:
        with client(fake, "/echo", outputs=f"http://127.0.0.1:{port}/").connect(reconnect=True) as session:
            outputs = session.outputs()
            assert next(outputs) == 1
            fake.drop()
            assert isinstance(next(iter(session)), Reconnected)
            assert elapsed(lambda: list(outputs)) < 0.9


def test_outputs_opened_after_a_reconnect_are_those_of_the_new_connection(fake: FakeFastRTC) -> None:
    with client(fake, "/addl").connect(reconnect=True) as session:
        old, first = session.outputs(), session.webrtc_id
        fake.drop()
        assert isinstance(next(iter(session)), Reconnected)
        assert list(old) == []
        with session.outputs() as outputs:
            asked = [seen.query["webrtc_id"] for seen in fake.requests if seen.path == "/updates"]
            assert asked == [first, session.webrtc_id]
            assert first != session.webrtc_id
            session.send_audio(SPEECH, end=True)
            session.reply(idle=0.05)
            assert next(outputs)["rate"] == 16000


def test_a_stream_that_was_dropped_reads_no_more(fake: FakeFastRTC) -> None:
    with client(fake, "/addl").connect() as session:
        streams = [session.outputs()]
        response = streams[0]._response
        with pytest.warns(ResourceWarning, match="outputs was not closed"):
            streams.clear()
        assert response._wire.fileno() == -1
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


def test_the_servers_end_is_told_in_the_same_words_by_whatever_is_asked_for(fake: FakeFastRTC) -> None:
    with client(fake, "/addl").connect() as session:
        fake.end(1000)
        notice_the_end(session)
        with pytest.raises(ConnectionLost, match="the server ended the session: its handler has"):
            session.outputs()
