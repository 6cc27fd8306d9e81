"""A reply is the answer to the question that was asked: real servers whose answers tell by their pitch which it is."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from hume_sync.fastrtc import AudioChunk, ReplyTimeout, Session

from .asking import GREETING, IDLE, LONG, RATE, Connect, Speech, answer, pitches, together, whole

pytestmark = [pytest.mark.fastrtc, pytest.mark.timeout(120)]

Way = Callable[[Session, bytes, str], None]


@pytest.fixture
def question(speech: Speech) -> bytes:
    """A short one."""
    return speech(RATE, 0.9)


# --- questions that were given up ------------------------------------------------------------------------------


def cut(session: Session, question: bytes, transport: str) -> None:
    """Ask, and take the beginning of the answer."""
    session.send_audio(question, end=True)
    next(event for event in session if isinstance(event, AudioChunk))
    reply = session.reply(timeout=0.3 if transport == "webrtc" else 0.03)
    assert not reply.complete
    assert pitches(reply) in ([], answer(1))


def time_out(session: Session, question: bytes, _transport: str) -> None:
    """Ask, and give up before there is any audio."""
    session.send_audio(question, end=True)
    with pytest.raises(ReplyTimeout):
        session.reply(timeout=0.1)


def never_await(session: Session, question: bytes, _transport: str) -> None:
    session.send_audio(question, end=True)


def ask_briefly(session: Session, question: bytes, _transport: str) -> None:
    """Ask in one call, with a time that ends before the answer does."""
    try:
        reply = session.ask(question, timeout=0.9)
    except ReplyTimeout:
        return
    assert pitches(reply) in ([], answer(1))


@pytest.mark.parametrize("ways", [(cut, time_out), (never_await, ask_briefly)], ids=["cut", "unasked"])
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


# --- pauses, and interruptions ---------------------------------------------------------------------------------


def test_each_question_gets_its_answer_from_a_handler_as_fastrtc_makes_it(
    connect: Connect, transport: str, question: bytes
) -> None:
    with connect("/busy") as session:
        for number in (1, 2, 3):
            reply = session.ask(question)
            assert pitches(reply) == answer(number)
            assert whole(reply, LONG, transport)


def test_what_is_left_of_an_answer_that_was_cut_comes_with_the_next_reply(connect: Connect, question: bytes) -> None:
    with connect("/hesitating") as session:
        session.send_audio(question, end=True)
        assert pitches(session.reply(idle=1.0)) == answer(1)  # to its pause, which is longer: that cannot be told
        assert pitches(session.reply()) == answer(1)
        assert pitches(session.ask(question, idle=1.0)) == answer(2)


def test_a_pause_in_an_answer_that_is_longer_than_idle_does_not_spoil_the_next(
    connect: Connect, question: bytes
) -> None:
    with connect("/hesitating") as session:
        for number in (1, 2):
            reply = session.ask(question, idle=1.0)
            assert pitches(reply) == answer(number)
            assert reply.seconds < LONG - 0.4
        reply = session.ask(question, idle=3.0)
        assert pitches(reply) == answer(3)
        assert reply.complete
        assert reply.seconds > LONG - 0.25


def test_discard_throws_away_what_is_left_of_an_answer(connect: Connect, question: bytes) -> None:
    with connect("/hesitating") as session:
        assert pitches(session.ask(question)) == answer(1)
        session.discard()
        with pytest.raises(ReplyTimeout):
            session.reply(timeout=1.5)
        assert pitches(session.ask(question)) == answer(2)


def test_a_pause_inside_a_question_makes_it_the_question_behind_the_pause(
    connect: Connect, question: bytes, speech: Speech
) -> None:
    """The server takes the words before the pause for a question of their own, and begins to answer."""
    with connect("/ask") as session:
        for last in (2, 4):
            session.send_audio(question)
            session.send_audio(bytes(2 * round(1.6 * RATE)))
            session.send_audio(speech(RATE), end=True)
            reply = session.reply(idle=IDLE)
            assert pitches(reply) == answer(last)
            assert reply.complete


def test_a_pause_inside_a_recorded_question(connect: Connect, transport: str, question: bytes) -> None:
    """Over WebSocket it goes as one message, whose pause the server does not hear."""
    last = 1 if transport == "websocket" else 2
    with connect("/ask") as session:
        assert pitches(session.ask(question + bytes(2 * round(1.6 * RATE)) + question)) == answer(last)
        assert pitches(session.ask(question)) == answer(last + 1)


def test_who_speaks_while_an_answer_comes_gets_the_answer_to_that(connect: Connect, question: bytes) -> None:
    with connect("/ask") as session:
        for number in (1, 3):
            session.send_audio(question, end=True)
            next(event for event in session if isinstance(event, AudioChunk))
            assert pitches(session.ask(question)) == answer(number + 1)


def test_a_handler_that_cannot_be_interrupted(connect: Connect, transport: str, question: bytes) -> None:
    """What it has begun it speaks to its end, and none of that is part of the next answer."""
    with connect("/patient") as session:
        reply = session.ask(question)
        assert pitches(reply) == answer(1)
        assert whole(reply, LONG, transport)
        session.send_audio(question, end=True)
        next(event for event in session if isinstance(event, AudioChunk))
        for number in (3, 4):
            assert pitches(session.ask(question)) == answer(number)


# --- greetings -----------------------------------------------------------------------------------------------


def asks(session: Session, question: bytes) -> list[list[int]]:
    return [pitches(session.ask(question)) for _ in range(2)]


def streams(session: Session, question: bytes) -> list[list[int]]:
    replies = []
    for _ in range(2):
        session.send_audio(question, end=True)
        replies.append(session.reply())
    return [pitches(reply) for reply in replies]


def is_greeted(session: Session, question: bytes) -> list[list[int]]:
    greeting = session.greeting(idle=IDLE)
    assert pitches(greeting) == [GREETING]
    assert greeting.seconds > LONG - 0.25
    assert greeting.complete
    return asks(session, question)


def answers_of(connect: Connect, path: str, question: bytes, *ways: Callable[[Session, bytes], list[list[int]]]) -> bool:
    """Whether in sessions that are used in these ways the two questions are answered."""

    def work(way: Callable[[Session, bytes], list[list[int]]]) -> list[list[int]]:
        with connect(path) as session:
            return way(session, question)

    got = together(*(functools.partial(work, way) for way in ways))
    assert got == [[answer(1), answer(2)]] * len(ways)
    return True


def test_a_greeting_is_no_answer_in_any_of_ten_sessions(connect: Connect, question: bytes) -> None:
    for _ in range(2):
        assert answers_of(connect, "/greet", question, asks, asks, streams, streams, is_greeted)


def test_a_greeting_of_a_handler_as_fastrtc_makes_it(connect: Connect, question: bytes) -> None:
    for way in (asks, is_greeted):
        assert answers_of(connect, "/busy-greet", question, way)


def test_a_greeting_of_a_handler_that_tells_of_no_turns(connect: Connect, transport: str, question: bytes) -> None:
    """Over WebSocket a question may be there before the greeting: `greeting` is to be called."""
    ways = [is_greeted, is_greeted] if transport == "websocket" else [is_greeted, asks, streams]
    assert answers_of(connect, "/listening-greet", question, *ways)


def test_a_handler_that_does_not_greet(connect: Connect, question: bytes) -> None:
    with connect("/ask") as session:
        with pytest.raises(ReplyTimeout):
            session.greeting(timeout=1.0)
        assert pitches(session.ask(question)) == answer(1)
