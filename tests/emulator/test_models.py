from __future__ import annotations

from typing import Any

import orjson
import pytest

from hume_sync.emulator.handler import RequestHandler
from hume_sync.emulator.knobs import Knobs
from hume_sync.emulator.names import DESCRIPTIONS, EMOTIONS, FACS, LANGUAGE_EMOTIONS, SENTIMENT, TOXICITY
from tests.audiofiles import encoded

from .support import face, png, request, tone, wav, webm


def _ask(data: bytes | str, model: str, *, raw_text: bool = False, options: Any = None, **knobs: Any) -> Any:
    models = {model: options or {}}
    return RequestHandler(Knobs(**knobs)).handle(request(data, models=models, raw_text=raw_text))[model]


def _names(scores: Any) -> tuple[str, ...]:
    return tuple(item["name"] for item in scores)


@pytest.mark.parametrize("model", ["burst", "prosody"])
def test_audio_gives_one_prediction_with_its_time_and_48_emotions(model: str) -> None:
    [item] = _ask(wav(tone(1.25)), model)["predictions"]
    assert list(item) == ["time", "emotions"]
    assert item["time"] == {"begin": 0.0, "end": 1.25}
    assert _names(item["emotions"]) == EMOTIONS


@pytest.mark.parametrize(
    ("samples", "burst", "prosody"),
    [(tone(1), None, None), (tone(1, level=1000), "W0101", None), (bytes(32_000), "W0101", "W0105")],
    ids=["loud", "quiet", "silent"],
)
def test_quiet_speech_has_no_bursts_and_silence_has_no_speech_either(
    samples: bytes, burst: str | None, prosody: str | None
) -> None:
    answer = RequestHandler(Knobs()).handle(request(wav(samples), "burst", "prosody"))
    assert (answer["burst"].get("code"), answer["prosody"].get("code")) == (burst, prosody)
    assert ("predictions" in answer["burst"], "predictions" in answer["prosody"]) == (not burst, not prosody)


@pytest.mark.parametrize(
    ("data", "model", "warning"),
    [
        (wav(bytes(32_000)), "burst", "No vocal bursts detected."),
        (wav(bytes(32_000)), "prosody", "No speech detected."),
        (png(2, 2), "face", "No faces detected."),
        (b"[]", "facemesh", "No facemeshes detected."),
        (b" \n", "language", "No text detected."),
    ],
)
def test_a_model_that_finds_nothing_warns_without_predictions(data: bytes, model: str, warning: str) -> None:
    answer = _ask(data, model)
    assert answer["warning"] == warning
    assert list(answer) == ["warning", "code"]
    assert _ask(data, model, model_warning_code=False) == {"warning": warning}
    assert _ask(data, model, warning_texts={answer["code"]: "other"})["warning"] == "other"


def test_a_face_in_an_image_has_the_keys_of_the_wire() -> None:
    [item] = _ask(png(640, 480), "face")["predictions"]
    assert list(item) == ["frame", "time", "bbox", "prob", "face_id", "emotions"]
    assert (item["frame"], item["time"], item["face_id"]) == (0, None, "unknown")
    box = item["bbox"]
    assert list(box) == ["x", "y", "w", "h"]
    assert 0 <= box["x"] <= box["x"] + box["w"] <= 640
    assert 0 <= box["y"] <= box["y"] + box["h"] <= 480
    assert 0.99 <= item["prob"] <= 1
    assert _names(item["emotions"]) == EMOTIONS


def test_facial_actions_and_descriptions_come_when_asked_for() -> None:
    [item] = _ask(png(), "face", options={"facs": {}, "descriptions": {}})["predictions"]
    assert _names(item["facs"]) == FACS
    assert _names(item["descriptions"]) == DESCRIPTIONS


@pytest.mark.parametrize("options", [{"prob_threshold": 1}, {"min_face_size": 600}])
def test_a_face_below_the_callers_demands_is_left_out(options: Any) -> None:
    assert _ask(png(), "face", options=options)["code"] == "W0103"


@pytest.mark.parametrize("knobs", [{"prob_threshold": 1}, {"min_face_size": 600}])
def test_a_face_below_the_configured_limits_is_left_out(knobs: Any) -> None:
    assert _ask(png(), "face", **knobs)["code"] == "W0103"
    assert "predictions" in _ask(png(), "face", options={"prob_threshold": 0, "min_face_size": 1}, **knobs)


