from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from hume_sync import (
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    HumeStreamClient,
    InputError,
    LanguageConfig,
    ProsodyConfig,
    RetryPolicy,
)
from hume_sync.batch import Batch, Item, Result, files, read_results, texts
from hume_sync.emulator import Emulator
from hume_sync.errors import HumeClientException
from tests.emulator.support import tone, wav
from tests.faultproxy import FaultProxy

LANGUAGE = [LanguageConfig()]


def words(count: int, start: int = 0) -> Iterator[Item]:
    return (Item.of(f"{i:05}", f"word number {i}") for i in range(start, start + count))


def by_key(results: Any) -> dict[str, Result]:
    held = list(results)
    found = {result.key: result for result in held}
    assert len(found) == len(held)
    return found


# --- results


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_scores_are_those_of_each_item_sent_alone(hume_client: HumeStreamClient, workers: int) -> None:
    clips = {f"{i}.wav": wav(tone(1.0 + i / 10, start=1000 * i)) for i in range(6)}
    alone = {}
    for key, clip in clips.items():
        with hume_client.connect([ProsodyConfig()]) as socket:
            alone[key] = socket.send_media(clip)
    batch = Batch(hume_client, [ProsodyConfig()], workers=workers)
    results = by_key(batch.stream(Item.of(key, clip) for key, clip in clips.items()))
    assert {key: dict(result.reply or {}, payload_id=None) for key, result in results.items()} == {
        key: dict(reply, payload_id=None) for key, reply in alone.items()
    }
    assert all(result.emulated and result.window_state == "warm" for result in results.values())


def test_parts_of_a_long_clip_are_measured_as_one_recording(hume_client: HumeStreamClient) -> None:
    clip = wav(tone(12.0))
    (result,) = Batch(hume_client, [ProsodyConfig()]).stream([Item.of("long", clip)])
    assert result.requests == 3
    assert result.reply is not None
    times = [prediction["time"] for prediction in result.reply["prosody"]["predictions"]]
    assert (times[0]["begin"], times[-1]["end"]) == (0.0, 12.0)
    assert all(a["end"] <= b["end"] for a, b in itertools.pairwise(times))


def test_an_item_that_fails_is_a_result_and_the_others_are_measured(hume_client: HumeStreamClient) -> None:
    items = [Item.of("good", "hello"), Item.of("bad", ValueError("no such row")), Item.of("empty", "")]
    results = by_key(Batch(hume_client, LANGUAGE).stream(items))
    assert results["good"].ok
    assert results["bad"].error is not None
    assert (results["bad"].error.type, results["bad"].error.text) == ("ValueError", "no such row")
    assert results["empty"].error is not None
    assert not results["empty"].error.retryable


def test_an_error_of_the_server_has_its_code(hume_emulator: Emulator, hume_client: HumeStreamClient) -> None:
    hume_emulator.fail_next("E0200", "Failed to parse data as a valid media file")
    (result,) = Batch(hume_client, LANGUAGE).stream([Item.of("a", "hello")])
    assert result.error is not None
    assert (result.error.type, result.error.code, result.error.retryable) == ("RequestError", "E0200", False)


def test_faults_of_the_servers_own_are_tried_again(hume_emulator: Emulator, hume_client: HumeStreamClient) -> None:
    hume_emulator.fail_next("I0100", "try again", times=2)
    (result,) = Batch(hume_client, LANGUAGE).stream([Item.of("a", "hello")])
    assert result.ok
    assert result.attempts == 3


# --- in what order, and how far ahead


def test_items_are_read_only_a_few_ahead(hume_client: HumeStreamClient) -> None:
    read = 0

    def source() -> Iterator[Item]:
        nonlocal read
        for read, item in enumerate(words(1000), 1):  # noqa: B007 - for the outer scope
            yield item

    results = Batch(hume_client, LANGUAGE, workers=2).stream(source())
    next(results)
    results.close()  # type: ignore[attr-defined]  # a generator
    assert read <= 6


