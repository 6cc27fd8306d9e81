"""Fixtures of the tests with the look-alike servers."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hume_sync.fastrtc.webrtc import WebRTCLink

from .fake import FakeFastRTC
from .rtcfake import RTCFake
from .rtctalk import Open, require_webrtc, settings


@pytest.fixture
def fake() -> Iterator[FakeFastRTC]:
    with FakeFastRTC() as fake:
        yield fake


@pytest.fixture(scope="session")
def webrtc() -> None:
    """For tests that use WebRTC."""
    require_webrtc()


@pytest.fixture
def rtc() -> Iterator[RTCFake]:
    with RTCFake() as fake:
        yield fake


@pytest.fixture
def open_link() -> Iterator[Open]:
    """Makes links, which end with the test."""
    links = []

    def open_link(fake: RTCFake, **options: Any) -> WebRTCLink:
        links.append(WebRTCLink.open(fake.offer, **settings() | options))
        return links[-1]

    yield open_link
    for link in links:
        link.close(1)


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """Nor a socket: what is found open when nobody uses it any more is a warning, which is an error here."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread
    gc.collect()
