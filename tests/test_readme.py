"""Every example of the README runs, as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hume_sync.cli import main as cli
from hume_sync.emulator import Emulator
from hume_sync.stream.wav import Wav

from .fastrtc.fake import FakeFastRTC
from .fastrtc.real.turns import Output, Stream, level, media, message
from .stream.support import DATA, FACE, SPEECH

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
PYTHON = [
    code
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    if "# application: serves FastRTC" not in code  # that one is run by test-fastrtc, with the real FastRTC
]
FASTRTC = "http://127.0.0.1:7860"
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, hume_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the examples find their files, and the server the environment names."""
    speech = Wav.parse(SPEECH)
    assert speech
    (tmp_path / "clip.wav").write_bytes(next(speech.cut(4.0)))
    (tmp_path / "face.jpg").write_bytes(FACE)
    (tmp_path / "question.wav").write_bytes(next(speech.cut(4.0)))
    monkeypatch.setenv("HUME_BASE_URL", hume_emulator.url)
    monkeypatch.setenv("HUME_API_KEY", "any")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def fastrtc() -> Iterator[str]:
    streams = {
        "/measure": Stream(),
        "/assistant": Stream(greeting=(message("log", "response_starting"), media(level(9000, 16000)))),
        "/transcribe": Stream(turn=lambda heard: iter([Output(f"{len(heard.audio)} samples")])),
    }
    with FakeFastRTC(streams=streams) as fake:
        yield fake.url


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_every_python_example_runs(code: str, folder: Path, fastrtc: str) -> None:
    script = folder / "test_example.py"
    script.write_text(code.replace(FASTRTC, fastrtc))
    runner = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if "def test_" in code else []
    done = subprocess.run(
        [sys.executable, "-W", "error", *runner, script.name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


@pytest.mark.parametrize("command", [c for c in COMMANDS if "hume-sync" in c])
def test_every_command_runs(command: str, folder: Path, fastrtc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = command.replace(FASTRTC, fastrtc)
    if "|" in command:
        monkeypatch.setattr(sys, "stdin", (folder / "clip.wav").open())
        command = command.split("|")[1].strip()
    assert cli.main(shlex.split(command)[1:]) == 0
    if hasattr(sys.stdin, "close"):
        sys.stdin.close()


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text("utf-8")
    assert [command for command in COMMANDS if command.startswith("make")] == ["make demo", "make test"]
    assert all(f"\n{target}: " in makefile for target in ("demo", "test"))


def test_the_demos_output_is_what_the_readme_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo"]) == 0
    out = capsys.readouterr().out
    (block,) = re.findall(r"```text\n(input .*?)```", README, re.DOTALL)
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
    befall: Callable[[Emulator], None], text: str, status: int, folder: Path, hume_emulator: Emulator
) -> None:
    (code,) = (block for block in PYTHON if "def view(" in block)
    view: dict[str, Any] = {}
    exec(code.partition("\n\nprint(")[0], view)
    befall(hume_emulator)
    assert view["view"](text)[0] == status
    view["pool"].close()
