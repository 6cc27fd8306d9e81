"""Sessions over WebRTC: turns in real time, and the end from another thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync import MisuseError, Timeout
from hume_sync.fastrtc import Custom, ErrorMessage, LogMessage, Reconnected, ReplyTimeout, Session
from hume_sync.fastrtc.http import Http
from hume_sync.fastrtc.link import Link, Sleep
from hume_sync.fastrtc.origin import Origin
from hume_sync.fastrtc.server import Server
from hume_sync.fastrtc.session import Inputs
from hume_sync.fastrtc.webrtc import WebRTCLink
from hume_sync.net.deadline import Deadline
from hume_sync.net.dial import Watch
from tests.faultproxy import Peer
from tests.net.support import server

from .rtcfake import FRAME, RTCFake, hertz, log, tone
from .rtctalk import MARKS
from .talk import took

pytestmark = MARKS

RATE = 16000
PAUSE = log("pause_detected")
STARTING = log("response_starting")
BOOM = json.dumps({"type": "error", "message": "boom"})
ASKS = json.dumps({"type": "send_input", "data": []})
KEPT = 4
"""Frames that wait in aiortc for more to come behind them. (A reply ends 100 ms early: the codec keeps some, too.)"""

Offer = Callable[[dict[str, Any], Deadline, Watch], tuple[int, Any]]
Begin = Callable[..., Session]


def http(port: int) -> Http:
    return Http(Origin(host="127.0.0.1", port=port, path="/"), proxy=False)


@pytest.fixture
def begin(rtc: RTCFake) -> Iterator[Begin]:
    """Makes sessions with the fake, which end with the test."""
    sessions = []

    def begin(
        *offers: Offer, timeout: float = 10.0, inputs: Inputs | None = None, hook: int = 9, reconnect: bool = False
    ) -> Session:
        """Offers: where the connections behind the first are offered. Hook: the port that inputs are posted to."""
        waiting = [lambda body, deadline, _: rtc.offer(body, deadline), *offers]

        def connect(deadline: Deadline, watch: Watch, sleep: Sleep) -> Link:
            post = waiting.pop(0)
            return WebRTCLink.open(
                lambda body, until: post(body, until, watch),
                input_sample_rate=RATE,
                output_sample_rate=RATE,
                deadline=deadline,
                watch=watch,
            )

        one = Server(
            http=http(hook),
            input_hook="/input_hook",
            outputs_url=None,
            latest_url=None,
            shape=None,
            input_sample_rate=RATE,
            output_sample_rate=RATE,
            timeout=timeout,
        )
        sessions.append(Session(one, connect, inputs, reconnect))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.close()


def link_of(session: Session) -> WebRTCLink:
    link = session._line.link
    assert isinstance(link, WebRTCLink)
    return link


def has_arrived(session: Session, count: int) -> None:
    """Wait until so many events wait to be received: messages and audio come by ways of their own."""
    loop = link_of(session)._loop
    with loop._changed:
        assert loop._changed.wait_for(lambda: len(loop._inbox) >= count, 10)


def turn(rtc: RTCFake, session: Session, *messages: str, audio: bytes) -> None:
    """What a handler says and plays, as far as it comes at once."""
    rtc.say(*messages)
    has_arrived(session, len(messages))
    rtc.play(audio)
    has_arrived(session, len(messages) + len(audio) // 2 // FRAME - KEPT)


def hangs(asked: threading.Event) -> Callable[[Peer], None]:
    """A server that hears a request, and never answers it."""

    def run(peer: Peer) -> None:
        peer.file.readline()
        asked.set()
        peer.wait_gone()

    return run


# --- turns


def test_a_reply_in_frames_is_whole_whatever_was_announced(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    turn(rtc, session, PAUSE, *[STARTING] * 40, audio=tone(0.5, 48000))
    reply = session.reply(timeout=20, idle=0.3)  # (it waits for no more pieces, or would be incomplete)
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
        waiting = threads.submit(session.reply, timeout=20, idle=0.05)
        with pytest.raises(TimeoutError):
            waiting.result(0.3)  # many times as long as it would wait for the rest of a turn
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


def test_an_error_that_audio_follows_is_not_the_end_of_a_reply(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    turn(rtc, session, PAUSE, BOOM, audio=tone(0.5, 48000))
    assert session.reply(idle=0.3).complete


# --- sending


def test_the_time_of_sending_grows_by_the_length_of_the_audio(begin: Begin) -> None:
    session = begin(timeout=0.5)
    session.send_audio(bytes(2 * RATE * 11))  # of which one second is waited for


def test_a_time_that_was_asked_for_does_not_grow(begin: Begin) -> None:
    session = begin(timeout=5)
    session.send_audio(bytes(2 * RATE * 10))
    with pytest.raises(Timeout) as caught:
        session.send_audio(bytes(2 * RATE * 3), timeout=0.3)
    assert caught.value.phase == "send"


# --- the end


def test_closing_from_another_thread_ends_an_iteration_that_waits(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    rtc.say(PAUSE)
    came = threading.Event()
    got = []

    def listen() -> None:
        for event in session:
            got.append(event)
            came.set()

    with ThreadPoolExecutor(1) as threads:
        listening = threads.submit(listen)
        assert came.wait(5)
        assert took(session.close) < 1
        assert took(lambda: listening.result(5)) < 1
    assert got == [LogMessage("pause_detected")]


def test_closing_while_a_caller_makes_inputs_ends_the_iteration_behind_it(rtc: RTCFake, begin: Begin) -> None:
    asked, closed = threading.Event(), threading.Event()

    def inputs() -> dict[str, int]:
        asked.set()
        assert closed.wait(5)
        return {"a": 1}

    session = begin(inputs=inputs)
    rtc.say(ASKS)
    with ThreadPoolExecutor(1) as threads:
        listening = threads.submit(list, session)
        assert asked.wait(5)
        assert took(session.close) < 1
        closed.set()
        assert listening.result(1) == []


def test_closing_while_a_hook_takes_its_time_ends_the_iteration(rtc: RTCFake, begin: Begin) -> None:
    asked = threading.Event()
    with server(hangs(asked)) as port:
        session = begin(inputs=lambda: {"a": 1}, hook=port)
        rtc.say(ASKS)
        with ThreadPoolExecutor(1) as threads:
            listening = threads.submit(list, session)
            assert asked.wait(5)
            assert took(session.close) < 1
            assert listening.result(1) == []


def test_inputs_are_answered_by_the_thread_that_iterates(rtc: RTCFake, begin: Begin) -> None:
    threads = []

    def inputs() -> dict[str, int]:
        threads.append(threading.current_thread())
        raise LookupError("nothing there")

    session = begin(inputs=inputs)
    rtc.say(ASKS)
    with pytest.raises(LookupError):
        next(iter(session))
    assert threads == [threading.current_thread()]


def test_closing_while_a_new_connection_is_offered_ends_whatever_waits(begin: Begin) -> None:
    asked = threading.Event()
    with server(hangs(asked)) as port:

        def offer(body: dict[str, Any], until: Deadline, watch: Watch) -> tuple[int, Any]:
            answer = http(port).post_json("/webrtc/offer", body, until, watch=watch)
            return answer.status, answer.json

        session = begin(offer, reconnect=True)
        link_of(session).abort()  # as one that was lost
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(session.reply)
            assert asked.wait(5)
            assert took(session.close) < 1
            assert isinstance(waiting.exception(1), MisuseError)


def test_a_connection_that_was_lost_is_made_anew_and_talks_on(rtc: RTCFake, begin: Begin) -> None:
    session = begin(lambda body, deadline, _: rtc.offer(body, deadline), reconnect=True)
    first = session.webrtc_id
    rtc.say("the last words")
    has_arrived(session, 1)
    rtc.greeting = (PAUSE,)  # of the next
    link_of(session).abort()
    events = iter(session)
    assert next(events) == Custom(None, "the last words")
    assert next(events) == Reconnected(session.webrtc_id, "the session was ended")
    assert session.webrtc_id != first
    assert next(events) == LogMessage("pause_detected")
