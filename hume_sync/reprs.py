"""Representations that never fail: tracebacks with local variables show objects whose ``__init__`` has raised."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

__all__ = ["safe_repr"]

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
