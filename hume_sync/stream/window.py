"""A copy of the server's sliding audio window: the audio to replay on a new connection.

A v0 server keeps, with the connection, the audio that its audio models look back on. `StreamWindow` keeps the payloads
that make it up. It has no lock, clock or connection, and is guarded by the stream's lock.

Every accepted payload and every reset has a number, its position. A connection is described by the last position that
its server has received. Comparing positions tells whether the connection is up to date, lacks the last payloads, or
needs a reset and the whole window.
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
"""The server's default length (the official reference)."""

_MAX_BYTES = 8 * 2**20
"""Limit on the bytes of payloads, as sent, kept for one stream."""

_MAX_PAYLOADS = 100
"""Limit on the payloads kept for one stream: ten seconds in tenths. Replaying more would take too long."""

_OVERHEAD = 1000
"""Approximate bytes of memory of a window without payloads."""

_OVERHEAD_OF_A_PAYLOAD = 200
"""Approximate bytes of memory of a payload beyond those that are sent."""


@safe_repr
@attrs.frozen
class WindowItem:
    """A payload that the server has accepted."""

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
    """The replay that a connection needs before the next payload of audio."""

    replay: tuple[WindowItem, ...]
    """The payloads to send, oldest first."""
    reset: bool
    """Whether the first request, of these or the next payload, must reset the server's window."""
    complete: bool
    """False if the context cannot be replayed in full; then none of it is."""


@safe_repr
class StreamWindow:
    """The payloads inside the server's window, and the numbers by which connections are compared.

    Args:
        length_ms: The length of the window in milliseconds of media; None for the server's default.
        preserve: Whether payloads are kept; if not, a change of connection loses the context.
    """

    def __init__(self, length_ms: float | None = None, *, preserve: bool = True) -> None:
        self._length_ms = DEFAULT_WINDOW_MS if length_ms is None else length_ms
        self._preserve = preserve
        self._items: deque[WindowItem] = deque()
        self._bytes = 0
        self._origin = 0  # from this position on the items are the whole context
        self._lost = False  # whether older audio since the last reset was dropped
        self._context_lost = False  # whether the next reply to audio has to say "cold"
        self.position = 0
        """The number of the last accepted payload or reset."""

    def append(self, members: JSONParts, length: Length | None) -> None:
        """Append a payload that the server has accepted; drop those that have certainly left the window."""
        self.position += 1
        self._context_lost = False
        item = WindowItem(self.position, members, length)
        self._items.append(item)
        self._bytes += item.size
        while len(self._items) > 1 and self._fills_the_window(list(self._items)[1:]):
            self._drop_oldest()
        if self._fills_the_window(self._items):
            self._lost = False  # nothing older matters
        while self._bytes > _MAX_BYTES or not self._preserve or len(self._items) > _MAX_PAYLOADS:
            self._drop_oldest()
            self._lost = True
            if not self._items:
                break

    def reset(self) -> None:
        """Empty the window."""
        self.position += 1
        self._items.clear()
        self._bytes = 0
        self._lost = self._context_lost = False
        self._origin = self.position

    def mark_lost(self) -> None:
        """Empty the window because it cannot be replayed: the next payload has no context."""
        self.reset()
        self._context_lost = True

    def replay_plan(self, position: int | None) -> ReplayPlan:
        """Return the replay that a connection needs.

        Args:
            position: The position of this stream that the connection's server has reached; None if its window does not
                hold this stream.
        """
        if self._context_lost:
            return ReplayPlan((), reset=True, complete=False)
        if position == self.position:
            return ReplayPlan((), reset=False, complete=True)
        behind = [item for item in self._items if position is not None and item.number > position]
        if position is not None and position >= self._origin and len(behind) == self.position - position:
            return ReplayPlan(tuple(behind), reset=False, complete=True)
        if self._lost:
            return ReplayPlan((), reset=True, complete=False)
        return ReplayPlan(tuple(self._items), reset=True, complete=True)

    @property
    def items(self) -> tuple[WindowItem, ...]:
        """The payloads that would be replayed on a new connection, oldest first."""
        return tuple(self._items)

    @property
    def seconds(self) -> Fraction | None:
        """Seconds of audio in the window; None if the length of a payload is unknown."""
        lengths = [item.length.seconds for item in self._items if item.length is not None]
        return sum(lengths, Fraction(0)) if len(lengths) == len(self._items) else None

    def _fills_the_window(self, items: Iterable[WindowItem]) -> bool:
        # A payload of unknown length counts as zero: the others must fill the window without it.
        seconds = sum((item.length.at_least for item in items if item.length), Fraction(0))
        return seconds * 1000 >= Fraction(str(self._length_ms))

    def _drop_oldest(self) -> None:
        self._bytes -= self._items.popleft().size

    @property
    def has_context(self) -> bool:
        """Whether there is context, or context was lost."""
        return bool(self._items) or self._lost or self._context_lost

    @property
    def memory(self) -> int:
        """Approximate bytes of memory that it takes, in constant time."""
        return _OVERHEAD + self._bytes + len(self._items) * _OVERHEAD_OF_A_PAYLOAD

    def __bool__(self) -> bool:
        """Return whether anything would be replayed."""
        return bool(self._items)

    def __repr__(self) -> str:
        return f"<StreamWindow {len(self._items)} payloads, {self._bytes} bytes, number {self.position}>"
