from __future__ import annotations

import copy
import json
import math
import operator
import pickle
import pprint
from collections.abc import Callable
from fractions import Fraction
from typing import Any, cast

import numpy as np
import orjson
import pytest

from hume_sync import InputError, ModelType, StreamResponse
from hume_sync.stream.responses import printable


def scores(**named: Any) -> list[dict[str, Any]]:
    return [{"name": name, "score": score} for name, score in named.items()]


REPLY = {
    "payload_id": "1",
    "prosody": {
        "predictions": [
            {"time": {"begin": 0.0, "end": 1.0}, "emotions": scores(Joy=0.5, Awe=0.1)},
            {"time": {"begin": 1.0, "end": 2.0}, "emotions": scores(Joy=0.7, Awe=0.3)},
        ]
    },
    "burst": {"warning": "No vocal bursts detected.", "code": "W0101"},
    "face": {"predictions": [{"time": None, "face_id": "face_0", "emotions": scores(Joy=0.0), "facs": scores(AU1=1)}]},
}


def test_a_reply_is_the_dict_that_was_received() -> None:
    reply = StreamResponse(REPLY)
    assert reply == REPLY
    assert json.loads(json.dumps(reply)) == json.loads(orjson.dumps(reply)) == REPLY
    assert pprint.pformat(reply) == pprint.pformat(REPLY)
    assert repr(reply) == repr(REPLY)


MARKS: dict[str, Any] = {"emulated": True, "attempts": 3, "window_state": "rebuilt", "clock_offset": None}


def marked(body: dict[str, Any]) -> StreamResponse:
    reply = StreamResponse(body)
    for name, value in MARKS.items():
        setattr(reply, name, value)
    return reply


def marks_of(reply: StreamResponse) -> dict[str, Any]:
    assert type(reply) is StreamResponse
    return {name: getattr(reply, name) for name in MARKS}


@pytest.mark.parametrize(
    "twin_of",
    [
        StreamResponse,
        StreamResponse.copy,
        copy.copy,
        copy.deepcopy,
        lambda reply: reply | {},
        lambda reply: {} | reply,
        lambda reply: reply | StreamResponse(),
        lambda reply: operator.ior(reply, {}),  # type: ignore[no-untyped-call]  # typeshed leaves it so
        *(lambda reply, p=protocol: pickle.loads(pickle.dumps(reply, p)) for protocol in range(6)),
    ],
)
def test_a_reply_keeps_its_class_and_marks_when_copied_joined_or_pickled(
    twin_of: Callable[[StreamResponse], StreamResponse],
) -> None:
    reply = marked(REPLY)
    twin = twin_of(reply)
    assert twin == reply == REPLY
    assert marks_of(twin) == marks_of(reply) == MARKS


def test_a_copy_is_one_of_its_own() -> None:
    reply = marked({"face": {"predictions": []}})
    shallow, deep = reply.copy(), copy.deepcopy(reply)
    shallow["more"] = deep["more"] = 1
    shallow.emulated = False
    reply["face"]["predictions"].append(1)
    assert (list(reply), reply.emulated) == (["face"], True)
    assert (shallow["face"], deep["face"]) == ({"predictions": [1]}, {"predictions": []})


def test_replies_are_joined_as_dicts_are() -> None:
    left, right = {"a": 1, "b": 1}, {"b": 2, "c": 2}
    for joined in (
        StreamResponse(left) | right,
        left | StreamResponse(right),
        StreamResponse(left) | StreamResponse(right),
    ):
        assert list(joined.items()) == list((left | right).items())
    reply = same = StreamResponse(left)
    reply |= [("b", 2)]
    assert reply is same
    assert reply == {"a": 1, "b": 2}
    with pytest.raises(TypeError):
        reply | 7
    with pytest.raises(TypeError):
        [] | reply


def test_what_is_joined_of_replies_is_emulated_if_one_of_them_is() -> None:
    real = StreamResponse(REPLY)
    assert (real | marked({})).emulated
    assert (marked({}) | real).emulated
    assert not real.emulated
    real |= marked({})
    assert real.emulated


@pytest.mark.parametrize("emulated", [True, False])
def test_a_reply_written_as_json_with_its_mark_is_read_again_with_it(emulated: bool) -> None:
    reply = StreamResponse(REPLY, emulated=emulated)
    saved = json.loads(json.dumps({"emulated": reply.emulated, "reply": reply}))
    again = StreamResponse(saved["reply"], emulated=saved["emulated"])
    assert again == reply
    assert again.emulated is emulated
    assert {record["emulated"] for record in again.to_records()} == {emulated}
    assert StreamResponse(again).emulated is emulated
    assert StreamResponse(again, emulated=not emulated).emulated is not emulated


@pytest.mark.parametrize("emulated", ["false", 1, 0, math.nan])
def test_a_mark_that_is_no_bool_is_refused(emulated: Any) -> None:
    with pytest.raises(InputError, match="emulated must be True, False or None, got"):
        StreamResponse(REPLY, emulated=emulated)


