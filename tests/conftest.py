"""Fixtures every test may use."""

from __future__ import annotations

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

# How long an example takes says nothing on a machine that has other work too.
hypothesis.settings.register_profile("hume_sync", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("hume_sync")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run the tests in an order made of this number")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names files by the argument: some hold numbers drawn at random, and each worker makes its own."""
    return argname if isinstance(val, bytes) and len(val) > 40 else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = config.getoption("--shuffle")
    if seed is not None:
        random.Random(seed).shuffle(items)


@pytest.fixture(autouse=True)
def _no_hume_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither see nor depend on the machine's own settings."""
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
    """To measure them too makes a run half as long again."""
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.fixture(params=["numpy", "no numpy"])
def numpy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes a test run twice: with numpy, and where it cannot be imported."""
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
    """Errors that a test's own fakes raise count as the library's, not as those of a signal handler."""
    monkeypatch.setattr(interrupts, "_OWN_MODULES", interrupts._OWN_MODULES | {"tests"})
