"""A headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import websocket

TIMEOUT = 60.0
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """Return the path of a Chromium; None if there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """The one tab of a browser."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result; keep the events that come before it."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        while (received := self._receive()).get("id") != number:
            pass
        assert "error" not in received, f"{method}: {received['error']}"
        result: dict[str, Any] = received["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        received: dict[str, Any] = json.loads(self._connection.recv())
        if "method" in received:
            self.events.append(received)
        return received

    def open(self, url: str) -> None:
        """Load a page, and wait until its script has run."""
        self.call("Page.navigate", url="about:blank")  # so that an address that differs in its fragment only is loaded
        self.wait("document.readyState === 'complete' && location.href === 'about:blank'")
        self.events.clear()
        failure = self.call("Page.navigate", url=url).get("errorText")
        assert not failure, failure
        self.wait("document.readyState === 'complete' && document.documentElement.dataset.ready !== undefined")

    def size(self, width: int, height: int, *, dark: bool = False, media: str = "") -> None:
        """Set the size of the window, the colours preferred, and the medium ("print")."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def run(self, script: str) -> Any:
        """Return the value of an expression, awaited if it is a promise."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + TIMEOUT
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"never true: {condition}"
            self.run("new Promise((resolve) => setTimeout(resolve, 20))")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    def enter(self) -> None:
        """Press Enter."""
        self.press("Enter", 13, "\r")

    def tab(self) -> None:
        """Press Tab."""
        self.press("Tab", 9)

    def type(self, text: str) -> None:
        """Type a text into the element that has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """Return a PNG of what is visible, or of the whole page."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])

    def pixels(self) -> Any:
        """Return what is visible, as an array of (height, width, 3)."""
        with av.open(io.BytesIO(self.screenshot()), "r") as file:
            return next(file.decode(video=0)).to_ndarray(format="rgb24")

    def complaints(self) -> list[str]:
        """Return the errors and warnings that the browser has logged."""
        self.run("0")  # receives what was on the way
        found = [event["params"]["entry"] for event in self.events if event["method"] == "Log.entryAdded"]
        thrown = [event["params"] for event in self.events if event["method"] == "Runtime.exceptionThrown"]
        logged = [event["params"] for event in self.events if event["method"] == "Runtime.consoleAPICalled"]
        return [entry["text"] for entry in found] + [json.dumps(one) for one in (*thrown, *logged)]

    def requests(self) -> list[str]:
        """Return the addresses that the page has asked for."""
        self.run("0")
        return [
            event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"
        ]


@contextmanager
def chromium(path: str) -> Iterator[Page]:
    """Start a browser for a ``with`` block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        quiet = ["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio", "--hide-scrollbars"]
        process = subprocess.Popen(
            [path, *options, *quiet, "--disable-background-networking", "--lang=en-GB", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port, address = _wait_for(Path(profile, "DevToolsActivePort"), process.poll).split()
            connection = websocket.create_connection(
                f"ws://127.0.0.1:{port}{address}", timeout=TIMEOUT, suppress_origin=True, http_no_proxy=["127.0.0.1"]
            )
            try:
                yield Page(connection)
            finally:
                connection.close()
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def _wait_for(file: Path, ended: Callable[[], int | None]) -> str:
    """Return the two lines of the file that the browser writes when it is ready."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end and ended() is None:
        if file.exists() and len((found := file.read_text("utf-8")).split()) == 2:
            return found
        time.sleep(0.02)
    raise AssertionError(f"the browser did not start (exit status {ended()})")
