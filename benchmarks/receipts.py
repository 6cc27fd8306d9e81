"""Receipts of requests: digests that server and sender compute separately, to check what arrived."""

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
    """Return the receipt of a request, parsed as a v0 server would.

    Raises:
        ValueError: The message is not JSON, or its data is not base64.
        KeyError: A field is missing.
        TypeError: A field has the wrong type.
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
    """Return the receipt that the server must return for a case."""
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
    """Return shape and values as bytes. They are equal for equal numbers, in any notation."""
    shape = json.dumps([[len(point) for point in face] for face in faces])
    return shape.encode() + array("d", [value for face in faces for point in face for value in point]).tobytes()
