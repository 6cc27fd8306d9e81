"""The server's sliding audio window, remembered: what a new connection must hear to know what the last one knew.

A v0 server keeps, with the connection, the audio that its audio models look back on. `StreamWindow` keeps the payloads
that make it up. It is pure: no lock, no clock, no connection; whoever holds the stream's lock is its only user.

Every accepted payload has a number, and so has every reset. A connection is described by the last number it has heard,
so one comparison tells whether it is up to date, can be brought there by the payloads behind that number, or must
forget what it knows and hear the whole window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from fractions import Fraction

import attrs

from ..reprs import safe_repr
from .duration import Length
from .requests import JSONParts

__all__ = ["DEFAULT_WINDOW_MS", "ReplayPlan", "StreamWindow", "WindowItem"]

DEFAULT_WINDOW_MS = 5000
"""The server's own length where a stream names none (the official reference)."""

_MAX_BYTES = 8 * 2**20
"""Bytes of payloads, as sent, kept for one stream."""

_MAX_PAYLOADS = 100
"""Payloads kept for one stream: ten seconds in tenths. More would cost a new connection more than they are worth."""

_OVERHEAD = 1000
"""Bytes of memory of a window without payloads, about."""

_OVERHEAD_OF_A_PAYLOAD = 200
"""Bytes of memory of a payload beyond those that are sent, about."""


@safe_repr
@attrs.frozen
class WindowItem:
    """One payload the server has accepted."""

    number: int
    members: JSONParts = attrs.field(repr=False)
    """As it was sent, its own configurations included."""
    length: Length | None
    """Length of its audio; None where it is unknown."""

    @property
    def size(self) -> int:
        """Bytes as sent."""
        return sum(map(len, self.members))


@safe_repr
@attrs.frozen
class ReplayPlan:
    """What a connection needs before the next payload of audio."""

    replay: tuple[WindowItem, ...]
    """To be sent first, oldest first."""
    reset: bool
    """Whether the first request of these, or the payload itself, must empty what the server holds."""
    complete: bool
    """False: part of the context is lost for good, so none of it is replayed."""


@safe_repr
class StreamWindow:
    """The payloads inside the server's window, and the numbers by which connections are compared.

    Args:
        length_ms: length of the window in milliseconds of media; None: the server's default.
        preserve: False keeps nothing: a change of connection then always loses the context.
    """

    def __init__(self, length_ms: float | None = None, *, preserve: bool = True) -> None:
        self._length_ms = DEFAULT_WINDOW_MS if length_ms is None else length_ms
        self._preserve = preserve
        self._items: deque[WindowItem] = deque()
        self._bytes = 0
        self._origin = 0  # the number from which on the items, and nothing else, are the context
        self._lost = False  # whether the context since the last reset is more than the items
        self._given_up = False  # whether it is nothing, for what it was cannot be replayed
        self.position = 0
        """Of the last accepted payload or reset."""

    def append(self, members: JSONParts, length: Length | None) -> None:
        """Remember a payload that the server has accepted; forget what has certainly left the window."""
        self.position += 1
        self._given_up = False
        item = WindowItem(self.position, members, length)
        self._items.append(item)
        self._bytes += item.size
        while len(self._items) > 1 and self._fills_the_window(list(self._items)[1:]):
            self._drop_oldest()
        if self._fills_the_window(self._items):
            self._lost = False  # nothing older matters any more
        while self._bytes > _MAX_BYTES or not self._preserve or len(self._items) > _MAX_PAYLOADS:
            self._drop_oldest()
            self._lost = True
            if not self._items:
                break

    def reset(self) -> None:
        """The caller empties the window: nothing before this is context any more."""
        self.position += 1
        self._items.clear()
        self._bytes = 0
        self._lost = self._given_up = False
        self._origin = self.position

    def mark_lost(self) -> None:
        """What is remembered cannot be replayed: forget it. The next payload starts from nothing, whatever it takes."""
        self.reset()
        self._given_up = True

    def replay_plan(self, heard: int | None) -> ReplayPlan:
        """What a connection needs.

        Args:
            heard: the number of this stream that the connection has heard last; None for a connection that has
                heard nothing of this stream, or something else since.
        """
        if self._given_up:
            return ReplayPlan((), reset=True, complete=False)
        if heard == self.position:
            return ReplayPlan((), reset=False, complete=True)
        behind = [item for item in self._items if heard is not None and item.number > heard]
        if heard is not None and heard >= self._origin and len(behind) == self.position - heard:
            return ReplayPlan(tuple(behind), reset=False, complete=True)
        if self._lost:
            return ReplayPlan((), reset=True, complete=False)
        return ReplayPlan(tuple(self._items), reset=True, complete=True)

    @property
    def items(self) -> tuple[WindowItem, ...]:
        """What would be replayed on a new connection, oldest first."""
        return tuple(self._items)

    @property
    def seconds(self) -> Fraction | None:
        """Length of the audio remembered; None with a payload whose length is unknown."""
        lengths = [item.length.seconds for item in self._items if item.length is not None]
        return sum(lengths, Fraction(0)) if len(lengths) == len(self._items) else None

    def _fills_the_window(self, items: Iterable[WindowItem]) -> bool:
        # A payload of unknown length counts for nothing: the others must fill the window without it.
        seconds = sum((item.length.at_least for item in items if item.length), Fraction(0))
        return seconds * 1000 >= Fraction(str(self._length_ms))

    def _drop_oldest(self) -> None:
        self._bytes -= self._items.popleft().size

    @property
    def has_context(self) -> bool:
        """Whether there is anything to lose, if it were only the fact that something was lost before."""
        return bool(self._items) or self._lost or self._given_up

    @property
    def memory(self) -> int:
        """Bytes of memory that it takes, about. They are not counted anew: this costs nothing."""
        return _OVERHEAD + self._bytes + len(self._items) * _OVERHEAD_OF_A_PAYLOAD

    def __bool__(self) -> bool:
        """Whether anything would be replayed."""
        return bool(self._items)

    def __repr__(self) -> str:
        return f"<StreamWindow {len(self._items)} payloads, {self._bytes} bytes, number {self.position}>"
