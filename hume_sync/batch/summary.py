"""What became of the items of a batch, in a few figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import attrs

from ..reprs import safe_repr
from ..stream.responses import printable
from .item import Result

__all__ = ["FailureGroup", "Summary", "Tally"]

_KEYS = 5
"""Keys that a group of failures names."""


@safe_repr
@attrs.frozen
class FailureGroup:
    """Items that failed with the same code, or the same class of error where there is no code.

    Attributes:
        code: The server's error code, such as "E0200", or the class, such as "FileNotFoundError".
        text: The message of the first of these errors.
        retryable: Whether any of the items may succeed if it is measured again.
        count: How many items.
        keys: The first five of them.
    """

    code: str
    text: str
    retryable: bool
    count: int
    keys: tuple[str, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.keys) else ""
        first, *others = (printable(key) for key in self.keys)
        named = ", ".join([f"{first} ({printable(self.text)})", *others])
        return f"{printable(self.code)} ({self.count}): {named}{more}"


@safe_repr
@attrs.frozen
class Summary:
    """What became of the items of a batch.

    Attributes:
        items: How many there are.
        failed: How many of them failed.
        requests: Requests that their content was split into.
        seconds: The sum of the times that each of them took.
        skipped: How many more an earlier run had done, for a run that went on.
        failed_before: How many of these had failed.
        elapsed: Seconds that the run took; 0 for the summary of a file.
        emulated: How many were measured by the local server, with invented scores; those of an earlier run included.
        failures: The failures by code, the most frequent first.
    """

    items: int = 0
    failed: int = 0
    requests: int = 0
    seconds: float = 0.0
    skipped: int = 0
    failed_before: int = 0
    elapsed: float = 0.0
    emulated: int = 0
    failures: tuple[FailureGroup, ...] = ()

    @classmethod
    def of(cls, results: Iterable[Result]) -> Self:
        """Count results."""
        tally = Tally()
        for result in results:
            tally.add(result)
        return cls(**attrs.asdict(tally.summary(), recurse=False))

    @property
    def ok(self) -> bool:
        """Whether nothing failed, in an earlier run neither."""
        return not self.failed and not self.failed_before

    @property
    def measured(self) -> int:
        """How many items were measured."""
        return self.items - self.failed

    def __str__(self) -> str:
        """Return a line of figures, and one for each code of the failures."""
        noun = "item" if self.items == 1 else "items"
        figures = f"{self.items} {noun}: {self.measured} measured, {self.failed} failed"
        if self.skipped:
            figures += f"; {self.skipped} done before"
            figures += f", {self.failed_before} of them failed" if self.failed_before else ""
        if self.elapsed:
            figures += f"; {self.elapsed:.1f} s"
        emulated = f" ({self.emulated} emulated: invented scores, not measurements)" if self.emulated else ""
        return "\n".join([figures + emulated, *(f"  {group}" for group in self.failures)])


class Tally:
    """Counts results one by one. It is not for several threads at once."""

    def __init__(self) -> None:
        self._items = self._failed = self._requests = self._emulated = self._skipped = self._failed_before = 0
        self._seconds = 0.0
        self._groups: dict[str, FailureGroup] = {}

    def add(self, result: Result) -> None:
        """Count a result."""
        self._items += 1
        self._requests += result.requests
        self._seconds += result.seconds
        error = result.error
        if error is None:
            self._emulated += result.emulated
            return
        self._failed += 1
        code = error.code or error.type
        group = self._groups.get(code) or FailureGroup(code, error.text, False, 0, ())
        self._groups[code] = attrs.evolve(
            group,
            retryable=group.retryable or error.retryable,
            count=group.count + 1,
            keys=group.keys if len(group.keys) == _KEYS else (*group.keys, result.key),
        )

    def skip(self, *, failed: bool, emulated: bool) -> None:
        """Count an item that an earlier run had done."""
        self._skipped += 1
        self._failed_before += failed
        self._emulated += emulated

    def summary(self) -> Summary:
        """Return the figures so far."""
        return Summary(
            items=self._items,
            failed=self._failed,
            requests=self._requests,
            seconds=self._seconds,
            skipped=self._skipped,
            failed_before=self._failed_before,
            emulated=self._emulated,
            failures=tuple(sorted(self._groups.values(), key=lambda group: -group.count)),
        )
