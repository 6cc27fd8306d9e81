"""The figures that readers see, from the last whole run: README's five lines, a chart, the tables of docs/performance.

``python -m benchmarks.publish`` writes them from the JSON in benchmarks/results; ``python -m benchmarks --readme`` does
so after a run. The figures stand between markers, and nothing else of a page changes. Standard library alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["BEGIN", "END", "Figures", "chart", "publish", "put_between_markers"]

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"

_README = (
    ("one face of landmarks, sent and answered", "facemesh round trip, n = 1"),
    ("a text, sent and answered", "text round trip"),
    ("a file of 1 MB, sent and answered", "1 MB file round trip"),
    ("a new TLS connection and a text", "a fresh TLS connection and a text"),
    ("memory of an idle TLS connection", "memory of an idle pooled TLS connection"),
)
"""README's lines: what a reader calls a measurement, and what the suite calls it."""

_BARS = (
    ("landmarks, 1 face", "facemesh round trip, n = 1"),
    ("landmarks, 10 faces", "facemesh round trip, n = 10"),
    ("landmarks, 100 faces", "facemesh round trip, n = 100"),
    ("text", "text round trip"),
    ("file of 1 MB", "1 MB file round trip"),
    ("new TLS connection and text", "a fresh TLS connection and a text"),
)

_AGAINST = {
    "hume": "the official SDK, hume {hume}",
    "hume, facade": "the official SDK, called from a thread",
    "floor": "the floor",
    "picows": "picows {picows} on uvloop {uvloop}",
    "orjson.dumps": "orjson alone",
    "bare sockets": "the handshake and a text over bare sockets",
    "32 / 0.020 s": "the ideal rate",
    "itself": "",
}
"""What a measurement is compared with, in a reader's words."""


class Figures:
    """The results of a run.

    Args:
        directory: where the JSON of each family is.
    """

    def __init__(self, directory: Path) -> None:
        families = [json.loads(path.read_text("utf-8")) for path in sorted(directory.glob("*.json"))]
        self.comparisons: list[Mapping[str, Any]] = [target for family in families for target in family["targets"]]
        about = families[0]["measured on"]
        self.cores: int = families[0]["measured on"]["cores"]
        self.python: str = about["main"]["python"]
        self.versions = {
            "hume": about["hume_0_6"]["hume"],
            "picows": about["clients"]["picows"],
            "uvloop": about["clients"]["uvloop"],
        }

    def find(self, work: str, against: str = "hume") -> Mapping[str, Any]:
        """Return one comparison."""
        (found,) = [each for each in self.comparisons if (each["work"], each["against"]) == (work, against)]
        return found

    def against(self, other: str) -> str:
        """Say in words what a measurement is compared with."""
        return _AGAINST.get(other, other).format(**self.versions)

    def conditions(self) -> str:
        """Say how the figures were measured."""
        rounds = len(self.comparisons[0]["figure"]["rounds"])
        return (
            f"Medians of {rounds} interleaved rounds in one run, on loopback, with {self.cores} cores and Python"
            f" {self.python}."
        )


def readme_table(figures: Figures) -> Iterator[str]:
    """Yield the lines of README's table."""
    yield f"| work | than {figures.against('hume')} |"
    yield "|---|---|"
    for name, work in _README:
        found = figures.find(work)
        yield f"| {name} | {_short(found['figure']['median'])} {found['unit']} |"
    yield ""
    yield figures.conditions()


def whole_table(figures: Figures) -> Iterator[str]:
    """Yield the lines of the table of docs/performance."""
    yield "| work | compared with | result | lowest to highest round |"
    yield "|---|---|---|---|"
    for each in figures.comparisons:
        found = each["figure"]
        yield (
            f"| {each['work']} | {figures.against(each['against'])} | {_short(found['median'])} {each['unit']} |"
            f" {_short(found['low'])} to {_short(found['high'])} |"
        )
    yield ""
    yield figures.conditions()


def chart(figures: Figures) -> str:
    """Draw how many times faster than the official SDK: an SVG of horizontal bars."""
    values = [(name, float(figures.find(work)["figure"]["median"])) for name, work in _BARS]
    scale = 400 / max(value for _, value in values)
    height = 60 + 26 * len(values)
    title = f"Times faster than {figures.against('hume')}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 {height}" role="img" font-family="sans-serif">',
            f"<title>{escape(title)}</title>",
            f'<rect width="680" height="{height}" fill="#ffffff"/>',
            f'<text x="12" y="26" font-size="15" font-weight="bold" fill="#222222">{escape(title)}</text>',
            *_bars(values, scale),
            "</svg>",
            "",
        ]
    )


def _bars(values: Sequence[tuple[str, float]], scale: float) -> Iterator[str]:
    for number, (name, value) in enumerate(values):
        top, width = 44 + 26 * number, value * scale
        yield f'<text x="202" y="{top + 13}" font-size="12" text-anchor="end" fill="#222222">{escape(name)}</text>'
        yield f'<rect x="210" y="{top}" width="{width:.1f}" height="18" fill="#2f6f9f"/>'
        yield f'<text x="{216 + width:.1f}" y="{top + 13}" font-size="12" fill="#222222">{_short(value)}</text>'


def put_between_markers(path: Path, text: str) -> None:
    """Put text between the markers of a page; nothing else changes.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    page = path.read_text("utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in before + after:
        raise ValueError(f"{path.name} must hold {BEGIN} and, behind it, {END}, once each")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


def publish(root: Path, results: Path | None = None) -> None:
    """Write the figures into the pages of a checkout.

    Args:
        root: the checkout.
        results: where the JSON of each family is; None: in the checkout.
    """
    figures = Figures(results or root / "benchmarks" / "results")
    put_between_markers(root / "README.md", "\n".join(readme_table(figures)))
    put_between_markers(root / "docs" / "performance.md", "\n".join(whole_table(figures)))
    (root / "docs" / "images" / "speed.svg").write_text(chart(figures), "utf-8")


def _short(number: float) -> str:
    """Three digits that matter; whole numbers whole."""
    if number == int(number) or abs(number) >= 100:
        return f"{number:.0f}"
    return f"{number:.3g}"


if __name__ == "__main__":
    publish(Path(__file__).parents[1])
