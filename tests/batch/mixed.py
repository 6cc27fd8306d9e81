"""A folder with files of all kinds, and what a batch says of each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hume_sync.batch import Result
from tests.emulator.support import tone, wav

from .runs import FACE

BROKEN = "calls/broken.wav"


def mixed_folder(folder: Path) -> Path:
    """Write clips, a clip that is split, texts, an image, and a file that is none of these."""
    (folder / "calls").mkdir(parents=True)
    for number in range(3):
        (folder / "calls" / f"{number}.wav").write_bytes(wav(tone(1.0 + number / 4, start=1000 * number)))
    (folder / "calls" / "long.wav").write_bytes(wav(tone(12.0)))
    (folder / BROKEN).write_bytes(b"RIFF\x08\0\0\0WAVE")
    (folder / "face.jpg").write_bytes(FACE)
    for number in range(6):
        (folder / f"{number}.txt").write_text(f"What a day number {number}! I never thought it would end like this.")
    return folder


def scores_of(results: Iterable[Result]) -> dict[str, Any]:
    """Return what must be the same in every run, by key: every item must be there once."""
    found: dict[str, Any] = {}
    for result in results:
        assert result.key not in found, f"{result.key} came twice"
        line = json.loads(result.to_line())
        found[result.key] = {name: value for name, value in line.items() if name not in ("seconds", "attempts")}
    return found
