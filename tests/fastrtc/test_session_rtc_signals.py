"""What a signal handler or another thread raises in a session over WebRTC, wherever that may wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import FastRTCClient, Reconnected, Session
from hume_sync.fastrtc.transport_rtc import WebRTCTransport

from .rtcfake import FRAME, RTCFake
from .rtctalk import HELD_BACK, MARKS, PAUSE, RATE, STARTING, Begin, settings, transport_of, turn
from .striking import KINDS, Silent, struck, thrown
from .webtalk import http

pytestmark = MARKS

Strike = Callable[..., None]


@attrs.frozen
class Place:
    """Where it happens, and what strikes there."""

    strike: Strike
    rtc: RTCFake
    begin: Begin


def posting_the_offer(place: Place) -> None:
    with Silent() as silent:
        client = FastRTCClient(f"http://127.0.0.1:{silent.port}", proxy=False)
        place.strike(lambda: client.connect("webrtc"), lambda: silent.received)
        assert silent.received == 1


def gathering_addresses(place: Place) -> None:
    with pytest.MonkeyPatch.context() as patch:
        asked = endless(patch, "aiortc.RTCIceGatherer.gather")
        place.strike(lambda: WebRTCTransport.open(place.rtc.offer, **settings()), lambda: asked)
    assert place.rtc.offers == []


def awaiting_the_channel(place: Place) -> None:
    with contextlib.ExitStack() as freeze:

        def fall_silent(answer: dict[str, Any]) -> tuple[int, Any]:
            freeze.enter_context(place.rtc.frozen())
            return 200, answer

        place.rtc.edit = fall_silent
        place.strike(lambda: WebRTCTransport.open(place.rtc.offer, **settings()), lambda: place.rtc.offers)
    assert len(place.rtc.offers) == 1


def sending(place: Place) -> None:
    session = place.begin()
    place.strike(lambda: session.send_audio(bytes(2 * 60 * RATE)))
    session.send_audio(bytes(2), timeout=10)


def sending_a_message(place: Place) -> None:
    session = place.begin()
    with place.rtc.frozen():
        place.strike(lambda: flood(session))
    session.send("and on", timeout=10)
    place.rtc.wait(lambda: place.rtc.reported[-1:] == ["and on"])
    assert {len(message) for message in place.rtc.reported[:-1]} == {60_000}  # none of them in part


def flood(session: Session) -> None:
    while True:
        session.send(bytes(60_000), timeout=60)


def replying(place: Place) -> None:
    session = place.begin()
    place.strike(session.reply)
    turn(place.rtc, session, PAUSE, STARTING, audio=b"\x00\x10" * (20 * FRAME + HELD_BACK))
    assert session.reply(timeout=10).audio


def iterating(place: Place) -> None:
    session = place.begin()
    place.strike(lambda: next(iter(session)))
    place.rtc.say(PAUSE)
    assert next(iter(session))


def reconnecting(place: Place) -> None:
    offers: list[object] = []

    def hang(_body: Any, deadline: Any, watch: Any) -> Any:
        with Silent() as silent:
            offers.append(1)
            return http(silent.port).post_json("/offer", {}, deadline, watch=watch)

    session = place.begin(hang, lambda body, deadline, _: place.rtc.offer(body, deadline), reconnect=True)
    first = session.webrtc_id
    transport_of(session)._loop._end_soon(ConnectionLost("cut", close_code=1006))
    place.strike(session.reply, lambda: offers)
    assert session.webrtc_id == first
    assert isinstance(next(iter(session)), Reconnected)


def closing(place: Place) -> None:
    session = place.begin()
    with pytest.MonkeyPatch.context() as patch:
        waiting = endless(patch, "aiortc.RTCPeerConnection.close")  # as with a relay that does not answer
        place.strike(lambda: session.close(20), lambda: waiting)


def endless(patch: pytest.MonkeyPatch, name: str) -> list[int]:
    """Have this coroutine wait without end; the list is no longer empty once it does."""
    begun: list[int] = []

    async def wait(*_: object) -> None:
        begun.append(1)
        await asyncio.Event().wait()

    patch.setattr(name, wait)
    return begun


PHASES = [
    posting_the_offer,
    gathering_addresses,
    awaiting_the_channel,
    sending,
    sending_a_message,
    replying,
    iterating,
    reconnecting,
    closing,
]
EVERY = {awaiting_the_channel, replying}
"""Phases in which each kind of exception is tried."""


@pytest.mark.parametrize(
    ("phase", "kind"),
    [(phase, kind) for phase in PHASES for kind in (KINDS if phase in EVERY else ("TimeoutError", "ConnectionLost"))],
)
def test_what_a_signals_handler_raises_comes_out_as_it_is(
    phase: Callable[[Place], None], kind: str, rtc: RTCFake, begin: Begin
) -> None:
    exc = KINDS[kind]()
    phase(Place(lambda call, *ready: struck(call, exc, *ready), rtc, begin))


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
@pytest.mark.parametrize("kind", [TimeoutError, ConnectionLost])
def test_what_another_thread_raises_comes_out_too(
    phase: Callable[[Place], None], kind: type[BaseException], rtc: RTCFake, begin: Begin
) -> None:
    phase(Place(lambda call, *ready: thrown(call, kind, *ready), rtc, begin))
