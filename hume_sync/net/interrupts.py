"""Exceptions that a signal handler or another thread raises in the middle of this library's code.

The handler of ``signal.alarm`` may raise any exception, often ``TimeoutError``, and at any line: inside a system call
too, where it looks like an error of the socket. Such an exception belongs to the caller. It is never translated,
swallowed or retried, and it ends the exchange it interrupts. Every ``except`` clause for ``OSError``, ``EOFError`` or
an error of this library, around anything that may wait, therefore asks `from_outside` first.
"""

from __future__ import annotations

import ssl

__all__ = ["from_outside"]

_OWN_MODULES = frozenset(
    [
        "hume_sync",
        "websocket",
        "tenacity",
        "urllib3",
        "truststore",
        "gevent",
        "eventlet",
        "concurrent",
        "contextlib",
        "email",
        "http",
        "json",
        "selectors",
        "socket",
        "ssl",
        "threading",
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
        module = (traceback.tb_frame.f_globals.get("__name__") or "").partition(".")[0]
        foreign = module != "hume_sync" and (foreign or module not in _OWN_MODULES)
        traceback = traceback.tb_next
    if foreign:
        return True
    if module == "hume_sync" or not isinstance(exc, OSError) or isinstance(exc, ssl.SSLError):
        return False
    return exc.errno is None and not str(exc).endswith("timed out")
