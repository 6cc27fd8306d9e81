"""Which sockets are ready: ``select.poll``, also where a library of green threads has taken it away.

gevent has a ``poll`` of its own. eventlet has none: its ``monkey_patch`` removes it, since the system's would keep all
green threads from running; its ``select`` lets them. Both may also be told to patch threads and leave this module
alone: a thread of ours that waits in the system's ``poll`` would then stop all others, for ever.
"""

from __future__ import annotations

import select
import sys
from typing import Protocol

from ..errors import ConfigurationError

__all__ = ["Poll", "check_green_threads", "instant_poll", "waiting_poll"]

_PATCHERS = (
    ("gevent", "gevent.monkey", "is_module_patched", "threading"),
    ("eventlet", "eventlet.patcher", "is_monkey_patched", "thread"),
)
"""Libraries of green threads: where they say whether a module is patched, and their name for that of threads."""


class Poll(Protocol):
    """What is used of ``select.poll``."""

    def register(self, fd: int, eventmask: int, /) -> None:
        """Watch a descriptor."""

    def modify(self, fd: int, eventmask: int, /) -> None:
        """Watch it for something else."""

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait at most so many milliseconds; the descriptors that are ready, and for what."""


class _Select:
    """The same over ``select.select``."""

    def __init__(self) -> None:
        self._masks: dict[int, int] = {}

    def register(self, fd: int, eventmask: int, /) -> None:
        self._masks[fd] = eventmask

    modify = register

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        reading = [fd for fd, mask in self._masks.items() if mask & select.POLLIN]
        writing = [fd for fd, mask in self._masks.items() if mask & select.POLLOUT]
        readable, writable, _ = select.select(reading, writing, [], None if timeout is None else timeout / 1000)
        ready = dict.fromkeys(readable, select.POLLIN)
        for fd in writable:
            ready[fd] = ready.get(fd, 0) | select.POLLOUT
        return list(ready.items())


def instant_poll() -> Poll:
    """Return a poll that is only ever asked without waiting: it need not let green threads run, and does not."""
    eventlet = sys.modules.get("eventlet.patcher")
    if not hasattr(select, "poll") and eventlet is not None:
        poll: Poll = eventlet.original("select").poll()
        return poll
    return waiting_poll()


def waiting_poll() -> Poll:
    """Return a poll to wait with, which lets green threads run where ``select`` is patched."""
    return select.poll() if hasattr(select, "poll") else _Select()


def check_green_threads(*, waits: bool = False) -> None:
    """Make sure that what is waited for and who waits are of one kind, green or not.

    Args:
        waits: whether a thread of ours will wait with `waiting_poll`.

    Raises:
        ConfigurationError: gevent or eventlet has patched sockets, but not threads: locks would not keep green threads
            apart. Or threads, but not ``select``: a thread that waits would stop them all.
    """
    for library, module, asked, threads in _PATCHERS:
        is_patched = getattr(sys.modules.get(module), asked, None)
        if is_patched is None:
            continue
        if is_patched("socket") and not is_patched(threads):
            raise ConfigurationError(f"{library} has patched socket, but not {threads}: have it patch both, or neither")
        if waits and is_patched(threads) and not is_patched("select"):
            raise ConfigurationError(f"{library} has patched {threads}, but not select: have it patch both, or neither")
