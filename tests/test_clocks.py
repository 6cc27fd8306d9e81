"""`make test-clocks`: the tests at other uptimes, and never skipped without a word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hume_sync.net.retry import RetryPolicy
from hume_sync.stream.breaker import CircuitBreaker

CLOCKS = Path(__file__).parents[1] / "scripts" / "clocks.py"
NAMESPACES = Path("/proc/self/ns/time").exists()
PROGRAM = (
    "import time; print('up for', round(time.monotonic(), -2), round(time.clock_gettime(time.CLOCK_BOOTTIME), -2))"
)


def clocks(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    surroundings = {name: value for name, value in os.environ.items() if name != "REQUIRE_CLOCKS"} | environment
    return subprocess.run(
        [sys.executable, str(CLOCKS), *command], env=surroundings, capture_output=True, text=True, check=False
    )


def test_a_command_runs_just_after_the_start_of_the_machine_and_ten_years_later() -> None:
    done = clocks(sys.executable, "-c", PROGRAM)
    if "skipped" in done.stdout:
        pytest.skip(done.stdout)
    assert [line for line in done.stdout.splitlines() if line.startswith("up for")] == [
        "up for 0.0 0.0",
        "up for 315360000.0 315360000.0",
    ]
    assert clocks("false").returncode == 1


@pytest.mark.parametrize(("required", "status"), [("", 0), ("1", int(NAMESPACES))])
def test_where_clocks_cannot_be_shifted_it_says_so_and_fails_only_where_they_are_required(
    required: str, status: int, tmp_path: Path
) -> None:
    done = clocks("false", PATH=str(tmp_path), REQUIRE_CLOCKS=required)
    (line,) = done.stdout.splitlines()
    assert line.startswith("test-clocks: skipped: ")
    assert done.returncode == status
    assert not done.stderr


def test_circuit_breaker_probes_at_once_on_any_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hume_sync.net.clock.monotonic", lambda: -1000.0)  # Python does not say where it begins
    breaker = CircuitBreaker(RetryPolicy())
    assert breaker.retry_delay(object()) == 0.0
