"""What is imported when a client is made, and later: what a signal does to it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hume_sync.net.preload import import_optional, import_whole

PROGRAM = """
import sys
import hume_sync
from hume_sync import *

class Strike:
    left = 1
    def find_spec(self, name, path=None, target=None):
        if name == "tenacity.asyncio" and self.left:
            self.left = 0
            raise TimeoutError("my limit")

assert "tenacity" not in sys.modules
sys.meta_path.insert(0, Strike())
try:
    HumeStreamClient("k", base_url="ws://127.0.0.1:1")
except TimeoutError as exc:
    print(exc)
policy = RetryPolicy(max_attempts=2, initial=0.001, maximum=0.001)
client = HumeStreamClient("k", base_url="ws://127.0.0.1:1", timeout=5, retry=policy, proxy=False)
loaded = set(sys.modules)
for _ in range(2):
    try:
        client.connect([LanguageConfig()]).send_text("x")
    except ConnectError as exc:
        print(exc.attempts)
print("tenacity" in loaded, "hume_sync.net.websocket" in loaded)
"""


def test_an_import_that_is_interrupted_spoils_no_later_call() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=25, check=False)
    assert done.stdout.split("\n") == ["my limit", "2", "2", "True True", ""], done.stderr


Package = Callable[..., str]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Package:
    """Makes a package of a name of its own, from the text of its modules."""
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"made_for_test_{request.node.name.partition('[')[0]}"

    def make(**modules: str) -> str:
        (tmp_path / name).mkdir()
        for module, text in modules.items():
            (tmp_path / name / f"{module}.py").write_text(text)
        request.addfinalizer(lambda: [sys.modules.pop(module) for module in loaded(name)])
        return name

    return make


def loaded(name: str) -> list[str]:
    return [module for module in sys.modules if module.partition(".")[0] == name]


def test_a_signal_ends_the_wait_for_an_import_and_not_the_import(package: Package) -> None:
    go = sys.modules[f"{__name__}.go"] = threading.Event()  # type: ignore[assignment]  # for the module to find
    text = f"""
import os, signal, sys
os.kill(os.getpid(), signal.SIGALRM)
assert sys.modules["{__name__}.go"].wait(10)
from . import rest
"""
    name = package(__init__=text, rest="times = [1]")

    def handler(number: int, frame: object) -> None:
        raise OSError("my limit")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(OSError, match="my limit"):
            import_whole(name)
    finally:
        signal.signal(signal.SIGALRM, before)
        go.set()
        del sys.modules[f"{__name__}.go"]
    module = import_whole(name)  # waits for the one that goes on
    assert module.rest.times == [1]
    assert import_optional(name) is module


@pytest.mark.parametrize("do", [import_whole, import_optional])
def test_what_an_import_raises_comes_out_and_nothing_of_it_stays(package: Package, do: Callable[[str], object]) -> None:
    name = package(__init__="from . import part\nraise ValueError('mine')", part="")
    for _ in range(2):
        with pytest.raises(ValueError, match="mine"):
            do(name)
        assert not loaded(name)


def test_what_cannot_be_imported_is_none_where_it_is_optional(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = package(__init__="import of_no_module_at_all")
    monkeypatch.setitem(sys.modules, "blocked", None)
    for missing in (name, "of_no_module_at_all", "blocked"):
        assert import_optional(missing) is None
        with pytest.raises(ImportError):
            import_whole(missing)


def test_where_no_thread_can_be_started_the_caller_imports(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert import_whole(package(__init__="x = 1")).x == 1
