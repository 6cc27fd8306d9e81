"""Clocks for tests, which replace those of `hume_sync.net.clock`."""

from __future__ import annotations

from types import ModuleType
from typing import Literal

import pytest

from hume_sync.net import clock as clocks

Name = Literal["boottime", "monotonic"]


class Clock:
    """A clock that stands still until a test changes `now`."""

    now = 1000.0

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: Name) -> None:
        monkeypatch.setattr(clocks, name, lambda: self.now)


class Later:
    """The real clock, which a test puts forward by `offset` seconds.

    Args:
        monkeypatch: Restores the clock.
        name: The clock.
        modules: Those that have bound it to a name of their own; by default that of the clocks alone.
    """

    offset = 0.0

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: Name = "boottime", *modules: ModuleType) -> None:
        real = getattr(clocks, name)
        for module in modules or (clocks,):
            monkeypatch.setattr(module, name, lambda: real() + self.offset)
