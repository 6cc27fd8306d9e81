from __future__ import annotations

import copy
import json
import pickle
import pprint
from typing import Any

import orjson
import pytest

from hume_sync import StreamResponse
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


def test_a_reply_keeps_what_it_knows_of_itself_when_copied_or_pickled() -> None:
    reply = StreamResponse(REPLY)
    reply.emulated = True
    for twin in (pickle.loads(pickle.dumps(reply)), copy.copy(reply), copy.deepcopy(reply)):
        assert type(twin) is StreamResponse
        assert twin == reply
        assert twin.emulated


def test_emotions_are_means_over_the_predictions_of_a_model_or_of_all() -> None:
    reply = StreamResponse(REPLY)
    assert reply.emotions("prosody") == pytest.approx({"Joy": 0.6, "Awe": 0.2})
    assert reply.emotions() == pytest.approx({"Joy": 0.4, "Awe": 0.2})
    assert reply.emotions("burst") == reply.emotions("no such model") == {}


def test_the_top_is_sorted_and_cut() -> None:
    reply = StreamResponse(REPLY)
    assert [name for name, _ in reply.top(1)] == ["Joy"]
    assert [name for name, _ in reply.top(model="prosody")] == ["Joy", "Awe"]
    assert reply.top(0) == reply.top(-3) == []


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
