from __future__ import annotations

import pytest

from hume_sync.emulator import names


@pytest.mark.parametrize(
    ("table", "count"),
    [
        ("EMOTIONS", 48),
        ("LANGUAGE_EMOTIONS", 53),
        ("FACS", 36),
        ("DESCRIPTIONS", 27),
        ("SENTIMENT", 9),
        ("TOXICITY", 6),
    ],
)
def test_every_table_has_its_number_of_names_and_no_name_twice(table: str, count: int) -> None:
    found = getattr(names, table)
    assert len(found) == len(set(found)) == count


def test_the_language_model_adds_five_names_to_the_others() -> None:
    added = {"Annoyance", "Disapproval", "Enthusiasm", "Gratitude", "Sarcasm"}
    assert set(names.LANGUAGE_EMOTIONS) - set(names.EMOTIONS) == added
    assert set(names.EMOTIONS) < set(names.LANGUAGE_EMOTIONS)


@pytest.mark.parametrize("table", [names.EMOTIONS, names.LANGUAGE_EMOTIONS])
def test_desire_follows_satisfaction_as_on_the_wire(table: tuple[str, ...]) -> None:
    assert table.index("Desire") == table.index("Satisfaction") + 1


def test_confusion_and_contemplation_change_places_in_the_language_model() -> None:
    assert names.EMOTIONS.index("Contemplation") < names.EMOTIONS.index("Confusion")
    assert names.LANGUAGE_EMOTIONS.index("Confusion") < names.LANGUAGE_EMOTIONS.index("Contemplation")


def test_sentiment_goes_from_one_to_nine() -> None:
    assert names.SENTIMENT == ("1", "2", "3", "4", "5", "6", "7", "8", "9")
