"""What tests of WebRTC say, and how it comes back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from hume_sync.errors import HumeClientException
from hume_sync.fastrtc import Session
from hume_sync.fastrtc.app_http import Response
from hume_sync.fastrtc.events import AudioChunk, Event
from hume_sync.fastrtc.transport import Mark
from hume_sync.fastrtc.transport_rtc import WebRTCTransport
from hume_sync.net.deadline import Deadline
from hume_sync.net.pending import Watch

from .rtcfake import FRAME, RTCFake, log

MARKS = [
    pytest.mark.fastrtc,  # where aiortc is
    pytest.mark.usefixtures("webrtc", "no_thread_is_left"),
    # aiortc 1.10 with a newer pyOpenSSL.
    pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning"),
]
"""Of every module whose tests make connections."""

HELD_BACK = 5 * FRAME
"""Samples that wait in aiortc for more to come behind them."""

KEPT = 4
"""Frames that wait in aiortc for more to come behind them. (A reply ends 100 ms early: the codec keeps some, too.)"""

RATE = 16000
"""Of sessions, both ways."""

PAUSE = log("pause_detected")
STARTING = log("response_starting")
BOOM = json.dumps({"type": "error", "message": "boom"})

Open = Callable[..., WebRTCTransport]
Begin = Callable[..., Session]
PostOffer = Callable[[dict[str, Any], Deadline, Watch], Response]


def require_webrtc() -> None:
    """Skip what needs WebRTC where that cannot work; where REQUIRE_WEBRTC is set, fail: a skipped proof is none."""
    missing = missing_for_webrtc()
    if missing is None:
        return
    if os.environ.get("REQUIRE_WEBRTC"):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


def missing_for_webrtc() -> str | None:
    """What it lacks; None: nothing."""
    try:
        import aiortc  # noqa: F401
        from aioice.ice import get_host_addresses
    except ImportError:
        return "WebRTC needs the extra webrtc (aiortc)"
    if not get_host_addresses(use_ipv4=True, use_ipv6=True):
        return "WebRTC needs an address other than loopback's: scripts/loopback_alias.sh adds one"
    return None


def soon() -> Deadline:
    return Deadline(10)


def settings() -> dict[str, Any]:
    return {
        "input_sample_rate": 16000,
        "output_sample_rate": 48000,
        "deadline": soon(),
        "watch": lambda interrupt: None,
    }


def event_of(transport: WebRTCTransport) -> Event:
    event = transport.receive(soon())
    assert event is not None
    assert not isinstance(event, Mark)
    return event


def audio_of(transport: WebRTCTransport, seconds: float, rate: int) -> bytes:
    """The next audio, so long."""
    samples = b""
    while len(samples) < 2 * round(seconds * rate):
        event = event_of(transport)
        if isinstance(event, AudioChunk):
            assert event.rate == rate
            samples += event.samples
    return samples


def end_of(transport: WebRTCTransport) -> HumeClientException:
    with pytest.raises(HumeClientException) as caught:
        while True:
            event_of(transport)
    return caught.value


def transport_of(session: Session) -> WebRTCTransport:
    transport = session._connection.transport
    assert isinstance(transport, WebRTCTransport)
    return transport


def has_arrived(session: Session, count: int) -> None:
    """Wait until so many events wait to be received: messages and audio come by ways of their own."""
    loop = transport_of(session)._loop
    assert loop._changed.wait_for(lambda: len(loop._inbox) >= count or None, Deadline(10))


def turn(rtc: RTCFake, session: Session, *messages: str, audio: bytes) -> None:
    """What a handler says and plays, as far as it comes at once."""
    rtc.say(*messages)
    has_arrived(session, len(messages))
    rtc.play(audio)
    has_arrived(session, len(messages) + len(audio) // 2 // FRAME - KEPT)