def test_results_come_as_they_finish(hume_emulator: Emulator, hume_client: HumeStreamClient) -> None:
    started = threading.Event()

    def source() -> Iterator[Item]:
        yield Item.of("first", "hello")
        assert started.wait(10)
        yield Item.of("second", "hello")

    results = Batch(hume_client, LANGUAGE, workers=1).stream(source())
    hume_emulator.journal.wait_for(lambda journal: True, 0.0)
    started.set()
    assert [result.key for result in results] == ["first", "second"]


def test_a_rate_limit_counts_requests(hume_client: HumeStreamClient, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    waits: list[float] = []

    monkeypatch.setattr("hume_sync.batch.pace.monotonic", lambda: now)
    from hume_sync.batch.pace import Pace

    pace = Pace(10.0, "requests")
    for requests in (1, 3, 1):
        waits.append(round(pace.wait(), 6))
        now += pace.wait()
        pace.start()
        pace.finish(requests)
    assert waits == [0.0, 0.1, 0.3]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), True, "10"])
def test_a_rate_limit_that_cannot_be_is_refused(hume_client: HumeStreamClient, rate: Any) -> None:
    with pytest.raises(InputError, match="rate_limit must be a number above zero"):
        Batch(hume_client, LANGUAGE, rate_limit=rate)


# --- what ends a run


def test_a_wrong_key_ends_the_run_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with Emulator(api_keys=["right"]) as server:
        client = HumeStreamClient("wrong", base_url=server.url, proxy=False)
        with pytest.raises(AuthenticationError):
            Batch(client, LANGUAGE).run(words(100), out=out)
        assert server.journal.counts["handshakes"] <= 8
    assert not list(read_results(out))


def test_a_server_that_cannot_be_reached_ends_the_run_at_once(tmp_path: Path) -> None:
    with Emulator() as server:
        url = server.url
    client = HumeStreamClient("key", base_url=url, proxy=False, retry=RetryPolicy.none())
    out = tmp_path / "out.jsonl"
    with pytest.raises(ConnectError):
        Batch(client, LANGUAGE).run(words(100), out=out)
    assert not list(read_results(out))


def test_an_outage_in_mid_run_is_waited_out(hume_emulator: Emulator, proxy: FaultProxy) -> None:
    client = HumeStreamClient("key", base_url=proxy.url, proxy=False, retry=RetryPolicy(max_attempts=2, initial=0.05))
    results = Batch(client, LANGUAGE, workers=4, timeout=5.0).stream(words(60))
    done = [next(results)]
    proxy.go_away(1.0)
    done += list(results)
    assert len(by_key(done)) == 60
    assert all(result.ok for result in done)


def test_an_outage_that_lasts_too_long_ends_the_run(hume_emulator: Emulator, proxy: FaultProxy) -> None:
    client = HumeStreamClient("key", base_url=proxy.url, proxy=False, retry=RetryPolicy(max_attempts=2, initial=0.05))
    results = Batch(client, LANGUAGE, workers=2, timeout=5.0, patience=0.0).stream(words(60))
    next(results)
    proxy.go_away(30.0)
    with pytest.raises(HumeClientException) as caught:
        list(results)
    assert caught.value.retryable


def test_leaving_the_loop_ends_all_that_is_under_way() -> None:
    with Emulator(latency=20.0) as server:
        client = HumeStreamClient("key", base_url=server.url, proxy=False, close_timeout=0.1)
        results = Batch(client, LANGUAGE, workers=4).stream(_first_then(server))
        with pytest.raises(RuntimeError, match="enough"):
            list(results)
    assert not [thread for thread in threading.enumerate() if "batch" in thread.name]


def _first_then(server: Emulator) -> Iterator[Item]:
    yield from words(4)
    assert server.journal.wait_for(lambda journal: len(journal.requests) == 4)
    raise RuntimeError("enough")


