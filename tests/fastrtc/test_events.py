from __future__ import annotations

from typing import Any

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
from hume_sync.fastrtc.events import to_event


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
