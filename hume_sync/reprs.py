"""Representations that never fail: tracebacks with local variables show objects whose ``__init__`` has raised."""

from __future__ import annotations

import functools
from typing import TypeVar

__all__ = ["safe_repr"]

_T = TypeVar("_T")


def safe_repr(cls: type[_T]) -> type[_T]:
    """Make the ``repr`` of a class work for objects that are not complete. A decorator, above that of attrs."""
    written = cls.__repr__

    @functools.wraps(written)
    def __repr__(self: _T) -> str:  # noqa: N807 - its name
        try:
            return written(self)
        except AttributeError:
            return f"<{type(self).__name__}, not complete>"

    cls.__repr__ = __repr__  # type: ignore[assignment]  # mypy takes any assignment to a method for a mistake
    return cls
