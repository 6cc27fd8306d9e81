"""Long texts, cut into passages that a server takes: between sentences, else between words, else between characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from ..stream.payload_limits import TEXT_CHARACTERS

__all__ = ["cut_text"]

_PARAGRAPH: Final = re.compile(r"\n[^\S\n]*\n\s*")

_SENTENCE: Final = re.compile(
    r"""(?<![.!?\u2026])[.!?\u2026]++["'\u201d\u2019)\]\u00bb*_]*+\s++"""
    r"""|(?<![\u3002\uff01\uff1f])[\u3002\uff01\uff1f]++[\u300d\u300f\u201d\u2019\uff09]*+\s*+"""
)
"""The end of a sentence (western, or Chinese and Japanese) with the space behind it. It takes linear time."""

_SPACE: Final = re.compile(r"\s+")

_ABBREVIATION: Final = re.compile(
    r"(?:mrs?|ms|dr|prof|st|[sj]r|vs|etc|cf|nr|vol|fig|dept|approx|e\.g|i\.e|bzw|z\.b|u\.a|d\.h)|(?-i:[A-Z])",
    re.IGNORECASE,
)
"""Words after which a full stop seldom ends a sentence, and initials."""

_LONGEST: Final = 10
"""Characters to look at before a full stop: a space, brackets or quotation marks, and the abbreviation."""

_OPENING: Final = "([{\"'\u201c\u2018\u00ab"

_LOOK_BACK: Final = 64
"""Characters of one cluster (a letter with its accents, an emoji of several parts) that are kept together."""


def cut_text(text: str, limit: int = TEXT_CHARACTERS) -> Iterator[tuple[int, str]]:
    """Cut a text, losing nothing: the passages joined are the text.

    Args:
        text: The text.
        limit: Code points of a passage, at most.

    Yields:
        The offset of each passage in code points, and the passage. The space between two sentences is at the end of
        the first.
    """
    begin = 0
    while len(text) - begin > limit:
        end = _last_cut(text, begin, begin + limit)
        yield begin, text[begin:end]
        begin = end
    yield begin, text[begin:]


def _last_cut(text: str, begin: int, end: int) -> int:
    """Return the best place to cut in the characters up to ``end``; it is always behind ``begin``."""
    half = begin + (end - begin) // 2
    paragraph = max((match.end() for match in _PARAGRAPH.finditer(text, half, end)), default=0)
    if paragraph:
        return paragraph
    sentences = list(_SENTENCE.finditer(text, begin, end))
    sentence = next((match.end() for match in reversed(sentences) if _ends(text, match)), None)
    if sentence is not None:
        return sentence
    if text[end].isspace() and not text[end - 1].isspace():
        return end
    word = max((match.end() for match in _SPACE.finditer(text, begin, end)), default=0)
    return word if word > begin else _between_characters(text, begin, end)


def _ends(text: str, match: re.Match[str]) -> bool:
    """Return whether a sentence ends here: not behind an abbreviation or initial, nor before a small letter."""
    if text[match.end() : match.end() + 1].islower():
        return False
    begin = match.start()
    if match[0][0] == "." and match[0][1] != ".":
        word = re.split(r"\s", text[max(0, begin - _LONGEST) : begin])[-1].lstrip(_OPENING)
        return not _ABBREVIATION.fullmatch(word)
    return True


def _between_characters(text: str, begin: int, end: int) -> int:
    for place in range(end, max(begin, end - _LOOK_BACK), -1):
        if not _are_joined(text, place):
            return place
    return end


def _are_joined(text: str, place: int) -> bool:
    """Return whether the characters before and at a place belong together."""
    before, after = text[place - 1], text[place]
    if before == "\r" and after == "\n":
        return True
    if "\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff":
        return True
    if before == "\u200d" or after == "\u200d" or "\U0001f3fb" <= after <= "\U0001f3ff":
        return True
    if _is_regional(before) and _is_regional(after):  # flags are pairs
        start = place
        while start > 0 and place - start < _LOOK_BACK and _is_regional(text[start - 1]):
            start -= 1
        return (place - start) % 2 == 1
    return unicodedata.category(after).startswith("M") or _is_jamo(before, after)


def _is_regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _is_jamo(before: str, after: str) -> bool:
    """Return whether these are consecutive letters of a Korean syllable that is not written as one character."""
    return "\u1100" <= before <= "\u11ff" and "\u1160" <= after <= "\u11ff"
