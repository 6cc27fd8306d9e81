"""Sessions over WebRTC: inputs, and the end, from another thread too. (Replies: test_session_rtc_replies.py.)"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync import MisuseError, Timeout
from hume_sync.fastrtc import Custom, LogMessage, Reconnected
from hume_sync.fastrtc.app_http import Response
from hume_sync.fastrtc.transport import ReconnectingTransport
from hume_sync.net.deadline import Deadline
from hume_sync.net.pending import Watch
from tests.faultproxy import Peer
from tests.net.support import server

from .rtcfake import RTCFake
from .rtctalk import MARKS, PAUSE, RATE, Begin, has_arrived, transport_of
from .talk import took
from .webtalk import http

pytestmark = MARKS

ASKS = json.dumps({"type": "send_input", "data": []})


def hangs(asked: threading.Event) -> Callable[[Peer], None]:
    """A server that receives a request, and never answers it."""

    def run(peer: Peer) -> None:
        peer.file.readline()
        asked.set()
        peer.wait_gone()

    return run


# --- sending


def test_the_time_of_sending_grows_by_the_length_of_the_audio(begin: Begin) -> None:
    session = begin(timeout=0.5)
    session.send_audio(bytes(2 * RATE * 11))  # of which one second is waited for


def test_a_stream_goes_as_it_plays_whether_or_not_that_is_asked_for(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = begin(timeout=0.5)
    monkeypatch.setattr(ReconnectingTransport, "sleep", lambda *_: pytest.fail("it is the transport that waits"))
    for pace in (False, True):
        session.send_audio((bytes(2 * RATE) for _ in range(5)), pace=pace)
    assert session._connection.transport.queued_seconds > 9
    session.send_audio((bytes(2 * RATE) for _ in range(2)), pace=True)  # of which one second is waited for


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


def test_closing_while_a_new_connection_is_offered_ends_all_waits(begin: Begin) -> None:
    asked = threading.Event()
    with server(hangs(asked)) as port:

        def offer(body: dict[str, Any], until: Deadline, watch: Watch) -> Response:
            return http(port).post_json("/webrtc/offer", body, until, watch=watch)

        session = begin(offer, reconnect=True)
        transport_of(session).abort()  # as one that was lost
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(session.reply)
            assert asked.wait(5)
            assert took(session.close) < 1
            assert isinstance(waiting.exception(1), MisuseError)


def test_a_connection_that_was_lost_is_replaced_and_talks_on(rtc: RTCFake, begin: Begin) -> None:
    session = begin(lambda body, deadline, _: rtc.offer(body, deadline), reconnect=True)
    first = session.webrtc_id
    rtc.say("the last words")
    has_arrived(session, 1)
    rtc.greeting = (PAUSE,)  # of the next
    transport_of(session).abort()
    events = iter(session)
    assert next(events) == Custom(None, "the last words")
    assert next(events) == Reconnected(session.webrtc_id, "the session was aborted")
    assert session.webrtc_id != first
    assert next(events) == LogMessage("pause_detected")
