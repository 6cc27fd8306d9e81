"""The serialisation of facemesh landmarks in this library, compared with orjson alone."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import pybase64

from benchmarks.cases import Landmarks, landmarks
from benchmarks.checks import WrongReply
from hume_sync import FacemeshConfig
from hume_sync.net.frames import Part, join_parts
from hume_sync.stream import landmarks as module
from hume_sync.stream.requests import RequestBuilder

__all__ = ["Probe", "probe"]

_LIBRARY: Any = module  # its validation is replaced during a measurement
_MODELS = RequestBuilder.create([FacemeshConfig()], None, 64 * 2**20)


def probe(directory: Path) -> Probe:
    """Make the probe for a worker."""
    return Probe()


class Probe:
    """A measurement of landmarks in each accepted form, in four ways.

    ``ours``: as `send_facemesh` does. ``alone``: the same, without validating lists. ``unchecked``: the minimum that
    makes the same bytes. ``orjson``: only the JSON of the numbers.
    """

    def verify(self, faces: int, form: str) -> None:
        """Check that the request holds the landmarks."""
        value = _in_form(landmarks(faces), form)
        request = orjson.loads(_ours(value))
        written = orjson.loads(base64.b64decode(request["data"]))
        if form != "lists":
            # A float32 array is written with float32 precision, so compare it at that precision.
            written = value.dtype.type(written).tolist()
            value = value.tolist()
        if written != value or request["models"] != {"facemesh": {}}:
            raise WrongReply(f"{faces} faces as {form} are not what was written")

    def run(self, faces: int, form: str, times: int) -> dict[str, float]:
        """Return the median seconds of ``times`` calls in each way, in turn."""
        value = _in_form(landmarks(faces), form)
        return {name: median(found) for name, found in _by_turns(value, times).items()}


def _by_turns(value: Any, times: int) -> dict[str, list[float]]:
    variants: dict[str, Callable[[Any], bytes | bytearray]] = {
        "ours": _ours,
        "alone": _ours,
        "unchecked": _unchecked,
        "orjson": _orjson,
    }
    found: dict[str, list[float]] = {name: [] for name in variants}
    check = _LIBRARY._is_right
    try:
        for _ in range(times):
            for name, write in variants.items():
                _LIBRARY._is_right = _trust if name == "alone" else check
                begun = time.perf_counter()
                write(value)
                found[name].append(time.perf_counter() - begun)
    finally:
        _LIBRARY._is_right = check
    return found


def _trust(faces: list[Any], written: bytes) -> bool:
    return True


def _ours(value: Any) -> bytearray:
    return _joined(b"{", *_MODELS.facemesh(value).members, b"}")


def _unchecked(value: Any) -> bytearray:
    encoded = pybase64.b64encode(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))
    return _joined(b"{", b'"data":"', encoded, b'"', b',"models":{"facemesh":{}},"raw_text":false', b"}")


def _joined(*parts: Part) -> bytearray:
    return join_parts(parts, sum(map(len, parts)))


def _orjson(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _in_form(value: Landmarks, form: str) -> Any:
    if form == "lists":
        return value
    import numpy as np  # noqa: PLC0415 - not importable in every worker

    return np.array(value, dtype=form)
