"""Messages of the application's own, both ways over WebSocket, and when audio came. (Over WebRTC: test_rtcmessages.)"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync import InboxOverflow, InputError, MessageTooLarge, MisuseError, Timeout
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import AudioChunk, Custom, FastRTCClient, LogMessage, Reconnected, Session, with_pauses
from hume_sync.net.clock import monotonic
from hume_sync.net.deadline import Deadline
from hume_sync.net.duplex import Message
from tests.faultproxy import BINARY, CONTINUATION, TEXT, Peer, read_frame
from tests.net.support import Script, frame, in_child, server, upgraded

from .fake import FakeFastRTC
from .real.turns import Stream, media
from .talk import PONG, SPEECH, client, heard, say


def tells(*frames: bytes, early: bytes = b"") -> Script:
    """A server that says this once the client has said ``start`` and ``ping``; early: before it answers these."""

    def run(peer: Peer) -> None:
        for _ in range(2):
            read_frame(peer.file)
        peer.send(early + frame(PONG))
        peer.send(b"".join(frames))
        peer.wait_gone()

    return upgraded(run)


# --- the server's


def test_a_binary_message_is_an_event_in_its_place_and_the_turn_goes_on(fake: FakeFastRTC) -> None:
    with client(fake, "/garbage").connect() as session:
        reply = session.ask(SPEECH, idle=0.05)
        again = session.ask(SPEECH, idle=0.05)
    for one in (reply, again):
        assert one.complete
        assert heard(SPEECH)[:100] in one.audio
        assert Custom(None, b"\x00\x01\x02") in one.messages


def test_binary_messages_before_the_server_answers_are_events_even_where_they_look_like_an_answer() -> None:
    refusal = b'{"status": "failed", "meta": {"error": "concurrency_limit_reached", "limit": 1}}'

    early = frame(PONG, BINARY) + frame(refusal, BINARY) + frame(b"", BINARY)
    with server(tells(early=early)) as port, FastRTCClient(f"http://127.0.0.1:{port}").connect() as session:
        data = [PONG, refusal, b""]
        assert [session.receive(timeout=5) for _ in data] == [Custom(None, one) for one in data]


def test_a_binary_message_in_pieces_is_one_event() -> None:
    pieces = [
        frame(b"one, ", BINARY, final=False),
        frame(b"two, ", CONTINUATION, final=False),
        frame(b"\xff", CONTINUATION),
    ]
    with server(tells(*pieces)) as port, FastRTCClient(f"http://127.0.0.1:{port}").connect() as session:
        assert session.receive(timeout=5) == Custom(None, b"one, two, \xff")


@pytest.mark.parametrize("opcode", [BINARY, TEXT], ids=["binary", "text"])
def test_limits_hold_for_every_kind_of_message(opcode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(tells(frame(bytes(1000), opcode) + frame(bytes(1001), opcode))) as port:
        with FastRTCClient(f"http://127.0.0.1:{port}", max_message_size=1000).connect() as session:
            assert isinstance(session.receive(timeout=5), Custom)
            with pytest.raises(MessageTooLarge, match="more than 1000 bytes"):
                session.receive(timeout=5)

    monkeypatch.setattr("hume_sync.fastrtc.transport_ws._INBOX", 100_000)
    with server(tells(frame(bytes(900), opcode) * 200)) as port:
        with FastRTCClient(f"http://127.0.0.1:{port}", max_message_size=1000).connect() as session:
            session._connection.transport._duplex._io_thread.thread.join(5)  # type: ignore[attr-defined]  # it is over
            with pytest.raises(InboxOverflow, match="more than 100000 bytes"):
                list(session)


def test_text_that_is_no_utf8_is_an_event_and_no_end() -> None:
    with (
        server(tells(frame(b"\xff"), frame(b'{"type": "log", "data": "fine"}'))) as port,
        FastRTCClient(f"http://127.0.0.1:{port}").connect() as session,
    ):
        assert session.receive(timeout=5) == Custom(None, "\ufffd")
        assert session.receive(timeout=5) == LogMessage("fine")


# --- one's own


OWN: list[tuple[Any, str | bytes, Custom]] = [
    ("", "", Custom(None, "")),
    ("hello, wörld", "hello, wörld", Custom(None, "hello, wörld")),
    ("null", "null", Custom(None, None)),
    ({"type": "custom", "data": {"x": 1}}, '{"type":"custom","data":{"x":1}}', Custom("custom", {"x": 1})),
    ([1, None], "[1,null]", Custom(None, [1, None])),
    (b"", b"", Custom(None, b"")),
    (b'{"event": "stop"}', b'{"event": "stop"}', Custom(None, b'{"event": "stop"}')),
    (bytearray(70_000), bytes(70_000), Custom(None, bytes(70_000))),
]


def test_messages_are_sent_in_the_form_they_have_and_in_order(fake: FakeFastRTC) -> None:
    with client(fake, "/repeats").connect() as session:
        for message, _, _ in OWN:
            session.send(message)
        assert [session.receive(timeout=5) for _ in OWN] == [event for *_, event in OWN]
        assert heard(SPEECH) in say(session)  # and the session goes on
    assert fake.connections[0].said == [sent for _, sent, _ in OWN]
    assert fake.connections[0].events[-1] == "stop"


def test_a_message_between_question_and_answer_changes_neither(fake: FakeFastRTC) -> None:
    with client(fake, "/repeats").connect() as session:
        session.send_audio(SPEECH)
        session.send({"event": "mark"})
        session.send_audio(bytes(2 * 16000))
        session.send({"event": "mark"})
        reply = session.reply(idle=0.05)
    assert heard(SPEECH) in reply.audio
    assert reply.complete


@pytest.mark.parametrize("message", [None, 7, {"event": "stop"}, '{"event": "ping"}', "\ud800", {"a": float("nan")}])
def test_what_cannot_be_sent_is_refused_before_anything_is_sent(fake: FakeFastRTC, message: Any) -> None:
    with client(fake, "/repeats").connect() as session:
        with pytest.raises(InputError):
            session.send(message)
        assert say(session)
    assert fake.connections[0].said == []
    assert fake.connections[0].events.count("stop") == 1


@pytest.mark.parametrize("message", ["x" * 99_998 + "ü", b"x" * 100_000, ["x" * 99_996]], ids=["str", "bytes", "list"])
def test_the_largest_message_that_is_taken_is_the_largest_that_is_sent(fake: FakeFastRTC, message: Any) -> None:
    with client(fake, "/repeats", max_message_size=100_000).connect() as session:
        session.send(message)
        event = session.receive(timeout=5)
        assert isinstance(event, Custom)
        assert event.data == message
        with pytest.raises(InputError, match="at most 100000 bytes, the max_message_size of the client; got 100001"):
            session.send(["x" * 99_997] if isinstance(message, list) else message + message[:1])
        session.send(b"and on")
        assert session.receive(timeout=5) == Custom(None, b"and on")


def test_a_server_that_takes_nothing_is_a_time_out_and_the_message_is_not_sent() -> None:
    with FakeFastRTC(reads_most=2, buffers=2**16) as fake, client(fake, "/repeats").connect() as session:
        with pytest.raises(Timeout) as caught:
            for _ in range(100):
                session.send(bytes(2**20), timeout=0.2)
        assert caught.value.phase == "send"
        session._connection.transport.abort()


@pytest.mark.parametrize("message", ["hello", b"\x00", '{"a": 1}', [1], {"type": "hello"}])
def test_servers_of_fastrtc_end_the_session_at_what_is_no_event(fake: FakeFastRTC, message: Any) -> None:
    with client(fake, "/echo").connect() as session:
        session.send({"event": "mark", "x": 1})  # is ignored
        assert say(session)
        session.send(message)
        with pytest.raises(ConnectionLost, match="or could not read a message") as caught:
            list(session)
    assert caught.value.close_code == 1000


def test_who_sends_is_the_first_to_notice_a_loss_and_the_message_is_not_sent_again(fake: FakeFastRTC) -> None:
    with client(fake, "/repeats").connect(reconnect=True) as session:
        fake.drop()
        with pytest.raises(ConnectionLost):
            while True:
                session.send("lost", timeout=5)
        assert isinstance(session.receive(timeout=5), Reconnected)
        session.send("reported")
        assert session.receive(timeout=5) == Custom(None, "reported")
    assert [connection.said[-1:] for connection in fake.connections][1] == ["reported"]


def test_a_closed_session_sends_nothing(fake: FakeFastRTC) -> None:
    session = client(fake, "/repeats").connect()
    session.close()
    with pytest.raises(MisuseError, match="closed"):
        session.send("late")


def test_a_forked_child_may_not_send(fake: FakeFastRTC) -> None:
    with client(fake, "/repeats").connect() as session:

        def child() -> None:
            with pytest.raises(MisuseError, match="before the process was forked"):
                session.send("x")

        in_child(child)
        session.send("y")
        assert session.receive(timeout=5) == Custom(None, "y")


def test_many_threads_send_whole_messages_while_others_speak(fake: FakeFastRTC) -> None:
    with client(fake, "/repeats").connect() as session, ThreadPoolExecutor(5) as threads:
        ready = threading.Barrier(5)

        def send(number: int) -> None:
            ready.wait(5)
            for _ in range(20):
                session.send(bytes([number]) * 3000)

        def speak() -> None:
            ready.wait(5)
            for _ in range(20):
                session.send_audio(SPEECH[:2000])

        works: list[Callable[[], None]] = [lambda number=number: send(number) for number in range(4)]  # type: ignore[misc]
        for done in [threads.submit(work) for work in [*works, speak]]:
            done.result(10)
        events = [session.receive(timeout=5) for _ in range(80)]
    assert {event.data for event in events if isinstance(event, Custom)} == {bytes([n]) * 3000 for n in range(4)}
    assert fake.connections[0].media == [1000] * 20


# --- when audio came


def test_audio_has_the_time_at_which_it_came_and_not_at_which_it_was_fetched(fake: FakeFastRTC) -> None:
    with client(fake, "/multi").connect() as session:
        before = monotonic()
        session.send_audio(SPEECH, end=True)
        owner = session._connection.transport._duplex._io_thread  # type: ignore[attr-defined]  # it has all before anybody asks

        def has_all() -> bool | None:
            came = [message for message in owner._inbox if isinstance(message, Message)]
            return sum(b"media" in message.data for message in came) == 10 or None

        assert owner._changed.wait_for(has_all, Deadline(10))
        behind = monotonic()
        chunks = _chunks(session)
    times = [chunk.arrived for chunk in chunks]
    assert len(times) == 10
    assert times == sorted(times)
    assert before < times[0] < times[-1] < behind
    assert {chunk.media_time for chunk in chunks} == {None}


def test_audio_that_came_before_the_session_was_there_has_a_time_too() -> None:
    before = monotonic()
    with FakeFastRTC(streams={"/greets": Stream(greeting=(media(bytes(1600)),))}) as fake:
        with client(fake, "/greets").connect() as session:
            behind = monotonic()
            (chunk,) = _chunks(session)
    assert before < chunk.arrived < behind


def test_the_pause_between_two_answers_can_be_put_back(fake: FakeFastRTC) -> None:
    with client(fake, "/multi").connect() as session:
        session.send_audio(SPEECH, end=True)
        first = _chunks(session)
        session.send_audio(SPEECH, end=True)
        second = _chunks(session)
    # Shifted by a time that no machine adds: each answer plays for a second.
    later = [
        AudioChunk(chunk.samples, chunk.rate, arrived=chunk.arrived - second[0].arrived + first[0].arrived + 60)
        for chunk in second
    ]
    both = b"".join(chunk.samples for chunk in first), b"".join(chunk.samples for chunk in later)
    assert with_pauses(first + later) == both[0] + bytes(2 * 16000 * 59) + both[1]


def _chunks(session: Session) -> list[AudioChunk]:
    return [event for event in session.events(timeout=0.3) if isinstance(event, AudioChunk)]