@pytest.mark.parametrize(
    ("seconds", "options", "times"),
    [
        (1.05, {}, [0.0, 0.333333, 0.666667, 1.0]),
        (1.0, {"fps_pred": 0.9}, [0.0]),
        (1.2, {"fps_pred": 1}, [0.0, 1.0]),
        (0.12, {"fps_pred": 1e300}, [0.0, 0.033333, 0.066667, 0.1]),
    ],
)
def test_a_video_is_looked_at_so_many_times_a_second(seconds: float, options: Any, times: list[float]) -> None:
    # Its sound is longer than its pictures: up to 64 ms more, where a decoder gives all of the last frame.
    found = _ask(encoded("mp4", "aac", seconds, video=True), "face", options={**options, "prob_threshold": 0})
    assert [item["time"] for item in found["predictions"]] == times
    assert [item["frame"] for item in found["predictions"]] == list(range(len(times)))


def test_a_video_of_unknown_length_is_looked_at_once() -> None:
    [item] = _ask(webm(b"V_VP8"), "face", options={"prob_threshold": 0})["predictions"]
    assert (item["time"], item["frame"]) == (0.0, 0)


def test_identified_faces_keep_their_names_on_one_connection() -> None:
    handler = RequestHandler(Knobs())

    def name(content: bytes, **fields: Any) -> Any:
        models = {"face": {"identify_faces": True}}
        return handler.handle(request(content, models=models, **fields))["face"]["predictions"][0]["face_id"]

    first, second = png(), png(tail=b"other")
    assert [name(first), name(second), name(first)] == ["face_0", "face_1", "face_0"]
    assert name(second, reset_stream=True) == "face_1"


def test_every_face_of_a_facemesh_has_scores_of_its_own() -> None:
    one, two, three = _ask(orjson.dumps([face(), face(1), face()]), "facemesh")["predictions"]
    assert list(one) == ["emotions"]
    assert _names(one["emotions"]) == EMOTIONS
    assert one == three != two


@pytest.mark.parametrize(
    ("granularity", "parts"),
    [
        ("word", [("Hi", 1, 3), ("there.", 4, 10), ("How", 11, 14), ("é?!", 15, 18), ("ok", 20, 22)]),
        ("sentence", [("Hi there.", 1, 10), ("How é?!", 11, 18), ("ok", 20, 22)]),
        ("utterance", [(" Hi there. How é?!\n ok", 0, 22)]),
        ("passage", [(" Hi there. How é?!\n ok", 0, 22)]),
    ],
)
def test_text_is_divided_as_asked(granularity: str, parts: list[tuple[str, int, int]]) -> None:
    options = {"granularity": granularity}
    found = _ask(" Hi there. How é?!\n ok", "language", raw_text=True, options=options)["predictions"]
    assert [(i["text"], i["position"]["begin"], i["position"]["end"]) for i in found] == parts


def test_a_dot_inside_a_word_ends_no_sentence() -> None:
    options = {"granularity": "sentence"}
    found = _ask("It is 3.5 now. Yes", "language", raw_text=True, options=options)["predictions"]
    assert [item["text"] for item in found] == ["It is 3.5 now.", "Yes"]


def test_words_are_the_unit_of_text_unless_asked_otherwise() -> None:
    found = _ask("two words", "language", raw_text=True)["predictions"]
    assert [list(item) for item in found] == [["text", "position", "emotions"]] * 2
    assert _names(found[0]["emotions"]) == LANGUAGE_EMOTIONS


def test_sentiment_and_toxicity_come_when_asked_for() -> None:
    [item] = _ask("word", "language", raw_text=True, options={"sentiment": {}, "toxicity": {}})["predictions"]
    assert _names(item["sentiment"]) == SENTIMENT
    assert sum(score["score"] for score in item["sentiment"]) == pytest.approx(1, abs=1e-5)
    assert _names(item["toxicity"]) == TOXICITY


def test_the_same_text_has_the_same_scores_in_a_file_and_raw() -> None:
    assert _ask(b"a few words", "language") == _ask("a few words", "language", raw_text=True)


@pytest.mark.parametrize(("data", "model"), [(wav(tone(1)), "prosody"), (png(), "face"), (b"hi", "language")])
def test_scores_follow_from_seed_and_content(data: bytes, model: str) -> None:
    assert _ask(data, model) == _ask(data, model)
    assert _ask(data, model) != _ask(data, model, seed=1)


def test_blank_text_may_be_an_error_instead() -> None:
    answer = RequestHandler(Knobs(blank_text="error")).handle(request(" ", "language", raw_text=True))
    assert answer["code"] == "E0101"


def test_ten_thousand_characters_give_an_answer_of_more_than_a_mebibyte() -> None:
    answer = _ask("a word " * 1428, "language", raw_text=True)
    assert len(answer["predictions"]) == 2856
    assert len(orjson.dumps(answer)) > 2**20
