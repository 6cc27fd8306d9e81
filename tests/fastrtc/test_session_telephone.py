"""Sessions with the WebSocket that a FastRTC stream has for telephones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hume_sync import ConfigurationError, InputError
from hume_sync.fastrtc import AudioChunk, Custom, FastRTCClient, LogMessage, Reconnected, TooManyConnections
from hume_sync.fastrtc.audio import write_wav
from hume_sync.fastrtc.session import Session

from .fake import FakeFastRTC
from .real.turns import Stream, media
from .talk import client, heard, say, speech

SPEECH = speech(8000)


def called(fake: FakeFastRTC, path: str = "/echo", **more: Any) -> Session:
    """A session by telephone, of a client with the rates of the handler."""
    return client(fake, path).connect("telephone", **more)


def test_a_turn_by_telephone_has_8000_samples_a_second_for_any_rates_of_the_client(fake: FakeFastRTC) -> None:
    with called(fake) as session:
        reply = session.ask(SPEECH, idle=0.05)
    assert reply.sample_rate == 8000
    assert heard(SPEECH) in reply.audio
    assert reply.complete
    assert LogMessage("pause_detected") in reply.messages


def test_every_message_names_the_stream_as_twilio_does(fake: FakeFastRTC) -> None:
    with called(fake) as session:
        assert re.fullmatch("MZ[0-9a-f]{32}", session.webrtc_id)
        say(session, samples=SPEECH)
    (seen,) = fake.connections
    assert seen.request.path == "/echo/telephone/handler"
    assert seen.start == {
        "event": "start",
        "streamSid": session.webrtc_id,
        "start": {
            "streamSid": session.webrtc_id,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    }
    assert seen.sids == {session.webrtc_id}
    assert seen.events[-1] == "stop"
    fake.wait(lambda: not seen.open)


def test_an_application_s_own_start_takes_the_place_of_ours(fake: FakeFastRTC) -> None:
    own = {"callSid": "CA1", "customParameters": {"name": "x"}}
    with called(fake, fields={"start": own, "sequenceNumber": "1"}) as session:
        assert fake.connections[0].start == {
            "event": "start",
            "streamSid": session.webrtc_id,
            "start": own,
            "sequenceNumber": "1",
        }
    with pytest.raises(InputError, match="fields must not hold streamSid"):
        called(fake, fields={"streamSid": "MZ1"})


def test_marks_go_both_ways(fake: FakeFastRTC) -> None:
    with called(fake) as session:
        mark = {"event": "mark", "streamSid": session.webrtc_id, "mark": {"name": "end of greeting"}}
        clear = {"event": "clear", "streamSid": session.webrtc_id}
        fake.say(media(bytes(80), streamSid=session.webrtc_id), json.dumps(mark), json.dumps(clear))
        assert isinstance(session.receive(timeout=5), AudioChunk)
        assert session.receive(timeout=5) == Custom("mark", mark)
        assert session.receive(timeout=5) == Custom("clear", clear)
        session.send(mark)
        assert say(session, samples=SPEECH)
    assert fake.connections[0].events.count("mark") == 1


def test_a_wav_file_of_any_rate_is_brought_to_that_of_telephones(fake: FakeFastRTC, tmp_path: Path) -> None:
    write_wav(tmp_path / "question.wav", speech(16000), 16000)
    with called(fake) as session:
        session.send_audio(tmp_path / "question.wav")
        fake.wait(lambda: fake.connections[0].media)
    assert fake.connections[0].media == [len(SPEECH) // 2]


def test_a_handler_that_needs_inputs_has_no_answer_and_none_can_be_given(fake: FakeFastRTC) -> None:
    with called(fake, "/args") as session:
        for call in (lambda: session.set_input(scale=1), session.latest_output, session.outputs):
            with pytest.raises(ConfigurationError, match="cannot be used by telephone"):
                call()
    with pytest.raises(ConfigurationError, match="inputs cannot be used by telephone"):
        called(fake, inputs=dict)
    assert fake.hooks == []
    assert [request.path for request in fake.requests] == ["/args/telephone/handler"]


def test_a_call_is_refused_where_all_places_are_taken_and_takes_none(fake: FakeFastRTC) -> None:
    with called(fake, "/limit"), client(fake, "/limit").connect():
        with pytest.raises(TooManyConnections) as caught:
            called(fake, "/limit")
    assert caught.value.limit == 1


def test_a_call_that_is_cut_is_replaced_under_another_name(fake: FakeFastRTC) -> None:
    with called(fake, reconnect=True) as session:
        first = session.webrtc_id
        fake.end(1012)
        assert isinstance(session.receive(timeout=5), Reconnected)
        assert session.webrtc_id != first
        assert heard(SPEECH) in say(session, samples=SPEECH)
    assert [connection.start["streamSid"] for connection in fake.connections] == [first, session.webrtc_id]


def test_where_the_stream_is_mounted_and_its_query_count_for_telephones_too() -> None:
    with FakeFastRTC(streams={"/a/b": Stream()}) as fake:
        with FastRTCClient(f"{fake.url}/a?token=x", path="/b", proxy=False).connect("telephone"):
            pass
    assert fake.requests[0].path == "/a/b/telephone/handler"
    assert fake.requests[0].query == {"token": "x"}
