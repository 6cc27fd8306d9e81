"""A snapshot of who holds the leases of a pool, for the errors of callers that get none."""

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

_MAX_LISTED = 10
"""Limit on the holders that an error names."""


@safe_repr
@attrs.frozen
class LeaseReport:
    """The holders of leases and the number of waiting callers, when a lease cannot be granted."""

    wanted: Lease
    size: int
    held: int
    waiting: int
    listed: tuple[Lease, ...]
    """Some of the leases in use: blocking ones first, then the oldest first."""
    blocking: tuple[Lease, ...]
    """The leases of which one has to be released first."""

    @classmethod
    def create(cls, wanted: Lease, leases: LeaseQueue) -> LeaseReport:
        """Take the snapshot. Requires the pool's lock."""
        in_the_way = tuple(leases.blocking(wanted))
        held = sorted(leases.active, key=lambda lease: (lease not in in_the_way, lease.acquired_at))
        return cls(wanted, leases.size, len(held), leases.waiting, tuple(held[:_MAX_LISTED]), in_the_way)

    @property
    def is_deadlock(self) -> bool:
        """Whether the calling thread waits for its own ``with`` blocks, which cannot end before its wait does.

        They are its own if their frames are on its stack. Suspended generators are not: frameworks resume them in any
        thread. Nor are leases that another thread uses, since that thread may release them.
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
        """Whether all blocking leases were entered by ``with`` statements, rather than by hand or an `ExitStack`.

        Others may have been passed to another thread that has not used them yet.
        """
        return all(_is_with(lease.code, lease.instruction) for lease in self.blocking)

    @property
    def usage(self) -> tuple[tuple[Lease, int], ...]:
        """The use of the blocking leases so far; it changes while another thread uses them."""
        return tuple((lease, lease.stream.sent) for lease in self.blocking)

    def timeout(self) -> PoolTimeout:
        """Return the error for a caller whose wait timed out. Called without the pool's lock, as those below."""
        what = "a lease" if self._stream is None else f"the stream {self._stream}"
        return self._error(
            PoolTimeout, f"timed out waiting for {what} ({self.held} in use, {self.waiting} callers waiting)"
        )

    def deadlock(self) -> PoolTimeout:
        """Return the error for a caller that would wait for its own lease."""
        if self._stream is not None:
            what = f"the stream {self._stream}"
        else:
            what = "the pool's only lease" if self.size == 1 else f"all {self.size} leases of the pool"
        return self._error(PoolTimeout, f"deadlock: this thread already holds {what}")

    def full(self) -> PoolFull:
        """Return the error for a caller that may not wait."""
        return self._error(
            PoolFull, f"the pool already has {self.waiting} callers waiting (max_waiting={self.waiting})"
        )

    @property
    def _stream(self) -> str | None:
        """The name of the stream that is waited for, if it is in use."""
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
    """Return whether an instruction enters a ``with`` statement, rather than calls ``__enter__`` by name."""
    before = max(0, instruction - 2)  # from Python 3.14 on, the look-up of the method comes before the call
    return any(dis.opname[code.co_code[place]] in _ENTERING for place in (instruction, before))


_ENTERING = frozenset({"BEFORE_WITH", "LOAD_SPECIAL"})


def _line(code: CodeType, instruction: int) -> int:
    """Return the line of an instruction. (Asking the frame when leasing would take longer than the lease itself.)"""
    for begin, end, line in code.co_lines():
        if begin <= instruction < end and line is not None:
            return line
    return code.co_firstlineno
