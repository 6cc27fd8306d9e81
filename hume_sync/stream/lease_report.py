"""Who holds the leases of a pool: for the errors of those who get none."""

from __future__ import annotations

import dis
import sys
from types import CodeType, FrameType
from typing import TypeVar

import attrs

from ..errors import LeaseHolder, PoolError, PoolFull, PoolTimeout, short_repr
from ..net import clock
from ..reprs import safe_repr
from .leases import Lease, LeaseQueue

__all__ = ["LeaseReport"]

_E = TypeVar("_E", bound=PoolError)

_MOST = 10
"""Holders that an error names."""


@safe_repr
@attrs.frozen
class LeaseReport:
    """Who holds leases and who waits, at a moment when a lease cannot be given."""

    wanted: Lease
    size: int
    held: int
    waiting: int
    listed: tuple[Lease, ...]
    """Some of those that are held: those in the way first, then the oldest first."""
    blocking: tuple[Lease, ...]
    """Those of which one has to end first."""

    @classmethod
    def create(cls, wanted: Lease, leases: LeaseQueue) -> LeaseReport:
        """Look around; the pool's lock is held."""
        in_the_way = tuple(leases.blocking(wanted))
        held = sorted(leases.active, key=lambda lease: (lease not in in_the_way, lease.acquired_at))
        return cls(wanted, leases.size, len(held), leases.waiting, tuple(held[:_MOST]), in_the_way)

    @property
    def is_deadlock(self) -> bool:
        """Whether the calling thread waits for ``with`` blocks of its own, which cannot end before its wait does.

        That is so where their frames are on its stack. Blocks of generators that it has left, as frameworks enter and
        leave them in whatever thread is free, are not; and a lease that another thread uses may be ended by that one.
        """
        if not self.blocking or any(
            lease.thread is not self.wanted.thread or lease.shared or lease.lock.holder is not None
            for lease in self.blocking
        ):
            return False
        frame: FrameType | None = sys._getframe()
        stack = set()
        while frame is not None:
            stack.add(id(frame))
            frame = frame.f_back
        return all(lease.frame_id in stack for lease in self.blocking)

    @property
    def entered_by_with(self) -> bool:
        """Whether all leases in the way were entered by ``with`` statements, rather than by hand or an `ExitStack`.

        Others may have been handed to another thread, which has not begun to use them.
        """
        return all(_is_with(lease.code, lease.instruction) for lease in self.blocking)

    @property
    def usage(self) -> tuple[tuple[Lease, int], ...]:
        """What the leases in the way have been used for so far: it changes while another thread uses them."""
        return tuple((lease, lease.stream.sent) for lease in self.blocking)

    def timeout(self) -> PoolTimeout:
        """Build the error for one who has waited in vain. Without the pool's lock, as for the others below."""
        what = "no lease" if self._stream is None else f"the stream {self._stream} is in use: no lease"
        return self._error(PoolTimeout, f"{what} came free in time ({self.held} are held, {self.waiting} callers wait)")

    def deadlock(self) -> PoolTimeout:
        """Build the error for one who `is_deadlock`."""
        if self._stream is not None:
            what = f"the stream {self._stream}"
        else:
            what = "the pool's only lease" if self.size == 1 else f"all {self.size} leases of the pool"
        return self._error(PoolTimeout, f"this thread waits for itself: it holds {what}")

    def full(self) -> PoolFull:
        """Build the error for one who may not even wait."""
        return self._error(PoolFull, f"max_waiting is {self.waiting}, and as many wait for a lease already")

    @property
    def _stream(self) -> str | None:
        """The name of the stream that is waited for, where that is in use."""
        key = self.wanted.key
        in_use = key is not None and any(lease.key == key for lease in self.blocking)
        return short_repr(key) if in_use else None

    def _error(self, kind: type[_E], text: str) -> _E:
        now = clock.monotonic()
        holders = tuple(_holder(lease, now) for lease in self.listed)
        listed = [str(holder) for holder in holders]
        if self.held > len(listed):
            listed.append(f"and {self.held - len(listed)} more")
        error = kind(": ".join([text, "; ".join(listed)] if listed else [text]))
        error.holders = holders
        return error


def _holder(lease: Lease, now: float) -> LeaseHolder:
    return LeaseHolder(
        file=lease.code.co_filename,
        line=_line(lease.code, lease.instruction),
        thread=lease.thread.name,
        seconds=max(0.0, now - lease.acquired_at),
        stream=None if lease.key is None else short_repr(lease.key),
        thread_ended=lease.thread.ended,
    )


def _is_with(code: CodeType, instruction: int) -> bool:
    """Tell whether an instruction enters the block of a ``with`` statement, rather than calls ``__enter__`` by name."""
    before = max(0, instruction - 2)  # from Python 3.14 on, a call is what follows the look-up of the method
    return any(dis.opname[code.co_code[place]] in _ENTERING for place in (instruction, before))


_ENTERING = frozenset({"BEFORE_WITH", "LOAD_SPECIAL"})


def _line(code: CodeType, instruction: int) -> int:
    """The line of an instruction. (A frame could tell it at once, but that takes longer than a whole lease.)"""
    for begin, end, line in code.co_lines():
        if begin <= instruction < end and line is not None:
            return line
    return code.co_firstlineno
