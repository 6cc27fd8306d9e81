"""The progress of a run on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Self, TextIO

from ..net.clock import monotonic
from .item import Item, Result

__all__ = ["Progress"]

_INTERVAL: Final = 10.0
"""Seconds between two lines."""


class Progress:
    """Shows how many items are done and have failed, at which rate, and the time that is left.

    On a terminal it is a bar of tqdm's, if that is installed. The time left is known where ``items`` can be iterated
    more than once: they are counted first.

    Args:
        items: The items.
        shown: Whether to show anything.
        file: Where; None for standard error.
    """

    def __init__(self, items: Iterable[Item], *, shown: bool, file: TextIO | None = None) -> None:
        self._file = sys.stderr if file is None else file
        shown = self._shown = shown and self._file is not None  # (None without a console: pythonw)
        self._total = sum(1 for _ in items) if shown and not isinstance(items, Iterator) else None
        self._done = self._failed = self._skipped = 0
        self._began = self._written_at = monotonic()
        self._bar = self._make_bar() if shown and self._file.isatty() else None

    def _make_bar(self) -> Any:
        try:
            from tqdm import tqdm  # noqa: PLC0415 - optional
        except ModuleNotFoundError:
            return None
        return tqdm(total=self._total, unit=" items", file=self._file, dynamic_ncols=True, smoothing=0.1)

    def skip(self) -> None:
        """Count an item that was done before."""
        self._skipped += 1
        if self._bar is not None:
            self._bar.initial += 1  # it says nothing about the rate
            self._bar.update()

    def add(self, result: Result) -> None:
        """Count a result."""
        self._done += 1
        self._failed += not result.ok
        if self._bar is not None:
            if self._failed:
                self._bar.set_postfix(failed=self._failed, refresh=False)
            self._bar.update()
        elif self._shown and monotonic() - self._written_at >= _INTERVAL:
            self._written_at = monotonic()
            self._file.write(self._line() + "\n")
            self._file.flush()

    def _line(self) -> str:
        seconds = monotonic() - self._began
        rate = self._done / seconds if seconds > 0 else 0.0
        count = self._done + self._skipped
        line = f"hume-sync: {count:,}{'' if self._total is None else f' of {self._total:,}'} items"
        line += f", {rate:.1f} a second, {self._failed:,} failed"
        if self._total is not None and rate > 0:
            line += f", {(self._total - count) / rate:.0f} s left"
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._shown and (kind is None or self._done):
            self._file.write(self._line() + "\n")
