"""Our own messages, telephones, and the times of audio, with real FastRTC servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hume_sync import InputError
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import AudioChunk, FastRTCClient, LogMessage, TooManyConnections, with_pauses

from ..rtcfake import loudness

pytestmark = [pytest.mark.fastrtc, pytest.mark.timeout(120)]

Speech = Callable[..., bytes]


@pytest.fixture(params=["websocket", "webrtc"])
def transport(request: pytest.FixtureRequest) -> str:
    if request.param == "webrtc":
        request.getfixturevalue("webrtc")
    return str(request.param)


def client(url: str, path: str, rate: int = 16000) -> FastRTCClient:
    return FastRTCClient(url, path=path, proxy=False, timeout=20.0, input_sample_rate=rate, output_sample_rate=rate)


# --- one's own messages


@pytest.mark.usefixtures("webrtc")
def test_over_webrtc_servers_answer_any_message_up_to_the_size_they_announce(real_url: str) -> None:
    with client(real_url, "/raw").connect("webrtc") as session:
        for message in ("hello", {"type": "hello"}, [1], b"\xff"):
            session.send(message)
        with pytest.raises(InputError, match="which is what the server takes over WebRTC") as caught:
            session.send("x" * 10**6)
        limit = int(str(caught.value).split("at most ")[1].split()[0])
        session.send("x" * (limit - 100))  # the answer is a little larger
        logs = [event.text for event in session.events(timeout=1) if isinstance(event, LogMessage)]
    expected = ["hello", '{"type":"hello"}', "[1]", "b'\\xff'", "x" * (limit - 100)]
    assert logs == [f"Server received: {text}" for text in expected]


@pytest.mark.parametrize("message", ["hello", {"type": "hello"}, [1], b"\xff"], ids=repr)
def test_over_websocket_servers_ignore_an_event_and_end_the_session_at_anything_else(
    real_url: str, message: Any
) -> None:
    with client(real_url, "/raw").connect() as session:
        session.send({"event": "mark"})
        session.send_audio(bytes(640))
        assert isinstance(session.receive(timeout=10), AudioChunk)
        session.send(message)
        with pytest.raises(ConnectionLost, match="or could not read a message") as caught:
            session.receive(timeout=10)
        assert caught.value.close_code == 1000


# --- telephones


@pytest.mark.parametrize("path", ["/echo8", "/echo16", "/echo48"])
def test_turns_by_telephone_are_at_8000_samples_a_second_at_any_rate_of_the_handler(
    real_url: str, speech: Speech, path: str
) -> None:
    with client(real_url, path, 48000).connect("telephone") as session:
        for _ in range(2):
            said = speech(8000)
            reply = session.ask(said, timeout=20)
            assert reply.complete
            assert reply.sample_rate == 8000
            assert len(reply.audio) == pytest.approx(len(said) + 2 * 8000 * 1.2, rel=0.3)
            assert loudness(reply.audio) == pytest.approx(loudness(said), rel=0.4)


def test_a_call_is_refused_where_others_have_all_places(real_url: str) -> None:
    with client(real_url, "/limit").connect() as session:
        with pytest.raises(TooManyConnections) as caught:
            client(real_url, "/limit").connect("telephone")
        assert caught.value.limit == 1
        session.close()
    with client(real_url, "/limit").connect("telephone") as session:
        session.send({"event": "mark", "streamSid": session.webrtc_id, "mark": {"name": "x"}})


# --- times


def test_a_handler_s_pause_is_not_sent_and_can_be_put_back(real_url: str, speech: Speech, transport: str) -> None:
    with client(real_url, "/halting").connect(transport) as session:
        session.send_audio(speech(16000), end=True)
        events = session.events(timeout=20)
        chunks = [next(event for event in events if isinstance(event, AudioChunk))]
        chunks += [event for event in session.events(timeout=3) if isinstance(event, AudioChunk)]
    plain = b"".join(chunk.samples for chunk in chunks)
    joined = with_pauses(chunks)
    assert len(plain) / 32000 == pytest.approx(1.2, abs=0.15)
    assert len(joined) / 32000 == pytest.approx(2.7, abs=0.3)
    if transport == "webrtc":  # FastRTC does not count it
        places = [chunk.media_time for chunk in chunks if chunk.media_time is not None]
        assert len(places) == len(chunks)
        assert places[-1] == pytest.approx(1.1, abs=0.15)
    pause = joined.find(bytes(2 * 16000))
    assert pause / 32000 == pytest.approx(0.5, abs=0.1)
