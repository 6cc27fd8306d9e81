"""What objects show of themselves: never a secret, and never an error in place of a representation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NoReturn, TypeVar

__all__ = ["Secret", "safe_repr"]

_T = TypeVar("_T")


def safe_repr(cls: type[_T]) -> type[_T]:
    """Make ``repr`` and ``str`` work for objects of a class that are not complete. A decorator, above that of attrs."""
    cls.__repr__ = _safe(cls.__repr__)  # type: ignore[method-assign]  # mypy takes any assignment to a method for a mistake
    if "__str__" in vars(cls):
        cls.__str__ = _safe(cls.__str__)  # type: ignore[method-assign]  # likewise
    return cls


def _safe(written: Callable[[_T], str]) -> Callable[[_T], str]:
    @functools.wraps(written)
    def shown(self: _T) -> str:
        try:
            return written(self)
        except AttributeError:
            return f"<{type(self).__name__}, not complete>"

    return shown


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
