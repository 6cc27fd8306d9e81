from __future__ import annotations

import subprocess
import sys

import pytest

from hume_sync import ConfigurationError
from hume_sync.net.extras import NeedsExtra, loaded_numpy


def test_numpy_is_taken_where_it_is_loaded_and_never_imported_for_the_asking() -> None:
    code = "import sys; from hume_sync.net.extras import loaded_numpy as n; print(n(), 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None False\n"
    numpy = pytest.importorskip("numpy")
    assert loaded_numpy() is numpy


def test_numpy_that_is_blocked_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert loaded_numpy() is None


RACE = """
import sys, threading
from hume_sync import ConfigurationError
from hume_sync.net.extras import loaded_numpy, NeedsExtra

def importing():
    import numpy

thread = threading.Thread(target=importing)
thread.start()
while "numpy" not in sys.modules:
    pass
print(all(hasattr(loaded_numpy(), name) for name in ("ndarray", "frombuffer", "bitwise_xor", "isfinite")))
thread.join()
"""


def test_numpy_that_another_thread_is_importing_is_waited_for() -> None:
    pytest.importorskip("numpy")
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, check=False, timeout=20)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize(
    ("extra", "missing"),
    [
        ("emulator", "websockets"),
        ("emulator", "websockets.future"),
        ("webrtc", "aiortc"),
        ("arrow", "pyarrow"),
        ("pandas", "pandas"),
        ("polars", "polars"),
    ],
)
def test_a_module_of_an_extra_that_is_missing_is_named_with_the_extra(extra: str, missing: str) -> None:
    if "." in missing:
        pytest.importorskip(missing.partition(".")[0])
    text = f'^this needs hume_sync with the extra "{extra}": the module {missing} is not installed$'
    with pytest.raises(ConfigurationError, match=text), NeedsExtra(extra, "this"):
        raise ModuleNotFoundError(name=missing)


def test_advice_ends_the_error() -> None:
    with pytest.raises(ConfigurationError, match="is not installed; install it$"):
        with NeedsExtra("media", "this", advice="install it"):
            raise ModuleNotFoundError(name="av")


@pytest.mark.parametrize(
    "failure",
    [
        ModuleNotFoundError("mine", name="another"),
        ModuleNotFoundError("mine"),
        ImportError("mine", name="websockets"),  # it is there, and broken
        AttributeError("mine"),
    ],
    ids=repr,
)
def test_an_import_that_fails_for_another_reason_is_left_as_it_is(failure: Exception) -> None:
    with pytest.raises(type(failure), match="mine") as caught, NeedsExtra("emulator", "this"):
        raise failure
    assert caught.value is failure