@pytest.mark.parametrize("body", [None, 7, "text", [1], ["abc"]])
def test_what_is_no_object_makes_no_reply(body: Any) -> None:
    with pytest.raises(InputError, match="body must be the JSON object of a reply, got"):
        StreamResponse(body)


def test_a_reply_is_made_as_a_dict_is() -> None:
    assert StreamResponse() == {}
    assert StreamResponse(face=1) == StreamResponse([("face", 1)]) == {"face": 1}


def test_emotions_are_means_over_the_predictions_of_a_model_or_of_all() -> None:
    reply = StreamResponse(REPLY)
    assert reply.emotions("prosody") == pytest.approx({"Joy": 0.6, "Awe": 0.2})
    assert reply.emotions() == pytest.approx({"Joy": 0.4, "Awe": 0.2})
    assert reply.emotions("burst") == reply.emotions("language") == {}


def test_the_top_is_sorted_and_cut() -> None:
    reply = StreamResponse(REPLY)
    assert [name for name, _ in reply.top(1)] == [name for name, _ in reply.top(cast(int, np.int64(1)))] == ["Joy"]
    assert [name for name, _ in reply.top(model="prosody")] == ["Joy", "Awe"]
    assert reply.top(0) == []


@pytest.mark.parametrize("n", [-1, True, False, 1.0, math.nan, "3", None, np.float64(1), np.True_])
def test_how_many_of_the_top_is_a_whole_number(n: Any) -> None:
    with pytest.raises(InputError, match="n must be a whole number from 0, got"):
        StreamResponse(REPLY).top(n)


