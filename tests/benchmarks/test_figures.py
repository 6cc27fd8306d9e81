from __future__ import annotations

import pytest

from benchmarks.figures import difference, figure, percentile, ratio
from benchmarks.processes import rotated
from benchmarks.results import Target


def test_a_figure_is_the_median_of_its_rounds_and_their_range() -> None:
    found = figure([3.0, 1.0, 10.0])
    assert (found.median, found.low, found.high, found.rounds) == (3.0, 1.0, 10.0, (3.0, 1.0, 10.0))


def test_a_ratio_is_taken_in_each_round_and_not_of_the_medians() -> None:
    slow, fast = figure([10.0, 40.0, 900.0]), figure([5.0, 4.0, 300.0])
    found = ratio(slow, fast)
    assert found.rounds == (2.0, 10.0, 3.0)
    assert found.median == 3.0  # of the medians it were 8


def test_so_is_a_difference() -> None:
    assert difference(figure([10.0, 40.0, 90.0]), figure([9.0, 30.0, 20.0])).median == 10.0


def test_figures_of_different_numbers_of_rounds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio(figure([1.0, 2.0]), figure([1.0]))


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, 0.5) == 51.0
    assert percentile(values, 0.99) == 100.0
    assert percentile([7.0], 0.99) == 7.0


def test_each_round_begins_with_another_client() -> None:
    assert [rotated(["a", "b", "c"], number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


@pytest.mark.parametrize(
    ("value", "more_is_better", "verdict"),
    [
        (9.9, True, "missed"),
        (10.0, True, "target"),
        (12.0, True, "stretch"),
        (12.1, False, "missed"),
        (12.0, False, "target"),
        (10.0, False, "stretch"),
    ],
)
def test_a_target_is_reached_by_its_median(value: float, more_is_better: bool, verdict: str) -> None:
    target, stretch = (10.0, 12.0) if more_is_better else (12.0, 10.0)
    found = Target("work", "other", figure([value]), "x", target, stretch, more_is_better=more_is_better)
    assert found.verdict == verdict
