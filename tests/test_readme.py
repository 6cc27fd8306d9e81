"""README: what it promises, beyond its examples, which are run with those of the documentation."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hume_sync.cli import main as cli
from hume_sync.emulator import Emulator

from .documentation import DATA, ROOT, blocks, commands

README = ROOT / "README.md"
MAKEFILE = ROOT / "Makefile"


@pytest.fixture
def environment(hume_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names the server."""
    monkeypatch.setenv("HUME_BASE_URL", hume_emulator.url)
    monkeypatch.setenv("HUME_API_KEY", "any")


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = MAKEFILE.read_text("utf-8")
    assert [command for command in commands(README) if command.startswith("make")] == ["make demo", "make test"]
    assert all(f"\n{target}: " in makefile for target in ("demo", "test"))


def test_the_demos_output_is_what_the_readme_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert cli.main(["demo"]) == 0
    out = capsys.readouterr().out
    (block,) = blocks(README, "text")
    for line in block.splitlines():
        assert line == "..." or line in out


def test_the_demonstration_data_ship_with_the_package() -> None:
    assert {path.name for path in DATA.iterdir()} == {"face.jpg", "facemesh.json", "speech.wav", "texts.txt"}


@pytest.mark.parametrize(
    ("befall", "text", "status"),
    [
        (lambda server: None, "I can hardly believe it!", 200),
        (lambda server: None, "  ", 400),
        (lambda server: server.fail_next("E0102", "no"), "x", 422),
        (lambda server: server.fail_next("E0300", "out of credits"), "x", 422),
        (lambda server: server.fail_next("I0100", "internal", times=9), "x", 503),
        (lambda server: server.refuse(429, times=9), "x", 503),
        (lambda server: server.refuse(503, times=9), "x", 503),
        (lambda server: server.refuse(401, times=9), "x", 502),
        (lambda server: server.refuse(403, times=9), "x", 502),
        (lambda server: server.close(), "x", 503),
    ],
    ids=["fine", "blank", "objection", "credits", "fault", "429", "503", "401", "403", "away"],
)
def test_the_view_answers_as_the_failure_asks(
    befall: Callable[[Emulator], None], text: str, status: int, environment: None, hume_emulator: Emulator
) -> None:
    (code,) = (block for block in blocks(README, "python") if "def view(" in block)
    view: dict[str, Any] = {}
    exec(code.partition("\n\nprint(")[0], view)
    befall(hume_emulator)
    assert view["view"](text)[0] == status
    view["pool"].close()
