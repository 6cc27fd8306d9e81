"""The counts of a run."""

from __future__ import annotations

import attrs

from ..reprs import safe_repr
from ..stream.responses import printable
from .item import Result

__all__ = ["Summary"]

_FIRST = 5
"""Failed inputs that are named for each code."""


@safe_repr
@attrs.define
class Summary:
    """What a run has done. Printing it shows a few lines.

    Attributes:
        measured: Items measured in this run.
        failed: Items that failed in this run.
        skipped: Items that an earlier run has done.
        requests: Requests sent for the items measured.
        seconds: Length of the run.
        emulated: Whether any score was invented by the local server.
        failures: How many items failed, by the server's code or the class of the error.
        first_failures: The keys of the first items that failed, at most five for each of these.
    """

    measured: int = 0
    failed: int = 0
    skipped: int = 0
    requests: int = 0
    seconds: float = 0.0
    emulated: bool = False
    failures: dict[str, int] = attrs.Factory(dict)
    first_failures: dict[str, list[str]] = attrs.Factory(dict)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    def add(self, result: Result) -> None:
        """Count a result of this run."""
        self.emulated = self.emulated or result.emulated
        if result.error is None:
            self.measured += 1
            self.requests += result.requests
            return
        self.failed += 1
        code = result.error.code or result.error.type
        self.failures[code] = self.failures.get(code, 0) + 1
        first = self.first_failures.setdefault(code, [])
        if len(first) < _FIRST:
            first.append(result.key)

    def __str__(self) -> str:
        counts = f"{self.measured:,} measured, {self.failed:,} failed, {self.skipped:,} skipped"
        lines = [f"{counts} in {self.seconds:.1f} s"]
        for code, count in sorted(self.failures.items(), key=lambda entry: -entry[1]):
            first = ", ".join(map(printable, self.first_failures[code]))
            more = ", ..." if count > len(self.first_failures[code]) else ""
            lines.append(f"  {count:,} x {printable(code)}: {first}{more}")
        if self.emulated:
            lines.append("(emulated: invented scores, not measurements)")
        return "\n".join(lines)
