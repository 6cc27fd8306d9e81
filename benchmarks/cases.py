"""What is sent: the same to every client, in every environment. Standard library alone; chance has a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CASES", "FILE_SIZE", "POINTS", "Case", "Landmarks", "landmarks", "make", "url_of"]

Landmarks = list[list[list[float]]]

POINTS, _AXES = 478, 3
FILE_SIZE = 1_000_000
_SEED = 20_260_614
_TEXT = "I can hardly believe it, we won the cup! Nobody had thought of us, and now look at this: what a day."

CASES = ("text", "facemesh-1", "facemesh-10", "facemesh-100", "file")


@dataclass(frozen=True)
class Case:
    """One kind of request."""

    name: str
    model: str
    faces: int
    """Of the reply: it has the size of so many faces' scores."""
    value: Any
    """The text, the landmarks as nested lists, or the path of the file."""


def landmarks(faces: int) -> Landmarks:
    """Random doubles: their texts are as long as those of what a camera's faces give."""
    chance = random.Random(_SEED + faces)
    return [[[chance.random() for _ in range(_AXES)] for _ in range(POINTS)] for _ in range(faces)]


def make(name: str, directory: Path) -> Case:
    """The case of that name; a file is written into the directory, once."""
    if name == "text":
        return Case(name, "language", 1, _TEXT)
    if name == "file":
        path = directory / "file.bin"
        if not path.exists():
            path.write_bytes(random.Random(_SEED).randbytes(FILE_SIZE))
        return Case(name, "face", 1, str(path))
    model, _, faces = name.partition("-")
    return Case(name, model, int(faces), landmarks(int(faces)))


def url_of(base: str, name: str, mode: str = "measure", think: float = 0.0) -> str:
    """Where the server plays a case: how it is to answer stands in the path, which every client can set.

    Args:
        base: the server.
        name: of the case.
        mode: "measure", "verify" or "wrong", as the server knows them.
        think: seconds it waits before it replies.
    """
    model, _, faces = name.partition("-")
    model = {"text": "language", "file": "face"}.get(model, model)
    return f"{base}/{mode}/{model}/{faces or 1}/{think * 1000:g}"
