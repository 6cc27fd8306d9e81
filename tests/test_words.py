"""`scripts/words.py`, the check of the project's vocabulary."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "words.py"))
RULES = SCRIPT["read_rules"]("# a comment\n\nfoo bars? -> baz\nspam(?! and eggs) -> ham\nquite so ->\n")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It is a Foo bar.", [(1, "Foo bar", "baz")]),
        ("one\ndef test_foo_bars_are_found():", [(2, "foo_bars", "baz")]),
        ("# Some foo\n    # bar.", [(1, "foo # bar", "baz")]),
        ("foo barn", []),
        ("spam, and spam and eggs", [(1, "spam", "ham")]),
        ("Quite so.", [(1, "Quite so", "")]),
    ],
)
def test_find_yields_line_text_and_replacement(text: str, found: list[tuple[int, str, str]]) -> None:
    assert list(SCRIPT["find"](text, RULES)) == found
