from __future__ import annotations

from typing import Any

import pytest

from hume_sync.emulator.faults import PayloadError
from hume_sync.emulator.handler import RequestHandler
from hume_sync.emulator.knobs import Knobs

from .support import flac, png, request, tone, wav


def _handler(**knobs: Any) -> RequestHandler:
    return RequestHandler(Knobs(**knobs))


def _part(begin: float, end: float) -> bytes:
    return wav(tone(end - begin, start=round(begin * 16_000)))


def _scores(reply: dict[str, Any], model: str = "prosody") -> Any:
    return reply[model]["predictions"][0]["emotions"]


def _time(reply: dict[str, Any]) -> tuple[float, float]:
    time = reply["prosody"]["predictions"][0]["time"]
    return time["begin"], time["end"]


TEXT = request("hello", "language", raw_text=True)


@pytest.mark.parametrize(
    "raw",
    [
        request("hello", "language", raw_text=True),
        request("hello", "prosody"),
        request(" ", "language", raw_text=True),
        request("hello", "language", raw_text=True, nonsense=1),
        request(reset_stream=True),
    ],
    ids=["predictions", "error", "warning", "schema", "reset"],
)
@pytest.mark.parametrize("level", ["model", "top"])
def test_payload_id_and_job_details_come_back_with_every_shape_of_reply(raw: str, level: str) -> None:
    handler = _handler(warning_level=level)
    asked = raw[:-1] + ',"payload_id":"a1","job_details":true}'
    reply = handler.handle(asked)
    assert (reply["payload_id"], reply["job_details"]) == ("a1", {"job_id": handler.job_id})
    plain = handler.handle(raw)
    assert "payload_id" not in plain
    assert "job_details" not in plain


def test_a_server_that_never_echoes_can_be_played() -> None:
    assert "payload_id" not in _handler(echo_payload_id=False).handle(request(reset_stream=True, payload_id="a"))


def test_job_details_alone_name_the_job_of_the_connection() -> None:
    handler = _handler()
    assert handler.handle(request(job_details=True)) == {"job_details": {"job_id": handler.job_id}}
    assert len(handler.job_id) == 32
    assert handler.job_id != RequestHandler(Knobs(), 2).job_id


def test_a_reply_is_ordered_as_on_the_wire() -> None:
    raw = request(wav(tone(1)), "prosody", "burst", payload_id="a", job_details=True)
    assert list(_handler().handle(raw)) == ["payload_id", "job_details", "burst", "prosody"]
    error = _handler().handle(request("x", "ner", payload_id="a", job_details=True))
    assert list(error) == ["error", "code", "payload_id", "job_details"]


def test_reset_alone_is_answered_with_reset_reply() -> None:
    assert _handler().handle(request(reset_stream=True)) == {}
    assert _handler(reset_reply={"reset": "ok"}).handle(request(reset_stream=True)) == {"reset": "ok"}


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("{", "E0100"),
        (b"{}", "E0100"),
        ("[]", "E0101"),
        (request("not base64", "prosody", stream_window_ms=1), "E0101"),
        (request("not base64!", "face"), "E0201"),
        (request(b"\x00\x01", "language"), "E0200"),
        (request(png(9000, 9000), "prosody"), "E0102"),
        (request(wav(b""), "prosody"), "E0202"),
        (request(wav(tone(6)), "prosody"), "E0203"),
        (request(wav(tone(1))), "E0101"),
    ],
)
def test_the_first_fault_in_the_order_of_the_checks_is_the_one_answered(raw: str | bytes, code: str) -> None:
    reply = _handler().handle(raw)
    assert reply["code"] == code
    assert isinstance(reply["error"], str)


def test_data_without_models_may_be_answered_by_nothing() -> None:
    assert _handler(data_without_models="empty").handle(request(b"x", payload_id="a")) == {"payload_id": "a"}


def test_the_audio_seen_does_not_depend_on_where_payloads_end() -> None:
    parts, whole = _handler(), _handler()
    for begin, end in [(0, 0.5), (0.5, 0.75)]:
        parts.handle(request(_part(begin, end), "prosody"))
    reply = parts.handle(request(_part(0.75, 2), "prosody"))
    assert _scores(reply) == _scores(whole.handle(request(_part(0, 2), "prosody")))
    assert parts.audio_span == (0.0, 2.0)


def test_context_changes_the_scores_and_reset_takes_it_away() -> None:
    handler, fresh = _handler(), _handler()
    alone = _scores(fresh.handle(request(_part(1, 2), "prosody")))
    handler.handle(request(_part(0, 1), "prosody"))
    assert _scores(handler.handle(request(_part(1, 2), "prosody"))) != alone
    assert _scores(handler.handle(request(_part(1, 2), "prosody", reset_stream=True))) == alone


def test_a_window_of_its_own_cuts_the_context_of_one_request() -> None:
    handler, fresh = _handler(), _handler()
    handler.handle(request(_part(0, 0.5), "prosody"))
    narrow = handler.handle(request(_part(0.5, 1), "prosody", stream_window_ms=600))
    assert _scores(narrow) == _scores(fresh.handle(request(_part(0.4, 1), "prosody")))
    assert _time(narrow) == (0.4, 1.0)


