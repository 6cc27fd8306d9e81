"""A server that is away, or refuses the key: what callers learn, how often it is asked, and what the log says."""

from __future__ import annotations

import logging
import socket as sockets
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from hume_sync import (
    AuthenticationError,
    ConnectError,
    HumeClientException,
    HumeStreamClient,
    InputError,
    LanguageConfig,
    PoolTimeout,
    ProsodyConfig,
    RetryPolicy,
    ServerError,
    StreamPool,
    Timeout,
)
from hume_sync.emulator import Emulator
from tests.emulator.support import tone, wav
from tests.faultproxy import FaultProxy, Peer

KEY = "the-key-that-is-in-no-log"
QUICK = RetryPolicy(initial=0.001, maximum=0.001)


def outcome(pool: StreamPool) -> type[HumeClientException] | None:
    try:
        with pool.socket() as socket:
            socket.send_text("x")
    except HumeClientException as exc:
        return type(exc)
    return None


def unused_url() -> str:
    """The URL of a port on which no server listens."""
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        return f"ws://127.0.0.1:{listener.getsockname()[1]}"


# --- which callers ask, and which learn the cause


def test_a_refused_key_is_asked_for_once_however_many_call() -> None:
    with Emulator(api_keys=["another"]) as server:
        client = HumeStreamClient(KEY, base_url=server.url, timeout=5)
        with client.pool([LanguageConfig()], max_size=4) as pool, ThreadPoolExecutor(8) as threads:
            outcomes = Counter(threads.map(lambda _: outcome(pool), range(200)))
        assert outcomes == {AuthenticationError: 200}
        assert server.journal.counts["refused"] <= 4  # those that were under way when the first was refused


def test_a_socket_whose_key_was_refused_asks_again_after_a_while() -> None:
    with Emulator() as server:
        server.refuse(401)
        socket = HumeStreamClient(KEY, base_url=server.url).connect([LanguageConfig()])
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                socket.send_text("x")
        socket._provider.breaker._refused_until -= 5.0
        assert socket.send_text("x").attempts == 1
        socket.close()


def test_with_the_server_away_a_caller_who_gets_no_lease_learns_the_cause() -> None:
    client = HumeStreamClient(KEY, base_url=unused_url(), timeout=3)
    with client.pool([LanguageConfig()], max_size=1, timeout=0.2) as pool, ThreadPoolExecutor(4) as threads:
        outcomes = Counter(threads.map(lambda _: outcome(pool), range(8)))
    assert set(outcomes) == {ConnectError}


def test_the_cause_keeps_the_timeout_behind_it() -> None:
    client = HumeStreamClient(KEY, base_url=unused_url(), timeout=30, retry=RetryPolicy(initial=20, maximum=20))
    with client.pool([LanguageConfig()], max_size=1, timeout=0.2) as pool, ThreadPoolExecutor(1) as aside:
        first = aside.submit(outcome, pool)
        while pool._state().breaker.is_healthy:
            time.sleep(0.001)
        with pytest.raises(ConnectError) as caught, pool.socket():
            raise AssertionError
        assert isinstance(caught.value.__cause__, PoolTimeout)
        assert caught.value.__cause__.holders
        pool.abort()
        assert first.result(10)


def test_fail_fast_answers_at_once_with_the_cause_until_the_server_is_back() -> None:
    with Emulator() as server:
        patient = RetryPolicy(initial=1e-9, maximum=1e-9)
        client = HumeStreamClient(KEY, base_url=server.url, timeout=60, retry=patient)
        with client.pool([LanguageConfig()], max_size=2, fail_fast=True) as pool:
            assert outcome(pool) is None
            server.refuse(503, times=4)
            server.drop_connections()
            began = time.monotonic()
            outcomes = [outcome(pool) for _ in range(5)]
            assert time.monotonic() - began < 10
            assert outcomes[0] is not None
            assert outcomes[-1] is None
            assert pool.stats()["waiting"] == 0


@pytest.mark.parametrize("fail_fast", [False, True])
def test_a_callers_short_timeout_does_not_open_the_breaker_for_others(
    proxy: FaultProxy, caplog: pytest.LogCaptureFixture, fail_fast: bool
) -> None:
    def never(peer: Peer) -> bool:
        peer.wait_gone()
        return False

    client = HumeStreamClient(KEY, base_url=proxy.url, timeout=20, proxy=False)
    with client.pool([LanguageConfig()], max_size=2, fail_fast=fail_fast) as pool:
        proxy.on_connect(never)
        with pool.socket() as socket, pytest.raises(Timeout):
            socket.send_text("x", timeout=0.1)
        assert pool._state().breaker.is_healthy
        with pool.socket() as socket:
            assert socket.send_text("x").attempts == 1
    assert "circuit breaker" not in caplog.text


