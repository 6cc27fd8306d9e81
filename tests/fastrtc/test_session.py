"""Sessions with the fake: turns, events, inputs, outputs, and every bad day but that of a connection (test_line.py)."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync import InputError, MisuseError, ProtocolError, RetryPolicy, Timeout
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import (
    AudioChunk,
    Custom,
    EndStream,
    ErrorMessage,
    FetchOutput,
    HookError,
    LogMessage,
    ReplyTimeout,
    SendInput,
    StopWord,
    TooManyConnections,
    UpdateConnection,
    WarningMessage,
)

from .fake import FakeFastRTC
from .real.turns import GARBAGE, Stream, says
from .talk import SPEECH, TURN, client, heard, say, speech

# --- turns


def test_a_turn_brings_back_what_was_said(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        session.send_audio(SPEECH, end=True)
        reply = session.reply(idle=0.05)
    assert heard(SPEECH) in reply.audio
    assert list(reply.messages) == TURN
    assert (reply.sample_rate, reply.complete) == (16000, True)
    assert fake.connections[0].events[:3] == ["start", "ping", "media"]
    assert fake.connections[0].events[-1] == "stop"


def test_a_session_has_turn_after_turn(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        assert [heard(SPEECH) in say(session) for _ in range(3)] == [True] * 3


def test_a_reply_of_many_pieces_is_waited_for_as_announced(fake: FakeFastRTC) -> None:
    fake.knobs.pace = 0.03
    with client(fake, "/multi").connect() as session:
        session.send_audio(SPEECH, end=True)
        reply = session.reply(idle=0.01)  # shorter than the pause between two pieces: the count tells
    assert len(reply.audio) == 2 * 10 * 1600
    assert reply.complete


def test_a_piece_that_was_announced_and_lost_makes_the_reply_incomplete(fake: FakeFastRTC) -> None:
    with client(fake, "/lost").connect() as session:
        session.send_audio(SPEECH, end=True)
        reply = session.reply(timeout=0.4, idle=0.05)
    assert reply.audio
    assert not reply.complete


@pytest.mark.parametrize("path", ["/silent", "/err"])
def test_a_handler_that_says_nothing_is_a_time_out_and_the_session_goes_on(fake: FakeFastRTC, path: str) -> None:
    with client(fake, path).connect() as session:
        if path == "/err":
            assert say(session)  # its first turn begins to speak before it fails
        session.send_audio(SPEECH, end=True)
        with pytest.raises(ReplyTimeout, match="no audio came in time") as caught:
            session.reply(timeout=0.3)
        assert isinstance(caught.value, Timeout)
        assert isinstance(caught.value, TimeoutError)
        session.send_audio(SPEECH)


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_audio_keeps_the_rate_of_its_handler(fake: FakeFastRTC, rate: int) -> None:
    rates: dict[str, Any] = {"input_sample_rate": rate, "output_sample_rate": rate}
    with client(fake, f"/echo{rate // 1000}", **rates).connect() as session:
        assert heard(speech(rate)) in say(session, samples=speech(rate))


@pytest.mark.slow
def test_more_than_a_server_takes_in_one_message_is_sent_in_several(fake: FakeFastRTC) -> None:
    samples = bytes(2 * (9 * 2**20))
    with client(fake, "/echo").connect() as session:
        session.send_audio(samples)
        fake.wait(lambda: sum(fake.connections[0].media) == 9 * 2**20)
    assert len(fake.connections[0].media) == 2


# --- events


def test_events_are_typed_and_come_in_order(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        session.send_audio(SPEECH, end=True)
        events = iter(session)
        assert [next(events) for _ in range(3)] == TURN
        chunk = next(events)
        assert isinstance(chunk, AudioChunk)
        assert heard(SPEECH) in chunk.samples
        assert chunk.seconds == len(chunk.samples) / 2 / 16000


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/page/warning", [WarningMessage("careful")]),
        ("/message/warning", [WarningMessage("careful")]),
        ("/page/error", [ErrorMessage("boom")]),
        ("/message/error", [ErrorMessage("boom")]),
        ("/channel", [FetchOutput(), EndStream("bye now"), UpdateConnection("closed")]),
        ("/stopword", [StopWord("")]),
    ],
)
def test_what_servers_say_is_known_in_either_spelling(fake: FakeFastRTC, path: str, expected: list[object]) -> None:
    with client(fake, path).connect() as session:
        session.send_audio(SPEECH)  # (of which a handler with a stop word takes the first part for that)
        session.send_audio(SPEECH, end=True)
        messages = session.reply(idle=0.05).messages
    assert [event for event in messages if not isinstance(event, LogMessage)] == expected


def test_what_nobody_knows_passes_through_and_breaks_nothing() -> None:
    odd = [message for message in GARBAGE.values() if isinstance(message, str)]
    with FakeFastRTC(streams={"/odd": Stream(turn=says(*odd))}) as fake, client(fake, "/odd").connect() as session:
        session.send_audio(SPEECH, end=True)
        reply = session.reply(idle=0.05)
    assert reply.audio
    custom = [event for event in reply.messages if isinstance(event, Custom)]
    assert Custom("custom", {"x": 1}) in custom
    assert len(custom) == len(odd)


def test_a_binary_message_is_none_of_the_protocols(fake: FakeFastRTC) -> None:
    with client(fake, "/garbage").connect() as session:
        session.send_audio(SPEECH, end=True)
        with pytest.raises(ProtocolError, match="not a text message"):
            list(session)


def test_what_is_said_before_the_pong_is_not_lost(fake: FakeFastRTC) -> None:
    with client(fake, "/custom").connect() as session:
        events = iter(session)
        assert [next(events), next(events)] == [LogMessage("hello"), Custom("custom", {"x": 1})]


# --- limits and ends


@pytest.mark.parametrize("refusal", ["start", "connect", "http"])
def test_too_many_connections_are_told_in_every_form(refusal: str) -> None:
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


def test_a_place_is_free_once_a_session_is_closed(fake: FakeFastRTC) -> None:
    one = client(fake, "/limit")
    with one.connect(), pytest.raises(TooManyConnections) as caught:
        one.connect()
    assert caught.value.limit == 1
    with one.connect() as session:
        assert say(session)


@pytest.mark.parametrize(
    ("path", "code"), [("/ended", 1000), ("/restart", 1012), ("/dropped", 1006)], ids=["1000", "1012", "1006"]
)
def test_the_servers_end_is_raised_once_what_came_before_was_received(fake: FakeFastRTC, path: str, code: int) -> None:
    with client(fake, path).connect() as session:
        session.send_audio(SPEECH, end=True)
        got = []
        with pytest.raises(ConnectionLost) as caught:
            for event in session:
                got.append(event)
    assert caught.value.close_code == code
    assert any(isinstance(event, AudioChunk) for event in got)


def test_an_end_nobody_asked_for_is_said_to_be_the_servers(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        fake.end(1000)
        with pytest.raises(ConnectionLost, match="the server ended the session"):
            session.reply()


def test_a_server_that_does_not_register_in_time_is_a_time_out(fake: FakeFastRTC) -> None:
    fake.knobs.pong = False
    with pytest.raises(Timeout) as caught:
        client(fake, "/echo", timeout=0.3).connect()
    assert caught.value.phase == "connect"


# --- inputs and outputs


def test_inputs_are_posted_in_the_pages_form(fake: FakeFastRTC) -> None:
    with client(fake, "/args").connect() as session:
        session.set_input(scale=3, label="x")
        assert say(session)
        assert fake.hooks == [{"webrtc_id": session.webrtc_id, "scale": 3, "label": "x"}]


def test_a_handler_that_asks_is_answered_in_the_callers_thread(fake: FakeFastRTC) -> None:
    threads: list[int] = []

    def inputs() -> dict[str, int]:
        threads.append(threading.get_ident())
        return {"scale": len(threads)}

    with client(fake, "/args").connect(inputs=inputs) as session, session.outputs() as outputs:
        for _ in range(2):
            session.send_audio(SPEECH, end=True)
            assert SendInput() in session.reply(idle=0.05).messages
        assert [next(outputs)["scale"], next(outputs)["scale"]] == [1, 2]
    assert threads == [threading.get_ident()] * 2


def test_a_hook_that_fails_is_an_error_with_its_status(fake: FakeFastRTC) -> None:
    fake.knobs.hook_status = 500
    with client(fake, "/args").connect() as session:
        with pytest.raises(HookError) as caught:
            session.set_input(scale=1)
        assert caught.value.status == 500


def test_outputs_come_as_json_where_they_are_and_end_with_the_session(fake: FakeFastRTC) -> None:
    with client(fake, "/addl").connect() as session:
        outputs = session.outputs()
        say(session)
        first = next(outputs)
        rest = [next(outputs), next(outputs)]
    assert first["rate"] == 16000
    assert rest == ["with audio", "zwei Zeilen:\nÄußerung"]
    assert list(outputs) == []


# --- misuse


def test_a_closed_session_says_so(fake: FakeFastRTC) -> None:
    session = client(fake, "/echo").connect()
    session.close()
    session.close()
    for call in (lambda: session.send_audio(SPEECH), session.reply, session.outputs, lambda: session.set_input(a=1)):
        with pytest.raises(MisuseError, match="closed"):
            call()


@pytest.mark.parametrize("audio", [b"", b"odd", "nowhere.txt", 7, None])
def test_bad_audio_is_refused_before_anything_is_sent(fake: FakeFastRTC, audio: Any) -> None:
    with client(fake, "/echo").connect() as session:
        with pytest.raises((InputError, OSError)):
            session.send_audio(audio)
        assert say(session)
    assert all(fake.connections[0].media)


def test_a_forked_child_may_not_use_a_session_and_the_parent_goes_on(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            verdict = b"?"
            try:
                session.send_audio(SPEECH)
            except MisuseError:
                verdict = b"M"
            finally:
                session.close()
                os.write(write, verdict)
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 1) == b"M"
        os.close(read)
        os.close(write)
        assert heard(SPEECH) in say(session)


def test_twenty_sessions_in_twenty_threads_each_hear_themselves(fake: FakeFastRTC) -> None:
    twenty = client(fake, "/limit20")
    ready = threading.Barrier(20)

    def work(number: int) -> bool:
        own = bytes(SPEECH[: len(SPEECH) - 2000 * number])
        with twenty.connect() as session:
            ready.wait(10)
            if number == 0:
                with pytest.raises(TooManyConnections):
                    twenty.connect()
            return heard(own) in say(session, samples=own, idle=0.3)

    with ThreadPoolExecutor(20) as threads:
        assert list(threads.map(work, range(20))) == [True] * 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("hume_sync")]


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


def test_an_unknown_path_is_an_error_before_there_is_a_session(fake: FakeFastRTC) -> None:
    with pytest.raises(Exception, match="403|404") as caught:
        client(fake, "/nowhere").connect()
    assert not isinstance(caught.value, ProtocolError)
