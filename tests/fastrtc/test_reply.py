from __future__ import annotations

from hume_sync.fastrtc import AudioChunk, Custom, ErrorMessage, Event, LogMessage, Reconnected
from hume_sync.fastrtc.reply import Turn

STARTED, PAUSE, STARTING = (LogMessage(t) for t in ("started_talking", "pause_detected", "response_starting"))
ONE, TWO = AudioChunk(b"\x01\x00", 16000), AudioChunk(b"\x02\x00", 16000)
LATE = AudioChunk(b"\x03\x00", 16000, delayed=True)
ANEW = Reconnected("another", "cut")
BOOM = ErrorMessage("boom")


def turn(*events: Event, real_time: bool = False, first: bool = True) -> Turn:
    """One to which all of these belong."""
    it = Turn(16000, real_time=real_time, first=first)
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
    assert not short.reply().complete
    whole = turn(PAUSE, STARTING, STARTING, ONE, TWO)
    assert whole.may_be_over
    assert whole.reply().audio == b"\x01\x00\x02\x00"
    assert whole.reply().complete


def test_audio_that_nobody_announced_counts_as_well() -> None:
    assert turn(ONE).may_be_over


def test_in_real_time_the_announcements_say_nothing_of_how_much_comes() -> None:
    assert turn(PAUSE, STARTING, STARTING, ONE, real_time=True).may_be_over


def test_a_handler_that_fails_is_dead_where_it_says_so() -> None:
    assert turn(PAUSE, BOOM, real_time=True).has_failed
    assert not turn(BOOM, real_time=True).has_failed  # of an earlier turn
    assert not turn(PAUSE, BOOM, ONE, real_time=True).has_failed  # a word of its own, and it went on
    assert not turn(PAUSE, BOOM).has_failed


def test_a_handler_that_fails_behind_its_audio_leaves_the_reply_incomplete() -> None:
    assert not turn(PAUSE, STARTING, ONE, BOOM, real_time=True).reply().complete
    assert turn(PAUSE, BOOM, STARTING, ONE, real_time=True).reply().complete


# --- what belongs to it


def test_the_next_pause_is_of_the_next_turn() -> None:
    it = turn(PAUSE, STARTING, STARTING, ONE, STARTED)
    assert not it.add(PAUSE)
    assert it.reply().audio == ONE.samples
    assert not it.reply().complete


def test_talking_behind_the_audio_is_of_the_next_turn_with_all_that_follows() -> None:
    it = turn(STARTED, PAUSE, STARTING, ONE, BOOM, STARTED, BOOM)
    assert it.split() == [STARTED, BOOM]
    assert it.reply().messages == (STARTED, PAUSE, STARTING, BOOM)


def test_talking_before_the_audio_or_between_two_pieces_is_of_the_same_turn() -> None:
    assert turn(STARTED, PAUSE, STARTED, STARTING).split() == []
    assert turn(PAUSE, STARTING, STARTING, ONE, STARTED, TWO).split() == []


def test_what_is_said_before_any_pause_is_a_greeting_and_a_reply_of_its_own() -> None:
    it = turn(STARTING, ONE)
    assert it.reply().complete
    assert not it.add(PAUSE)


def test_the_rest_of_a_reply_that_was_given_up_gives_way_to_the_next() -> None:
    it = turn(ONE, PAUSE, STARTING, TWO, first=False)
    assert it.reply().audio == TWO.samples
    assert it.reply().messages == (PAUSE, STARTING)


def test_an_interrupted_reply_gives_way_with_all_that_it_had_announced() -> None:
    it = turn(PAUSE, STARTING, STARTING, STARTED, PAUSE, STARTING, TWO)  # none of its audio had come
    assert it.may_be_over
    assert it.reply().audio == TWO.samples


def test_frames_that_come_late_are_no_part_of_the_reply_they_come_before() -> None:
    assert turn(PAUSE, STARTING, LATE, ONE, real_time=True).reply().audio == ONE.samples
    assert turn(PAUSE, STARTING, ONE, LATE, real_time=True).reply().audio == ONE.samples + LATE.samples


def test_a_connection_made_anew_ends_a_turn_that_has_begun() -> None:
    assert not turn(STARTED).add(ANEW)
    assert not turn(ONE).add(ANEW)
    fresh = turn(ANEW, ONE, first=False)
    assert not fresh.add(PAUSE)  # its greeting


def test_all_that_is_no_audio_is_kept_in_order() -> None:
    custom = Custom("x", 1)
    reply = turn(STARTED, custom, PAUSE, STARTING, ONE).reply()
    assert reply.messages == (STARTED, custom, PAUSE, STARTING)
    assert reply.seconds == 1 / 16000
    assert "\\x01" not in repr(reply)
