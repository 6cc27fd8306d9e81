"""Reports in a headless Chromium: what is seen, heard, typed and clicked. Run by `make test-browser`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hume_sync import HumeStreamClient, StreamResponse
from hume_sync.batch import ItemError, Result
from hume_sync.batch.html_report import write_report

from . import runs
from .browser import Page, chromium, find

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

RIBBON = (245, 179, 1)
ROWS = "#items-table tbody tr"
KEYS = f"[...document.querySelectorAll('{ROWS} th')].map((cell) => cell.textContent)"
CURSOR = "document.querySelector('.cursor').getAttribute('x1')"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    path = find()
    if path is None:
        assert not os.environ.get("REQUIRE_BROWSER"), "there is no Chromium"
        pytest.skip("there is no Chromium")
    with chromium(path) as page:
        yield page


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of ten items with media beside it."""
    folder = tmp_path_factory.mktemp("small")
    with HumeStreamClient.emulated() as client:
        lines = runs.write_lines(folder / "scores.jsonl", runs.small_run(client, folder / "media"))
    write_report(lines, folder / "report.html", media_root=folder / "media", by="folder")
    return folder / "report.html"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of 10,000 items."""
    file = tmp_path_factory.mktemp("large") / "report.html"
    write_report(runs.invented(10_000, emulated=False), file, by="folder")
    return file


@pytest.fixture(params=["small", "large"])
def report(request: pytest.FixtureRequest) -> Path:
    """Return the report of 10 items, and that of 10,000."""
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture(autouse=True)
def _no_complaints(page: Page) -> Iterator[None]:
    page.size(1180, 900)
    yield
    assert page.complaints() == []


def click(page: Page, selector: str) -> None:
    page.run(f"document.querySelector({selector!r}).click()")


def share(pixels: Any, colour: tuple[int, int, int], tolerance: int = 12) -> float:
    """Return the share of pixels that have a colour."""
    near = np.abs(pixels.astype(int) - colour).max(axis=2) <= tolerance
    return float(near.mean())


def test_a_report_opens_without_a_request_to_a_network(
    page: Page, report: Path, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    page.open(report.as_uri())
    assert {url.partition(":")[0] for url in page.requests()} <= {"file", "data"}  # data: the icons of a player
    ready = page.run("document.documentElement.dataset.ready")
    record_property("milliseconds until interactive", ready)
    with capsys.disabled():
        sys.stdout.write(f"\n{report.stat().st_size / 1e6:.2f} MB, interactive after {ready} ms\n")


def test_a_report_is_not_blank_and_has_its_ribbon_where_scores_are_invented(
    page: Page, small: Path, large: Path
) -> None:
    page.open(small.as_uri())
    pixels = page.pixels()
    assert pixels.shape == (900, 1180, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    assert share(pixels[:40], RIBBON) > 0.7
    page.open(large.as_uri())  # of a real server
    pixels = page.pixels()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    assert share(pixels, RIBBON) == 0


def test_dark_colours_are_used_where_they_are_preferred(page: Page, small: Path) -> None:
    lightness = []
    for dark in (False, True):
        page.size(1180, 900, dark=dark)
        page.open(small.as_uri() + "#item-2")
        pixels = page.pixels()
        lightness.append(float(np.median(pixels)))
        assert pixels.std() > 20  # something is to be seen in either
    assert lightness[0] > 200
    assert lightness[1] < 60


@pytest.mark.parametrize("width", [360, 768, 1180])
def test_nothing_is_wider_than_the_window(page: Page, small: Path, width: int) -> None:
    page.size(width, 740)
    for item in (2, 7, 9):
        page.open(f"{small.as_uri()}#item-{item}")
        assert page.run("document.documentElement.scrollWidth") == width
        outside = page.run(
            "[...document.querySelectorAll('main *')].filter((node) => !node.closest('.scroll')"
            " && node.getBoundingClientRect().right > innerWidth + 1).map((node) => node.tagName)"
        )
        assert outside == []


def test_the_filter_narrows_the_table(page: Page, report: Path) -> None:
    page.open(report.as_uri())
    total = page.run("items.length")
    assert page.run(f"document.querySelectorAll({ROWS!r}).length") == min(25, total)
    page.run("document.querySelector('#items-tools input').focus()")
    page.type("E0203")
    found = page.run(f"[...document.querySelectorAll({ROWS!r})].map((row) => row.textContent)")
    assert found
    assert all("E0203" in row for row in found)
    expected = page.run("items.filter((item) => item.error?.[1] === 'E0203').length")
    assert page.run("document.querySelector('#items-tools .count').textContent").startswith(f"{expected} of ")
    page.type(" and nothing else")
    assert page.run(f"document.querySelectorAll({ROWS!r}).length") == 0


def test_columns_are_sorted_by_keyboard(page: Page, report: Path) -> None:
    page.open(report.as_uri())
    unsorted = page.run(KEYS)
    page.run("document.querySelector('#items-table .scroll').focus()")
    page.tab()
    heading = "document.activeElement.closest('th')"
    assert page.run(f"{heading}.textContent") == "Input"
    orders = []
    for order in ("ascending", "descending"):
        page.enter()
        assert page.run(f"{heading}.getAttribute('aria-sort')") == order
        orders.append(page.run(KEYS))
    assert orders[0] == unsorted
    assert orders[1] != unsorted
    for _ in range(3):
        page.tab()
    page.enter()
    assert page.run(f"{heading}.getAttribute('aria-sort')") == "descending"
    assert page.run("document.querySelectorAll('#items-table th[aria-sort=descending]').length") == 1
    column = page.run(f"[...document.querySelectorAll('{ROWS} td:nth-child(4)')].map((cell) => cell.textContent)")
    scores = [float(cell) for cell in column if cell != "\u2013"]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == page.run("Math.max(...everyItem.map(scoreOf).filter((score) => score === score))")
    page.enter()
    lowest = page.run(f"document.querySelector('{ROWS} td:nth-child(4)').textContent")
    assert float(lowest) <= scores[-1]


def test_another_expression_can_be_sorted_by(page: Page, report: Path) -> None:
    page.open(report.as_uri())
    page.run(
        "(() => { const select = [...document.querySelectorAll('#items-tools select')].at(-1);"
        "select.value = [...select.options].find((option) => option.text === 'Triumph').value;"
        "select.dispatchEvent(new Event('change')); })()"
    )
    click(page, "#items-table th:nth-child(4) button")
    assert page.run("document.querySelector('#items-table th:nth-child(4)').textContent") == "Triumph"
    shown = float(page.run(f"document.querySelector('{ROWS} td:nth-child(4)').textContent"))
    assert shown == page.run("Math.max(...everyItem.map(scoreOf).filter((score) => score === score))")


def test_pages_are_turned_and_stop_at_the_ends(page: Page, large: Path) -> None:
    page.open(large.as_uri())
    first = page.run(KEYS)
    previous, following = (f"#items-table nav button:nth-child({i})" for i in (1, 2))
    assert page.run(f"document.querySelector({previous!r}).disabled")
    click(page, following)
    second = page.run(KEYS)
    assert not set(first) & set(second)
    assert page.run("document.querySelector('#items-table nav span').textContent") == "26 to 50 of 10,000"
    click(page, previous)
    assert page.run(KEYS) == first


def test_an_item_is_opened_by_keyboard_and_left_again(page: Page, report: Path) -> None:
    page.open(report.as_uri())
    click(page, "#items-table th:first-child button")
    page.run(f"document.querySelector('{ROWS}:nth-child(6) button').focus()")
    key = page.run("document.activeElement.textContent")
    page.enter()
    page.wait("document.activeElement.id === 'detail-heading'")
    assert page.run("document.activeElement.textContent").startswith(key)
    assert page.run("document.querySelector('#items-table tr.open th').textContent").startswith(key)
    page.run("[...document.querySelectorAll('#detail button')].find((b) => b.textContent.startsWith('Back')).click()")
    assert page.run("document.activeElement.textContent") == key
    page.run("[...document.querySelectorAll('#detail button')].find((b) => b.textContent.startsWith('Next')).click()")
    page.wait("document.activeElement.id === 'detail-heading'")
    assert not page.run("document.activeElement.textContent").startswith(key)
    page.run("history.back()")
    page.wait(f"document.activeElement.textContent.startsWith({key!r})")


def test_the_cursor_follows_the_player(page: Page, small: Path) -> None:
    page.open(small.as_uri() + "#item-2")
    assert page.run("detail.item.key") == "calls/call 1.wav"
    page.wait("document.querySelector('audio').readyState > 0")
    assert page.run("document.querySelector('audio').duration") == pytest.approx(60.0)
    before = float(page.run(CURSOR))
    page.run("document.querySelector('audio').currentTime = 32.5")
    page.wait(f"{CURSOR} > {before}")
    assert float(page.run(CURSOR)) == pytest.approx(page.run("detail.frame.x(32.5)"), abs=1)
    assert page.run("document.querySelectorAll('.cursor').length") == 2
    assert page.run("document.querySelector('#readout').textContent").startswith("0:30 to 0:35:")
    assert page.run("document.querySelector('#position').getAttribute('aria-valuetext')").startswith("0:30 to 0:35: ")


def test_the_player_follows_the_slider_and_the_charts(page: Page, small: Path) -> None:
    page.open(small.as_uri() + "#item-2")
    page.wait("document.querySelector('audio').readyState > 0")
    page.run("document.querySelector('#position').focus()")
    page.press("End", 35)
    page.wait("document.querySelector('audio').currentTime === 60")
    box = page.run(
        "(() => { const svg = [...document.querySelectorAll('.chart')].at(-1); svg.scrollIntoView({block: 'center'});"
        "const box = svg.getBoundingClientRect(); return [box.left, box.top, detail.frame.x(12.5)]; })()"
    )
    for kind in ("mousePressed", "mouseReleased"):
        page.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=box[0] + box[2],
            y=box[1] + 60,
            button="left",
            buttons=1,
            clickCount=1,
        )
    page.wait("Math.abs(document.querySelector('audio').currentTime - 12.5) < 0.2")
    assert page.run("document.querySelector('#readout').textContent").startswith("0:10 to 0:15:")


def test_a_heat_map_has_a_cell_for_each_score(page: Page, small: Path) -> None:
    page.open(small.as_uri() + "#item-2")
    cells = (
        "[...document.querySelectorAll('.chart path[class^=heat]')]"
        ".reduce((sum, path) => sum + path.getAttribute('d').split('M').length - 1, 0)"
    )
    assert page.run(cells) == 15 * 12
    page.run(
        "[...document.querySelectorAll('#detail-body button')].find((b) => b.textContent === 'Show all 48').click()"
    )
    assert page.run(cells) == 48 * 12
    page.run("document.querySelector('#detail-body details').open = true")
    page.wait("document.querySelectorAll('#detail-body details tbody td').length === 48 * 12")


def test_charts_have_texts_and_controls_have_names(page: Page, report: Path) -> None:
    page.open(report.as_uri())
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    unnamed = page.run(
        "[...document.querySelectorAll('svg')].filter((svg) => !svg.closest('[aria-hidden=true]') && !svg.ariaLabel"
        " && !byId(svg.getAttribute('aria-labelledby'))?.textContent).length"
    )
    assert unnamed == 0
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    kinds = {"button", "combobox", "searchbox", "slider", "table", "region", "img", "link", "columnheader"}
    nameless = [
        node
        for node in tree
        if node.get("role", {}).get("value") in kinds and not node["ignored"] and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    assert {"main", "banner", "contentinfo"} <= {node.get("role", {}).get("value") for node in tree}


def test_a_picture_is_shown_and_each_kind_of_its_scores(page: Page, small: Path) -> None:
    page.open(small.as_uri() + "#item-7")
    page.wait("document.querySelector('.player img')?.naturalWidth > 0")
    names = "[...document.querySelectorAll('#detail-body .bars li span:first-child')].map((node) => node.textContent)"
    before = page.run(names)
    page.run(
        "(() => { const select = document.querySelector('#detail-body select'); select.selectedIndex = 1;"
        "select.dispatchEvent(new Event('change')); })()"
    )
    assert page.run("document.querySelector('#detail-body h3').textContent") == "Facial actions"
    assert page.run(names) != before


def test_a_folder_narrows_the_table_and_the_highest_expressions(page: Page, report: Path) -> None:
    page.open(report.as_uri())
    name = page.run("document.querySelector('#folders-table tbody button').textContent")
    click(page, "#folders-table tbody button")
    assert page.run(f"{KEYS}.every((key) => key.startsWith({name + '/'!r}))")
    before = page.run("document.querySelector('#top-chart').textContent")
    page.run(
        "(() => { const select = document.querySelectorAll('#top-tools select')[1]; select.selectedIndex = 1;"
        "select.dispatchEvent(new Event('change')); })()"
    )
    assert (
        page.run("document.querySelector('#top-chart').textContent + document.querySelector('#top-note').textContent")
        != before
    )


def test_a_file_that_was_moved_is_noted_in_place_of_the_player(page: Page, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(runs.tone(1.0))
    reply = StreamResponse({"prosody": {"predictions": [{"time": {"begin": 0, "end": 1}, "emotions": []}]}})
    write_report([Result.measured("a.wav", runs.HASH, reply, seconds=1, requests=1)], tmp_path / "report.html")
    (tmp_path / "a.wav").unlink()
    page.open((tmp_path / "report.html").as_uri())
    page.wait("document.querySelector('.player .notice') !== null")
    page.events = [event for event in page.events if event["method"] != "Log.entryAdded"]  # of the file not found


@pytest.mark.parametrize("results", ["none", "failures", "hostile", "odd"])
def test_runs_of_every_kind_are_shown(page: Page, results: str, tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=document.title='taken'>"
    joy = [{"name": "Joy", "score": 0.5}]
    replies: dict[str, dict[str, Any]] = {
        "hostile": {
            "language": {"predictions": [{"text": hostile, "emotions": [{"name": hostile, "score": 0.5}]}] * 2}
        },
        "odd": {
            "a": {"predictions": [{"emotions": [{"name": "Joy", "score": score}]} for score in (-3, 1e300, 5)]},
            "face": {"predictions": [{"time": i / 3, "emotions": joy if i % 7 else []} for i in range(500)]},
            "prosody": {"predictions": [{"time": {"begin": 0, "end": 0}, "emotions": joy}] * 3},
        },
    }
    rows = (
        [] if results == "none" else [runs.failed(hostile), Result("x", "", error=ItemError("A", None, hostile, True))]
    )
    if results in replies:
        reply = StreamResponse(replies[results] | {"warning": hostile})
        rows.append(Result.measured(hostile + "2", runs.HASH, reply, seconds=1, requests=1))
    write_report(rows, tmp_path / "report.html", title="A title")
    page.open((tmp_path / "report.html").as_uri())
    for item in range(len(rows)):
        page.run(f"go({item})")
        page.wait(f"detail.item === items[{item}]")
        for at in range(page.run("detail.item.series?.length ?? 0")):
            page.run(f"detail.select({at})")
    assert page.run("document.title") == "A title"
    assert page.run("document.querySelectorAll('img').length") == 0
    assert page.run("/NaN|undefined|null/.test(document.querySelector('main').textContent)") is False


def test_a_printed_report_has_its_ribbon_and_no_controls(page: Page, small: Path) -> None:
    page.size(800, 900, media="print")
    page.open(small.as_uri())
    assert share(page.pixels()[:40], RIBBON) > 0.5
    assert page.run("[...document.querySelectorAll('select, input')].every((node) => node.offsetParent === null)")
