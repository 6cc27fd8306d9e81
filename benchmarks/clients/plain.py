"""Requests written without this library, with json and base64 of the standard library."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from benchmarks.cases import Case

__all__ = ["PATH", "request_text"]

PATH = "/v0/stream/models"


def request_text(case: Case) -> str:
    """Return the request of a case."""
    if case.model == "language":
        return json.dumps({"data": case.value, "models": {"language": {}}, "raw_text": True})
    media = json.dumps(case.value).encode() if case.model == "facemesh" else Path(case.value).read_bytes()
    data = base64.b64encode(media).decode()
    return json.dumps({"data": data, "models": {case.model: {}}, "raw_text": False})
