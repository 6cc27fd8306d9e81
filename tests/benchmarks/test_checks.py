from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import receipts
from benchmarks.cases import CASES, make, url_of
from benchmarks.checks import Checker, WrongReply, check_receipt, settle
from benchmarks.clients.floor import request_bytes


def reply(number: int, **changes: Any) -> dict[str, Any]:
    return {"connection": "a", "number": number, "received": 101, "language": {"predictions": [{}]}} | changes


@pytest.mark.parametrize("name", CASES)
def test_what_the_floor_sends_is_the_case(name: str, tmp_path: Path) -> None:
    case = make(name, tmp_path)
    assert receipts.read(request_bytes(case)) == receipts.expected(case)


def test_equal_numbers_are_equal_however_they_are_written(tmp_path: Path) -> None:
    case = make("facemesh-1", tmp_path)
    spaced = json.dumps(case.value, indent=1).encode()
    request = {"data": base64.b64encode(spaced).decode(), "models": {"facemesh": None}, "raw_text": False}
    assert receipts.read(json.dumps(request).encode()) == receipts.expected(case)


def test_one_number_changed_in_its_last_digit_is_seen(tmp_path: Path) -> None:
    case = make("facemesh-10", tmp_path)
    meant = receipts.expected(case)
    case.value[9][477][2] = case.value[9][477][2] + 2**-53
    assert receipts.read(request_bytes(case)) != meant


@pytest.mark.parametrize("name", ["text", "facemesh-1", "file"])
def test_a_receipt_of_something_else_is_refused(name: str, tmp_path: Path) -> None:
    case = make(name, tmp_path)
    receipt = receipts.read(request_bytes(case))
    assert check_receipt(case, {"receipt": receipt, "received": 7}) == 7
    for part, wrong in (("sha256", "0"), ("models", ["prosody"]), ("raw_text", None)):
        with pytest.raises(WrongReply, match="the server says"):
            check_receipt(case, {"receipt": receipt | {part: wrong}, "received": 7})


@pytest.mark.parametrize("changes", [{"received": 99}, {"received": 113}, {"language": {"predictions": []}}])
def test_a_reply_to_another_request_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    checker = Checker(make("text", tmp_path), 100)
    checker.check(reply(1))
    with pytest.raises(WrongReply, match="no reply to this request"):
        checker.check(reply(2, **changes))


def test_a_reply_that_lacks_something_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongReply, match="no reply to this request"):
        Checker(make("text", tmp_path), 100).check({"error": "no", "code": "E0100"})


@pytest.mark.parametrize("second", [reply(1), reply(3), reply(2, connection="b")])
def test_a_reply_out_of_turn_is_refused(second: dict[str, Any], tmp_path: Path) -> None:
    checker = Checker(make("text", tmp_path), 100)
    checker.check_next(reply(1))
    with pytest.raises(WrongReply, match="came after 1 of a"):
        checker.check_next(second)


def test_callers_that_share_connections_must_have_each_reply_once(tmp_path: Path) -> None:
    one, other = Checker(make("text", tmp_path), 100), Checker(make("text", tmp_path), 100)
    for checker, number in ((one, 1), (other, 2), (one, 3)):
        checker.check(reply(number))
    other.check(reply(1, connection="b"))
    assert settle([one, other]) == {"a": 3, "b": 1}
    other.check(reply(3))
    with pytest.raises(WrongReply, match="connection a"):
        settle([one, other])


def test_how_the_server_plays_a_case_stands_in_the_path() -> None:
    assert url_of("ws://h:1", "facemesh-10", "verify") == "ws://h:1/verify/facemesh/10/0"
    assert url_of("ws://h:1", "file", think=0.02) == "ws://h:1/measure/face/1/20"
    assert url_of("ws://h:1", "text") == "ws://h:1/measure/language/1/0"
