"""The table of turns, row by row: no server, no session."""

from __future__ import annotations

from typing import Any

import pytest

from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import AudioChunk, Custom, EndStream, ErrorMessage, LogMessage, Reconnected
from hume_sync.fastrtc.transport import Mark
from hume_sync.fastrtc.turn import Turn
from hume_sync.fastrtc.turn_states import State

RATE = 16000
Q, S = Mark(1, begins=True), Mark(1)  # the first question is begun, and spoken
T, P, R = (LogMessage(text) for text in ("started_talking", "pause_detected", "response_starting"))
E, X = ErrorMessage("boom"), Custom("app", "hello")
OLD, NEW, MORE = (AudioChunk(bytes([number, 0]) * 320, RATE) for number in (1, 2, 3))
HELD = AudioChunk(b"\x09\0" * 320, RATE, delayed=True)


def fed(*events: Any, real_time: bool = False, number: int = 1) -> Turn:
    """A turn of which question ``number`` is waited for, after these."""
    turn = Turn(real_time=real_time)
    turn.expect_reply(number)
    for event in events:
        assert turn.add(event)
    return turn


def audio(turn: Turn) -> list[int]:
    """Which pieces it has, by what they are made of."""
    samples, _, _ = turn.take(idle=False)
    return [samples[place] for place in range(0, len(samples), 640)]


def idle(*events: Any, real_time: bool = False) -> Turn:
    turn = Turn(real_time=real_time)
    for event in events:
        assert turn.add(event)
    return turn


# --- the states


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], State.ASKING),
        ([Q], State.ASKING),
        ([Q, T], State.ASKING),
        ([Q, T, P], State.ASKING),
        ([Q, T, P, R, NEW], State.ASKING),
        ([Q, S], State.ASKED),
        ([Q, T, S], State.ASKED),
        ([Q, S, T, X, R], State.ASKED),
        ([Q, T, S, E], State.ASKED),
        ([Q, T, S, P], State.PAUSED),
        ([Q, T, P, S], State.PAUSED),
        ([Q, T, S, P, T, X], State.PAUSED),
        ([Q, T, S, P, P], State.PAUSED),
        ([Q, T, S, P, R], State.ANNOUNCED),
        ([Q, T, P, R, S], State.ANNOUNCED),
        ([Q, T, S, P, R, T, X], State.ANNOUNCED),
        ([Q, T, S, P, R, P], State.PAUSED),
        ([Q, T, S, P, R, NEW], State.ANSWERING),
        ([Q, T, P, R, NEW, S], State.ANSWERING),
        ([Q, S, NEW], State.ANSWERING),
        ([Q, T, S, P, R, NEW, R, NEW, T, X], State.ANSWERING),
        ([Q, T, S, P, E], State.FAILED),
        ([Q, T, S, P, R, E], State.FAILED),
        ([Q, T, S, P, R, NEW, E], State.FAILED),
        ([Q, T, S, P, R, NEW, E, NEW, R, E, X], State.FAILED),
        ([Q, T, S, P, R, E, Mark(2, begins=True)], State.FAILED),
        ([Q, T, S, P, R, NEW, Mark(2, begins=True)], State.ANSWERING),
        ([Q, T, S, P, R, Mark(2, begins=True)], State.ASKING),
        ([Q, T, S, P, Mark(2, begins=True)], State.ASKING),
        ([Q, T, S, Mark(2, begins=True)], State.ASKING),
        ([Q, T, Mark(2, begins=True)], State.ASKING),
        ([Q, T, Mark(2, begins=True), S], State.ASKING),
        ([Q, T, Mark(2, begins=True), S, Mark(2)], State.ASKED),
    ],
)
@pytest.mark.parametrize("real_time", [False, True])
def test_each_event_leads_to_the_state_of_the_table(events: list[Any], state: State, real_time: bool) -> None:
    assert fed(*events, real_time=real_time).state is state


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], State.IDLE),
        ([OLD, R, T, X, E], State.IDLE),
        ([P], State.PAUSED),
        ([Q], State.ASKING),
        ([S], State.ASKED),
    ],
)
def test_nothing_answers_where_nothing_was_asked(events: list[Any], state: State) -> None:
    turn = idle(*events)
    assert turn.state is state
    assert audio(turn) == []


@pytest.mark.parametrize("before", [[R, NEW], [R, NEW, E]])
def test_the_next_pause_ends_an_answer_and_begins_the_next(before: list[Any]) -> None:
    turn = fed(Q, T, S, P, *before, T)
    assert not turn.add(P)
    assert turn.take_next_turn() == [T]
    assert turn.take(idle=False) == (NEW.samples, (T, P, *(e for e in before if e is not NEW)), False)
    for event in (T, P, R, MORE):
        assert turn.add(event)
    assert audio(turn) == [3]


# --- whose audio it is


