from __future__ import annotations

from typing import Any

import pytest

from hume_sync.emulator.faults import PayloadError
from hume_sync.emulator.schema import FaceOptions, LanguageOptions, ParsedRequest, echo_of, load, parse


def _fault(value: Any) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        parse(value)
    return caught.value


@pytest.mark.parametrize("raw", ["", "{", "NaN", "{'a': 1}", '"\\ud800"', "[" * 5000, b'{"job_details": true}'])
def test_what_is_not_json_in_a_text_frame_is_refused_with_e0100(raw: str | bytes) -> None:
    with pytest.raises(PayloadError, match="E0100"):
        load(raw)


@pytest.mark.parametrize("value", [[], "text", 1, None, True])
def test_what_is_no_object_is_refused_with_e0101(value: Any) -> None:
    assert _fault(value).code == "E0101"
    assert echo_of(value) == (None, False)


@pytest.mark.parametrize(
    "value",
    [
        {"job_details": True, "type": "session_settings"},
        {"job_details": True, "rawText": True},
        {"data": "x", "models": {"face": {"save_faces": True}}},
        {"data": "x", "models": {"language": {"identify_speakers": None}}},
        {"data": "x", "models": {"prosody": {"window": {"length": 4}}}},
        {"data": "x", "models": {"burst": {"granularity": "word"}}},
        {"data": "x", "models": {"face": {"facs": {"a": 1}}}},
        {"data": "x", "models": {"ner": {}}},
        {"data": "x", "models": {"unheard of": None}},
    ],
)
def test_unknown_fields_and_models_are_refused_with_the_known_text(value: Any) -> None:
    fault = _fault(value)
    assert fault.code == "E0101"
    assert fault.text.startswith("Extra inputs are not permitted")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data", 1),
        ("models", ["face"]),
        ("models", {"face": []}),
        ("raw_text", "true"),
        ("raw_text", 1),
        ("reset_stream", 0),
        ("job_details", "yes"),
        ("payload_id", 7),
        ("stream_window_ms", "5000"),
        ("stream_window_ms", True),
        ("stream_window_ms", 499),
        ("stream_window_ms", 10_000.5),
    ],
)
def test_a_field_of_another_type_or_out_of_range_is_refused_with_e0101(field: str, value: Any) -> None:
    fault = _fault({"data": "x", field: value})
    assert fault.code == "E0101"
    assert field in fault.text


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        ("face", "facs", True),
        ("face", "identify_faces", "no"),
        ("face", "fps_pred", 0),
        ("face", "fps_pred", "3"),
        ("face", "prob_threshold", -0.1),
        ("face", "prob_threshold", 1.1),
        ("face", "min_face_size", 0),
        ("language", "granularity", "letter"),
        ("language", "granularity", ""),
        ("language", "granularity", 1),
        ("language", "sentiment", []),
    ],
)
def test_an_option_of_another_type_or_out_of_range_is_refused_with_e0101(model: str, field: str, value: Any) -> None:
    fault = _fault({"data": "x", "models": {model: {field: value}}})
    assert fault.code == "E0101"
    assert f"models.{model}.{field}" in fault.text


@pytest.mark.parametrize("value", [{}, {"models": {"face": {}}}, {"data": None, "payload_id": "a"}])
def test_a_request_for_nothing_is_refused_with_e0101(value: Any) -> None:
    assert _fault(value).code == "E0101"


def test_null_stands_for_an_absent_field() -> None:
    nulls = dict.fromkeys(["raw_text", "stream_window_ms", "job_details", "payload_id", "data", "models"])
    assert parse({"reset_stream": True, **nulls}) == ParsedRequest(reset_stream=True)
    options = {"facs": None, "fps_pred": None, "identify_faces": None}
    parsed = parse({"data": "x", "models": {"prosody": None, "face": options, "language": {"granularity": None}}})
    assert parsed == ParsedRequest(data="x", models=("face", "language"))


def test_all_that_may_be_asked_for_is_read() -> None:
    face = {
        "facs": {}, "descriptions": {}, "identify_faces": True,
        "fps_pred": 1.5, "prob_threshold": 0.5, "min_face_size": 60,
    }  # fmt: skip
    language = {"sentiment": {}, "toxicity": {}, "granularity": "sentence"}
    parsed = parse(
        {
            "data": "x", "models": {"language": language, "burst": {}, "face": face}, "raw_text": False,
            "stream_window_ms": 500, "reset_stream": True, "job_details": True, "payload_id": "p",
        }
    )  # fmt: skip
    assert parsed == ParsedRequest(
        data="x",
        models=("language", "burst", "face"),
        face=FaceOptions(True, True, True, 1.5, 0.5, 60),
        language=LanguageOptions(True, True, "sentence"),
        stream_window_ms=500,
        reset_stream=True,
        job_details=True,
    )


def test_what_is_to_be_echoed_is_found_in_a_faulty_request_too() -> None:
    assert echo_of({"payload_id": "a", "job_details": True, "junk": 1}) == ("a", True)
    assert echo_of({"payload_id": 1, "job_details": 1}) == (None, False)
