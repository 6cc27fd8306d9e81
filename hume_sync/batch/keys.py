"""Keys of items: printable, and different from each other."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["UniqueKeys", "printable_key"]

_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of characters that are escaped: control characters, surrogates, line and paragraph separators."""


def printable_key(name: str) -> str:
    r"""Return a name of a file as a key: printable, valid UTF-8, and different for every name.

    Bytes that are not UTF-8 (surrogates, in a str) are written as ``\xff``, control characters as ``\u000a``, a
    backslash as two.
    """
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(map(_printable, name))


def _printable(character: str) -> str:
    if character == "\\":
        return r"\\"
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


class UniqueKeys:
    """Makes the keys of one source differ. It holds 64 bits of each."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def of(self, key: str, place: str) -> str:
        """Return a key; one that was there before with its place, as "7 (line 12)"."""
        while not self.is_new(key):
            key = f"{key} ({place})"
        return key

    def is_new(self, key: str) -> bool:
        """Return whether a key was not there before, and remember it."""
        count = len(self._seen)
        self._seen.add(hash(key))
        return len(self._seen) > count