@pytest.mark.parametrize(
    "events",
    [
        [OLD, R, OLD, Q, OLD, T, OLD, S, OLD, P, R, NEW],  # a greeting that goes on while the question is spoken
        [OLD, Q, T, OLD, P, R, NEW, S],  # the pause is heard before the end of the silence
        [Q, T, P, R, OLD, T, P, R, NEW, S],  # a pause inside the question: the first half was answered
        [Q, T, P, R, OLD, T, S, OLD, P, R, NEW],
        [Q, P, R, OLD, P, R, NEW, S],  # of a handler that tells of no speech, as with stop words
        [Q, T, S, R, OLD, P, R, NEW],  # the rest of an answer that the pause interrupts
    ],
)
@pytest.mark.parametrize("real_time", [False, True])
def test_what_came_before_the_pause_of_the_question_is_no_part_of_its_answer(
    events: list[Any], real_time: bool
) -> None:
    assert audio(fed(R, *events, real_time=real_time)) == [2]


@pytest.mark.parametrize("events", [[P, OLD, R, NEW], [P, OLD, P, OLD, R, NEW]])
def test_what_is_in_flight_between_the_pause_and_the_announcement_is_dropped(events: list[Any]) -> None:
    assert audio(fed(R, Q, T, S, *events)) == [2]


def test_on_a_barge_in_the_answer_goes_on_until_the_server_hears_the_pause() -> None:
    turn = fed(Q, T, S, P, R, OLD, Mark(2, begins=True), T, OLD, Mark(2), OLD)
    assert not turn.add(P)
    assert turn.take(idle=False) == (3 * OLD.samples, (T, P, R, T), False)
    turn.expect_reply(2)
    for event in (P, OLD, R, NEW):
        assert turn.add(event)
    assert audio(turn) == [2]


def test_a_question_that_follows_an_abandoned_one_has_its_own_answer() -> None:
    turn = fed(Q, T, S)
    assert audio(turn) == []  # time was up
    turn.expect_reply(2)
    for event in (P, R, OLD, Mark(2, begins=True), R, OLD, T, OLD, P, R, NEW, Mark(2), NEW):
        assert turn.add(event)
    assert audio(turn) == [2, 2]


def test_what_was_sent_since_in_pieces_counts_as_one_question() -> None:
    turn = fed(Q, T, S, P, R, OLD, Mark(2), T, Mark(3), P, R, NEW, number=3)
    assert audio(turn) == [2]


def test_what_is_left_of_an_answer_comes_with_the_next_call() -> None:
    turn = fed(Q, T, S, P, R, NEW)
    assert audio(turn) == [2]
    turn.expect_reply(1)
    assert turn.add(MORE)
    assert turn.take(idle=True) == (MORE.samples, (), True)
    assert turn.add(MORE)  # but not behind its rest, with a handler that tells of pauses
    assert audio(turn) == []


def test_a_handler_without_marks_answers_once_the_question_was_spoken() -> None:
    turn = fed(OLD, Q, OLD, S, NEW, MORE, real_time=True)
    assert turn.take(idle=True) == (NEW.samples + MORE.samples, (), True)
    assert turn.add(NEW)  # behind a pause that was taken for its end
    assert audio(turn) == [2]


LAST = Mark(1, quiet=True)  # the last word was spoken; silence follows


@pytest.mark.parametrize(
    ("events", "pieces"),
    [
        ([OLD, Q, OLD, LAST, NEW, S, MORE], [2, 3]),
        ([Q, LAST, OLD, Mark(2, begins=True), OLD, Mark(2, quiet=True), NEW, S, Mark(2)], [2]),
        ([Q, LAST, OLD, T, LAST, OLD, S, P, R, NEW], [2]),  # of one that tells, it came before the pause
        ([R, Q, LAST, OLD, S, P, R, NEW], [2]),
        ([Q, LAST, HELD, NEW, S], [2]),
    ],
)
def test_a_handler_without_marks_may_answer_while_the_silence_is_spoken(events: list[Any], pieces: list[int]) -> None:
    number = 2 if Mark(2) in events else 1
    assert audio(fed(*events, real_time=True, number=number)) == pieces


def test_a_handler_that_does_not_announce_answers_behind_the_pause() -> None:
    assert audio(fed(Q, T, S, P, NEW)) == [2]


def test_what_aiortc_holds_back_is_no_part_of_the_next_answer() -> None:
    assert audio(fed(Q, T, S, P, R, HELD, HELD, NEW, real_time=True)) == [2]
    assert audio(fed(Q, S, HELD, NEW, real_time=True)) == [2]
    assert audio(fed(Q, T, S, P, R, NEW, HELD, real_time=True)) == [2, 9]  # inside the answer


def test_of_an_answer_that_was_interrupted_the_last_frames_come_behind_the_announcement() -> None:
    turn = fed(R, Q, T, S, P, *[OLD] * 13, R, *[OLD] * 6, NEW, real_time=True)
    assert audio(turn) == [2]
    assert audio(fed(R, Q, T, S, P, R, NEW, real_time=True)) == [2]


