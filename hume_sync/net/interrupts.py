"""Exceptions that a signal handler or another thread raises in the middle of this library's code.

The handler of ``signal.alarm`` may raise any exception, often ``TimeoutError``, and at any line: inside a system call
too, where it looks like an error of the socket. Such an exception belongs to the caller. It is never translated,
swallowed or retried, and it ends the exchange it interrupts. Every ``except`` clause for ``OSError``, ``EOFError`` or
an error of this library, around anything that may wait, therefore asks `from_outside` first.
"""

from __future__ import annotations

import ssl
from inspect import CO_VARARGS
from types import FrameType

__all__ = ["from_handler", "from_outside", "handlers_own"]

_OWN_MODULES = frozenset(
    [
        "hume_sync",
        "websocket",
        "tenacity",
        "truststore",
        "gevent",
        "eventlet",
        "concurrent",
        "contextlib",
        "email",
        "encodings",
        "http",
        "ipaddress",
        "json",
        "selectors",
        "socket",
        "ssl",
        "threading",
        "urllib",
    ]
)
"""Top-level modules whose frames may lie between a call of this library and an error which that call itself raised."""


def from_outside(exc: BaseException) -> bool:
    """Tell whether an exception was raised by a signal handler or another thread, not by the call that it ended.

    A handler is a Python function, so its frame stands in the traceback, behind all frames of this library. (Frames of
    others between those are of what watches calls, as Sentry does those of ``http.client``.)
    ``PyThreadState_SetAsyncExc`` leaves no frame, but makes an exception without arguments. What gevent and eventlet
    throw at the end of a time limit is the caller's own object: it has no ``errno`` and does
    not say "timed out", as the errors of sockets do.
    """
    if not any(exc.args):
        return True
    module, foreign = "hume_sync", False
    traceback = exc.__traceback__
    while traceback is not None:
        module = _module(traceback.tb_frame)
        foreign = module != "hume_sync" and (foreign or module not in _OWN_MODULES)
        traceback = traceback.tb_next
    if foreign:
        return True
    if module == "hume_sync" or not isinstance(exc, OSError) or isinstance(exc, ssl.SSLError):
        return False
    return exc.errno is None and not str(exc).endswith("timed out")


def from_handler(exc: BaseException) -> bool:
    """Tell whether a signal handler raised an exception, where objects of the caller's may raise anything too.

    Python passes a handler the frame that it interrupts, which is also the one below it on the stack.
    """
    interrupted: FrameType | None = None
    traceback = exc.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        # (Not of this library's frames: looking at local variables keeps them, and the caller's media, alive.)
        if interrupted is not None and _module(frame) != "hume_sync" and _was_given(frame, interrupted):
            return True
        interrupted, traceback = frame, traceback.tb_next
    return False


def handlers_own(exc: BaseException, outer: BaseException | None = None) -> BaseException | None:
    """Return the exception of a signal handler of which other code has made this one; None where there is none.

    Args:
        exc: What other code raised.
        outer: What was being handled before that code was called, which has nothing to do with it.
    """
    behind = exc.__cause__ or exc.__context__
    for _ in range(_MOST_BEHIND):
        if behind is None or behind is outer:
            return None
        if from_handler(behind):
            return behind
        behind = behind.__cause__ or behind.__context__
    return None


_MOST_BEHIND = 10


def _module(frame: FrameType) -> str:
    """Return the top-level module of a frame."""
    return (frame.f_globals.get("__name__") or "").partition(".")[0]


def _was_given(frame: FrameType, value: object) -> bool:
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS)
    for name in code.co_varnames[:count]:
        given = frame.f_locals.get(name)
        if given is value or (isinstance(given, tuple) and any(item is value for item in given)):
            return True
    return False
