"""Fixtures of the tests with the look-alike servers."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hume_sync.fastrtc import Session
from hume_sync.fastrtc.app import AppConfig
from hume_sync.fastrtc.session import Inputs
from hume_sync.fastrtc.transport import Sleep, Transport
from hume_sync.fastrtc.transport_rtc import WebRTCTransport
from hume_sync.net import interrupts
from hume_sync.net.deadline import Deadline
from hume_sync.net.pending import Watch

from .fake import FakeFastRTC
from .rtcfake import RTCFake
from .rtctalk import RATE, Begin, Open, PostOffer, require_webrtc, settings
from .webtalk import http


@pytest.fixture
def own_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fakes of the tests raise counts as raised by the library; else their frames tell of a signal's handler."""
    monkeypatch.setattr(interrupts, "_OWN_MODULES", interrupts._OWN_MODULES | {"tests"})


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
def open_transport() -> Iterator[Open]:
    """Makes transports, which end with the test."""
    transports = []

    def open_transport(fake: RTCFake, **options: Any) -> WebRTCTransport:
        transports.append(WebRTCTransport.open(fake.offer, **settings() | options))
        return transports[-1]

    yield open_transport
    for transport in transports:
        transport.close(1)


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """Nor a socket: what is found open when it is no longer used is a warning, which is an error here."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread
    gc.collect()


@pytest.fixture
def begin(rtc: RTCFake) -> Iterator[Begin]:
    """Makes sessions with the fake, which end with the test."""
    sessions = []

    def begin(
        *offers: PostOffer, timeout: float = 10.0, inputs: Inputs | None = None, hook: int = 9, reconnect: bool = False
    ) -> Session:
        """Offers: where the connections behind the first are offered. Hook: the port that inputs are posted to."""
        waiting = [lambda body, deadline, _: rtc.offer(body, deadline), *offers]

        def connect(deadline: Deadline, watch: Watch, sleep: Sleep) -> Transport:
            post = waiting.pop(0)
            return WebRTCTransport.open(
                lambda body, until: post(body, until, watch),
                input_sample_rate=RATE,
                output_sample_rate=RATE,
                deadline=deadline,
                watch=watch,
            )

        one = AppConfig(
            http=http(hook),
            input_hook="/input_hook",
            outputs_url=None,
            latest_url=None,
            shape=None,
            input_sample_rate=RATE,
            output_sample_rate=RATE,
            timeout=timeout,
        )
        sessions.append(Session(one, connect, inputs, reconnect))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.close()
