from __future__ import annotations

import pytest

from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import (
    AudioChunk,
    Custom,
    EndStream,
    ErrorMessage,
    Event,
    LogMessage,
    Reconnected,
    SendInput,
    WarningMessage,
)
from hume_sync.fastrtc.reply import Turn, goes_on

STARTED, PAUSE, STARTING = (LogMessage(t) for t in ("started_talking", "pause_detected", "response_starting"))
ONE, TWO = AudioChunk(b"\x01\x00", 16000), AudioChunk(b"\x02\x00", 16000)
LATE = AudioChunk(b"\x03\x00", 16000, delayed=True)
ANEW = Reconnected("another", "cut")
BOOM, BYE = ErrorMessage("boom"), EndStream("bye now")


def turn(*events: Event, real_time: bool = False, first: bool = True, interrupting: bool = False) -> Turn:
    """One to which all of these belong."""
    it = Turn(16000, real_time=real_time, first=first, interrupting=interrupting)
    for event in events:
        assert it.add(event)
    return it


# --- its end


def test_a_turn_is_not_over_before_audio_has_come() -> None:
    assert not turn(STARTED, PAUSE, STARTING).may_be_over
    assert turn(STARTED, PAUSE, STARTING, ONE).may_be_over


def test_a_turn_is_not_over_before_all_that_was_announced_has_come() -> None:
    short = turn(PAUSE, STARTING, STARTING, ONE)
    assert not short.may_be_over
    assert not short.reply(rested=True).complete
    whole = turn(PAUSE, STARTING, STARTING, ONE, TWO)
    assert whole.may_be_over
    assert whole.reply(rested=True).audio == b"\x01\x00\x02\x00"
    assert whole.reply(rested=True).complete
    assert not whole.reply(rested=False).complete  # a handler announces its pieces one by one, as it yields them


def test_audio_that_nobody_announced_counts_as_well() -> None:
    assert turn(ONE).may_be_over


def test_in_real_time_the_announcements_say_nothing_of_how_much_comes() -> None:
    assert turn(PAUSE, STARTING, STARTING, ONE, real_time=True).may_be_over


def test_a_handler_that_fails_is_dead_where_it_says_so() -> None:
    assert turn(PAUSE, BOOM, real_time=True).is_hopeless
    assert not turn(BOOM, real_time=True).is_hopeless  # of an earlier turn
    assert not turn(BOOM, PAUSE, real_time=True).is_hopeless
    assert not turn(PAUSE, BOOM, ONE, real_time=True).is_hopeless  # a word of its own, and it went on
    assert not turn(PAUSE, BOOM).is_hopeless


def test_a_handler_that_fails_behind_its_audio_leaves_the_reply_incomplete() -> None:
    assert not turn(PAUSE, STARTING, ONE, BOOM, real_time=True).reply(rested=True).complete
    assert turn(PAUSE, BOOM, STARTING, ONE, real_time=True).reply(rested=True).complete


def test_a_handler_that_has_closed_the_stream_is_dead_where_it_says_so() -> None:
    assert turn(BYE, real_time=True).is_hopeless
    assert not turn(BYE).is_hopeless  # an application's own


@pytest.mark.parametrize("real_time", [False, True])
def test_a_reply_is_whole_once_nothing_has_come_for_a_while(real_time: bool) -> None:
    it = turn(PAUSE, STARTING, ONE, real_time=real_time)
    assert not it.reply(rested=False).complete
    assert it.reply(rested=True).complete
    assert not turn(PAUSE, STARTING, real_time=real_time).reply(rested=True).complete


def test_audio_of_no_samples_is_none() -> None:
    assert not turn(PAUSE, STARTING, AudioChunk(b"", 16000)).heard
    assert turn(PAUSE, STARTING, STARTING, AudioChunk(b"", 16000), ONE).may_be_over  # but was announced
    assert turn(AudioChunk(b"", 16000), PAUSE, STARTING, ONE).reply(rested=False).audio == ONE.samples


@pytest.mark.parametrize(
    ("events", "real_time", "code", "outlived"),
    [
        ([ONE], False, 1000, True),
        ([ONE], False, 1006, True),
        ([ONE], False, None, True),
        ([STARTING], False, 1000, False),
        ([STARTING, STARTING, ONE], False, 1000, False),
        ([ONE], True, 1000, True),
        ([ONE], True, 1006, False),
        ([ONE], True, None, False),
        ([PAUSE], True, 1000, False),
    ],
)
def test_an_end_behind_a_reply_is_left_to_the_next_call_where_that_may_be_all(
    events: list[Event], real_time: bool, code: int | None, outlived: bool
) -> None:
    assert turn(*events, real_time=real_time).outlives(ConnectionLost("gone", close_code=code)) is outlived


@pytest.mark.parametrize(
    ("event", "goes"),
    [
        (ONE, True),
        (STARTING, True),
        (SendInput(), True),
        (BOOM, True),
        (BYE, True),
        (STARTED, False),
        (PAUSE, False),
        (LogMessage("still here"), False),
        (WarningMessage("still here"), False),
        (Custom("x", 1), False),
    ],
)
def test_what_is_no_sign_of_a_reply_that_goes_on_does_not_put_off_its_end(event: Event, goes: bool) -> None:
    assert goes_on(event) is goes


# --- what belongs to it


