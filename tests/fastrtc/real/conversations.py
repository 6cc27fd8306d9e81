"""Conversations with real servers: a reply is the answer to the question that was asked.

Each is a function of a `Talk`. Most of them wait most of the time, so test_conversations.py has several at a time.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest

from hume_sync.fastrtc import AudioChunk, LogMessage, ReplyTimeout, Session
from hume_sync.fastrtc.audio import write_wav

from .asking import GREETING, IDLE, LONG, RATE, Talk, answer, ask, pitches, speech

Play = Callable[[Talk], None]

ROOT = Path(__file__).parents[3]
BOOM = "the language model is overloaded"


@attrs.frozen
class Conversation:
    """What is played, and whether with every version of FastRTC, or the newest alone."""

    play: Play
    each_version: bool


CONVERSATIONS: dict[str, Conversation] = {}


def conversation(*, each_version: bool = False) -> Callable[[Play], Play]:
    def register(play: Play) -> Play:
        CONVERSATIONS[play.__name__] = Conversation(play, each_version)
        return play

    return register


def conversations(cases: Iterable[tuple[str, Any]]) -> Callable[[Any], Any]:
    """One for each case, whose value comes behind the `Talk`."""

    def register(play: Callable[[Talk, Any], None]) -> Callable[[Talk, Any], None]:
        for name, case in cases:
            one = functools.partial(lambda case, talk: play(talk, case), case)
            CONVERSATIONS[f"{play.__name__}, {name}"] = Conversation(one, each_version=False)
        return play

    return register


# --- questions that were abandoned ------------------------------------------------------------------------------


def cut(session: Session, question: bytes, timeout: float) -> None:
    """Ask, and take the beginning of the answer."""
    session.send_audio(question, end=True)
    next(event for event in session if isinstance(event, AudioChunk))
    reply = session.reply(timeout=timeout)
    assert not reply.complete
    assert pitches(reply) in ([], answer(1))


def timed_out(session: Session, question: bytes, _timeout: float) -> None:
    """Ask, and stop waiting before there is any audio."""
    session.send_audio(question, end=True)
    with pytest.raises(ReplyTimeout):
        session.reply(timeout=0.1)


def never_awaited(session: Session, question: bytes, _timeout: float) -> None:
    """Ask; the server has begun with it: else it may take it and the next for one."""
    session.send_audio(question, end=True)
    next(event for event in session if event == LogMessage("pause_detected"))


def asked_briefly(session: Session, question: bytes, _timeout: float) -> None:
    """Ask in one call, with a time that ends before the answer does."""
    try:
        reply = session.ask(question, timeout=0.9)
    except ReplyTimeout:
        return
    assert pitches(reply) in ([], answer(1))


@conversations(
    (f"{way.__name__} then {seconds} s", (way, seconds))
    for way in (cut, timed_out, never_awaited, asked_briefly)
    for seconds in (6.0, 3.0, 1.9)  # the longest first: they are played side by side
)
def what_was_abandoned_is_no_part_of_later_answers(
    talk: Talk, case: tuple[Callable[[Session, bytes, float], None], float]
) -> None:
    abandon, seconds = case
    with talk.connect("/ask") as session:
        abandon(session, speech(1.9), 0.3 if talk.real_time else 0.03)
        for number in (2, 3) if seconds < 6 else (2,):
            reply = session.ask(speech(seconds), idle=IDLE)
            assert pitches(reply) == answer(number)
            assert talk.is_whole(reply)


def answering(talk: Talk, session: Session) -> None:
    """Ask, and wait until an answer comes.

    Over WebSocket all but its end: FastRTC forgets what it has heard when a handler ends, a new question included.
    """
    session.send_audio(talk.question, end=True)
    for _ in range(1 if talk.real_time else 3):
        next(event for event in session if isinstance(event, AudioChunk))


# --- pauses, and interruptions ---------------------------------------------------------------------------------


@conversation()
def each_question_gets_its_answer_of_a_handler_as_fastrtc_makes_it(talk: Talk) -> None:
    questions_get_their_answers(talk, "/busy")


@conversation(each_version=True)
def each_question_gets_its_answer(talk: Talk) -> None:
    questions_get_their_answers(talk, "/ask")


def questions_get_their_answers(talk: Talk, path: str) -> None:
    with talk.connect(path) as session:
        for number in (1, 2):
            reply = session.ask(talk.question, idle=IDLE)
            assert pitches(reply) == answer(number)
            assert talk.is_whole(reply)
        never_awaited(session, talk.question, 0.0)
        assert pitches(session.ask(talk.question, idle=IDLE)) == answer(4)


@conversation()
def what_is_left_of_an_answer_that_was_cut_comes_with_the_next_reply(talk: Talk) -> None:
    with talk.connect("/hesitating") as session:
        session.send_audio(talk.question, end=True)
        next(event for event in session if isinstance(event, AudioChunk))
        assert not session.reply(timeout=1.0, idle=3.0).complete
        rest = session.reply(idle=1.0)
        assert pitches(rest) == answer(1)
        assert rest.complete
        assert pitches(session.ask(talk.question, idle=1.0)) == answer(2)


@conversation()
def a_pause_in_an_answer_that_is_longer_than_idle_does_not_spoil_the_next(talk: Talk) -> None:
    with talk.connect("/hesitating") as session:
        for number in (1, 2):
            reply = session.ask(talk.question, idle=1.0)
            assert pitches(reply) == answer(number)
            assert reply.seconds < LONG - 0.4
        reply = session.ask(talk.question, idle=3.0)
        assert pitches(reply) == answer(3)
        assert reply.complete
        assert reply.seconds > LONG - 0.25


@conversation()
def discard_throws_away_what_is_left_of_an_answer(talk: Talk) -> None:
    with talk.connect("/hesitating") as session:
        session.send_audio(talk.question, end=True)
        next(event for event in session if isinstance(event, AudioChunk))
        session.discard()
        with pytest.raises(ReplyTimeout):
            session.reply(timeout=3.0)
        assert pitches(session.ask(talk.question)) == answer(2)


@conversation()
def a_pause_inside_a_question_makes_it_the_question_behind_the_pause(talk: Talk) -> None:
    """The server takes the words before the pause for a question of their own, and begins to answer."""
    with talk.connect("/ask") as session:
        for last in (2, 4):
            session.send_audio(talk.question)
            session.send_audio(bytes(2 * round(1.6 * RATE)))
            if not talk.real_time:  # else the server hears all of it at once
                next(event for event in session if event == LogMessage("pause_detected"))
            session.send_audio(speech(1.9), end=True)
            reply = session.reply(idle=IDLE)
            assert pitches(reply) == answer(last)
            assert reply.complete


@conversation()
def a_pause_inside_a_recorded_question(talk: Talk) -> None:
    """Over WebSocket it goes as one message, whose pause the server does not hear."""
    last = 2 if talk.real_time else 1
    with talk.connect("/ask") as session:
        question = talk.question + bytes(2 * round(1.6 * RATE)) + talk.question
        assert pitches(session.ask(question, idle=IDLE)) == answer(last)
        assert pitches(session.ask(talk.question, idle=IDLE)) == answer(last + 1)


@conversation(each_version=True)
def who_speaks_while_an_answer_comes_gets_the_answer_to_that(talk: Talk) -> None:
    with talk.connect("/ask") as session:
        for number in (1, 3):
            answering(talk, session)
            assert pitches(session.ask(talk.question, idle=IDLE)) == answer(number + 1)


@conversation()
def a_handler_that_cannot_be_interrupted(talk: Talk) -> None:
    """What it has begun it speaks to its end, and none of that is part of the next answer."""
    with talk.connect("/patient") as session:
        reply = session.ask(talk.question, idle=IDLE)
        assert pitches(reply) == answer(1)
        assert talk.is_whole(reply)
        answering(talk, session)
        for number in (3, 4):
            assert pitches(session.ask(talk.question, idle=IDLE)) == answer(number)


# --- greetings -----------------------------------------------------------------------------------------------


def asks(session: Session, question: bytes) -> None:
    for number in (1, 2):
        assert pitches(ask(session, question)) == answer(number)


def streams(session: Session, question: bytes) -> None:
    try:
        session.send_audio(question, end=True)
        assert pitches(session.reply(timeout=6.0, idle=IDLE)) == answer(1)
    except ReplyTimeout:
        asks(session, question)  # see there


def is_greeted(session: Session, question: bytes) -> None:
    greeting = session.greeting(idle=IDLE)
    assert pitches(greeting) == [GREETING]
    assert greeting.seconds > LONG - 0.25
    assert greeting.complete
    asks(session, question)


@conversations(
    (f"session {number}, {way.__name__}", way)
    for number, way in enumerate(
        [asks, streams, is_greeted, asks, streams, is_greeted, asks, streams, is_greeted, asks]
    )
)
def a_greeting_is_no_answer(talk: Talk, use: Callable[[Session, bytes], None]) -> None:
    with talk.connect("/greet") as session:
        use(session, talk.question)


@conversations([(way.__name__, way) for way in (asks, is_greeted)])
def a_greeting_of_a_handler_as_fastrtc_makes_it(talk: Talk, use: Callable[[Session, bytes], None]) -> None:
    with talk.connect("/busy-greet") as session:
        use(session, talk.question)


@conversations([(way.__name__, way) for way in (is_greeted, asks)])
def a_greeting_of_a_handler_that_tells_of_no_turns(talk: Talk, use: Callable[[Session, bytes], None]) -> None:
    """Over WebSocket a question may be there before the greeting: `Session.greeting` is to be called."""
    with talk.connect("/listening-greet") as session:
        (use if talk.real_time else is_greeted)(session, talk.question)


@conversation()
def a_handler_that_does_not_greet(talk: Talk) -> None:
    with talk.connect("/ask") as session:
        with pytest.raises(ReplyTimeout):
            session.greeting(timeout=1.0)
        assert pitches(session.ask(talk.question, idle=IDLE)) == answer(1)


# --- handlers that fail --------------------------------------------------------------------------------------


@conversations(
    [
        ("after a sentence", ("/fail/sentence", 1.5)),
        ("faster than it plays", ("/fail/fast", 1.8)),
        ("slower than it plays", ("/fail/slow", 0.6)),
    ]
)
def an_answer_whose_handler_fails_is_incomplete_and_has_the_error(talk: Talk, case: tuple[str, float]) -> None:
    """Over WebSocket servers say nothing: the answer is what there is, and the next question has none."""
    path, seconds = case
    with talk.connect(path) as session:
        reply = session.ask(talk.question)
        assert pitches(reply) == answer(1)
        if talk.real_time:
            assert not reply.complete
            assert reply.error == BOOM
            assert seconds - 0.25 < reply.seconds < seconds + 0.45  # with the pauses between the pieces
        else:
            assert reply.error is None
            assert reply.seconds == pytest.approx(seconds)
        with pytest.raises(ReplyTimeout) as caught:
            session.ask(talk.question, timeout=2)
        assert LogMessage("started_talking") in caught.value.messages
        assert LogMessage("pause_detected") not in caught.value.messages


@conversation(each_version=True)
def a_handler_that_fails_before_it_answers(talk: Talk) -> None:
    with talk.connect("/fail/first") as session, pytest.raises(ReplyTimeout) as caught:
        session.ask(talk.question, timeout=3)
    assert (BOOM in str(caught.value)) == talk.real_time
    assert LogMessage("pause_detected") in caught.value.messages


# --- handlers that answer by outputs alone -------------------------------------------------------------------


@conversation(each_version=True)
def a_transcription_is_an_empty_complete_reply(talk: Talk) -> None:
    with talk.connect("/transcript") as session, session.outputs() as outputs:
        for hertz in (400, 500):
            reply = session.ask(talk.question, timeout=10)
            assert (reply.audio, reply.complete, reply.error) == (b"", True, None)
            assert outputs.receive(timeout=5) == f"question at {hertz} Hz"


@conversation()
def a_transcription_for_which_no_audio_is_waited(talk: Talk) -> None:
    with talk.connect("/transcript") as session, session.outputs() as outputs:
        for hertz in (400, 500):
            session.send_audio(talk.question, end=True)
            reply = session.reply(audio=False)
            assert (reply.audio, reply.complete) == (b"", True)
            assert outputs.receive(timeout=5) == f"question at {hertz} Hz"


@conversation()
def the_command_prints_a_transcription(talk: Talk) -> None:
    with tempfile.TemporaryDirectory() as directory:
        question = Path(directory) / "question.wav"
        write_wav(question, talk.question, RATE)
        rates = ["--input-rate", str(RATE), "--output-rate", str(RATE)]
        options = ["--outputs", "--transport", talk.transport, *rates]
        done = subprocess.run(
            [sys.executable, "-m", "hume_sync", "fastrtc", f"{talk.url}/transcript", "--wav", str(question), *options],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert '"question at 400 Hz"' in done.stdout.splitlines()


# --- a client whose threads are green ---------------------------------------------------------------------------


@conversation()
def a_client_under_gevent(talk: Talk) -> None:
    with tempfile.TemporaryDirectory() as directory:
        question = Path(directory) / "question.wav"
        write_wav(question, talk.question, RATE)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "tests.fastrtc.real.green", talk.url, talk.transport, str(question)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
        )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["complete"]
    assert report["seconds"] > LONG - 0.25
    assert report["turns_of_another"] > 10


# --- behind middleware that holds back the head of a stream ----------------------------------------------------


@conversations([("opened before the question", True), ("opened after it", False)])
def outputs_of_an_application_behind_gzip(talk: Talk, early: bool) -> None:
    with talk.connect("/zipped/both", outputs="/updates") as session:
        outputs = session.outputs() if early else None
        assert pitches(session.ask(talk.question, idle=IDLE)) == answer(1)
        with outputs or session.outputs() as outputs:
            assert outputs.receive(timeout=5) == 400
            assert pitches(session.ask(talk.question, idle=IDLE)) == answer(2)
            assert outputs.receive(timeout=5) == 500


# --- handlers that tell of no turns ----------------------------------------------------------------------------


@conversation(each_version=True)
def a_handler_that_tells_of_no_turns(talk: Talk) -> None:
    with talk.connect("/listening") as session:
        for number in (1, 2, 3):
            reply = session.ask(talk.question, idle=IDLE)
            assert pitches(reply) == answer(number)
            assert talk.is_whole(reply)
            assert not any(isinstance(event, LogMessage) for event in reply.messages)


@conversation()
def a_handler_that_tells_of_no_turns_is_interrupted(talk: Talk) -> None:
    with talk.connect("/listening") as session:
        session.send_audio(talk.question, end=True)
        next(event for event in session if isinstance(event, AudioChunk))
        if not talk.real_time:  # there the question is spoken at once, and the rest of the answer comes behind it
            session.discard()
        assert pitches(session.ask(talk.question, idle=IDLE)) == answer(2)
