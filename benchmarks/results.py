"""The results of a family of measurements: tables, targets, data and a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from .figures import Figure

__all__ = ["Chart", "Result", "Table", "Target"]


@attrs.frozen
class Target:
    """A figure and the value that it should reach.

    Attributes:
        work: What was measured.
        against: What it was compared with.
        figure: The result.
        unit: The unit, such as "x faster" or "us".
        target: The value to reach.
        stretch: A more ambitious value, or None.
        more_is_better: Whether higher figures are better.
        detail: Whether to omit it from the table of README.md.
    """

    work: str
    against: str
    figure: Figure
    unit: str
    target: float
    stretch: float | None = None
    more_is_better: bool = False
    detail: bool = False

    @property
    def verdict(self) -> str:
        """Return "stretch", "target" or "missed"."""
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
