"""The requests of the benchmarks, the same for every client. They need only the standard library, and are seeded."""

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
_TEXT = "I can hardly believe it, we won the cup! No one thought we would, and now look at this: what a day."

CASES = ("text", "facemesh-1", "facemesh-10", "facemesh-100", "file")


@dataclass(frozen=True)
class Case:
    """A kind of request.

    Attributes:
        name: The name of the case.
        model: The model that is asked for.
        faces: The number of faces in the reply, which sets its size.
        value: The text, the landmarks as nested lists, or the path of the file.
    """

    name: str
    model: str
    faces: int
    value: Any


def landmarks(faces: int) -> Landmarks:
    """Return random landmarks, whose numbers have as many digits as those of real faces."""
    chance = random.Random(_SEED + faces)
    return [[[chance.random() for _ in range(_AXES)] for _ in range(POINTS)] for _ in range(faces)]


def make(name: str, directory: Path) -> Case:
    """Return the case of that name. Its file is written into the directory, once."""
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
    """Return the URL of a case. The path tells the server how to answer, because every client can set it.

    Args:
        base: The URL of the server.
        name: The name of the case.
        mode: The mode of the server: "measure", "verify" or "wrong".
        think: Seconds that the server waits before it replies.
    """
    model, _, faces = name.partition("-")
    model = {"text": "language", "file": "face"}.get(model, model)
    return f"{base}/{mode}/{model}/{faces or 1}/{think * 1000:g}"
