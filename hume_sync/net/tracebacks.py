"""Tracebacks that say where, but not with what: no key, password or media in their local variables.

Error trackers and test runners show the local variables of each frame of a traceback. Each function that reveals a
secret, or is given one or media, is therefore called through `clears_locals`: once it has failed, the frames below are
emptied before the caller sees the exception. Nothing is done while all goes well.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["clear_locals", "clears_locals"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_CLEARED = frozenset({"hume_sync", "websocket", "http", "urllib", "base64", "ssl", "socket", "encodings"})
"""Top-level modules whose frames are emptied: this library, and what it hands secrets to. A caller's stay."""


def clears_locals(call: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a function leave no local variables behind in the traceback of what it raises, its arguments included."""

    @functools.wraps(call)
    def hiding(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return call(*args, **kwargs)
        except BaseException as exc:
            del args, kwargs
            clear_locals(exc)
            raise

    return hiding


def clear_locals(exc: BaseException, *, generators: bool = False) -> None:
    """Empty the frames of an exception's tracebacks, and of those of its causes, where they have ended.

    Args:
        exc: The exception.
        generators: Whether to empty those of generators, too. All of them must have ended: one that goes on would be
            ended by that.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [exc]
    while pending:
        error = pending.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        pending += (error.__cause__, error.__context__)
        traceback = error.__traceback__
        while traceback is not None:
            frame, traceback = traceback.tb_frame, traceback.tb_next
            module = str(frame.f_globals.get("__name__")).partition(".")[0]
            if module not in _CLEARED or (frame.f_code.co_flags & inspect.CO_GENERATOR and not generators):
                continue
            try:
                frame.clear()
            except RuntimeError:
                pass  # it is still running: an outer one, whose own call hides its locals
