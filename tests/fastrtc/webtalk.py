"""What tests of HTTP say, to a scripted server, and how it answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hume_sync.fastrtc.app import open_events
from hume_sync.fastrtc.app_http import AppClient, AppEndpoint, Response
from hume_sync.fastrtc.outputs import OpeningResponse, OutputStream
from hume_sync.net.deadline import Deadline
from hume_sync.reprs import Secret
from tests.faultproxy import Peer, head
from tests.net.support import Script

KEY = "Bearer open-sesame-7"
PRIVATE = (("Authorization", Secret(KEY)), ("X-Pin", Secret("4711")))
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
"""How a stream of events begins, of which the end is that of its connection."""


def http(port: int, *, host: str = "127.0.0.1", proxied: str | bool | None = None, **more: Any) -> AppClient:
    return AppClient(AppEndpoint(host=host, port=port, path="/echo/websocket/offer", **more), proxy=proxied)


def request(peer: Peer) -> tuple[str, dict[str, str], bytes]:
    """The next request: its first line, its fields, its body."""
    first, *lines = [line.decode().rstrip("\r\n") for line in head(peer.file)][:-1]
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return first, fields, peer.file.read(int(fields.get("content-length", 0)))


def answer(body: bytes = b"{}", status: str = "200 OK", *fields: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]).encode() + body


def says(data: bytes) -> Script:
    """Read the request, send this, and end."""

    def run(peer: Peer) -> None:
        request(peer)
        peer.send(data)

    return run


def stays(data: bytes = b"") -> Script:
    """Likewise, but wait for the client to go."""

    def run(peer: Peer) -> None:
        says(data)(peer)
        peer.wait_gone()

    return run


def get(port: int, timeout: float = 5.0, **more: Any) -> Response:
    return http(port, **more).get("/", None, Deadline(timeout))


def stream(asked: AppClient, url: str = "/updates", *, timeout: float = 5.0, **more: Any) -> OutputStream:
    """The outputs of the connection "6f1c"."""
    return OutputStream(OpeningResponse(lambda watch: open_events(asked, url, "6f1c", timeout, watch=watch)), **more)


def elapsed(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start
