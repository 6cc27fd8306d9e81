"""A client that shows every message: what the servers, the real and the fake one, are tried with."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import time
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from .sound import silence, speech, to_mulaw

WAIT = 10.0
"""Seconds until a message has surely come."""

QUIET = 0.5
"""Seconds after which none will."""


def kind(message: Any) -> str:
    """What a message is about: "started_talking", "send_input", "media", "pong", "failed"."""
    return str(
        message.get("event")
        or message.get("status")
        or (message["data"] if message.get("type") == "log" else message["type"])
    )


def payload(message: Any) -> bytes:
    """The audio of a media message, mu-law."""
    return base64.b64decode(message["media"]["payload"], validate=True)


class SocketStream:
    """A WebSocket to a stream, message by message."""

    def __init__(
        self,
        url: str,
        path: str,
        *,
        rate: int = 16000,
        headers: Mapping[str, str] | None = None,
        route: str = "websocket/offer",
    ) -> None:
        self.id = str(uuid.uuid4())
        self.rate = rate
        self._stack = contextlib.ExitStack()
        address = f"{url.replace('http', 'ws', 1)}{path}/{route}"
        self.socket = self._stack.enter_context(
            connect(address, proxy=None, compression=None, max_size=None, additional_headers=headers)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def send(self, event: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"event": event, **fields}))

    def start(self, id: str | None = None) -> Self:
        self.send("start", websocket_id=id or self.id)
        return self

    def ping(self) -> None:
        self.send("ping")
        assert self.next() == {"event": "pong"}

    def media(self, audio: bytes) -> None:
        self.send("media", media={"payload": base64.b64encode(audio).decode()})

    def words(self) -> bytes:
        return to_mulaw(speech(self.rate))

    def speak(self) -> bytes:
        """Speech and a pause, at once: what the turn will hear."""
        said = self.words(), silence(self.rate)
        for audio in said:
            self.media(audio)
        return b"".join(said)

    def next(self, timeout: float = WAIT) -> Any:
        return json.loads(self.socket.recv(timeout))

    def until(self, last: str, count: int = 1) -> list[Any]:
        """All messages up to so many of this kind."""
        messages: list[Any] = []
        while count:
            messages.append(self.next())
            count -= kind(messages[-1]) == last
        return messages

    def rest(self) -> list[Any]:
        """What comes until nothing more does."""
        messages: list[Any] = []
        try:
            while True:
                messages.append(self.next(QUIET))
        except TimeoutError:
            return messages

    def closed(self, do: Callable[[], object] = lambda: None) -> int | None:
        """The code of the server's close frame, None without one; ``do`` is done until it comes."""
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            try:
                do()
                self.socket.recv(0.1)
            except TimeoutError:
                continue
            except ConnectionClosed as exc:
                return exc.rcvd.code if exc.rcvd else None
        raise AssertionError("the server did not close the connection")


def ask(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and body, read as JSON where it is JSON."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=2 * WAIT)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection.request(method, path, data, {"content-type": "application/json"} if data else {})
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    try:
        return response.status, json.loads(text)
    except ValueError:
        return response.status, text


class Updates:
    """The events of a connection's outputs, line by line."""

    def __init__(self, url: str, id: str, path: str = "/updates") -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=WAIT)
        self._connection.request("GET", f"{path}?webrtc_id={id}")
        self._response = self._connection.getresponse()
        assert self._response.status == 200

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._response.close()
        self._connection.close()

    def line(self) -> str:
        """Empty at the end of the stream."""
        return self._response.readline().decode()

    def next(self) -> Any:
        """The next event of one line of JSON."""
        line = self.line()
        assert line.startswith("data: "), line
        assert self.line() == "\n"
        return json.loads(line.removeprefix("data: "))
