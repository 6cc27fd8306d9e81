"""What a family of measurements gives: tables, targets with what they were compared with, data, and a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from .figures import Figure

__all__ = ["Chart", "Result", "Table", "Target"]


@attrs.frozen
class Target:
    """A figure beside what it is to reach."""

    work: str
    against: str
    figure: Figure
    unit: str
    """What stands behind the number: "x faster", "us" and the like."""
    target: float
    stretch: float | None = None
    more_is_better: bool = False
    detail: bool = False
    """Left out of README's table."""

    @property
    def verdict(self) -> str:
        """ "stretch", "target" or "missed"."""
        if self.stretch is not None and self._reaches(self.stretch):
            return "stretch"
        return "target" if self._reaches(self.target) else "missed"

    def _reaches(self, wanted: float) -> bool:
        return self.figure.median >= wanted if self.more_is_better else self.figure.median <= wanted


@attrs.frozen
class Table:
    """Lines of text under a title; the first column names, the others are numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@attrs.frozen
class Chart:
    """Values of several series over the same places."""

    title: str
    unit: str
    places: Sequence[str]
    series: Mapping[str, Sequence[float | None]]
    lines: bool = False
    """Lines, not bars."""
    logarithmic: bool = True


@attrs.frozen
class Result:
    """All of one family."""

    family: str
    tables: Sequence[Table]
    targets: Sequence[Target]
    data: Mapping[str, Any]
    """Every round, ready for JSON."""
    chart: Chart
    notes: Sequence[str] = ()
