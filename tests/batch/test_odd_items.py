"""Runs of items and on replies that are not as they should be: each ends as a result, or the run is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hume_sync import (
    FaceConfig,
    HumeStreamClient,
    InputError,
    LanguageConfig,
    ProtocolError,
    RequestError,
    StreamResponse,
)
from hume_sync.batch import Batch, Item, Result, files, read_results, texts
from hume_sync.emulator import Emulator
from tests.faultproxy import FaultProxy, Peer

LANGUAGE = [LanguageConfig()]


@pytest.fixture
def batch(hume_client: HumeStreamClient) -> Batch:
    return Batch(hume_client, LANGUAGE, workers=2)


# --- what is passed as items


@pytest.mark.parametrize(
    "items", ["clips/", b"clips/", ["a.wav", "b.wav"], [("a", "hello")], {"a": "hello"}, 5, None, files]
)
def test_what_are_no_items_are_refused_with_what_makes_them(batch: Batch, items: Any, tmp_path: Path) -> None:
    expected = r"items must be an iterable of Item, as files\(...\), .* return; got "
    with pytest.raises(InputError, match=expected):
        next(batch.stream(items))
    with pytest.raises(InputError, match=expected):
        batch.run(items, out=tmp_path / "out.jsonl")


def test_a_wrong_argument_leaves_the_file_as_it_was(batch: Batch, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    batch.run(texts(["hello"]), out=out)
    before = out.read_bytes()
    for items, progress in (("hello", False), (texts(["hello"]), "yes")):
        with pytest.raises(InputError):
            batch.run(items, out=out, resume=False, progress=progress)  # type: ignore[arg-type]
    assert out.read_bytes() == before


@pytest.mark.parametrize("configs", [LanguageConfig(), "language", 5, LanguageConfig, {"language": {}}])
def test_configs_that_are_no_list_are_refused(hume_client: HumeStreamClient, configs: Any) -> None:
    with pytest.raises(InputError, match="configs must be a list of model configurations"):
        Batch(hume_client, configs)


def test_a_function_that_returns_no_executor_is_refused(monkeypatch: pytest.MonkeyPatch, emulator_url: str) -> None:
    monkeypatch.setenv("HUME_API_KEY", "any")
    batch = Batch(HumeStreamClient(base_url=emulator_url), LANGUAGE, executor=dict)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"executor must be a function that returns an Executor; it returned \{\}"):
        next(batch.stream(texts(["hello"])))


@pytest.fixture
def emulator_url(hume_emulator: Emulator) -> str:
    return hume_emulator.url


def test_centuries_between_two_items_are_waited_for(hume_client: HumeStreamClient) -> None:
    slow = Batch(hume_client, LANGUAGE, rate_limit=5e-324)
    results = slow.stream(texts(["one", "two"]))
    assert next(results).ok
    results.close()  # type: ignore[attr-defined]


def test_a_missing_console_shows_no_progress(batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert batch.run(texts(["hello"]), out=tmp_path / "out.jsonl", progress=True).measured == 1


class OddError(ValueError):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("two\nlines \r\n and\ttabs"), "two lines and tabs"),
        (ValueError("\ud800"), r"\ud800"),
        (ValueError("x" * 5000), "x" * 997 + "..."),
        (ValueError(), ""),
        (OddError(), "an error without a text (RuntimeError)"),
    ],
)
def test_the_text_of_an_error_is_one_printable_line(
    batch: Batch, tmp_path: Path, error: Exception, expected: str
) -> None:
    out = tmp_path / "out.jsonl"
    batch.run([Item.of("a", error), Item.of("b", "hello")], out=out)
    a, _ = sorted(read_results(out), key=lambda result: result.key)
    assert a.error is not None
    assert a.error.text == expected
    assert str(a.error) == (f"{type(error).__name__}: {expected}" if expected else "ValueError")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (Item("a", "media", "text"), "the media of a must be bytes, got 'text'"),
        (Item("a", "text", b"bytes"), "the text of a must be a str, got b'bytes'"),
        (Item("a", "rejected", "no error"), "rejected: 'no error'"),
        (Item("a", "file", "\0"), "cannot exist"),
    ],
)
def test_content_that_does_not_fit_its_kind_fails(batch: Batch, item: Item, expected: str) -> None:
    (result,) = batch.stream([item])
    assert result.error is not None
    assert expected in result.error.text


@pytest.mark.parametrize("key", ["new\nline", "\u2028", "\x00", '"', "\\", "😀" * 2500, "x" * 10_000, " "])
def test_any_text_is_a_key(batch: Batch, tmp_path: Path, key: str) -> None:
    out = tmp_path / "out.jsonl"
    assert batch.run([Item.of(key, "hello")], out=out).measured == 1
    assert batch.run([Item.of(key, "hello")], out=out).skipped == 1
    assert [result.key for result in read_results(out)] == [key]
    assert out.read_bytes().count(b"\n") == 1


# --- files that are in the way


def test_the_file_of_results_is_no_item_of_its_own_run(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    out = tmp_path / "out.jsonl"
    (tmp_path / "link.jsonl").symlink_to(out)
    for measured, skipped in ((1, 0), (0, 1)):
        summary = batch.run(files(tmp_path), out=out)
        assert (summary.measured, summary.failed, summary.skipped) == (measured, 0, skipped)
    assert batch.run(files(tmp_path), out=tmp_path / "link.jsonl").skipped == 1


def test_a_file_that_has_vanished_keeps_its_result(batch: Batch, tmp_path: Path) -> None:
    clip, out = tmp_path / "a.txt", tmp_path / "out.jsonl"
    clip.write_text("hello")
    items = list(files(clip))
    batch.run(items, out=out)
    clip.unlink()
    assert batch.run(items, out=out).skipped == 1
    assert [result.ok for result in read_results(out)] == [True]


def test_a_file_that_vanishes_in_mid_run_fails_and_is_measured_when_it_is_back(batch: Batch, tmp_path: Path) -> None:
    clip, out = tmp_path / "a.txt", tmp_path / "out.jsonl"
    clip.write_text("hello")
    items = list(files(clip))
    clip.unlink()
    assert "FileNotFoundError (1): a.txt" in str(batch.run(items, out=out))
    clip.write_text("hello")
    assert batch.run(items, out=out).measured == 1


# --- settings


def run(client: HumeStreamClient, out: Path, configs: Any, count: int = 2, **options: Any) -> Any:
    retry_failed = options.pop("retry_failed", False)
    source = texts(f"text number {i}" for i in range(count))
    return Batch(client, configs, **options).run(source, out=out, retry_failed=retry_failed)


@pytest.mark.parametrize(
    ("configs", "options"),
    [
        (None, {}),
        ([LanguageConfig(granularity="sentence")], {}),
        ([LanguageConfig(sentiment={})], {}),
        (LANGUAGE, {"stream_window_ms": 1000}),
    ],
)
def test_a_run_with_other_settings_is_refused_and_changes_nothing(
    hume_emulator: Emulator, hume_client: HumeStreamClient, tmp_path: Path, configs: Any, options: Any
) -> None:
    out = tmp_path / "out.jsonl"
    run(hume_client, out, LANGUAGE)
    before = out.read_bytes()
    requests = len(hume_emulator.journal.requests)
    with pytest.raises(InputError, match=r"holds results of other models or options \(.*, now .*\): take another file"):
        run(hume_client, out, configs, 3, **options)
    assert (out.read_bytes(), len(hume_emulator.journal.requests)) == (before, requests)


@pytest.mark.parametrize("options", [{"split": False}, {"scale_images": True}, {"workers": 3}, {"timeout": 5.0}])
def test_settings_that_change_no_score_may_be_others(
    hume_client: HumeStreamClient, tmp_path: Path, options: Any
) -> None:
    out = tmp_path / "out.jsonl"
    run(hume_client, out, LANGUAGE)
    assert run(hume_client, out, LANGUAGE, 3, **options).skipped == 2


def test_failures_may_be_taken_again_with_other_settings(hume_client: HumeStreamClient, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    items = [Item.of("a", "hello")]
    assert Batch(hume_client, [FaceConfig()]).run(items, out=out).failed == 1
    with pytest.raises(InputError, match="other models"):
        Batch(hume_client, LANGUAGE).run(items, out=out)
    assert Batch(hume_client, LANGUAGE).run(items, out=out, retry_failed=True).measured == 1


def test_settings_are_in_each_line_and_results_without_are_kept(hume_client: HumeStreamClient, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(hume_client, out, LANGUAGE, 1)
    (result,) = read_results(out)
    assert result.settings == '{"models":{"language":{}}}'
    (streamed,) = Batch(hume_client, LANGUAGE).stream(texts(["text number 0"]))
    assert streamed.settings == result.settings
    out.write_bytes(out.read_bytes().replace(b',"settings":{"models":{"language":{}}}', b""))
    assert run(hume_client, out, [LanguageConfig(granularity="sentence")], 2).skipped == 1


def test_measurements_are_not_added_to_invented_scores(hume_client: HumeStreamClient, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(hume_client, out, LANGUAGE, 2)
    for old, new, got in (
        (b"", b"", None),
        (b'"emulated":true', b'"emulated":false', "holds measurements, and this server returns scores that the local"),
    ):
        out.write_bytes(out.read_bytes().replace(old, new))
        if got is None:
            assert run(hume_client, out, LANGUAGE, 3).measured == 1
            continue
        before = out.read_bytes()
        with pytest.raises(InputError, match=got):
            run(hume_client, out, LANGUAGE, 4)
        assert out.read_bytes() == before


def test_a_summary_says_what_was_done_before(hume_client: HumeStreamClient, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    items = [Item.of("a", "hello"), Item.of("b", ValueError("no"))]
    batch = Batch(hume_client, LANGUAGE)
    batch.run(items, out=out)
    summary = batch.run(items, out=out)
    assert (summary.items, summary.skipped, summary.failed_before, summary.emulated) == (0, 2, 1, 1)
    assert "; 2 done before, 1 of them failed; " in str(summary)
    assert "(1 emulated" in str(summary)


# --- lines that are edited by hand


def line_with(**members: Any) -> bytes:
    held = {
        "key": "a", "hash": "", "ok": True, "reply": {}, "attempts": 1, "seconds": 0.1, "requests": 1,
        "window_state": None, "emulated": False,
    }  # fmt: skip
    return json.dumps(held | members).encode() + b"\r\n"


ERROR = {"type": "ValueError", "code": None, "text": "no", "retryable": False}


def test_a_line_with_another_line_end_is_a_result() -> None:
    assert Result.from_line(line_with()).ok
    assert not Result.from_line(line_with(ok=False, error=ERROR)).ok


@pytest.mark.parametrize(
    "members",
    [
        {"key": 5}, {"key": None}, {"hash": 5}, {"ok": "yes"}, {"ok": False}, {"error": ERROR}, {"reply": []},
        {"ok": False, "error": "no"}, {"ok": False, "error": {**ERROR, "text": 5}},
        {"ok": False, "error": {**ERROR, "code": 5}}, {"ok": False, "error": {**ERROR, "more": 1}},
        {"attempts": "1"}, {"attempts": 1.5}, {"attempts": -1}, {"seconds": "0.1"}, {"seconds": None},
        {"requests": None}, {"emulated": "no"}, {"window_state": 5},
    ],
)  # fmt: skip
def test_a_line_with_members_of_other_types_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="the line holds no result of a batch"):
        Result.from_line(line_with(**members))


# --- what servers reply


def odd_replies() -> Iterator[tuple[StreamResponse, str]]:
    yield StreamResponse({"language": {"predictions": [{"text": "a\ud83d", "emotions": []}]}}), r'"text":"a\\ud83d"'
    yield StreamResponse({"odd \udcff": [{"a": ["\ud800"]}], "n": 1.5}), r'"odd \\udcff":[{"a":["\\ud800"]}],"n":1.5'


@pytest.mark.parametrize(("reply", "expected"), list(odd_replies()))
def test_lone_surrogates_of_a_reply_are_kept_as_escape_sequences(reply: StreamResponse, expected: str) -> None:
    line = Result.measured("a", "", reply, seconds=0.1, requests=1).to_line()
    assert expected.encode() in line
    assert Result.from_line(line).ok


def test_a_reply_that_is_nested_too_deeply_is_an_error_of_the_server() -> None:
    nested: Any = []
    for _ in range(2000):
        nested = [nested]
    with pytest.raises(ProtocolError, match="nested too deeply"):
        Result.measured("a", "", StreamResponse(language=nested), seconds=0.1, requests=1)


@pytest.mark.parametrize(
    "reply",
    [
        '{"payload_id": PAYLOAD, "language": {"predictions": [{"text": "\\ud83d", "emotions": []}]}}',
        '{"payload_id": PAYLOAD, "error": "bad \\ud83d\\n text", "code": "E02\\ud83d"}',
        '{"payload_id": PAYLOAD, "language": %s}' % ("[" * 500 + "]" * 500),
    ],
)
def test_an_odd_reply_ends_no_run(proxy: FaultProxy, tmp_path: Path, reply: str) -> None:
    def odd(peer: Peer, genuine: bytes) -> bool:
        peer.send_frame(reply.replace("PAYLOAD", json.dumps(json.loads(genuine)["payload_id"])).encode())
        return True

    out = tmp_path / "out.jsonl"
    proxy.on_reply(odd)
    summary = Batch(HumeStreamClient("any", base_url=proxy.url), LANGUAGE, workers=1).run(
        texts(["one", "two"]), out=out
    )
    assert summary.items == 2
    assert {result.key for result in read_results(out)} == {"1", "2"}
    assert len(read_results(out).to_arrow()) > 0


def test_an_account_without_credits_ends_the_run_and_burns_nothing(
    hume_emulator: Emulator, hume_client: HumeStreamClient, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    batch = Batch(hume_client, LANGUAGE, workers=1)
    batch.run(texts(["one"]), out=out)
    hume_emulator.fail_next("E0300", "Out of credits.", times=1)
    with pytest.raises(RequestError, match="E0300"):
        batch.run(texts(f"text {i}" for i in range(100)), out=out)
    assert [result.ok for result in read_results(out)] == [True]
