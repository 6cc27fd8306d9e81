"""Our client and real FastRTC servers, over both transports."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync.errors import ConnectError, ConnectionLost
from hume_sync.fastrtc import (
    AudioChunk,
    Custom,
    EndStream,
    ErrorMessage,
    FastRTCClient,
    FetchOutput,
    LogMessage,
    Reply,
    ReplyTimeout,
    SendInput,
    Session,
    StopWord,
    TooManyConnections,
    WarningMessage,
)
from hume_sync.formats import mulaw

from ..rtcfake import hertz
from .conftest import RealServer

pytestmark = [pytest.mark.fastrtc, pytest.mark.timeout(120)]

Speech = Callable[..., bytes]
TURN = [LogMessage("started_talking"), LogMessage("pause_detected")]


def client(url: str, path: str, rate: int = 16000, **more: Any) -> FastRTCClient:
    rates: dict[str, Any] = {"input_sample_rate": rate, "output_sample_rate": rate}
    return FastRTCClient(url, path=path, proxy=False, timeout=20.0, **rates, **more)


def turn(session: Session, samples: bytes, **more: Any) -> Reply:
    session.send_audio(samples, end=True)
    return session.reply(**{"timeout": 20.0, **more})


def loud(samples: bytes, rate: int) -> float:
    """Seconds that are not silent."""
    values = memoryview(samples).cast("h")
    block = rate // 50
    blocks = [values[start : start + block] for start in range(0, len(values), block)]
    return sum(max(map(abs, block)) > 500 for block in blocks) / 50


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_what_is_said_comes_back_at_the_rate_of_the_handler(
    real_url: str, speech: Speech, transport: str, rate: int
) -> None:
    with client(real_url, f"/echo{rate // 1000}", rate).connect(transport) as session:
        said = speech(rate)
        reply = turn(session, said)
    assert [event for event in reply.messages if isinstance(event, LogMessage)][:2] == TURN
    assert reply.complete
    if transport == "websocket":
        assert mulaw.decode(mulaw.encode(said)) in reply.audio  # sample by sample
    else:  # Opus, and 100 ms wait for what comes next
        assert loud(reply.audio, rate) == pytest.approx(loud(said, rate), abs=0.35)


def test_a_session_has_turn_after_turn(real_url: str, speech: Speech, transport: str) -> None:
    with client(real_url, "/echo").connect(transport) as session:
        for _ in range(2):
            assert loud(turn(session, speech(16000)).audio, 16000) > 0.8


def test_a_reply_of_ten_chunks_is_whole(real_url: str, speech: Speech, transport: str) -> None:
    with client(real_url, "/multi").connect(transport) as session:
        reply = turn(session, speech(16000))
    assert reply.messages.count(LogMessage("response_starting")) == 10
    assert reply.seconds == (1.0 if transport == "websocket" else pytest.approx(0.95, abs=0.15))


def test_a_reply_in_pieces_of_20_ms_is_whole_and_leaves_nothing_to_the_next(
    real_url: str, speech: Speech, transport: str
) -> None:
    with client(real_url, "/frames").connect(transport) as session:
        for _ in range(2):
            reply = turn(session, speech(16000))
            assert reply.complete
            assert reply.seconds == (1.0 if transport == "websocket" else pytest.approx(0.9, abs=0.05))


def test_who_talks_while_a_reply_runs_gets_the_next_one_with_nothing_of_the_first(
    real_url: str, speech: Speech, transport: str
) -> None:
    loud_one = speech(16000)
    quiet_one = array("h", [sample // 4 for sample in memoryview(loud_one).cast("h")])
    with client(real_url, "/talk").connect(transport) as session:
        session.send_audio(loud_one, end=True)
        next(event for event in session if isinstance(event, AudioChunk))
        session.send_audio(quiet_one, end=True)
        reply = session.reply(timeout=20)
    assert reply.complete
    assert reply.seconds == (0.75 if transport == "websocket" else pytest.approx(0.65, abs=0.05))
    assert hertz(reply.audio[:1600], 16000) == pytest.approx(800, rel=0.15)


def test_additional_outputs_come_by_events_and_are_announced_on_the_channel(
    real_url: str, speech: Speech, transport: str
) -> None:
    with client(real_url, "/addl").connect(transport) as session:
        outputs = session.outputs()
        session.send_audio(speech(16000), end=True)
        got = [next(outputs) for _ in range(3)]
        assert got[0]["rate"] == 16000
        assert got[1:] == ["with audio", "zwei Zeilen:\nÄußerung"]
        if transport == "webrtc":
            assert next(event for event in session if isinstance(event, FetchOutput))
    assert list(outputs) == []


def test_a_handler_that_waits_for_inputs_gets_them_each_turn(real_url: str, speech: Speech, transport: str) -> None:
    given = iter([{"scale": 1}, {"scale": 2}])
    with client(real_url, "/args").connect(transport, inputs=lambda: next(given)) as session:
        outputs = session.outputs()
        for number in (1, 2):
            assert SendInput() in session.ask(speech(16000), idle=0.5).messages
            assert next(outputs) == {"scale": number}


def test_a_stop_word_is_reported(real_url: str, speech: Speech, transport: str) -> None:
    with client(real_url, "/stopword").connect(transport) as session:
        session.send_audio(speech(16000))
        session.send_audio(speech(16000), end=True)
        assert next(event for event in session if isinstance(event, StopWord))


@pytest.mark.parametrize("path", ["/err", "/exc"])
def test_a_handler_that_fails_is_silent_over_websocket_and_says_so_over_webrtc(
    real_url: str, speech: Speech, transport: str, path: str
) -> None:
    with client(real_url, path).connect(transport) as session:
        session.send_audio(speech(16000), end=True)
        if transport == "webrtc":
            assert next(event for event in session if isinstance(event, ErrorMessage)).text == "boom"
            return
        assert session.reply(timeout=10, idle=0.5).seconds == pytest.approx(0.1)
        session.send_audio(speech(16000), end=True)
        with pytest.raises(ReplyTimeout):
            session.reply(timeout=2)


def test_a_warning_is_reported_over_webrtc_alone(real_url: str, speech: Speech, transport: str) -> None:
    with client(real_url, "/warn").connect(transport) as session:
        session.send_audio(speech(16000), end=True)
        if transport == "webrtc":
            assert next(event for event in session if isinstance(event, WarningMessage)).text == "careful"
        else:
            assert not any(isinstance(event, WarningMessage) for event in session.reply().messages)


def test_a_handlers_own_messages_pass_through(real_url: str, transport: str) -> None:
    with client(real_url, "/custom").connect(transport) as session:
        assert next(event for event in session if isinstance(event, Custom)) == Custom("custom", {"x": 1})


def test_one_more_than_the_limit_is_refused_until_a_place_is_free(
    real_url: str, speech: Speech, transport: str
) -> None:
    one = client(real_url, "/limit")
    with one.connect(transport):
        for other in ("websocket", transport):
            with pytest.raises(TooManyConnections) as caught:
                one.connect(other)
            assert caught.value.limit == 1
    until = time.monotonic() + 10
    while True:  # over WebRTC the server takes a moment to notice
        try:
            session = one.connect("websocket")
            break
        except TooManyConnections:
            assert time.monotonic() < until
            time.sleep(0.1)
    with session:
        assert loud(turn(session, speech(16000)).audio, 16000) > 0.8


def test_a_stream_that_its_handler_closes_ends(real_url: str, speech: Speech, transport: str) -> None:
    with client(real_url, "/close").connect(transport) as session:
        session.send_audio(speech(16000), end=True)
        got = []
        if transport == "webrtc":
            assert next(event for event in session if isinstance(event, EndStream)).text == "bye now"
            return
        with pytest.raises(ConnectionLost) as caught:  # the pings make the server notice
            for event in session:
                got.append(event)
    assert caught.value.close_code == 1000
    assert any(isinstance(event, AudioChunk) for event in got)


def test_a_server_that_is_terminated_is_an_end_worth_another_try(fresh_server: RealServer, speech: Speech) -> None:
    with client(fresh_server.url, "/echo").connect(reconnect=True) as session:
        assert loud(turn(session, speech(16000)).audio, 16000) > 0.8
        fresh_server.process.terminate()
        with pytest.raises((ConnectionLost, ConnectError)):  # there is no server to reconnect to
            session.reply()


def test_closing_takes_less_than_a_second(real_url: str, transport: str) -> None:
    session = client(real_url, "/echo").connect(transport)
    began = time.monotonic()
    session.close()
    assert time.monotonic() - began < 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("hume_sync")]


def test_twenty_sessions_in_twenty_threads_each_hear_themselves(real_url: str, speech: Speech) -> None:
    twenty = client(real_url, "/limit20")
    whole = speech(16000)
    ready = threading.Barrier(20)

    def work(number: int) -> bool:
        said = whole[: len(whole) - 600 * number]
        with twenty.connect() as session:
            ready.wait(60)
            if number == 0:
                with pytest.raises(TooManyConnections):
                    twenty.connect()
            ready.wait(60)
            return mulaw.decode(mulaw.encode(said)) in turn(session, said, timeout=60.0).audio

    with ThreadPoolExecutor(20) as threads:
        assert list(threads.map(work, range(20))) == [True] * 20
