"""Figures: medians of rounds, and ratios taken inside a round, where both had the same weather."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import attrs

__all__ = ["Figure", "difference", "figure", "percentile", "ratio"]


@attrs.frozen
class Figure:
    """One number of a run: the median over its rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float
    rounds: tuple[float, ...]

    def scaled(self, factor: float) -> Figure:
        """The same in another unit."""
        return figure([value * factor for value in self.rounds])


def figure(rounds: Sequence[float]) -> Figure:
    """The figure of these rounds."""
    return Figure(median(rounds), min(rounds), max(rounds), tuple(rounds))


def ratio(above: Figure, below: Figure) -> Figure:
    """The ratio of two figures of the same rounds: taken in each round, so what befell a round befell both."""
    return figure([a / b for a, b in zip(above.rounds, below.rounds, strict=True)])


def difference(greater: Figure, smaller: Figure) -> Figure:
    """The difference of two figures of the same rounds, taken in each round."""
    return figure([a - b for a, b in zip(greater.rounds, smaller.rounds, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies: one that was seen, none between two."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
