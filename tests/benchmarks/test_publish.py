from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.publish import BEGIN, END, Figures, chart, publish, put_between_markers

ROOT = Path(__file__).parents[2]


@pytest.fixture
def figures() -> Figures:
    return Figures(ROOT / "benchmarks" / "results")


def test_a_page_gets_new_text_between_its_markers_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"# Title\n\n{BEGIN}\nold | table\n{END}\n\nThe rest: {{}} \\1\n")
    put_between_markers(page, "new | table")
    assert page.read_text() == f"# Title\n\n{BEGIN}\nnew | table\n{END}\n\nThe rest: {{}} \\1\n"
    put_between_markers(page, "new | table")
    assert page.read_text() == f"# Title\n\n{BEGIN}\nnew | table\n{END}\n\nThe rest: {{}} \\1\n"


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, f"{BEGIN}{END}{BEGIN}", f"{BEGIN}{END}{END}"])
def test_a_page_without_its_markers_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    page = tmp_path / "README.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="must hold"):
        put_between_markers(page, "table")
    assert page.read_text() == text


def test_the_pages_hold_the_figures_of_the_last_run(tmp_path: Path) -> None:
    (tmp_path / "docs" / "images").mkdir(parents=True)
    pages = ["README.md", "docs/performance.md"]
    for page in pages:
        (tmp_path / page).write_text((ROOT / page).read_text("utf-8"))
    publish(tmp_path, ROOT / "benchmarks" / "results")
    for page in [*pages, "docs/images/speed.svg"]:
        written = (ROOT / page).read_text("utf-8")
        assert (tmp_path / page).read_text() == written, f"{page}: run python -m benchmarks.publish"


def test_every_measurement_says_what_it_was_compared_with(figures: Figures) -> None:
    for each in figures.comparisons:
        assert figures.against(each["against"]) != each["against"]


def test_the_chart_is_an_image_with_a_bar_for_each_measurement(figures: Figures) -> None:
    image = ET.fromstring(chart(figures))
    bars = [each for each in image.iter("{http://www.w3.org/2000/svg}rect") if each.get("x") == "210"]
    assert len(bars) == 6
    assert all(0 < float(bar.get("width", "")) <= 400 for bar in bars)
