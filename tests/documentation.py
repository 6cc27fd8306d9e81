"""The examples of README and docs, and how they are run: as they stand there."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from .fastrtc.fake import FakeFastRTC
from .fastrtc.real.turns import Output, Stream, level, media, message
from .stream.support import DATA, FACE, SPEECH, landmarks

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
FASTRTC = "http://127.0.0.1:7860"
"""The application that the examples of FastRTC talk to."""

_SERVES = "# application: serves FastRTC"
"""Begins the application itself, which test-fastrtc runs with the real FastRTC."""

_FILE = re.compile(r"# file: (\S+)\n")
"""Begins what is a file beside the examples of its page."""

_MAIN = 'if __name__ == "__main__":'
"""In files that are programs: they are run too."""

_NEEDS = re.compile(r"# needs: (\w+)\n")
"""Begins an example with a package that only `make docs` installs."""

_ALONE = ("def test_", "# needs:", "import logging", _MAIN)
"""In examples that get a process of their own: they are tests, programs, or change settings of the process."""


@attrs.frozen
class Example:
    """A block of Python on a page."""

    page: Path
    number: int
    code: str
    files: tuple[tuple[str, str], ...] = ()
    """Names and contents of the files beside it."""

    @property
    def name(self) -> str:
        return f"{self.page.stem}-{self.number}"


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def examples(page: Path) -> Iterator[Example]:
    """Yield the examples that are run here."""
    code = [each for each in blocks(page, "python") if not each.startswith(_SERVES)]
    files = tuple((found[1], each) for each in code if (found := _FILE.match(each)))
    for number, each in enumerate(code, 1):
        if not _FILE.match(each) or _MAIN in each:
            yield Example(page, number, each, files)


def commands(page: Path) -> list[str]:
    """Return the shell's commands."""
    return [line[2:] for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ ")]


def write_inputs(folder: Path) -> None:
    """Write the files that the examples read."""
    for name in ("clips", "faces"):
        (folder / name).mkdir()
    (folder / "faces" / "1.json").write_text(json.dumps(landmarks()), "utf-8")
    (folder / "texts.csv").write_text("id,text\n1,What a day!\n2,Leave me alone.\n", "utf-8")
    (folder / "clips" / "talk.wav").write_bytes(SPEECH)
    (folder / "speech.wav").write_bytes(SPEECH)
    (folder / "face.jpg").write_bytes(FACE)
    with wave.open(io.BytesIO(SPEECH), "rb") as speech:
        samples = speech.readframes(4 * speech.getframerate())
        for name in ("clip.wav", "question.wav", "clips/clip.wav"):
            with wave.open(str(folder / name), "wb") as clip:
                clip.setparams(speech.getparams())
                clip.writeframes(samples)


def fake_application() -> FakeFastRTC:
    """Return the application that the examples of FastRTC talk to."""
    return FakeFastRTC(
        streams={
            "/measure": Stream(),
            "/assistant": Stream(greeting=(message("log", "response_starting"), media(level(9000, 16000)))),
            "/transcribe": Stream(turn=lambda turn: iter([Output(f"{len(turn.audio)} samples")])),
        }
    )


def run(example: Example, folder: Path, fastrtc: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run an example in a folder, and return what it prints."""
    if (needs := _NEEDS.match(example.code)) and not os.environ.get("REQUIRE_DOCS"):
        pytest.importorskip(needs[1])
    for name, content in example.files:
        (folder / name).write_text(content, "utf-8")
    code = example.code.replace(FASTRTC, fastrtc)
    if any(mark in code for mark in _ALONE):
        return _run_alone(code, folder)
    capsys.readouterr()
    exec(compile(code, f"<{example.name}>", "exec"), {"__name__": "__main__"})
    return capsys.readouterr().out


def _run_alone(code: str, folder: Path) -> str:
    script = folder / "test_example.py"
    script.write_text(code, "utf-8")
    runner = ["-W", "error", script.name]
    if "def test_" in code:
        runner = ["-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", script.name]
    elif "# needs:" in code:
        runner = [script.name]  # warnings of other people's packages are not ours
    done = subprocess.run([sys.executable, *runner], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


__all__ = [
    "DATA", "FASTRTC", "PAGES", "ROOT", "Example", "blocks", "commands", "examples", "fake_application", "run",
    "write_inputs",
]  # fmt: skip
