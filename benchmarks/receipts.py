"""Proof that what arrived is what was meant: the server's reading of a request, and the sender's of its case."""

from __future__ import annotations

import base64
import hashlib
import json
from array import array
from pathlib import Path
from typing import Any

from .cases import Case, Landmarks

__all__ = ["Receipt", "expected", "read"]

Receipt = dict[str, Any]


def read(message: bytes | bytearray) -> Receipt:
    """Take a request apart, as a v0 server would.

    Raises:
        ValueError, KeyError, TypeError: it is not what a v0 server reads.
    """
    request = json.loads(message.decode("utf-8"))
    models, data = request["models"], request["data"]
    if request["raw_text"]:
        return _receipt(models, raw_text=True, what=data.encode())
    media = base64.b64decode(data, validate=True)
    if "facemesh" in models:
        return _receipt(models, raw_text=False, what=_numbers(json.loads(media)))
    return _receipt(models, raw_text=False, what=media)


def expected(case: Case) -> Receipt:
    """What the server must say to a case."""
    models = {case.model: None}
    if case.model == "language":
        return _receipt(models, raw_text=True, what=case.value.encode())
    if case.model == "facemesh":
        return _receipt(models, raw_text=False, what=_numbers(case.value))
    return _receipt(models, raw_text=False, what=Path(case.value).read_bytes())


def _receipt(models: dict[str, Any], *, raw_text: bool, what: bytes) -> Receipt:
    digest = hashlib.sha256(what).hexdigest()
    return {"models": sorted(models), "raw_text": raw_text, "bytes": len(what), "sha256": digest}


def _numbers(faces: Landmarks) -> bytes:
    """Shape and values: equal for equal numbers, however they were written."""
    shape = json.dumps([[len(point) for point in face] for face in faces])
    return shape.encode() + array("d", [value for face in faces for point in face for value in point]).tobytes()
