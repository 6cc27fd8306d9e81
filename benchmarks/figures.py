"""Medians over rounds, and ratios within a round, in which both values had the same conditions."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import attrs

__all__ = ["Figure", "difference", "figure", "percentile", "ratio"]


@attrs.frozen
class Figure:
    """A figure of a run: the median, lowest and highest value of its rounds."""

    median: float
    low: float
    high: float
    rounds: tuple[float, ...]

    def scaled(self, factor: float) -> Figure:
        """Return the figure in another unit."""
        return figure([value * factor for value in self.rounds])


def figure(rounds: Sequence[float]) -> Figure:
    """Return the figure of the values of all rounds."""
    return Figure(median(rounds), min(rounds), max(rounds), tuple(rounds))


def ratio(above: Figure, below: Figure) -> Figure:
    """Return the ratio of two figures, taken within each round, so disturbances affect both values alike."""
    return figure([a / b for a, b in zip(above.rounds, below.rounds, strict=True)])


def difference(greater: Figure, smaller: Figure) -> Figure:
    """Return the difference of two figures, taken within each round."""
    return figure([a - b for a, b in zip(greater.rounds, smaller.rounds, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest measured value that at least ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