def test_without_a_window_of_its_own_the_default_holds() -> None:
    handler = _handler(default_window_ms=1000)
    for second in range(3):
        handler.handle(request(_part(second / 2, second / 2 + 0.5), "prosody"))
    assert handler.audio_span == (0.5, 1.5)


@pytest.mark.parametrize(("setting", "audio_span"), [("whole", (0.0, 2.0)), ("last", (1.5, 2.0))])
def test_a_payload_beyond_the_window_is_seen_as_configured(setting: str, audio_span: tuple[float, float]) -> None:
    handler = _handler(payload_beyond_window=setting)
    handler.handle(request(_part(0, 2), "prosody", stream_window_ms=500))
    assert handler.audio_span == audio_span


@pytest.mark.parametrize(("resets", "time"), [(False, (1.0, 2.0)), (True, (0.0, 1.0))])
def test_the_clock_after_a_reset_is_as_configured(resets: bool, time: tuple[float, float]) -> None:
    handler = _handler(reset_resets_clock=resets)
    handler.handle(request(_part(0, 1), "prosody"))
    handler.handle(request(reset_stream=True))
    assert _time(handler.handle(request(_part(1, 2), "prosody"))) == time


@pytest.mark.parametrize(
    "between",
    [
        TEXT,
        request(png(), "face"),
        request(job_details=True),
        request(wav(tone(6)), "prosody"),
        request(_part(7, 8), "face"),
        request("junk!", "prosody"),
        "junk",
    ],
    ids=["text", "image", "details", "too long", "wrong model", "no base64", "no json"],
)
def test_neither_other_requests_nor_faulty_ones_touch_the_window(between: str) -> None:
    handler, undisturbed = _handler(), _handler()
    for each in (handler, undisturbed):
        each.handle(request(_part(0, 1), "prosody"))
    handler.handle(between)
    assert handler.audio_span is None
    last = request(_part(1, 2), "prosody")
    assert handler.handle(last) == undisturbed.handle(last)


def test_a_reset_counts_even_if_its_payload_is_refused() -> None:
    handler = _handler()
    handler.handle(request(_part(0, 1), "prosody"))
    handler.handle(request("junk!", "prosody", reset_stream=True))
    handler.handle(request(_part(1, 2), "prosody"))
    assert handler.audio_span == (1.0, 2.0)


def test_burst_and_prosody_share_one_window() -> None:
    handler = _handler()
    handler.handle(request(_part(0, 1), "burst"))
    handler.handle(request(_part(1, 2), "prosody"))
    assert handler.audio_span == (0.0, 2.0)


def test_encoded_audio_has_context_too() -> None:
    handler, fresh = _handler(), _handler()
    first = _scores(fresh.handle(request(flac(1), "prosody")))
    handler.handle(request(wav(tone(0.5)), "prosody"))
    assert _scores(handler.handle(request(flac(1), "prosody"))) != first
    assert handler.audio_span == (0.0, 1.5)


def test_ten_identical_errors_in_a_row_close_the_connection() -> None:
    handler = _handler()
    for _ in range(9):
        handler.handle("junk")
        assert handler.close_code is None
    assert handler.handle("junk")["code"] == "E0100"
    assert handler.close_code == 1008


@pytest.mark.parametrize("between", [TEXT, request("x", "ner")], ids=["a good reply", "another error"])
def test_the_row_is_broken_by_anything_else(between: str) -> None:
    handler = _handler(identical_error_limit=2)
    for raw in ("junk", between, "junk"):
        handler.handle(raw)
    assert handler.close_code is None
    handler.handle("junk")
    assert handler.close_code == 1008


def test_errors_never_close_without_a_limit() -> None:
    handler = _handler(identical_error_limit=None)
    for _ in range(30):
        handler.handle("junk")
    assert handler.close_code is None


def test_a_failure_asked_for_is_answered_with_the_echo_and_changes_nothing() -> None:
    handler = _handler(identical_error_limit=1)
    failure = PayloadError("I0100", "Fault of the service")
    reply = handler.handle(request(_part(0, 1), "prosody", payload_id="a"), failure=failure)
    assert reply == {"error": "Fault of the service", "code": "I0100", "payload_id": "a"}
    assert handler.close_code is None
    handler.handle(request(_part(0, 1), "prosody"))
    assert handler.audio_span == (0.0, 1.0)


@pytest.mark.parametrize(
    ("models", "reply"),
    [
        (("burst", "prosody"), {"warning": "No vocal bursts detected.", "code": "W0101"}),
        (("prosody",), {"warning": "No speech detected.", "code": "W0105"}),
    ],
)
def test_a_reply_of_nothing_but_warnings_may_be_a_warning_itself(
    models: tuple[str, ...], reply: dict[str, Any]
) -> None:
    assert _handler(warning_level="top").handle(request(wav(bytes(32_000)), *models)) == reply


def test_one_prediction_keeps_warnings_beside_their_models() -> None:
    reply = _handler(warning_level="top").handle(request(wav(tone(1, level=1000)), "burst", "prosody"))
    assert reply["burst"]["code"] == "W0101"
    assert "predictions" in reply["prosody"]
