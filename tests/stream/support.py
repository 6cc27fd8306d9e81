"""Inputs for tests: the package's own demonstration data, and landmarks of the right shape."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

DATA = files("hume_sync") / "data"
SPEECH = (DATA / "speech.wav").read_bytes()
FACE = (DATA / "face.jpg").read_bytes()


def landmarks(faces: int = 1) -> list[list[list[float]]]:
    """Faces of 478 points, each its own lists."""
    (face,) = json.loads((DATA / "facemesh.json").read_bytes())
    return [[[x + i / 1000, y, z] for x, y, z in face] for i in range(faces)]


class Point:
    """A point as MediaPipe holds it: coordinates by name, and no length."""

    def __init__(self, xyz: list[float]) -> None:
        self.x, self.y, self.z = xyz


class Bag:
    """An object with these attributes, as results of libraries are."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)