def test_the_next_pause_is_of_the_next_turn() -> None:
    it = turn(PAUSE, STARTING, STARTING, ONE, STARTED)
    assert not it.add(PAUSE)
    assert it.reply(rested=False).audio == ONE.samples
    assert not it.reply(rested=False).complete


def test_talking_behind_the_audio_is_of_the_next_turn_with_all_that_follows() -> None:
    it = turn(STARTED, PAUSE, STARTING, ONE, BOOM, STARTED, BOOM)
    assert it.split() == [STARTED, BOOM]
    assert it.reply(rested=False).messages == (STARTED, PAUSE, STARTING, BOOM)


def test_talking_before_the_audio_or_between_two_pieces_is_of_the_same_turn() -> None:
    assert turn(STARTED, PAUSE, STARTED, STARTING).split() == []
    assert turn(PAUSE, STARTING, STARTING, ONE, STARTED, TWO).split() == []


def test_what_is_said_before_any_pause_is_a_greeting_and_a_reply_of_its_own() -> None:
    it = turn(STARTING, ONE)
    assert it.reply(rested=True).complete
    assert not it.add(PAUSE)


def test_the_rest_of_a_reply_that_was_given_up_gives_way_to_the_next() -> None:
    it = turn(ONE, PAUSE, STARTING, TWO, first=False)
    assert it.reply(rested=False).audio == TWO.samples
    assert it.reply(rested=False).messages == (PAUSE, STARTING)


def test_an_interrupted_reply_gives_way_with_all_that_it_had_announced() -> None:
    it = turn(PAUSE, STARTING, STARTING, STARTED, PAUSE, STARTING, TWO)  # none of its audio had come
    assert it.may_be_over
    assert it.reply(rested=False).audio == TWO.samples


def test_audio_between_a_pause_that_interrupts_and_the_first_word_of_a_reply_is_of_the_one_before() -> None:
    it = turn(PAUSE, ONE, STARTING, TWO, interrupting=True)
    assert it.reply(rested=True).audio == TWO.samples
    assert not turn(PAUSE, ONE, STARTING, STARTING, TWO, interrupting=True).may_be_over  # nor is it counted
    assert turn(ONE, PAUSE, ONE, STARTING, TWO, first=False).reply(rested=True).audio == TWO.samples
    unannounced = turn(PAUSE, ONE, STARTING, TWO)  # of a handler that announces some pieces, and interrupts nothing
    assert unannounced.reply(rested=True).audio == ONE.samples + TWO.samples


@pytest.mark.parametrize("before", [[], [ONE]], ids=["interrupting", "given up"])
def test_in_real_time_the_frames_that_a_pause_has_overtaken_are_of_the_reply_before(before: list[Event]) -> None:
    events = [*before, PAUSE, *[ONE] * 13, STARTING, *[ONE] * 6, TWO, STARTING, TWO]
    it = turn(*events, real_time=True, first=False, interrupting=not before)
    assert it.reply(rested=True).audio == 2 * TWO.samples
    unannounced = turn(PAUSE, *[ONE] * 50, TWO, real_time=True, interrupting=True)
    assert unannounced.reply(rested=True).audio == TWO.samples
    marked = turn(PAUSE, ONE, STARTING, *[LATE] * 5, TWO, real_time=True, interrupting=True)  # behind a gap
    assert marked.reply(rested=True).audio == TWO.samples
    assert turn(PAUSE, STARTING, ONE, TWO, real_time=True).reply(rested=True).audio == ONE.samples + TWO.samples


def test_a_reply_lingers_that_was_interrupted_or_is_too_short_to_come_by_itself() -> None:
    it = turn(PAUSE, STARTING, ONE, real_time=True)
    assert [it.lingers, it.add(PAUSE), it.lingers] == [False, False, True]
    assert turn(PAUSE, STARTING, real_time=True).lingers
    assert not turn(PAUSE, real_time=True).lingers
    assert not turn(PAUSE, STARTING).lingers  # nothing is held back there


def test_frames_that_come_late_are_no_part_of_the_reply_they_come_before() -> None:
    assert turn(PAUSE, STARTING, LATE, ONE, real_time=True).reply(rested=False).audio == ONE.samples
    assert turn(PAUSE, STARTING, ONE, LATE, real_time=True).reply(rested=False).audio == ONE.samples + LATE.samples


def test_what_came_before_a_connection_was_made_anew_is_no_part_of_the_reply() -> None:
    it = turn(ANEW, PAUSE, STARTING, STARTING, ONE, BOOM, BYE, ANEW, TWO, first=False)
    assert it.reply(rested=True).audio == TWO.samples
    assert it.reply(rested=True).messages == (ANEW, ANEW)
    assert it.reply(rested=True).complete
    assert not it.add(PAUSE)  # it was a greeting


def test_a_turn_has_begun_once_anything_of_it_has_come() -> None:
    assert not turn().has_begun
    assert not turn(ANEW, ANEW).has_begun
    assert turn(STARTED).has_begun
    assert turn(ONE).has_begun


def test_all_that_is_no_audio_is_kept_in_order() -> None:
    custom = Custom("x", 1)
    reply = turn(STARTED, custom, PAUSE, STARTING, ONE).reply(rested=False)
    assert reply.messages == (STARTED, custom, PAUSE, STARTING)
    assert reply.seconds == 1 / 16000
    assert "\\x01" not in repr(reply)
