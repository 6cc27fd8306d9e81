"""The serialisation of facemesh landmarks in the official SDK 0.6.0, by its own method on a fake connection."""

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
    """Make the probe for a worker."""
    return Probe()


class _Nowhere:
    """A fake connection that replies at once with an empty object."""

    def __init__(self) -> None:
        self.sent = ""

    async def send(self, message: str) -> None:
        self.sent = message

    async def recv(self) -> str:
        return "{}"


class Probe:
    """A measurement of landmarks as nested lists, the only form that the SDK accepts."""

    def __init__(self) -> None:
        self._nowhere = _Nowhere()
        self._socket = StreamSocket(self._nowhere, [FacemeshConfig()])

    def verify(self, faces: int) -> None:
        """Check that the request holds the landmarks."""
        self._send(landmarks(faces))
        if json.loads(base64.b64decode(json.loads(self._nowhere.sent)["data"])) != landmarks(faces):
            raise WrongReply(f"{faces} faces are not what was written")

    def run(self, faces: int, times: int) -> float:
        """Return the median seconds of ``times`` calls."""
        value, found = landmarks(faces), []
        for _ in range(times):
            begun = time.perf_counter()
            self._send(value)
            found.append(time.perf_counter() - begun)
        return median(found)

    def _send(self, value: Landmarks) -> None:
        """Run the coroutine without an event loop; it never waits."""
        try:
            self._socket.send_facemesh(value).send(None)
        except StopIteration:
            return
        raise RuntimeError("send_facemesh waited for something")
