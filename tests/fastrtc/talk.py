"""What tests of sessions say, to whom, and how it comes back."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import pytest

from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import FastRTCClient, LogMessage, Session
from hume_sync.formats import mulaw
from tests.faultproxy import Peer
from tests.net.support import Script, frame, upgraded

from .fake import FakeFastRTC
from .real.sound import speech as make_speech

speech = functools.cache(make_speech)
SPEECH = speech(16000)
PONG = b'{"event":"pong"}'
TURN = [LogMessage("started_talking"), LogMessage("pause_detected"), LogMessage("response_starting")]


def client(fake: FakeFastRTC, path: str, **more: Any) -> FastRTCClient:
    rates = {"input_sample_rate": 16000, "output_sample_rate": 16000}
    return FastRTCClient(fake.url, path=path, proxy=False, **{"timeout": 5.0, **rates, **more})


def say(session: Session, *, samples: bytes = SPEECH, idle: float = 0.05) -> bytes:
    """One turn; the audio of its reply."""
    session.send_audio(samples, end=True)
    return session.reply(idle=idle).audio


def say_to_its_end(fake: FakeFastRTC, session: Session, samples: bytes = SPEECH, *, end: bool = True) -> None:
    """Say something, and wait until the server has got to its end."""
    seen = next(seen for seen in fake.connections if seen.id == session.webrtc_id)
    before = seen.events.count("media")
    session.send_audio(samples, end=end)
    fake.wait(lambda: seen.events.count("media") > before and seen.events[-1] == "ping")


def keep_sending(session: Session) -> None:
    """As a thread of its own does, until that notices the end. (Sent to a peer that is gone, it may cost what came.)"""
    with pytest.raises(ConnectionLost):
        while True:
            session.send_audio(bytes(2))


def answers(*results: dict[str, int] | BaseException) -> Callable[[], dict[str, int]]:
    """Inputs that are these, one after the other; an exception is raised."""
    coming = iter(results)

    def inputs() -> dict[str, int]:
        result = next(coming)
        if isinstance(result, BaseException):
            raise result
        return result

    return inputs


def heard(samples: bytes) -> bytes:
    """As mu-law hands it on."""
    return mulaw.decode(mulaw.encode(samples))


def chatter(text: bytes, *, first: bytes | None = None) -> Script:
    """A server that says the same without end, and reads nothing but the handshake."""

    def run(peer: Peer) -> None:
        if first is not None:
            peer.send_frame(first)
        many = frame(text) * max(1, 2**20 // len(text))
        while True:
            peer.send(many)

    return upgraded(run)


def took(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.monotonic()
    work()
    return time.monotonic() - began
