from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hume_sync.batch.passages import cut_text


def passages(text: str, limit: int) -> list[str]:
    return [passage for _, passage in cut_text(text, limit)]


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("One. Two.", 20, ["One. Two."]),
        ("One is it. Two is it. Three.", 22, ["One is it. Two is it. ", "Three."]),
        ("One is it. Two is it. Three.", 21, ["One is it. ", "Two is it. Three."]),
        ('He said "No!" She left.', 16, ['He said "No!" ', "She left."]),
        ("Is it? Yes, it is\u2026 And so", 20, ["Is it? Yes, it is\u2026 ", "And so"]),
        ("A first one.\n\nB. Second par", 24, ["A first one.\n\n", "B. Second par"]),  # a paragraph
        ("Go to Dr. Brown and J. Smith.", 26, ["Go to Dr. Brown and J. ", "Smith."]),  # no sentence ends: a word does
        ("So it is. See Dr. Brown, e.g. today", 32, ["So it is. ", "See Dr. Brown, e.g. today"]),
        ("One two 3.5 x. y three", 20, ["One two 3.5 x. y ", "three"]),  # goes on with a small letter
        ("\u6c38\u9060\u3002\u662f\u3002\u4e0d\u662f", 6, ["\u6c38\u9060\u3002\u662f\u3002", "\u4e0d\u662f"]),
        ("one two three", 9, ["one two ", "three"]),
        ("one two three", 7, ["one two", " three"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("aaae\u0301\u0302b", 4, ["aaa", "e\u0301\u0302b"]),
        ("a\U0001f469\u200d\U0001f4bbb", 3, ["a", "\U0001f469\u200d\U0001f4bb", "b"]),
        ("aa\U0001f44d\U0001f3fdb", 3, ["aa", "\U0001f44d\U0001f3fdb"]),
        ("a\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", 4, ["a\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7"]),
        ("xx\ud83d\udc4d", 3, ["xx", "\ud83d\udc4d"]),
        ("a\u1112\u1161\u11ab", 3, ["a", "\u1112\u1161\u11ab"]),
        ("e" + "\u0301" * 100, 80, ["e" + "\u0301" * 79, "\u0301" * 21]),  # what cannot be helped
    ],
)  # fmt: skip
def test_a_text_is_cut_between_sentences_else_words_else_characters(text: str, limit: int, expected: list[str]) -> None:
    assert passages(text, limit) == expected


@given(st.text("ab .!?\n\u0301\u200d\U0001f1e9\u3002", max_size=80), st.integers(1, 20))
def test_nothing_is_lost_and_no_passage_is_too_long(text: str, limit: int) -> None:
    found = list(cut_text(text, limit))
    assert "".join(passage for _, passage in found) == text
    assert all(len(passage) <= limit for _, passage in found)
    assert all(text[offset : offset + len(passage)] == passage for offset, passage in found)
    assert all(passage for _, passage in found) or not text


@pytest.mark.parametrize("unit", ["x", ".", ".\u201d", "\n", " ", "\u3002", "\u0301", ". a", "\U0001f1e9", "\n "])
def test_no_text_takes_long_to_cut(unit: str) -> None:
    assert "".join(passages(unit * 50_000, 10_000)) == unit * 50_000