def test_a_greeting_is_all_audio_before_a_pause() -> None:
    turn = idle()
    turn.expect_greeting()
    for event in (R, NEW, Q, T, MORE, X, S):
        assert turn.add(event)
    assert not turn.add(P)
    assert audio(turn) == [2, 3]
    assert turn.state is State.IDLE


def test_a_new_connection_owes_nothing() -> None:
    turn = fed(Q, T, S, P, R, OLD)
    turn.reset(1)
    assert turn.state is State.IDLE
    assert turn.add(Reconnected("new", "why"))
    turn.expect_reply(2)
    for event in (OLD, Mark(2, begins=True), T, Mark(2), P, R, NEW):
        assert turn.add(event)
    assert turn.take(idle=True) == (NEW.samples, (Reconnected("new", "why"), T, P, R), True)


# --- its end


@pytest.mark.parametrize(
    ("events", "websocket", "webrtc"),
    [
        ([], None, None),
        ([Q, T, S], None, None),
        ([Q, T, S, P], None, None),
        ([Q, T, S, P, R], 2.0, 2.0),
        ([Q, T, S, P, R, NEW], 0.3, 0.3),
        ([Q, T, S, P, R, R, NEW], None, 0.3),
        ([Q, T, S, P, R, R, NEW, NEW], 0.3, 0.3),
        ([Q, S, NEW], 0.3, 0.3),
        ([Q, T, S, P, E], None, 0.3),
        ([Q, T, S, P, R, NEW, E], 0.3, 0.3),
        ([Q, T, S, P, EndStream("bye")], None, 0.3),
        ([Q, T, P, R, NEW], None, None),
    ],
)
def test_a_turn_is_over_after_some_time_of_quiet(
    events: list[Any], websocket: float | None, webrtc: float | None
) -> None:
    assert fed(*events).idle_timeout(0.3) == websocket
    assert fed(*events, real_time=True).idle_timeout(0.3) == webrtc


@pytest.mark.parametrize(
    ("events", "after"), [([Q, T, S, P, R], 0.0), ([Q, S], 0.3), ([Q, T, S], None), ([Q, T, S, P], None)]
)
def test_who_waits_for_no_audio_waits_for_less(events: list[Any], after: float | None) -> None:
    assert fed(*events).idle_timeout(0.3, audio=False) == after


@pytest.mark.parametrize(
    ("events", "rested", "complete"),
    [
        ([R, NEW], True, True),
        ([R, NEW], False, False),
        ([R, NEW, E], True, False),
        ([R, E, NEW], True, False),  # an error overtakes the audio
        ([R], True, True),
        ([E], True, False),
    ],
)
def test_an_answer_is_complete_once_it_has_rested_and_did_not_fail(
    events: list[Any], rested: bool, complete: bool
) -> None:
    assert fed(Q, T, S, P, *events, real_time=True).take(idle=rested)[2] is complete


@pytest.mark.parametrize(
    ("events", "rested", "answered"),
    [
        ([], True, False),
        ([P, E], True, False),
        ([P, R], True, True),
        ([P, R], False, False),
        ([P, R, NEW], False, True),
    ],
)
def test_an_answer_may_be_without_audio(events: list[Any], rested: bool, answered: bool) -> None:
    turn = fed(Q, T, S, *events)
    assert turn.has_reply(idle=rested and bool(events)) is answered


@pytest.mark.parametrize("code", [1000, 1006])
@pytest.mark.parametrize(
    ("events", "websocket"),
    [
        ([Q, T, S, P, R], False),
        ([Q, T, S, P, R, NEW], True),
        ([Q, T, S, P, R, R, NEW], False),
        ([Q, T, P, R, NEW], True),  # the server gets no further with the question
        ([Q, T, P, R, OLD, T], False),
    ],
)
def test_the_end_of_a_connection_is_left_to_the_next_call_where_all_may_have_come(
    events: list[Any], websocket: bool, code: int
) -> None:
    end = ConnectionLost("gone", close_code=code)
    assert fed(*events).may_be_complete_after(end) is websocket
    has_come = NEW in events
    assert fed(*events, real_time=True).may_be_complete_after(end) is (has_come and code == 1000)


# --- who receives it otherwise


def test_what_was_given_out_as_events_is_not_kept() -> None:
    turn = fed(Q, T, S, P, R, NEW)
    turn.clear()
    assert turn.add(MORE)
    assert turn.take(idle=True) == (MORE.samples, (), True)


def test_an_abandoned_answer_is_not_waited_for() -> None:
    turn = fed(Q, T, S, P, R, OLD)
    turn.stop_waiting()
    assert turn.add(OLD)
    assert turn.take(idle=False) == (b"", (), False)
    for event in (P, R, NEW):
        assert turn.add(event)
    assert audio(turn) == [2]
