"""Draw an SVG for each family. The same numbers give the same file."""

from __future__ import annotations

from pathlib import Path

from .results import Chart

__all__ = ["draw"]


def draw(chart: Chart, path: Path) -> None:
    """Write a chart as SVG."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    settings = {"svg.hashsalt": "hume_sync", "svg.fonttype": "none", "font.size": 9}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        width = 0.8 / len(chart.series)
        for number, (name, values) in enumerate(chart.series.items()):
            known = [(place, value) for place, value in enumerate(values) if value is not None]
            if chart.lines:
                axes.plot([place for place, _ in known], [value for _, value in known], marker="o", label=name)
            else:
                shift = (number - (len(chart.series) - 1) / 2) * width
                axes.bar([place + shift for place, _ in known], [value for _, value in known], width, label=name)
        axes.set_xticks(range(len(chart.places)), chart.places)
        axes.set_title(chart.title)
        axes.set_ylabel(chart.unit)
        if chart.logarithmic:
            axes.set_yscale("log")
        axes.grid(axis="y", alpha=0.3)
        figure.legend(loc="outside lower center", fontsize=8, ncols=4)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
