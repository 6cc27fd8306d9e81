"""A reply is the answer to the question that was asked: real servers whose answers tell by their pitch which it is."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from hume_sync.fastrtc import AudioChunk, ReplyTimeout, Session

from .asking import GREETING, RATE, Connect, Speech, answer, pitches, together, whole

pytestmark = [pytest.mark.fastrtc, pytest.mark.timeout(120)]


# --- answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ask", "/busy"])
def test_each_question_gets_its_answer(connect: Connect, transport: str, speech: Speech, path: str) -> None:
    with connect(path) as session:
        for number in (1, 2, 3):
            reply = session.ask(speech(RATE))
            assert pitches(reply) == answer(number)
            assert whole(reply, 2.0, transport)


def cut(session: Session, question: bytes, transport: str) -> None:
    """Ask, and take the beginning of the answer."""
    session.send_audio(question, end=True)
    next(event for event in session if isinstance(event, AudioChunk))
    reply = session.reply(timeout=0.5) if transport == "webrtc" else session.reply(timeout=0.05)
    assert not reply.complete
    assert pitches(reply) in ([], answer(1))


def time_out(session: Session, question: bytes, _transport: str) -> None:
    """Ask, and give up before there is any audio."""
    session.send_audio(question, end=True)
    with pytest.raises(ReplyTimeout):
        session.reply(timeout=0.1)


def never_await(session: Session, question: bytes, _transport: str) -> None:
    session.send_audio(question, end=True)


def cut_while_it_is_asked(session: Session, question: bytes, _transport: str) -> None:
    """Ask in one call, with a time that ends in mid-answer or before it."""
    try:
        session.ask(question, timeout=1.5)
    except ReplyTimeout:
        return


Way = Callable[[Session, bytes, str], None]


@pytest.mark.parametrize("ways", [(cut, time_out), (never_await, cut_while_it_is_asked)], ids=["cut", "unasked"])
def test_what_was_given_up_is_no_part_of_later_answers(
    connect: Connect, transport: str, speech: Speech, ways: tuple[Way, ...]
) -> None:
    first, *questions = (speech(RATE, seconds) for seconds in (1.9, 1.9, 3.0, 6.0))

    def after(way: Way, question: bytes) -> list[list[int]]:
        with connect("/ask") as session:
            way(session, first, transport)
            replies = [session.ask(question), *([session.ask(first)] if question is not questions[-1] else [])]
            assert all(reply.complete for reply in replies)
            return [pitches(reply) for reply in replies]

    got = together(*(functools.partial(after, way, question) for way in ways for question in questions))
    assert got == [[answer(2), answer(3)], [answer(2), answer(3)], [answer(2)]] * 2


def test_what_is_left_of_an_answer_that_was_cut_comes_with_the_next_reply(connect: Connect, speech: Speech) -> None:
    with connect("/hesitating") as session:
        session.send_audio(speech(RATE), end=True)
        assert pitches(session.reply(idle=1.0)) == answer(1)  # to its pause, which is longer: that cannot be told
        assert pitches(session.reply()) == answer(1)
        assert pitches(session.ask(speech(RATE), idle=2.2)) == answer(2)


def test_a_pause_in_an_answer_that_is_longer_than_idle_does_not_spoil_the_next(
    connect: Connect, transport: str, speech: Speech
) -> None:
    with connect("/hesitating") as session:
        for number in (1, 2):
            reply = session.ask(speech(RATE), idle=1.0)
            assert pitches(reply) == answer(number)
            assert whole(reply, 1.0, transport)
        reply = session.ask(speech(RATE), idle=3.0)
        assert pitches(reply) == answer(3)
        assert reply.complete
        assert reply.seconds > 1.8


def test_discard_throws_away_what_is_left_of_an_answer(connect: Connect, speech: Speech) -> None:
    with connect("/hesitating") as session:
        assert pitches(session.ask(speech(RATE))) == answer(1)
        session.discard()
        with pytest.raises(ReplyTimeout):
            session.reply(timeout=2.5)
        assert pitches(session.ask(speech(RATE))) == answer(2)


def test_a_pause_inside_a_question_makes_it_the_question_behind_the_pause(connect: Connect, speech: Speech) -> None:
    """The server takes the words before the pause for a question of their own, and begins to answer."""
    with connect("/ask") as session:
        for last in (2, 4):
            session.send_audio(speech(RATE))
            session.send_audio(bytes(2 * round(1.6 * RATE)))
            session.send_audio(speech(RATE, 3.0), end=True)
            reply = session.reply()
            assert pitches(reply) == answer(last)
            assert reply.complete


def test_a_pause_inside_a_file_of_one_question(connect: Connect, transport: str, speech: Speech) -> None:
    """Over WebSocket it goes as one message, whose pause the server does not hear."""
    question = speech(RATE) + bytes(2 * round(1.6 * RATE)) + speech(RATE)
    with connect("/ask") as session:
        assert pitches(session.ask(question)) == answer(1 if transport == "websocket" else 2)
        assert pitches(session.ask(speech(RATE))) == answer(2 if transport == "websocket" else 3)


def test_who_speaks_while_an_answer_comes_gets_the_answer_to_that(connect: Connect, speech: Speech) -> None:
    with connect("/ask") as session:
        for number in (1, 3):
            session.send_audio(speech(RATE), end=True)
            next(event for event in session if isinstance(event, AudioChunk))
            assert pitches(session.ask(speech(RATE))) == answer(number + 1)


def test_a_handler_that_cannot_be_interrupted(connect: Connect, transport: str, speech: Speech) -> None:
    """What is said to it while it answers is lost; what it has begun it speaks to its end."""
    with connect("/patient") as session:
        for number in (1, 2):
            reply = session.ask(speech(RATE))
            assert pitches(reply) == answer(number)
            assert whole(reply, 2.0, transport)
        cut_of = session.ask(speech(RATE), timeout=1.5 if transport == "webrtc" else 0.6)
        assert pitches(cut_of) in ([], answer(3))
        for number in (4, 5):
            assert pitches(session.ask(speech(RATE))) == answer(number)


# --- greetings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/greet", "/listening-greet"])
def test_a_greeting_is_no_answer_in_any_of_ten_sessions(connect: Connect, speech: Speech, path: str) -> None:
    question = speech(RATE)

    def asks() -> list[list[int]]:
        with connect(path) as session:
            return [pitches(session.ask(question)) for _ in range(2)]

    def sends() -> list[list[int]]:
        with connect(path) as session:
            session.send_audio(question, end=True)
            first = session.reply()
            session.send_audio(question, end=True)
            return [pitches(first), pitches(session.reply())]

    def is_greeted() -> list[list[int]]:
        with connect(path) as session:
            greeting = session.greeting()
            assert pitches(greeting) == [GREETING]
            assert greeting.seconds > 1.2
            return [pitches(session.ask(question)) for _ in range(2)]

    got = []
    for works in ([asks] * 2 + [sends] * 2 + [is_greeted], [asks, sends] + [is_greeted] * 3):
        got += together(*works)
    assert got == [[answer(1), answer(2)]] * 10


def test_a_greeting_of_a_handler_as_fastrtc_makes_it(connect: Connect, speech: Speech) -> None:
    with connect("/busy-greet") as session:
        assert pitches(session.ask(speech(RATE))) == answer(1)
    with connect("/busy-greet") as session:
        assert pitches(session.greeting(timeout=20.0)) == [GREETING]
        assert pitches(session.ask(speech(RATE))) == answer(1)


def test_a_handler_that_does_not_greet(connect: Connect, speech: Speech) -> None:
    with connect("/ask") as session:
        with pytest.raises(ReplyTimeout):
            session.greeting(timeout=1.0)
        assert pitches(session.ask(speech(RATE))) == answer(1)
