"""Format results as text, as JSON and as the table of README.md."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from .results import Result, Table, Target

__all__ = ["lines", "target_table", "write_json"]


def lines(result: Result) -> Iterator[str]:
    """Yield the lines of a family's tables and notes."""
    for table in result.tables:
        yield from ("", *_text(table))
    for note in result.notes:
        yield from ("", note)


def target_table(targets: Sequence[Target]) -> Iterator[str]:
    """Return the lines of a table of all targets and figures."""
    rows = [
        [f"{target.work}: {target.against}", *_numbers(target), target.verdict.upper().replace("TARGET", "ok")]
        for target in targets
    ]
    return _text(Table("Targets", ["work", "figure", "spread", "target", "stretch", "reached"], rows))


def write_json(result: Result, directory: Path, about: Mapping[str, Any]) -> None:
    """Write the figures of all rounds, with the versions and the number of cores."""
    content = {
        "family": result.family,
        "measured on": {**about, "cores": os.cpu_count()},
        "targets": [{**attrs.asdict(target), "verdict": target.verdict} for target in result.targets],
        "data": result.data,
        "notes": list(result.notes),
    }
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, default=list)
    (directory / f"{result.family}.json").write_text(text + "\n", "utf-8")


def _numbers(target: Target) -> list[str]:
    found = target.figure
    return [
        f"{_short(found.median)} {target.unit}",
        f"{_short(found.low)}-{_short(found.high)}",
        _short(target.target),
        "-" if target.stretch is None else _short(target.stretch),
    ]


def _short(number: float) -> str:
    """Return a number with three significant digits, or all digits of its integer part."""
    if number == int(number) or abs(number) >= 100:
        return f"{number:.0f}"
    return f"{number:.3g}"


def _text(table: Table) -> Iterator[str]:
    columns = list(zip(table.head, *table.rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    yield table.title
    for row in (table.head, *table.rows):
        first, *rest = (
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join([f"  {first}", *rest]).rstrip()