@pytest.mark.parametrize("model", list(ModelType))
def test_a_model_may_be_named_by_its_type(model: ModelType) -> None:
    reply = StreamResponse(REPLY)
    assert reply.top(3, model) == reply.top(3, model.value)
    assert reply.emotions(model) == reply.emotions(model.value)
    assert reply.get(model) == reply.get(model.value)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("langauge", "no model is called 'langauge'; did you mean 'language'?"),
        ("Prosody", "did you mean 'prosody'?"),
        ("gestures", "did you mean 'gesture'?"),
        (
            "xyz",
            "no model is called 'xyz' (models: burst, face, facemesh, language, ner, prosody, gesture; in this reply: ",
        ),
        ("", "no model is called ''"),
        ("payload_id", "no model is called 'payload_id'"),
        (7, "no model is called 7"),
        (["face"], "no model is called ['face']"),
        (ModelType, "no model is called <enum 'ModelType'>"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("read", [lambda reply, model: reply.top(3, model), lambda reply, model: reply.emotions(model)])
def test_a_name_that_no_model_has_is_refused_with_the_nearest(read: Any, model: Any, text: str) -> None:
    reply = StreamResponse({**REPLY, "gesture": {"predictions": []}})
    with pytest.raises(InputError) as caught:
        read(reply, model)
    assert text in str(caught.value)
    assert str(caught.value).endswith("in this reply: burst, face, prosody, gesture)")


def test_models_of_the_servers_own_are_read_like_the_others() -> None:
    reply = StreamResponse({"trace": "x", "gesture": {"predictions": [{"emotions": scores(Joy=0.5)}], "warning": "w"}})
    assert reply.top(1, "gesture") == reply.top(1) == [("Joy", 0.5)]
    assert [record["model"] for record in reply.to_records()] == ["gesture"]
    assert reply.warning == "gesture: w"
    assert str(reply).splitlines()[0] == "gesture (1 prediction)"


def test_scores_that_are_no_numbers_rank_last_and_do_not_count_in_means() -> None:
    predictions = [
        {"emotions": scores(Joy=math.nan, Awe=0.2, Fear=math.nan, Pain=-math.inf, Love=math.inf)},
        {"emotions": scores(Joy=0.4, Awe=0.4, Pride=10**400)},
    ]
    reply = StreamResponse({"face": {"predictions": predictions}})
    top = reply.top(9)
    assert [name for name, _ in top] == ["Love", "Joy", "Awe", "Pain", "Fear"]
    assert dict(top[:4]) == pytest.approx({"Love": math.inf, "Joy": 0.4, "Awe": 0.3, "Pain": -math.inf})
    assert math.isnan(top[4][1])
    assert "nan" in str(reply)
    assert len(reply.to_records()) == 7


@pytest.mark.parametrize("begin", [math.nan, math.inf, 10**400, True, "1", None])
def test_times_that_cannot_be_moved_are_left_alone(begin: Any) -> None:
    reply = StreamResponse({"burst": {"predictions": [{"time": {"begin": begin, "end": 1.0}}]}})
    reply.shift_times(Fraction(1, 2))
    assert reply["burst"]["predictions"][0]["time"] == {"begin": pytest.approx(begin, nan_ok=True), "end": 1.5}


@pytest.mark.parametrize(
    ("time", "offset", "moved"),
    [
        ({"begin": 1.0, "end": 2.0}, Fraction(-10000005, 10**7), {"begin": 0.0, "end": 0.9999995}),
        ({"begin": 0.5, "end": 0.5}, Fraction(-5000005, 10**7), {"begin": 0.0, "end": 0.0}),
        ({"begin": 1 / 3, "end": 1}, Fraction(-1, 3), {"begin": 0.0, "end": 0.666666667}),
    ],
)
def test_times_are_never_below_zero(time: dict[str, float], offset: Fraction, moved: dict[str, float]) -> None:
    for model in ("prosody", "burst"):
        reply = StreamResponse({model: {"predictions": [{"time": dict(time)}]}})
        reply.shift_times(offset)
        found = reply[model]["predictions"][0]["time"]
        assert found == moved
        assert all(math.copysign(1, found[end]) == 1 for end in ("begin", "end"))  # nor -0.0


def test_records_are_flat_and_all_alike() -> None:
    reply = StreamResponse(REPLY)
    records = reply.to_records()
    keys = ("model", "segment", "kind", "t_start", "t_end", "face_id", "text", "name", "score", "emulated")
    assert {tuple(record) for record in records} == {keys}
    assert [tuple(record.values()) for record in records] == [
        ("face", 0, "emotions", None, None, "face_0", None, "Joy", 0.0, False),
        ("face", 0, "facs", None, None, "face_0", None, "AU1", 1, False),
        ("prosody", 0, "emotions", 0.0, 1.0, None, None, "Joy", 0.5, False),
        ("prosody", 0, "emotions", 0.0, 1.0, None, None, "Awe", 0.1, False),
        ("prosody", 1, "emotions", 1.0, 2.0, None, None, "Joy", 0.7, False),
        ("prosody", 1, "emotions", 1.0, 2.0, None, None, "Awe", 0.3, False),
    ]


@pytest.mark.parametrize(
    ("reply", "warning"),
    [
        (REPLY, "burst: No vocal bursts detected."),
        ({"warning": "careful", "code": "W0105"}, "careful"),
        ({"warning": 7}, "7"),
        ({"burst": {"warning": "a"}, "prosody": {"warning": "b"}}, "burst: a; prosody: b"),
        ({"face": {"predictions": []}}, None),
        ({"warning": None, "face": {"warning": None}}, None),
    ],
)
def test_a_warning_is_the_replys_own_or_its_models(reply: dict[str, Any], warning: str | None) -> None:
    assert StreamResponse(reply).warning == warning


NO_SCORES: list[Any] = [None, "1", True, [], {}]

ODD: list[Any] = [
    None, [], {}, 7, "text", True,
    {"predictions": None}, {"predictions": {}}, {"predictions": [None, 7, "x", []]},
    {"predictions": [{"emotions": None}, {"emotions": {}}, {"emotions": "Joy"}]},
    {"predictions": [{"emotions": [None, 7, [], {}, {"name": None, "score": 1}, {"name": "Joy"}]}]},
    {"predictions": [{"emotions": [{"name": "Joy", "score": score} for score in NO_SCORES]}]},
    {"predictions": [{"time": [1, 2], "emotions": []}, {"time": {"begin": None}}]},
    {"warning": {"nested": 1}},
]  # fmt: skip


@pytest.mark.parametrize("body", ODD, ids=repr)
@pytest.mark.parametrize("model", ["face", "language"])
def test_odd_shapes_never_make_the_readers_fail(model: str, body: Any) -> None:
    reply = StreamResponse({model: body, "job_details": body})
    assert reply.emotions() == reply.emotions(model) == {}
    assert not reply.top()
    assert not reply.to_records()
    assert isinstance(reply.warning, str | None)
    assert str(reply)


def test_print_shows_the_top_of_each_model_and_that_scores_are_emulated() -> None:
    reply = StreamResponse(REPLY)
    reply.emulated = True
    assert str(reply).splitlines() == [
        "face (1 prediction)",
        "  Joy   0.000",
        "prosody (2 predictions)",
        "  Joy   0.600",
        "  Awe   0.200",
        "warning: burst: No vocal bursts detected.",
        "(emulated: invented scores, not measurements)",
    ]


def test_print_of_a_reply_without_predictions_says_what_there_is() -> None:
    assert str(StreamResponse({})) == "no predictions"
    assert str(StreamResponse({"job_details": {"job_id": "abc"}})) == "job abc"


def test_text_of_a_server_cannot_drive_a_terminal() -> None:
    assert printable("a\x1b[31m\r\nb\u202e") == "a\\x1b[31m\\x0d\\x0ab\\x202e"
    assert "\x1b" not in str(StreamResponse({"face": {"predictions": [{"emotions": scores(**{"\x1b]0;x\x07": 1})}]}}))
