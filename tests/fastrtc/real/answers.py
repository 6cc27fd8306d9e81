"""The HTTP of the fake: heads, answers, and server-sent events in the forms that applications give them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from .knobs import RequestSeen

REASONS: Final = {
    200: "OK",
    307: "Temporary Redirect",
    403: "Forbidden",
    404: "Not Found",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
}


def plain(value: Any) -> str:
    return f"data: {json.dumps(value)}\n\n"


def elaborate(value: Any) -> str:
    """A comment, an event's name, an id, several lines of data, and another way to end lines."""
    data = "".join(f"data: {line}\r\n" for line in json.dumps(value, indent=1).splitlines())
    return f": keep alive\r\n\r\nevent: output\r\nid: 7\r\nretry: 1000\r\n{data}\r\n"


def text(value: Any) -> str:
    """As it is: not JSON."""
    return "".join(f"data: {line}\n" for line in str(value).split("\n")) + "\n"


UPDATES: Final[Mapping[str, Callable[[Any], str]]] = {"/updates": plain, "/named": elaborate, "/text": text}
ENDLESS: Final = "/endless"
"""Events whose one line never ends."""

UNPROCESSABLE: Final = 422, json.dumps({"detail": [{"type": "missing", "loc": ["body"], "msg": "Field required"}]})


def read_head(head: list[bytes]) -> RequestSeen:
    """A request, given its lines."""
    method, target, _ = head[0].decode("ascii").split(" ")
    parts = urlsplit(target)
    fields = (line.decode("latin-1").partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    return RequestSeen(method, parts.path, dict(parse_qsl(parts.query)), headers)


def read_fields(body: bytes, *required: str) -> dict[str, Any] | None:
    """Of a JSON object; None if it is none, or lacks any of these."""
    try:
        fields = json.loads(body)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and set(required) <= set(fields) else None


def failed(reason: str, limit: int | None = None) -> str:
    """A refusal."""
    meta = (
        {"error": reason}
        if limit is None or reason != "concurrency_limit_reached"
        else {"error": reason, "limit": limit}
    )
    return json.dumps({"status": "failed", "meta": meta})


async def write_chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Of a body whose length is not known; none: its end."""
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))
    await writer.drain()
