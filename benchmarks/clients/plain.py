"""Requests as one writes them without this library, with the standard library's json and base64."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from benchmarks.cases import Case

__all__ = ["PATH", "request_text"]

PATH = "/v0/stream/models"


def request_text(case: Case) -> str:
    """The request of a case."""
    if case.model == "language":
        return json.dumps({"data": case.value, "models": {"language": {}}, "raw_text": True})
    media = json.dumps(case.value).encode() if case.model == "facemesh" else Path(case.value).read_bytes()
    data = base64.b64encode(media).decode()
    return json.dumps({"data": data, "models": {case.model: {}}, "raw_text": False})
