"""Which sockets are ready: ``select.poll``, also for green threads.

A thread that waits in the system's ``poll`` keeps all green threads of gevent and eventlet from running. gevent has a
``poll`` of its own; eventlet has only a ``select``, and its ``monkey_patch`` removes ``select.poll``. Both may also be
configured to patch threads and sockets, and to leave that module alone.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from typing import Any, Final, Protocol

from ..errors import ConfigurationError

__all__ = ["Poll", "check_green_threads", "instant_poll", "waiting_poll"]

_THREADS: Final = {"gevent": "threading", "eventlet": "thread"}
"""Libraries of green threads, and what they call the module of threads."""


class Poll(Protocol):
    """What is used of ``select.poll``."""

    def register(self, fd: int, eventmask: int, /) -> None:
        """Watch a descriptor."""

    def modify(self, fd: int, eventmask: int, /) -> None:
        """Watch it for something else."""

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait at most so many milliseconds; the descriptors that are ready, and for what."""


class _Select:
    """The same over a ``select``."""

    def __init__(self, selected: Callable[..., Any]) -> None:
        self._select = selected
        self._masks: dict[int, int] = {}

    def register(self, fd: int, eventmask: int, /) -> None:
        self._masks[fd] = eventmask

    modify = register

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        reading = [fd for fd, mask in self._masks.items() if mask & select.POLLIN]
        writing = [fd for fd, mask in self._masks.items() if mask & select.POLLOUT]
        readable, writable, _ = self._select(reading, writing, [], None if timeout is None else timeout / 1000)
        ready = dict.fromkeys(readable, select.POLLIN)
        for fd in writable:
            ready[fd] = ready.get(fd, 0) | select.POLLOUT
        return list(ready.items())


def instant_poll() -> Poll:
    """Return a poll that is only ever asked without waiting: it need not let green threads run, and does not."""
    eventlet, gevent = sys.modules.get("eventlet.patcher"), sys.modules.get("gevent.monkey")
    found: Poll
    if not hasattr(select, "poll"):
        found = _Select(select.select) if eventlet is None else eventlet.original("select").poll()
    else:
        found = select.poll() if gevent is None else gevent.get_original("select", "poll")()
    return found


def waiting_poll() -> Poll:
    """Return a poll to wait with: it lets green threads run where threads are green, and nowhere else."""
    if _has_patched("eventlet", "thread"):
        from eventlet.green import select as of_eventlet  # noqa: PLC0415 - it is loaded

        return _Select(of_eventlet.select)
    if _has_patched("gevent", "threading"):
        from gevent import select as of_gevent  # noqa: PLC0415 - likewise

        found: Poll = of_gevent.poll()
        return found
    return instant_poll()


def check_green_threads() -> None:
    """Make sure that sockets and locks are of one kind, green or not.

    Raises:
        ConfigurationError: The library gevent or eventlet has patched sockets, but not threads. While a green thread
            waits for a socket another one runs, and no lock would keep the two apart.
    """
    for library, threads in _THREADS.items():
        if _has_patched(library, "socket") and not _has_patched(library, threads):
            raise ConfigurationError(f"{library} has patched socket, but not {threads}: have it patch both, or neither")


def _has_patched(library: str, module: str) -> bool:
    if library == "gevent":
        asked = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)
    else:
        asked = getattr(sys.modules.get("eventlet.patcher"), "is_monkey_patched", None)
    return asked is not None and bool(asked(module))
