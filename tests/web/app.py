"""A typical web application: a pool at module level, used by all threads that serve requests."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from hume_sync import HumeStreamClient, LanguageConfig

from .sizes import MAX_SIZE

client = HumeStreamClient("web", timeout=10)  # the server: HUME_BASE_URL
pool = client.pool([LanguageConfig()], max_size=MAX_SIZE, timeout=20)


def app(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], Any]) -> Iterable[bytes]:
    """Measure the text of the query; answer with its words, and the statistics of this process's pool."""
    (text,) = parse_qs(environ["QUERY_STRING"])["text"]
    with pool.socket() as socket:
        reply = socket.send_text(text)
        open_now = pool.stats()["busy"] + pool.stats()["idle"]
    body = {
        "words": [part["text"] for part in reply["language"]["predictions"]],
        "pid": os.getpid(),
        "open": open_now,
        "stats": pool.stats(),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]
