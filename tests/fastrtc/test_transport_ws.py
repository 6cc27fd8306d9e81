"""The WebSocket underneath a session: registered, refused, flooded, ended."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hume_sync import ConnectError, InboxOverflow, MessageTooLarge, RetryPolicy, Timeout
from hume_sync.errors import ConnectionLost, HandshakeRejected
from hume_sync.fastrtc import AudioChunk, Custom, FastRTCClient, LogMessage, ReplyTimeout, TooManyConnections
from hume_sync.fastrtc.transport import Transport, connect_with_retry
from hume_sync.net.deadline import Deadline
from hume_sync.net.duplex import Heartbeat, Message
from tests.faultproxy import Peer
from tests.net.support import frame, says, server, upgraded

from .fake import FakeFastRTC
from .talk import PONG, SPEECH, chatter, client, say

# --- registered


def test_what_is_said_before_the_pong_is_not_lost(fake: FakeFastRTC) -> None:
    with client(fake, "/custom").connect() as session:
        events = iter(session)
        assert [next(events), next(events)] == [LogMessage("hello"), Custom("custom", {"x": 1})]


def test_a_server_that_does_not_register_in_time_is_a_time_out(fake: FakeFastRTC) -> None:
    fake.knobs.pong = False
    with pytest.raises(Timeout) as caught:
        client(fake, "/echo", timeout=0.3).connect()
    assert caught.value.phase == "connect"


def test_a_server_that_says_all_but_the_answer_ends_with_the_time_of_connecting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Chatter:
        """A connection that always has one more message: a server in this process would be too slow for that."""

        ended = None

        def send(self, parts: Sequence[bytes], deadline: Deadline) -> None: ...

        def send_heartbeat(self, note: object, deadline: Deadline) -> None: ...

        def receive(self, deadline: Deadline) -> Message:
            return Message(b"[" + b"[]," * 2000 + b"0]", 0.0)

        def abort(self) -> None: ...

    monkeypatch.setattr("hume_sync.fastrtc.transport_ws.Duplex.open", lambda *_, **__: Chatter())
    with pytest.raises(Timeout) as caught:
        FastRTCClient("http://127.0.0.1", timeout=0.05).connect()
    assert caught.value.phase == "connect"


@pytest.mark.parametrize("said", [b"{}", b'"%s"' % (b"x" * 2**20)], ids=["small", "large"])
def test_a_server_that_floods_before_it_answers_is_left(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hume_sync.fastrtc.transport_ws._MAX_PENDING", 2 * 2**20)  # of 16: to fill that takes seconds
    with (
        server(chatter(said)) as port,
        pytest.raises(InboxOverflow, match="and no answer to the first") as caught,
    ):
        FastRTCClient(f"http://127.0.0.1:{port}", max_message_size=2 * 2**20).connect()
    assert caught.value.phase == "connect"


def test_answers_to_nothing_do_not_outlast_the_time_of_a_call() -> None:
    with server(chatter(PONG, first=PONG)) as port, FastRTCClient(f"http://127.0.0.1:{port}").connect() as session:
        with pytest.raises(Timeout):
            session.reply(timeout=0.3)


# --- refused


@pytest.mark.parametrize("refusal", ["start", "connect", "http"])
def test_too_many_connections_are_recognised_in_every_form(refusal: str) -> None:
    with FakeFastRTC(refuse_first=1, refusal=refusal, limit=7) as fake:
        with pytest.raises(TooManyConnections) as caught:
            client(fake, "/echo").connect()
        assert (caught.value.limit, caught.value.attempts) == (7, 1)
        with client(fake, "/echo").connect() as session:
            assert say(session)


def test_a_refusal_is_tried_again_only_when_asked() -> None:
    with FakeFastRTC(refuse_first=2) as fake:
        with client(fake, "/echo").connect(retry=RetryPolicy(max_attempts=3, initial=0.01)) as session:
            assert say(session)
    assert [request.path for request in fake.requests] == ["/echo/websocket/offer"] * 3


@pytest.mark.usefixtures("own_fakes")
def test_trying_again_waits_as_long_as_the_server_asks_for() -> None:
    refusal, waits = TooManyConnections("busy"), list[float]()
    refusal.retry_after = 7.0

    def refuse() -> Transport:
        raise refusal

    with pytest.raises(TooManyConnections):
        connect_with_retry(refuse, RetryPolicy(max_attempts=3), Deadline(60), waits.append)
    assert waits == [7.0, 7.0]


def test_a_place_is_free_once_a_session_is_closed(fake: FakeFastRTC) -> None:
    one = client(fake, "/limit")
    with one.connect(), pytest.raises(TooManyConnections) as caught:
        one.connect()
    assert caught.value.limit == 1
    with one.connect() as session:
        assert say(session)


def test_an_unknown_path_is_an_error_before_there_is_a_session(fake: FakeFastRTC) -> None:
    with pytest.raises(HandshakeRejected) as caught:
        client(fake, "/nowhere").connect()
    assert caught.value.status == 403


# --- alive


def test_a_server_is_asked_every_five_seconds_and_lost_after_twenty(monkeypatch: pytest.MonkeyPatch) -> None:
    beats = []

    def refuse(*_: object, beat: Heartbeat, **__: object) -> None:
        beats.append(beat)
        raise ConnectError("no server there")

    monkeypatch.setattr("hume_sync.fastrtc.transport_ws.Duplex.open", refuse)
    url = "http://127.0.0.1"
    for one in (FastRTCClient(url), FastRTCClient(url, patience=600.0), FastRTCClient(url, patience=4.0)):
        with pytest.raises(ConnectError):
            one.connect()
    ping = b'{"event":"ping"}'
    assert [(beat.message, beat.interval, beat.timeout) for beat in beats] == [
        (ping, 5.0, 20.0),
        (ping, 5.0, 600.0),
        (ping, 1.0, 4.0),
    ]


def test_a_session_asks_again_and_again_and_hides_the_answers(fake: FakeFastRTC) -> None:
    with client(fake, "/silent", patience=2.0).connect() as session:
        fake.wait(lambda: fake.connections[0].events.count("ping") >= 4, 10)
        with pytest.raises(ReplyTimeout) as caught:
            session.reply(timeout=0.1)
    assert caught.value.messages == ()


def test_a_server_that_says_nothing_for_long_is_lost() -> None:
    def run(peer: Peer) -> None:
        peer.send_frame(PONG)
        peer.wait_gone()

    with server(upgraded(run)) as port, FastRTCClient(f"http://127.0.0.1:{port}", patience=0.3).connect() as session:
        with pytest.raises(ConnectionLost, match="no data from the server"):
            session.reply(timeout=20)


# --- in use, and ended


@pytest.mark.parametrize(("largest", "inbox"), [(1, 64 * 2**20), (16 * 2**20, 64 * 2**20), (2**28, 2**30)])
def test_as_many_bytes_may_wait_as_four_of_the_largest_messages_have(
    monkeypatch: pytest.MonkeyPatch, largest: int, inbox: int
) -> None:
    def refuse(*_: object, inbox: int, **__: object) -> None:
        raise ConnectError(f"inbox of {inbox}")

    monkeypatch.setattr("hume_sync.fastrtc.transport_ws.Duplex.open", refuse)
    with pytest.raises(ConnectError, match=f"inbox of {inbox}"):
        FastRTCClient("http://127.0.0.1", max_message_size=largest).connect()


def test_a_message_before_the_pong_may_be_as_large_as_any() -> None:
    said = b'"%s"' % (b"x" * (20 * 2**20))
    with server(says(frame(said), frame(PONG))) as port:
        with FastRTCClient(f"http://127.0.0.1:{port}", max_message_size=24 * 2**20).connect() as session:
            event = next(iter(session))
            assert isinstance(event, Custom)
            assert len(event.data) == 20 * 2**20


def test_a_message_that_is_too_large_ends_the_session(fake: FakeFastRTC) -> None:
    with client(fake, "/echo", max_message_size=10_000).connect() as session:
        with pytest.raises(MessageTooLarge, match="more than 10000 bytes"):
            session.ask(SPEECH)  # it may come before all is sent


def test_sending_tells_the_servers_end_in_the_same_words(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        fake.end(1000)
        with pytest.raises(ConnectionLost, match="the server ended the session: its handler has"):
            while True:
                session.send_audio(SPEECH)


@pytest.mark.slow
def test_more_than_a_server_takes_in_one_message_is_sent_in_several(fake: FakeFastRTC) -> None:
    samples = bytes(2 * (9 * 2**20))
    with client(fake, "/echo").connect() as session:
        session.send_audio(samples)
        fake.wait(lambda: sum(fake.connections[0].media) == 9 * 2**20)
    assert len(fake.connections[0].media) == 2


def test_an_end_without_a_request_is_said_to_be_the_servers(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        fake.end(1000)
        with pytest.raises(ConnectionLost, match="the server ended the session"):
            session.reply()


def test_an_echoing_server_that_reads_slowly_cannot_stop_both_sides() -> None:
    with FakeFastRTC(read_delay=0.005, buffers=8192) as fake, client(fake, "/raw").connect() as session:
        for _ in range(40):
            session.send_audio(SPEECH[:20000])
        got = 0
        for event in session:
            got += len(event.samples) if isinstance(event, AudioChunk) else 0
            if got == 40 * 20000:
                break
        assert got == 40 * 20000