def test_ctrl_c_ends_all_that_is_under_way() -> None:
    with Emulator(latency=20.0) as server:
        client = HumeStreamClient("key", base_url=server.url, proxy=False, close_timeout=0.1)

        def strike() -> None:
            server.journal.wait_for(lambda journal: len(journal.requests) == 4)
            os.kill(os.getpid(), signal.SIGINT)

        striker = threading.Thread(target=strike)
        striker.start()
        with pytest.raises(KeyboardInterrupt):
            list(Batch(client, LANGUAGE, workers=4).stream(words(4)))
        striker.join()
    assert not [thread for thread in threading.enumerate() if "batch" in thread.name]


# --- files of results


def test_a_run_resumes_where_it_was_stopped(hume_client: HumeStreamClient, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    batch = Batch(hume_client, LANGUAGE)
    first = batch.run(words(5), out=out)
    again = batch.run(words(9), out=out)
    assert (first.measured, again.measured, again.skipped) == (5, 4, 5)
    assert sorted(by_key(read_results(out))) == [f"{i:05}" for i in range(9)]


def test_an_item_whose_content_has_changed_is_measured_again(hume_client: HumeStreamClient, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    batch = Batch(hume_client, LANGUAGE)
    batch.run([Item.of("a", "one"), Item.of("b", "two")], out=out)
    summary = batch.run([Item.of("a", "one"), Item.of("b", "other")], out=out)
    assert (summary.measured, summary.skipped) == (1, 1)
    assert len(by_key(read_results(out))) == 2
    assert len(out.read_bytes().splitlines()) == 2


def test_failures_are_taken_again_only_when_asked_for(
    hume_emulator: Emulator, hume_client: HumeStreamClient, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    batch = Batch(hume_client, LANGUAGE, workers=1)
    hume_emulator.fail_next("E0102", "no")
    summary = batch.run(words(3), out=out)
    assert (summary.measured, summary.failed, [group.code for group in summary.failures]) == (2, 1, ["E0102"])
    again = batch.run(words(3), out=out)
    assert (again.skipped, again.failed_before, again.ok) == (3, 1, False)
    assert str(again).startswith("0 items: 0 measured, 0 failed; 3 done before, 1 of them failed; ")
    assert batch.run(words(3), out=out, retry_failed=True).measured == 1
    assert all(result.ok for result in by_key(read_results(out)).values())


@pytest.mark.parametrize("again", [False, True], ids=["iterable", "iterator"])
def test_the_file_of_results_is_no_item(hume_client: HumeStreamClient, tmp_path: Path, again: bool) -> None:
    (tmp_path / "a.txt").write_text("hello", "utf-8")
    for _ in range(2):
        found: Any = iter(files(tmp_path)) if again else files(tmp_path)
        Batch(hume_client).run(found, out=tmp_path / "out.jsonl")
    assert sorted(by_key(read_results(tmp_path / "out.jsonl"))) == ["a.txt"]


def test_resume_false_begins_again(hume_client: HumeStreamClient, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    batch = Batch(hume_client, LANGUAGE)
    batch.run(words(3), out=out)
    assert batch.run(words(2), out=out, resume=False).measured == 2
    assert len(by_key(read_results(out))) == 2


def test_of_items_with_one_key_the_first_is_measured(hume_client: HumeStreamClient, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    summary = Batch(hume_client, LANGUAGE).run([Item.of("a", "one"), Item.of("a", "two")], out=out)
    assert (summary.measured, summary.failed, summary.failures[0].keys) == (1, 1, ("a",))
    assert len(by_key(read_results(out))) == 1


def test_a_summary_shows_counts_and_failures(hume_client: HumeStreamClient, tmp_path: Path) -> None:
    items = [*words(2), Item.of("bad", ValueError("no"))]
    shown = str(Batch(hume_client, LANGUAGE).run(items, out=tmp_path / "out.jsonl"))
    assert shown.startswith("3 items: 2 measured, 1 failed; ")
    assert "ValueError (1): bad (no)" in shown
    assert "emulated" in shown


# --- executors


def processes(method: str) -> Executor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method))


@pytest.fixture
def environment(hume_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> HumeStreamClient:
    """A client whose key is in the environment."""
    monkeypatch.setenv("HUME_API_KEY", "key")
    monkeypatch.setenv("HUME_BASE_URL", hume_emulator.url)
    return HumeStreamClient(proxy=False)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_processes_measure_as_threads_do(environment: HumeStreamClient, method: str) -> None:
    expected = by_key(Batch(environment, LANGUAGE).stream(words(6)))
    batch = Batch(environment, LANGUAGE, executor=functools.partial(processes, method), workers=4)
    found = by_key(batch.stream(words(6)))
    assert {key: scores(result) for key, result in found.items()} == {
        key: scores(result) for key, result in expected.items()
    }


def scores(result: Result) -> Any:
    assert result.reply is not None
    return result.reply["language"]


def test_an_executor_of_the_callers_is_left_open(hume_client: HumeStreamClient) -> None:
    with ThreadPoolExecutor(2) as executor:
        assert len(list(Batch(hume_client, LANGUAGE, executor=executor, workers=2).stream(words(5)))) == 5
        assert executor.submit(int, "7").result() == 7


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_process_that_is_killed_loses_nothing(environment: HumeStreamClient) -> None:
    made: list[ProcessPoolExecutor] = []

    def make() -> Executor:
        made.append(ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")))
        return made[-1]

    results = Batch(environment, LANGUAGE, executor=make, workers=2).stream(words(40))
    done = [next(results)]
    for process in list(made[0]._processes.values()):
        process.kill()
        break
    done += list(results)
    assert len(by_key(done)) == 40
    assert len(made) == 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_killed_processes_of_the_callers_own_executor_end_the_run(environment: HumeStreamClient) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor:
        results = Batch(environment, LANGUAGE, executor=executor, workers=2).stream(words(400))
        next(results)
        for process in list(executor._processes.values()):
            process.kill()
        with pytest.raises(BrokenProcessPool):
            list(results)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_refused_key_ends_a_run_on_processes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator(api_keys=["right"]) as server:
        monkeypatch.setenv("HUME_API_KEY", "wrong")
        client = HumeStreamClient(base_url=server.url, proxy=False)
        batch = Batch(client, LANGUAGE, executor=functools.partial(processes, "fork"), workers=2)
        with pytest.raises(AuthenticationError):
            list(batch.stream(words(20)))


def test_a_key_that_was_passed_cannot_go_to_other_processes(hume_client: HumeStreamClient) -> None:
    with pytest.raises(ConfigurationError, match="api_key of this client: set HUME_API_KEY") as caught:
        Batch(hume_client, LANGUAGE, executor=functools.partial(processes, "fork"))
    assert "test-key" not in str(caught.value)


# --- arguments


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"workers": 0}, "workers must be a whole number from 1"),
        ({"timeout": 0}, "timeout must be a number of seconds"),
        ({"patience": -1}, "patience must be a number of seconds"),
        ({"rate_unit": "bytes"}, 'rate_unit must be "requests" or "items"'),
        ({"executor": 7}, "executor must be an Executor"),
        ({"split": 1}, "split must be True or False"),
        ({"stream_window_ms": 1}, "stream_window_ms"),
    ],
)
def test_an_argument_that_cannot_be_is_refused(
    hume_client: HumeStreamClient, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        Batch(hume_client, LANGUAGE, **arguments)


def test_a_client_of_another_kind_is_refused() -> None:
    client: Any = "http://localhost"
    with pytest.raises(InputError, match="client must be a HumeStreamClient or a ClientSpec, got str"):
        Batch(client, LANGUAGE)


def test_no_items_are_no_results(hume_client: HumeStreamClient) -> None:
    assert list(Batch(hume_client, LANGUAGE).stream([])) == []


def test_texts_are_items(hume_client: HumeStreamClient) -> None:
    assert {result.key for result in Batch(hume_client, LANGUAGE).stream(texts(["hello", "hello again"]))} == {"1", "2"}
