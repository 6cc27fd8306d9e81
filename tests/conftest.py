"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
from collections.abc import Iterator

import hypothesis
import pytest

from hume_sync.emulator import Emulator
from hume_sync.net import interrupts

from .faultproxy import FaultProxy

# No deadline for an example, as other work on the machine may slow it down.
hypothesis.settings.register_profile("hume_sync", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("hume_sync")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run the tests in an order made of this number")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name files by their argument: some are random, and would have another id in each worker."""
    return argname if isinstance(val, bytes) and len(val) > 40 else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = config.getoption("--shuffle")
    if seed is not None:
        random.Random(seed).shuffle(items)


def pytest_collection_finish() -> None:
    """Leave all that exists before the first test out of garbage collections, which a third of a run went into."""
    # Hypothesis looks for what refers to its generator of random numbers when it is first used; some versions do not
    # find what is frozen.
    hypothesis.given(hypothesis.strategies.none())(lambda _: None)()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_hume_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the machine's settings from the environment."""
    for name in list(os.environ):
        if name.startswith("HUME_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_interrupts() -> Iterator[None]:
    """Handle SIGINT: a shell that runs the tests in the background makes them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def _programs_started_by_tests_are_not_measured() -> None:
    """Do not measure the coverage of child processes, which would make a run half as long again."""
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.fixture(params=["numpy", "no numpy"])
def numpy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test twice: with numpy, and as if it were not installed."""
    if request.param == "numpy":
        pytest.importorskip("numpy")
    else:
        monkeypatch.setitem(sys.modules, "numpy", None)
    return str(request.param)


@pytest.fixture
def proxy(hume_emulator: Emulator) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", hume_emulator.port)) as proxy:
        yield proxy


@pytest.fixture
def errors_of_fakes_are_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat errors raised by fakes of a test as the library's, not as those of a signal handler."""
    monkeypatch.setattr(interrupts, "_OWN_MODULES", interrupts._OWN_MODULES | {"tests"})
