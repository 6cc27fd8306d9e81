from __future__ import annotations

import json
import math
from typing import Any

import pytest

from hume_sync import ModelType, ProtocolError
from hume_sync.net.replies import MODELS, decode, is_reply


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [NaN, Infinity, -Infinity, 1.5, null, true]}',
        '{"a": 1e999, "b": -1e999}',
        '{"a": "\\ud83d\\ude00 \\ud800"}',
        '{"a": 1, "b": 2, "a": NaN}',
        '{"a": NaN, "n": 340282366920938463463374607431768211455}',
        ' \t\r\n{"ä": NaN}\n',
        '{"a": ' + "[" * 500 + "NaN" + "]" * 500 + "}",
    ],
    ids=["constants", "overflow", "surrogate", "twice", "integer", "space", "depth"],
)
@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_a_message_is_what_json_loads_makes_of_it(text: str, form: Any) -> None:
    assert repr(decode(form(text.encode()))) == repr(json.loads(text))


def test_numbers_that_are_none_stay_what_they_are() -> None:
    scores = decode(b'{"a": NaN, "b": Infinity, "c": -Infinity}')
    assert math.isnan(scores["a"])
    assert (scores["b"], scores["c"]) == (math.inf, -math.inf)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"NaN",
        b"[NaN]",
        b'"text"',
        b"null",
        b"{",
        b'{"a": nan}',
        b'{"a": -NaN}',
        b'{"a": NaN} {}',
        b"{'a': NaN}",
        b'{"a": "\x01", "b": NaN}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',  # a surrogate as UTF-8, which the official client's library refuses
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
        '{"a": 1}'.encode("utf-32"),
        b'{"a": NaN, "n": ' + b"1" * 5000 + b"}",
        b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b"[" * 200_000,
    ],
    ids=lambda message: repr(message[:12]),
)
def test_what_is_no_json_object_is_an_error_that_does_not_show_it(message: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(message)
    assert str(caught.value) == (
        f"Unexpected error when fetching streaming API predictions (not a JSON object, {len(message)} bytes)"
    )
    assert (caught.value.phase, caught.value.maybe_processed) == ("receive", True)


def test_the_models_are_those_of_the_configurations() -> None:
    assert list(MODELS) == [model.value for model in ModelType]


@pytest.mark.parametrize(
    "message",
    [
        {"payload_id": "1"},
        {"payload_id": 7},
        {"payload_id": "1", "gesture": None},
        *({model: None} for model in MODELS),
        {"prosody": []},
        {"gesture": {"predictions": None}},
        {"gesture": {"warning": "nothing found"}},
        {"error": "no"},
        {"error": ""},
        {"error": {"a": 1}},
        {"warning": "careful"},
        {"job_details": {}},
    ],
    ids=str,
)
def test_a_reply_names_a_request_a_model_an_error_a_warning_or_a_job(message: dict[str, Any]) -> None:
    assert is_reply(message)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "heartbeat"},
        {"message": "Welcome", "version": 3, "models": ["prosody"], "session": {"id": "x"}},
        {"type": "status", "payload_id": None, "error": None, "warning": None, "job_details": None},
        {"code": 1000},
    ],
    ids=str,
)
def test_other_objects_are_no_replies(message: dict[str, Any]) -> None:
    assert not is_reply(message)
