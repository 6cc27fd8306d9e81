"""What bounds a pool: how many named streams, how much memory for their windows, and how fast it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync import (
    ConnectionLost,
    HumeClientException,
    HumeStreamClient,
    InputError,
    LanguageConfig,
    PoolClosed,
    PoolTimeout,
    ProsodyConfig,
    StreamPool,
)
from hume_sync.emulator import Emulator
from tests.emulator.support import tone, wav

AUDIO = wav(tone(2.0))


def send(pool: StreamPool, stream: str) -> Any:
    with pool.socket(stream=stream) as socket:
        return socket.send_media(AUDIO)


# --- named streams


def test_the_named_stream_that_was_idle_longest_is_dropped_and_comes_again_cold(hume_client: HumeStreamClient) -> None:
    with hume_client.pool([ProsodyConfig()], max_size=1, max_streams=2) as pool:
        ends = [send(pool, name)["prosody"]["predictions"][-1]["time"]["end"] for name in ("a", "b", "c")]
        assert (pool.stats()["streams"], pool.stats()["evicted_streams"]) == (2, 1)
        again = send(pool, "a")
        assert again.window_state == "cold"
        assert again["prosody"]["predictions"][-1]["time"]["end"] > ends[0]  # times go on all the same
        assert send(pool, "c").window_state in {"warm", "rebuilt"}


def test_windows_of_named_streams_are_dropped_beyond_a_number_of_bytes(hume_client: HumeStreamClient) -> None:
    with hume_client.pool([ProsodyConfig()], max_size=1, max_stream_bytes=300_000) as pool:
        for number in range(20):
            send(pool, f"stream {number}")
            assert pool.stats()["stream_bytes"] <= 300_000
        assert pool.stats()["streams"] == 20
        assert pool.stats()["evicted_streams"] >= 10
        assert send(pool, "stream 19").window_state == "warm"
        assert send(pool, "stream 0").window_state == "cold"


def test_a_stream_in_use_is_never_dropped(hume_client: HumeStreamClient) -> None:
    with hume_client.pool([ProsodyConfig()], max_size=3, max_streams=1, max_stream_bytes=1) as pool:
        with pool.socket(stream="held") as socket:
            socket.send_media(AUDIO)
            send(pool, "a")
            send(pool, "b")
            assert socket.send_media(AUDIO).window_state == "warm"


def test_without_limits_all_are_kept(hume_client: HumeStreamClient) -> None:
    with hume_client.pool([ProsodyConfig()], max_size=1, max_streams=None, max_stream_bytes=None) as pool:
        for number in range(5):
            send(pool, f"stream {number}")
        assert (pool.stats()["streams"], pool.stats()["evicted_streams"]) == (5, 0)


@pytest.mark.parametrize("name", ["max_streams", "max_stream_bytes"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "1"])
def test_a_limit_that_is_no_count_is_refused_by_name(hume_client: HumeStreamClient, name: str, value: Any) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(InputError, match=name):
        hume_client.pool([ProsodyConfig()], **arguments)


# --- what stats()["errors"] counts


def test_calls_that_raised_are_errors_and_leases_that_were_not_given_are_timeouts(hume_emulator: Emulator) -> None:
    client = HumeStreamClient("k", base_url=hume_emulator.url, timeout=10)
    with client.pool([LanguageConfig()], max_size=1, timeout=0.05) as pool:
        with pool.socket() as socket:
            with pytest.raises(InputError):
                socket.send_text("")  # before anything began
            hume_emulator.fail_next("E0300", "out of credits")
            with pytest.raises(HumeClientException):
                socket.send_text("x")
            with ThreadPoolExecutor(1) as other, pytest.raises(PoolTimeout):
                other.submit(lambda: pool.socket().__enter__()).result(5)
        stats = pool.stats()
        assert (stats["errors"], stats["timeouts"], stats["rejected"]) == (1, 1, 0)


# --- the end


def test_abort_ends_calls_and_waits_at_once_and_refuses_newcomers() -> None:
    with Emulator(latency=600) as server:
        pool = HumeStreamClient("k", base_url=server.url, timeout=300).pool([LanguageConfig()], max_size=2)

        def call() -> None:
            with pool.socket() as socket:
                socket.send_text("x")

        with ThreadPoolExecutor(4) as threads:
            calls = [threads.submit(call) for _ in range(4)]
            assert server.journal.wait_for(lambda journal: journal.counts["requests"] == 2, timeout=20)
            began = time.monotonic()
            pool.abort()
            pool.abort()
            failures = [type(done.exception(20)) for done in calls]
        assert time.monotonic() - began < 10
        assert set(failures) <= {PoolClosed, ConnectionLost}
        assert failures.count(PoolClosed) >= 2
        with pytest.raises(PoolClosed):
            call()
        pool.close()
        assert pool.closed


def test_leaving_the_block_by_ctrl_c_does_not_wait_for_calls() -> None:
    with Emulator(latency=600) as server:
        client = HumeStreamClient("k", base_url=server.url, timeout=300)
        with ThreadPoolExecutor(1) as other:
            with pytest.raises(KeyboardInterrupt), client.pool([LanguageConfig()]) as pool:

                def call() -> None:
                    with pool.socket() as socket:
                        socket.send_text("x")

                running = other.submit(call)
                assert server.journal.wait_for(lambda journal: journal.counts["requests"] == 1, timeout=20)
                raise KeyboardInterrupt
            assert isinstance(running.exception(20), HumeClientException)


def test_abort_may_be_called_by_a_signal_handler_in_the_middle_of_anything(hume_client: HumeStreamClient) -> None:
    with hume_client.pool([LanguageConfig()], max_size=2) as pool:
        before = signal.signal(signal.SIGALRM, lambda *_: pool.abort())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2, 0.01)
            with pytest.raises(HumeClientException):
                while True:
                    with pool.socket() as socket:
                        socket.send_text("x")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert pool.stats()["leases"] == 0


PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from concurrent.futures import ThreadPoolExecutor
from hume_sync import HumeStreamClient, LanguageConfig
client = HumeStreamClient("k", base_url=sys.argv[1], timeout=300)

def measure(text):
    with pool.socket() as socket:
        return socket.send_text(text)

try:
    with ThreadPoolExecutor(8) as threads, client.pool([LanguageConfig()], max_size=2) as pool:
        replies = threads.map(measure, map(str, range(100)))
        print("submitted", flush=True)  # an interrupt in `map` itself may break the executor's own locks
        for reply in replies:
            pass
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_ends_a_batch_on_threads_though_the_server_never_answers() -> None:
    with Emulator(latency=600) as server:
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM, server.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == "submitted\n"
            assert server.journal.wait_for(lambda journal: journal.counts["requests"] == 2, timeout=20)
            began = time.monotonic()
            os.kill(process.pid, signal.SIGINT)
            out, complaints = process.communicate(timeout=20)
        assert (out, complaints) == ("interrupted\n", "")
        assert time.monotonic() - began < 10
        assert threading.active_count() < 50
