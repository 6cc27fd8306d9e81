"""Answers of other kinds: of handlers that fail, answer without audio, tell of no turns; of every version of FastRTC."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from hume_sync.fastrtc import AudioChunk, LogMessage, ReplyTimeout
from hume_sync.fastrtc.audio import write_wav

from .asking import IDLE, LONG, RATE, Connect, Speech, answer, pitches, together, whole

pytestmark = [pytest.mark.fastrtc, pytest.mark.timeout(120)]

BOOM = "the language model is overloaded"
FAILING = {"/fail/sentence": 1.5, "/fail/fast": 1.8, "/fail/slow": 0.6}
"""Seconds that they speak before they fail."""


@pytest.fixture
def question(speech: Speech) -> bytes:
    """A short one."""
    return speech(RATE, 0.9)


# --- handlers that fail --------------------------------------------------------------------------------------


def test_an_answer_whose_handler_fails_is_incomplete_and_has_the_error(
    connect_to_each: Connect, transport: str, question: bytes
) -> None:
    """Over WebSocket servers say nothing: the answer is what there is, and the next question has none."""
    def ask(path: str, seconds: float) -> None:
        with connect_to_each(path) as session:
            reply = session.ask(question, idle=IDLE)
            assert pitches(reply) == answer(1)
            if transport == "webrtc":
                assert not reply.complete
                assert reply.error == BOOM
                assert reply.seconds == pytest.approx(seconds, abs=0.45)  # the pauses between pieces are audio, too
            else:
                assert reply.error is None
                assert reply.seconds == pytest.approx(seconds)
            with pytest.raises(ReplyTimeout) as caught:
                session.ask(question, timeout=2)
            assert LogMessage("started_talking") in caught.value.messages
            assert LogMessage("pause_detected") not in caught.value.messages

    together(*(functools.partial(ask, path, seconds) for path, seconds in FAILING.items()))


def test_a_handler_that_fails_before_it_answers(connect_to_each: Connect, transport: str, question: bytes) -> None:
    with connect_to_each("/fail/first") as session, pytest.raises(ReplyTimeout) as caught:
        session.ask(question, timeout=3)
    assert (BOOM in str(caught.value)) == (transport == "webrtc")
    assert LogMessage("pause_detected") in caught.value.messages


# --- handlers that answer by outputs alone -------------------------------------------------------------------


def test_a_transcription_is_an_empty_complete_reply(connect_to_each: Connect, question: bytes) -> None:
    with connect_to_each("/transcript") as session, session.outputs() as outputs:
        for hertz in (400, 500):
            reply = session.ask(question, timeout=10)
            assert (reply.audio, reply.complete, reply.error) == (b"", True, None)
            assert outputs.receive(timeout=5) == f"question at {hertz} Hz"


def test_a_transcription_for_which_no_audio_is_waited(connect: Connect, question: bytes) -> None:
    with connect("/transcript") as session, session.outputs() as outputs:
        for hertz in (400, 500):
            session.send_audio(question, end=True)
            reply = session.reply(audio=False)
            assert (reply.audio, reply.complete) == (b"", True)
            assert outputs.receive(timeout=5) == f"question at {hertz} Hz"


def test_the_command_prints_a_transcription(real_url: str, transport: str, question: bytes, tmp_path: Path) -> None:
    question = tmp_path / "question.wav"
    write_wav(question, question, RATE)
    arguments = ["fastrtc", f"{real_url}/transcript", "--wav", str(question), "--outputs", "--transport", transport]
    rates = ["--input-rate", str(RATE), "--output-rate", str(RATE)]
    done = subprocess.run(
        [sys.executable, "-m", "hume_sync", *arguments, *rates],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert '"question at 400 Hz"' in done.stdout.splitlines()


# --- behind middleware that holds back the head of a stream ----------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_outputs_of_an_application_behind_gzip(connect: Connect, question: bytes, when: str) -> None:
    with connect("/zipped/both", outputs="/updates") as session:
        early = session.outputs() if when == "before" else None
        assert pitches(session.ask(question, idle=IDLE)) == answer(1)
        with early or session.outputs() as outputs:
            assert outputs.receive(timeout=5) == 400
            assert pitches(session.ask(question, idle=IDLE)) == answer(2)
            assert outputs.receive(timeout=5) == 500


# --- handlers that tell of no turns ----------------------------------------------------------------------------


def test_a_handler_that_tells_of_no_turns(connect: Connect, transport: str, question: bytes) -> None:
    with connect("/listening") as session:
        for number in (1, 2, 3):
            reply = session.ask(question, idle=IDLE)
            assert pitches(reply) == answer(number)
            assert whole(reply, LONG, transport)
            assert not any(isinstance(event, LogMessage) for event in reply.messages)


def test_a_handler_that_tells_of_no_turns_is_interrupted(connect: Connect, question: bytes) -> None:
    with connect("/listening") as session:
        session.send_audio(question, end=True)
        next(event for event in session if isinstance(event, AudioChunk))
        session.discard()
        assert pitches(session.ask(question, idle=IDLE)) == answer(2)


# --- each version --------------------------------------------------------------------------------------------


def test_questions_of_every_version(connect_to_each: Connect, transport: str, question: bytes) -> None:
    with connect_to_each("/ask") as session:
        for number in (1, 2):
            reply = session.ask(question, idle=IDLE)
            assert pitches(reply) == answer(number)
            assert whole(reply, LONG, transport)
        session.send_audio(question, end=True)  # and given up
        assert pitches(session.ask(question + question)) == answer(4)


def test_a_greeting_of_every_version(connect_to_each: Connect, question: bytes) -> None:
    """That of FastRTC 0.0.25 is lost over WebSocket where it is ready before the client's first message."""
    with connect_to_each("/greet") as session:
        assert pitches(session.ask(question, idle=IDLE)) == answer(1)