@pytest.mark.parametrize("fail_fast", [False, True])
@pytest.mark.parametrize("attempts", [1, 3])
def test_a_payload_that_the_server_cannot_process_does_not_open_the_breaker_for_others(
    caplog: pytest.LogCaptureFixture, attempts: int, fail_fast: bool
) -> None:
    policy = RetryPolicy(max_attempts=attempts, initial=0.001, maximum=0.001)
    with Emulator() as server:
        client = HumeStreamClient(KEY, base_url=server.url, timeout=20, retry=policy)
        with client.pool([ProsodyConfig()], max_size=2, fail_fast=fail_fast) as pool:
            server.fail_next("I0100", "no", times=attempts)
            with pool.socket() as socket:
                with pytest.raises(ServerError) as caught:
                    socket.send_media(wav(tone(1.0)))  # audio: each attempt is on a connection of its own
                assert caught.value.attempts == attempts
                assert pool._state().breaker.is_healthy
            with pool.socket() as socket:
                assert socket.send_media(wav(tone(1.0))).attempts == 1
    assert "circuit breaker" not in caplog.text


def test_any_reply_closes_the_breaker_even_an_error_for_the_payload(caplog: pytest.LogCaptureFixture) -> None:
    with Emulator() as server:
        client = HumeStreamClient(KEY, base_url=server.url, timeout=20, retry=RetryPolicy(2, 0.001, 0.001))
        with client.pool([LanguageConfig()], max_size=2, fail_fast=False) as pool, pool.socket() as socket:
            server.refuse(503)
            server.fail_next("I0100", "no")
            with pytest.raises(ServerError):
                socket.send_text("x")
            assert pool._state().breaker.is_healthy
    assert "circuit breaker closed: the server answers" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("fail_fast", 1), ("fail_fast", None), ("name", 7)])
def test_bad_arguments_are_refused_by_name(hume_client: HumeStreamClient, name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        hume_client.pool([LanguageConfig()], **{name: value})  # type: ignore[arg-type]


# --- the log, as an operator reads it


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [
        f"{record.levelname} {record.name.removeprefix('hume_sync.')} {record.getMessage()}"
        for record in caplog.records
        if record.levelno >= level and record.name.startswith("hume_sync.")
    ]


def test_the_log_tells_an_outage_from_beginning_to_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hume_sync")
    with Emulator() as server:
        client = HumeStreamClient(KEY, base_url=server.url, timeout=10, retry=QUICK)
        host = server.url.removeprefix("ws://")
        with client.pool([LanguageConfig()], name="texts", max_size=1) as pool:
            assert outcome(pool) is None
            server.drop_connections()
            server.refuse(503, times=2)
            assert outcome(pool) is None
            server.fail_next("I0100", "what the server says", times=3)
            assert outcome(pool) is not None
    logged = lines(caplog, logging.INFO)
    assert [line.split(f"texts to {host}: ")[1].partition(", next in")[0] for line in logged] == [
        "circuit breaker open: HandshakeRejected, HTTP 503, phase connect",
        "attempt 1 failed",
        "attempt 2 failed",
        "circuit breaker closed: the server answers",
        "attempt 1 failed",
        "attempt 2 failed",
        "failed after attempt 3: ServerError, code I0100",
    ]
    assert [line.split()[0] for line in logged] == ["WARNING", "INFO", "INFO", "WARNING", "INFO", "INFO", "WARNING"]
    assert {line.split()[1] for line in logged} == {"retry"}
    everything = "\n".join(lines(caplog, logging.DEBUG))
    assert f"DEBUG connection {host}: connected in" in everything
    assert f"DEBUG pool texts to {host}: closing connection" in everything
    assert KEY not in everything
    assert "what the server says" not in everything


def test_the_log_tells_of_reuse_expiry_eviction_and_replay(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hume_sync")
    audio = wav(tone(1.0))
    with Emulator() as server:
        client = HumeStreamClient(KEY, base_url=server.url, timeout=10, retry=QUICK)
        with client.pool([ProsodyConfig()], max_size=1) as pool:
            for _ in range(2):
                with pool.socket(stream="call") as socket:
                    socket.send_media(audio)
            server.drop_connections()
            with pool.socket(stream="call") as socket:
                assert socket.send_media(audio).window_state == "rebuilt"
        with client.connect([ProsodyConfig()], preserve_window=False) as socket:
            socket.send_media(audio)
            server.drop_connections()
            assert socket.send_media(audio).window_state == "cold"
    everything = "\n".join(lines(caplog, logging.DEBUG))
    for text in ("reusing connection", "closing connection", "replaying 2 payloads", "audio context lost"):
        assert text in everything
    assert lines(caplog, logging.INFO) == []  # nothing of this is worth an operator's while: it was asked for


def test_a_stream_that_goes_cold_against_its_will_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    audio = wav(tone(1.0))
    with Emulator() as server:
        client = HumeStreamClient(KEY, base_url=server.url, timeout=10, retry=QUICK)
        with client.connect([ProsodyConfig()]) as socket:
            socket.send_media(audio)
            server.drop_connections()
            server.fail_next("E0200", "no")  # in answer to the payload that is replayed
            assert socket.send_media(audio).window_state == "cold"
    (line,) = lines(caplog, logging.WARNING)
    assert (
        "audio context lost: the stream is cold, its window cannot be replayed: the server refused a payload of it"
        in line
    )
