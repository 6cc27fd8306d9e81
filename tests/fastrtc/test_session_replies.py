"""Replies of sessions with the fake: what they hold, and when they are over."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest

from hume_sync import MisuseError, Timeout
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import AudioChunk, ErrorMessage, FastRTCClient, LogMessage, Reply, ReplyTimeout, WarningMessage
from hume_sync.formats import mulaw
from tests.faultproxy import Peer
from tests.net.support import frame, server, upgraded

from .fake import FakeFastRTC
from .real.turns import level, media, message
from .talk import PONG, SPEECH, TURN, chatter, client, heard, say, say_to_its_end, speech, took


def test_a_turn_brings_back_what_was_said(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        session.send_audio(SPEECH, end=True)
        reply = session.reply(idle=0.05)
    assert heard(SPEECH) in reply.audio
    assert list(reply.messages) == TURN
    assert (reply.sample_rate, reply.complete) == (16000, True)
    assert fake.connections[0].events[:3] == ["start", "ping", "ping"]
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


@pytest.mark.parametrize(("path", "code"), [("/ended", 1000), ("/restart", 1012), ("/dropped", 1006)])
def test_a_reply_behind_which_the_connection_ends_is_returned_and_the_end_left_to_the_next_call(
    fake: FakeFastRTC, path: str, code: int
) -> None:
    with client(fake, path).connect() as session:
        session.send_audio(SPEECH, end=True)
        reply = session.reply(idle=4)
        assert heard(SPEECH) in reply.audio
        assert not reply.complete  # more may have been to come
        with pytest.raises(ConnectionLost) as caught:
            session.reply()
    assert caught.value.close_code == code


@pytest.mark.parametrize("end", [FakeFastRTC.end, FakeFastRTC.drop])
def test_a_reply_of_which_announced_pieces_are_lost_with_the_connection_is_raised(
    fake: FakeFastRTC, end: Callable[[FakeFastRTC], None]
) -> None:
    with client(fake, "/silent").connect() as session:
        fake.say(*(message("log", event.text) for event in [*TURN, TURN[-1]]), media(level(1000, 800)))
        end(fake)
        with pytest.raises(ConnectionLost):
            session.reply(idle=4)


def test_an_answer_that_comes_too_late_is_no_answer_to_the_next_question(fake: FakeFastRTC) -> None:
    def turn(*amplitudes: int) -> None:
        fake.say(*(message("log", event.text) for event in TURN), *(media(level(one, 800)) for one in amplitudes))

    with client(fake, "/silent").connect() as session:
        turn()
        with pytest.raises(ReplyTimeout):
            session.reply(timeout=0.1)
        fake.say(media(level(1000, 800)))
        for amplitude in (2000, 3000):
            say_to_its_end(fake, session, bytes(2))
            turn(amplitude)
            assert session.reply(idle=0.05).audio == mulaw.decode(level(amplitude, 800))


def test_what_an_iteration_has_left_of_a_reply_is_no_answer_to_the_next_question(fake: FakeFastRTC) -> None:
    with client(fake, "/multi").connect() as session:
        session.send_audio(SPEECH, end=True)
        next(event for event in session if isinstance(event, AudioChunk))
        fake.wait(lambda: "media" in fake.connections[0].events)
        session.send_audio(SPEECH, end=True)
        reply = session.reply(idle=0.3)
    assert len(reply.audio) == 2 * 10 * 1600


def test_a_reply_that_goes_on_piece_by_piece_when_time_is_up_is_incomplete() -> None:
    piece = [message("log", "response_starting").encode(), media(level(1000, 800)).encode()]

    def run(peer: Peer) -> None:
        peer.send_frame(PONG)
        peer.send_frame(message("log", "pause_detected").encode())
        while not peer.stop.wait(0.05):  # each is announced when it is there, and has come at any moment
            for text in piece:
                peer.send_frame(text)

    with server(upgraded(run)) as port, FastRTCClient(f"http://127.0.0.1:{port}").connect() as session:
        reply = session.reply(timeout=1.0, idle=0.8)
    assert reply.audio
    assert not reply.complete


def test_a_reply_ends_where_the_next_turn_begins_which_is_left_to_the_next_call(fake: FakeFastRTC) -> None:
    with client(fake, "/silent").connect() as session:
        for amplitude in (1000, 2000):
            fake.say(*(message("log", event.text) for event in TURN), media(level(amplitude, 800)))
        replies = [session.reply(idle=4), session.reply(idle=0.05)]  # a pause ends it at once, for any idle time
    assert [reply.audio for reply in replies] == [mulaw.decode(level(amplitude, 800)) for amplitude in (1000, 2000)]
    assert [list(reply.messages) for reply in replies] == [TURN, TURN]
    assert [reply.complete for reply in replies] == [False, True]


def test_a_greeting_is_for_who_asks_for_it(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        fake.say(media(level(1000, 800)))
        assert session.greeting(idle=0.05).audio == mulaw.decode(level(1000, 800))
        assert heard(SPEECH) in say(session)
        with pytest.raises(MisuseError, match="a greeting comes before any question"):
            session.greeting()


def test_a_greeting_is_in_no_reply(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        fake.say(message("log", "response_starting"), media(level(1000, 800)))
        with pytest.raises(ReplyTimeout, match="nothing was asked on this connection"):
            session.reply(timeout=0.1)
        fake.say(message("log", "response_starting"), media(level(1000, 800)))
        assert mulaw.decode(level(1000, 800)) not in say(session)


def test_what_comes_of_a_greeting_that_was_returned_already_gives_way_to_the_first_turn(fake: FakeFastRTC) -> None:
    with client(fake, "/silent").connect() as session:
        fake.say(media(level(1000, 800)))
        assert session.greeting(idle=0.05).audio == mulaw.decode(level(1000, 800))
        fake.say(media(level(1500, 800)), *(message("log", event.text) for event in TURN), media(level(2000, 800)))
        assert session.reply(idle=0.05).audio == mulaw.decode(level(2000, 800))


def test_what_comes_of_a_reply_that_was_abandoned_is_no_part_of_the_next(fake: FakeFastRTC) -> None:
    with client(fake, "/lost").connect() as session:
        session.send_audio(SPEECH, end=True)
        assert not session.reply(timeout=0.4, idle=0.05).complete
        fake.say(media(level(1000, 800)))  # what was lost comes after all
        session.send_audio(SPEECH, end=True)
        late = mulaw.decode(level(1000, 800))
        assert late not in session.reply(timeout=0.4, idle=0.05).audio


def test_a_server_that_talks_without_end_does_not_outlast_the_time_of_a_reply() -> None:
    said = b'{"type":"log","data":"still here"}'
    with server(chatter(said, first=PONG)) as port, FastRTCClient(f"http://127.0.0.1:{port}").connect() as session:
        with pytest.raises(ReplyTimeout) as caught:
            session.reply(timeout=0.3)
        assert set(caught.value.messages) == {LogMessage("still here")}


def test_what_a_handler_says_instead_of_a_reply_is_in_the_error(fake: FakeFastRTC) -> None:
    headers = {"Authorization": "Bearer open-sesame-7"}
    with client(fake, "/echo", headers=headers).connect() as session:
        fake.say(message("warning", "careful"), message("error", "who is open-sesame-7?"))
        with pytest.raises(ReplyTimeout, match=re.escape("the handler says 'who is ***?'")) as caught:
            session.reply(timeout=0.3)
    reported = (WarningMessage("careful"), ErrorMessage("who is open-sesame-7?"))
    assert caught.value.messages == pickle.loads(pickle.dumps(caught.value)).messages == reported


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


@pytest.mark.parametrize("pace", [0.02, 0.0])
def test_messages_that_are_no_reply_do_not_put_off_its_end(pace: float) -> None:
    def run(peer: Peer) -> None:
        for text in (PONG, *(message("log", event.text).encode() for event in TURN), media(level(1000, 800)).encode()):
            peer.send_frame(text)
        many = frame(b'{"type":"log","data":"still here"}') * (1 if pace else 1000)
        while not peer.stop.wait(pace):
            peer.send(many)

    with server(upgraded(run)) as port, FastRTCClient(f"http://127.0.0.1:{port}").connect() as session:
        reply: list[Reply] = []
        assert took(lambda: reply.append(session.reply(timeout=20, idle=0.3))) < 5
    assert reply[0].complete
    assert LogMessage("still here") in reply[0].messages
