from __future__ import annotations

import subprocess
import sys

import pytest

from hume_sync.net.optional import loaded_numpy


def test_numpy_is_taken_where_it_is_loaded_and_never_imported_for_the_asking() -> None:
    code = "import sys; from hume_sync.net.optional import loaded_numpy as n; print(n(), 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None False\n"
    numpy = pytest.importorskip("numpy")
    assert loaded_numpy() is numpy


def test_numpy_that_is_blocked_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert loaded_numpy() is None


RACE = """
import sys, threading
from hume_sync.net.optional import loaded_numpy

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
