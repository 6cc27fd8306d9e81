from __future__ import annotations

import math
from typing import Any

import pytest

from hume_sync.emulator.knobs import Knobs, is_close_code


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("latency", -0.1),
        ("latency", math.inf),
        ("latency", math.nan),
        ("idle_timeout", 0),
        ("max_lifetime", -1),
        ("drop_after", -1),
        ("identical_error_limit", 0),
        ("idle_close_code", 1006),
        ("lifetime_close_code", True),
        ("identical_error_close_code", 2000),
        ("max_message_size", 0),
        ("default_window_ms", 499),
        ("default_window_ms", 10_001),
        ("prob_threshold", 1.1),
        ("payload_beyond_window", "first"),
        ("warning_level", "both"),
        ("blank_text", None),
        ("data_without_models", ""),
        ("journal_size", -1),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=setting):
        Knobs(**{setting: value})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("seed", "1"),
        ("seed", 1.5),
        ("latency", None),
        ("latency", True),
        ("idle_timeout", "60"),
        ("compression", 1),
        ("anonymous", None),
        ("too_long_text_code", ""),
        ("too_many_faces_code", 207),
        ("reset_reply", [1]),
        ("warning_texts", "W0102"),
        ("query_key_names", "apikey"),
        ("query_key_names", (1,)),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(TypeError, match=setting):
        Knobs(**{setting: value})


@pytest.mark.parametrize("setting", ["idle_timeout", "max_lifetime", "drop_after", "max_connections", "retry_after"])
def test_none_switches_a_limit_off(setting: str) -> None:
    off: dict[str, Any] = {setting: None}
    assert getattr(Knobs(**off), setting) is None


def test_the_defaults_are_those_of_the_service_as_far_as_known() -> None:
    knobs = Knobs()
    assert (knobs.idle_timeout, knobs.identical_error_limit, knobs.default_window_ms) == (60, 10, 5000)
    assert (knobs.face_limit, knobs.identical_error_close_code) == (100, 1008)


def test_knobs_cannot_be_changed_from_outside() -> None:
    body: dict[str, Any] = {"a": 1}
    knobs = Knobs(reset_reply=body)
    body["b"] = 2
    assert dict(knobs.reset_reply) == {"a": 1}
    with pytest.raises(AttributeError):
        knobs.seed = 2  # type: ignore[misc]


@pytest.mark.parametrize(("code", "allowed"), [(1000, True), (1011, True), (4000, True), (1005, False), (5000, False)])
def test_close_codes_that_may_be_sent_are_known(code: int, allowed: bool) -> None:
    assert is_close_code(code) is allowed
    assert not is_close_code(str(code))
