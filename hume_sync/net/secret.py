"""An API key that cannot be printed, compared by value or pickled by accident."""

from __future__ import annotations

from typing import NoReturn

from ..reprs import safe_repr

__all__ = ["Secret"]


@safe_repr
class Secret:
    """Holds a text that must not appear in a repr, a log line, an exception or a pickle."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself. Call it only where the bytes are written."""
        return self._value

    def redact(self, text: str) -> str:
        """``text`` with every occurrence of the secret blotted out: for texts a server sends back."""
        return text.replace(self._value, "***") if self._value else text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is never pickled: build the client where it is used, from HUME_API_KEY for one")
