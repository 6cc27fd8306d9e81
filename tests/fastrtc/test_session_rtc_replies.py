"""Replies over WebRTC, where audio comes as it is spoken, and nothing tells how much is to come."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import EndStream, ErrorMessage, LogMessage, Reconnected, ReplyTimeout

from .rtcfake import RTCFake, hertz, tone
from .rtctalk import BOOM, KEPT, MARKS, PAUSE, RATE, STARTING, Begin, has_arrived, transport_of, turn
from .talk import took

pytestmark = MARKS

BYE = json.dumps({"type": "end_stream", "data": "bye now"})


@contextlib.contextmanager
def speaking(rtc: RTCFake) -> Iterator[None]:
    """Meanwhile the handler goes on replying."""
    over = threading.Event()

    def speak() -> None:
        while not over.wait(0.05):
            rtc.play(tone(0.06, 48000))

    with ThreadPoolExecutor(1) as threads:
        speaks = threads.submit(speak)
        try:
            yield
        finally:
            over.set()
            speaks.result(5)


# --- turns


def test_a_reply_in_frames_is_whole_for_any_number_of_announcements(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    turn(rtc, session, PAUSE, *[STARTING] * 40, audio=tone(0.5, 48000))
    reply = session.reply(timeout=20, idle=0.3)  # (it does not wait for further pieces, or would be incomplete)
    assert reply.complete
    assert reply.messages == (LogMessage("pause_detected"), *[LogMessage("response_starting")] * 40)
    assert reply.seconds == pytest.approx(0.4, abs=0.03)
    assert hertz(reply.audio[len(reply.audio) // 2 :], RATE) == pytest.approx(440, rel=0.05)


def test_what_was_held_back_of_a_reply_is_no_part_of_the_next(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    for pitch in (440, 880):
        turn(rtc, session, PAUSE, STARTING, audio=tone(0.5, 48000, pitch))
        reply = session.reply(idle=0.3)
        assert reply.complete
    assert reply.seconds == pytest.approx(0.4, abs=0.03)
    assert hertz(reply.audio, RATE) == pytest.approx(880, rel=0.05)


def test_a_handler_that_fails_instead_of_replying_is_not_waited_for(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    rtc.say(PAUSE, BOOM)

    def fail() -> None:
        with pytest.raises(ReplyTimeout, match="the handler says 'boom'") as caught:
            session.reply(timeout=25, idle=0.2)
        assert caught.value.messages == (LogMessage("pause_detected"), ErrorMessage("boom"))

    assert took(fail) < 2


def test_an_error_before_any_pause_is_none_of_this_turn(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    rtc.say(BOOM)
    has_arrived(session, 1)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(session.reply, timeout=20, idle=0.4)
        with pytest.raises(TimeoutError):
            waiting.result(1.0)  # more than twice as long as it would wait for the rest of a turn
        rtc.say(PAUSE)
        rtc.play(tone(0.5, 48000))
        assert waiting.result(5).messages == (ErrorMessage("boom"), LogMessage("pause_detected"))


def test_a_reply_whose_handler_fails_behind_it_is_incomplete(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    turn(rtc, session, PAUSE, STARTING, audio=tone(0.5, 48000))
    rtc.say(BOOM)
    reply = session.reply(timeout=25, idle=0.3)
    assert not reply.complete
    assert reply.messages[-1] == ErrorMessage("boom")
    assert reply.seconds == pytest.approx(0.4, abs=0.03)


def test_an_error_overtakes_the_audio_of_an_answer_which_is_incomplete(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    turn(rtc, session, PAUSE, BOOM, audio=tone(0.5, 48000))
    reply = session.reply(idle=0.3)
    assert reply.seconds == pytest.approx(0.4, abs=0.03)
    assert (reply.complete, reply.error) == (False, "boom")


# --- cut


def test_a_reply_that_goes_on_when_time_is_up_is_incomplete(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    rtc.say(PAUSE, STARTING)
    with speaking(rtc):
        reply = session.reply(timeout=1.0, idle=0.8)
    assert reply.seconds > 0.2
    assert not reply.complete


def test_a_reply_that_the_servers_end_may_have_cut_is_incomplete_and_the_end_comes_next(
    rtc: RTCFake, begin: Begin
) -> None:
    session = begin()
    turn(rtc, session, PAUSE, STARTING, audio=tone(0.5, 48000))
    rtc.hang_up()
    reply = session.reply(timeout=20, idle=15)
    assert reply.seconds > 0.3
    assert not reply.complete
    with pytest.raises(ConnectionLost) as caught:
        session.reply()
    assert caught.value.close_code == 1000


@pytest.mark.parametrize("reconnect", [False, True])
def test_a_reply_that_a_lost_connection_has_cut_is_raised(rtc: RTCFake, begin: Begin, reconnect: bool) -> None:
    session = begin(lambda body, deadline, _: rtc.offer(body, deadline), reconnect=reconnect)
    turn(rtc, session, PAUSE, STARTING, audio=tone(0.5, 48000))
    transport_of(session).abort()
    with pytest.raises(ConnectionLost):
        session.reply(timeout=20, idle=15)
    if reconnect:
        assert isinstance(next(iter(session)), Reconnected)


def test_a_reply_that_was_cut_where_another_call_noticed_is_raised(rtc: RTCFake, begin: Begin) -> None:
    session = begin(lambda body, deadline, _: rtc.offer(body, deadline), reconnect=True)
    turn(rtc, session, PAUSE, STARTING, audio=tone(0.5, 48000))
    transport_of(session).abort()
    with pytest.raises(ConnectionLost):
        while True:
            session.send_audio(bytes(640))
    with pytest.raises(ConnectionLost):
        session.reply(timeout=20, idle=15)


def test_a_reply_that_the_next_turn_may_have_cut_is_incomplete(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    turn(rtc, session, PAUSE, STARTING, audio=tone(0.5, 48000))
    rtc.say(PAUSE)
    reply = session.reply(timeout=20, idle=15)
    assert reply.seconds > 0.3
    assert not reply.complete


def test_a_handler_that_has_closed_the_stream_is_not_waited_for(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    rtc.say(BYE)

    def fail() -> None:
        with pytest.raises(ReplyTimeout) as caught:
            session.reply(timeout=25, idle=0.2)
        assert caught.value.messages == (EndStream("bye now"),)

    assert took(fail) < 5


def test_a_question_that_is_still_spoken_is_given_time_unless_a_time_was_asked_for(begin: Begin) -> None:
    session = begin(timeout=0.5)
    session.send_audio(bytes(2 * RATE * 3))

    def fail(**times: Any) -> None:
        with pytest.raises(ReplyTimeout):
            session.reply(**times)

    assert took(lambda: fail(timeout=0.2)) < 1.5
    assert took(fail) > 1.7


def test_what_still_comes_of_a_reply_behind_the_pause_that_interrupts_it_is_no_part_of_the_next(
    rtc: RTCFake, begin: Begin
) -> None:
    session = begin()
    turn(rtc, session, PAUSE, STARTING, audio=tone(0.5, 48000))
    came = 2 + 25 - KEPT
    steps: list[tuple[Callable[[], None], int]] = [
        (lambda: rtc.say(PAUSE), 1),
        (lambda: rtc.play(tone(0.2, 48000)), 10),
        (lambda: rtc.say(STARTING), 1),
        (lambda: rtc.play(tone(0.5, 48000, 880)), 25),
    ]
    for step, more in steps:
        step()
        has_arrived(session, came := came + more)
    assert not session.reply(idle=15).complete
    reply = session.reply(idle=0.3)
    assert reply.complete
    assert reply.seconds == pytest.approx(0.4, abs=0.03)
    assert hertz(reply.audio[:1600], RATE) == pytest.approx(880, rel=0.1)


def test_a_reply_too_short_to_come_by_itself_is_no_part_of_the_next(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    rtc.say(PAUSE, STARTING)
    rtc.play(tone(0.08, 48000))  # all of it is held back
    with pytest.raises(ReplyTimeout):
        session.reply(timeout=0.5)
    turn(rtc, session, PAUSE, STARTING, audio=tone(0.5, 48000, 880))
    reply = session.reply(idle=0.3)
    assert reply.seconds == pytest.approx(0.38, abs=0.04)
    assert hertz(reply.audio[:1600], RATE) == pytest.approx(880, rel=0.1)
