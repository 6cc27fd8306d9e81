from __future__ import annotations

import math
import pickle
from typing import Any

import attrs
import pytest

from hume_sync.fastrtc import (
    AudioChunk,
    Custom,
    EndStream,
    ErrorMessage,
    FetchOutput,
    LogMessage,
    SendInput,
    StopWord,
    UpdateConnection,
    WarningMessage,
)
from hume_sync.fastrtc.events import json_or_text, to_event


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ({"type": "log", "data": "pause_detected"}, LogMessage("pause_detected")),
        ({"type": "send_input", "data": []}, SendInput()),
        ({"type": "fetch_output", "data": []}, FetchOutput()),
        ({"type": "stopword", "data": ""}, StopWord("")),
        ({"type": "error", "message": "boom"}, ErrorMessage("boom")),
        ({"type": "error", "data": "boom"}, ErrorMessage("boom")),
        ({"type": "error", "data": None, "message": "boom"}, ErrorMessage("boom")),
        ({"type": "warning", "message": "careful"}, WarningMessage("careful")),
        ({"type": "end_stream", "data": "bye now"}, EndStream("bye now")),
        ({"type": "update_connection", "data": "closed"}, UpdateConnection("closed")),
        ({"type": "custom", "data": {"x": 1}}, Custom("custom", {"x": 1})),
        ({"type": "custom", "x": 1}, Custom("custom", {"type": "custom", "x": 1})),
    ],
)
def test_each_message_has_its_event(message: dict[str, Any], event: object) -> None:
    assert to_event(message) == event


@pytest.mark.parametrize("data", [b"", b"\xff\x00", b'{"type": "log", "data": "pause_detected"}'])
def test_a_binary_message_is_data_with_any_content(data: bytes) -> None:
    event = to_event(data)
    assert event == Custom(None, data)
    assert repr(event) == f"Custom(type=None, data=<{len(data)} bytes>)"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": NaN}', {"a": float("nan")}),
        ('[Infinity, -Infinity, "NaN"]', [float("inf"), float("-inf"), "NaN"]),
        ("NaN", "NaN"),  # a text, and no number, as far as anybody knows
        ("Infinity", "Infinity"),
        ("{NaN", "{NaN"),
        ("[" * 10**5 + "NaN", "[" * 10**5 + "NaN"),
        (b'{"a": NaN, "b": "\xff"}', {"a": float("nan"), "b": "\ufffd"}),
        (b'"\xff"', '"\ufffd"'),
        ("7", 7),
        ("null", None),
        ("", ""),
    ],
    ids=range(11),
)
def test_json_is_read_as_python_s_servers_write_it_and_what_is_none_stays_text(text: str | bytes, value: Any) -> None:
    assert repr(json_or_text(text)) == repr(value)  # NaN equals nothing


def test_a_message_without_a_type_has_the_name_of_its_event() -> None:
    mark = {"event": "mark", "streamSid": "MZ1", "mark": {"name": "x"}}
    assert to_event(mark) == Custom("mark", mark)
    assert to_event({"event": 7}) == Custom(None, {"event": 7})


def test_when_audio_came_takes_no_part_in_comparisons_and_is_not_shown() -> None:
    chunk = AudioChunk(bytes(2), 16000, arrived=7.0, media_time=3.0)
    assert chunk == AudioChunk(bytes(2), 16000)
    assert hash(chunk) == hash(AudioChunk(bytes(2), 16000))
    assert repr(chunk) == repr(AudioChunk(bytes(2), 16000))
    assert (chunk.arrived, chunk.media_time) == (7.0, 3.0)
    assert attrs.asdict(pickle.loads(pickle.dumps(chunk))) == attrs.asdict(chunk)
    assert math.isnan(AudioChunk(bytes(2), 16000).arrived)


@pytest.mark.parametrize(
    "message", [None, 7, "text", [1, 2], {}, {"type": 7}, {"type": None, "data": "x"}, {"data": "x"}]
)
def test_what_is_no_message_passes_through_whole(message: object) -> None:
    assert to_event(message) == Custom(None, message)


@pytest.mark.parametrize("data", [None, 7, {"a": 1}, ["x"]])
def test_a_known_type_with_unknown_data_passes_through(data: object) -> None:
    assert to_event({"type": "log", "data": data}) == Custom("log", data)
    assert isinstance(to_event({"type": "log"}), Custom)


def test_audio_knows_how_long_it_plays_and_keeps_its_samples_out_of_its_repr() -> None:
    chunk = AudioChunk(bytes(3200), 16000)
    assert chunk.seconds == 0.1
    assert repr(chunk) == "AudioChunk(samples=<3200 bytes>, rate=16000, delayed=False)"
