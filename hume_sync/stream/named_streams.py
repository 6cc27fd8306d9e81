"""The named streams of a pool, within limits: in use, idle, or dropped.

The streams that have been idle longest are dropped first. A dropped stream loses its context, and the first reply to
its next audio says so (``window_state == "cold"``); a stream in use is never dropped. All methods require the pool's
lock and take constant time.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable

from ..net import clock
from .stream import Stream

__all__ = ["NamedStreams"]

_MAX_DROPPED = 10_000
"""Dropped streams that are remembered as such: about half a kilobyte each."""


class NamedStreams:
    """The named streams of a pool.

    Args:
        new_stream: Creates a stream.
        max_idle: Seconds without use after which a stream is forgotten.
        max_count: The maximum number of streams, those in use included; ``math.inf`` for no limit.
        max_bytes: The most memory for their windows, those in use included; ``math.inf`` for no limit.
    """

    def __init__(
        self,
        new_stream: Callable[[], Stream],
        max_idle: float,
        max_count: float = math.inf,
        max_bytes: float = math.inf,
    ) -> None:
        self._new_stream = new_stream
        self._max_idle = max_idle
        self._max_count = max_count
        self._max_bytes = max_bytes
        # Longest idle first. (Finding the first item of a plain dict takes longer after each deletion.)
        self._idle: OrderedDict[Hashable, tuple[Stream, float]] = OrderedDict()  # with the time of their last use
        self._dropped: OrderedDict[Hashable, tuple[Stream, float]] = OrderedDict()
        self._windows: OrderedDict[Hashable, int] = OrderedDict()  # bytes of the idle streams that have a window
        self._in_use: dict[
            Hashable, tuple[Stream | None, int]
        ] = {}  # with the bytes counted; None: forgotten meanwhile
        self.bytes = 0
        """Bytes of memory of all windows; for a stream in use, as of its checkout."""
        self.evicted = 0
        """How many streams with context were dropped."""

    def __len__(self) -> int:
        """Return the number of streams that are in use or idle."""
        return len(self._idle) + len(self._in_use)

    def is_in_use(self, key: Hashable) -> bool:
        """Return whether the stream of that name is in use."""
        return key in self._in_use

    def checkout(self, key: Hashable) -> Stream:
        """Return the stream of that name, or a new one, for use; it is not in use."""
        known = self._idle.pop(key, None) or self._dropped.pop(key, None)
        stream = known[0] if known else self._new_stream()
        self._in_use[key] = stream, self._windows.pop(key, 0)
        if len(self) > self._max_count:
            self._evict()
        return stream

    def checkin(self, key: Hashable) -> None:
        """Keep a stream that is no longer in use, unless it was forgotten meanwhile. Idempotent."""
        stream, counted = self._in_use.get(key, (None, 0))
        memory = 0
        if stream is not None:
            if stream.connection is not None and not stream.connection.usable:
                stream.connection = None  # frees its memory
            self._idle[key] = stream, clock.boottime()
            memory = stream.memory
            if memory:
                self._windows[key] = memory
        self.bytes += memory - counted
        self._in_use.pop(key, None)
        if self.bytes > self._max_bytes or len(self) > self._max_count:
            self._evict()

    def _evict(self) -> None:
        while self.bytes > self._max_bytes and self._windows:
            key = next(iter(self._windows))
            self._drop_window(key, self._idle[key][0])
        while len(self) > self._max_count and self._idle:
            key = next(iter(self._idle))
            stream, since = self._idle.pop(key)
            self._drop_window(key, stream)
            if stream.context_lost:
                self._dropped[key] = stream, since
                if len(self._dropped) > _MAX_DROPPED:
                    del self._dropped[next(iter(self._dropped))]

    def _drop_window(self, key: Hashable, stream: Stream) -> None:
        self.bytes -= self._windows.pop(key, 0)
        was_lost = stream.context_lost
        stream.drop_window()
        self.evicted += stream.context_lost and not was_lost

    def forget(self, key: Hashable) -> None:
        """Forget a stream; one in use stays usable, and the next of its name is a new one."""
        self._idle.pop(key, None)
        self._dropped.pop(key, None)
        self.bytes -= self._windows.pop(key, 0)
        if key in self._in_use:
            self._in_use[key] = None, self._in_use[key][1]

    def expire(self) -> None:
        """Forget the streams that have been idle for too long."""
        if not self._idle and not self._dropped:
            return
        limit = clock.boottime() - self._max_idle
        for streams in (self._idle, self._dropped):
            while streams:
                key = next(iter(streams))
                if streams[key][1] >= limit:
                    break
                del streams[key]
                self.bytes -= self._windows.pop(key, 0)
