"""Facemesh landmarks to a whole request, in the official SDK 0.6.0: its own method, on a connection that is none."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from statistics import median

from hume import StreamSocket
from hume.models.config import FacemeshConfig

from benchmarks.cases import Landmarks, landmarks
from benchmarks.checks import WrongReply

__all__ = ["Probe", "probe"]


def probe(directory: Path) -> Probe:
    """What a worker runs."""
    return Probe()


class _Nowhere:
    """Takes what is sent, and replies at once with the least there is."""

    def __init__(self) -> None:
        self.sent = ""

    async def send(self, message: str) -> None:
        self.sent = message

    async def recv(self) -> str:
        return "{}"


class Probe:
    """Landmarks as nested lists: it takes nothing else."""

    def __init__(self) -> None:
        self._nowhere = _Nowhere()
        self._socket = StreamSocket(self._nowhere, [FacemeshConfig()])

    def verify(self, faces: int) -> None:
        """Prove that the request holds the landmarks."""
        self._send(landmarks(faces))
        if json.loads(base64.b64decode(json.loads(self._nowhere.sent)["data"])) != landmarks(faces):
            raise WrongReply(f"{faces} faces are not what was written")

    def run(self, faces: int, times: int) -> float:
        """Seconds, median of so many calls."""
        value, found = landmarks(faces), []
        for _ in range(times):
            begun = time.perf_counter()
            self._send(value)
            found.append(time.perf_counter() - begun)
        return median(found)

    def _send(self, value: Landmarks) -> None:
        """Nothing in it waits, so it needs no loop."""
        try:
            self._socket.send_facemesh(value).send(None)
        except StopIteration:
            return
        raise RuntimeError("send_facemesh waited for something")
