from __future__ import annotations

import pytest

from hume_sync.emulator.names import EMOTIONS, SENTIMENT
from hume_sync.emulator.scores import content_key, distribution, fractions, hex_id, scores


def _values(table: list[dict[str, str | float]]) -> list[float]:
    return [float(item["score"]) for item in table]


def test_the_function_is_the_same_in_every_version() -> None:
    key = content_key(0, "prosody", b"audio")
    assert key.hex() == "acc4faf5b884e0b995b8630682dfdcf9302b338769a0bd24527e1e1aae367ba4"
    assert _values(scores(key, tuple("abcdef"))) == [0.0, 0.001997, 0.540262, 0.0188, 0.105691, 0.11685]


@pytest.mark.parametrize(
    "other",
    [
        content_key(1, "face", b"ab", b"c"),
        content_key(0, "burst", b"ab", b"c"),
        content_key(0, "face", b"a", b"bc"),
        content_key(0, "face", b"abc"),
    ],
    ids=["seed", "model", "split", "joined"],
)
def test_seed_model_and_each_part_of_the_content_change_the_key(other: bytes) -> None:
    assert other != content_key(0, "face", b"ab", b"c")


@pytest.mark.parametrize("count", [0, 1, 16, 17, 53])
def test_as_many_fractions_come_as_are_asked_for_and_more_only_add_to_them(count: int) -> None:
    found = fractions(bytes(32), count)
    assert len(found) == count
    assert found == fractions(bytes(32), 100)[:count]
    assert all(0 <= number < 1 for number in found)


def test_scores_lie_between_zero_and_one_and_most_are_low() -> None:
    found = [value for i in range(50) for value in _values(scores(content_key(i, "face"), EMOTIONS))]
    assert all(0 <= value <= 1 for value in found)
    assert sum(value < 0.2 for value in found) > len(found) / 2
    assert any(value > 0.7 for value in found)


def test_names_keep_their_order() -> None:
    assert [item["name"] for item in scores(bytes(32), EMOTIONS)] == list(EMOTIONS)


def test_a_distribution_sums_to_one() -> None:
    assert sum(_values(distribution(content_key(0, "sentiment"), SENTIMENT))) == pytest.approx(1, abs=1e-5)


def test_an_id_has_32_hexadecimal_digits_and_follows_from_its_arguments() -> None:
    first = hex_id(0, "job", 1)
    assert len(first) == 32
    assert int(first, 16)
    assert first == hex_id(0, "job", 1)
    assert len({first, hex_id(0, "job", 2), hex_id(1, "job", 1)}) == 3
