"""A connection over WebRTC: its messages, and how it is made."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from hume_sync.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    ConnectionAlreadyExists,
    HandshakeRejected,
    HumeClientException,
    ProtocolError,
    Timeout,
    TooManyConnections,
)
from hume_sync.fastrtc.app_http import Response
from hume_sync.fastrtc.events import Custom, EndStream, ErrorMessage, FetchOutput, LogMessage
from hume_sync.fastrtc.transport_rtc import WebRTCTransport
from hume_sync.net.deadline import Deadline

from .rtcfake import RTCFake
from .rtctalk import MARKS, Open, event_of, settings

pytestmark = MARKS

# --- messages


def test_messages_of_the_data_channel_come_as_events_in_their_order(open_transport: Open) -> None:
    greeting = (
        '{"type": "log", "data": "started_talking"}',
        '{"type": "error", "message": "boom"}',
        '{"type": "fetch_output", "data": []}',
        '{"type": "end_stream", "data": "bye now"}',
        '{"type": "mine", "data": {"x": 1}}',
        "[1, 2]",
        "no JSON at all",
        b"\xff\x00",
    )
    with RTCFake(greeting=greeting) as fake:
        transport = open_transport(fake)
        assert [event_of(transport) for _ in greeting] == [
            LogMessage("started_talking"),
            ErrorMessage("boom"),
            FetchOutput(),
            EndStream("bye now"),
            Custom("mine", {"x": 1}),
            Custom(None, [1, 2]),
            Custom(None, "no JSON at all"),
            Custom(None, b"\xff\x00"),
        ]


def test_where_nothing_comes_receive_returns_none_at_the_deadline(rtc: RTCFake, open_transport: Open) -> None:
    assert open_transport(rtc).receive(Deadline(0.05)) is None


# --- the offer


FAILED = {"status": "failed", "meta": {"error": "concurrency_limit_reached", "limit": 3}}
REFUSALS: list[tuple[int, Any, type[HumeClientException]]] = [
    (200, FAILED, TooManyConnections),
    (429, FAILED, TooManyConnections),
    (429, "slow down", TooManyConnections),
    (200, {"status": "failed", "meta": {"error": "connection_already_exists"}}, ConnectionAlreadyExists),
    (200, {"status": "failed", "meta": {"error": "on holiday"}}, HandshakeRejected),
    (200, {"status": "failed"}, HandshakeRejected),
    (401, "", AuthenticationError),
    (404, {"detail": "Not Found"}, HandshakeRejected),
    (422, {"detail": [{"msg": "Field required"}]}, HandshakeRejected),
    (500, "Internal Server Error", HandshakeRejected),
    (200, {"sdp": "", "type": "answer"}, ProtocolError),
    (200, {"sdp": 7, "type": "answer"}, ProtocolError),
    (200, {"sdp": "garbage", "type": "answer"}, ProtocolError),
    (200, {"sdp": "v=0\r\nm=audio\r\n", "type": "answer"}, ProtocolError),
    (200, ["no", "object"], ProtocolError),
    (200, "<html>", ProtocolError),
    (200, None, ProtocolError),
]


@pytest.mark.parametrize(("status", "body", "error"), REFUSALS)
def test_a_bad_answer_to_the_offer_is_an_error_of_its_own(
    open_transport: Open, status: int, body: Any, error: type[HumeClientException]
) -> None:
    with RTCFake(edit=lambda _: (status, body)) as fake, pytest.raises(HumeClientException) as caught:
        open_transport(fake)
    assert type(caught.value) is error
    assert caught.value.phase == "connect"
    assert caught.value.status in {status, None}
    if isinstance(caught.value, TooManyConnections):
        assert caught.value.limit == (3 if body is FAILED else None)


def test_how_long_to_wait_is_reported_where_the_server_says_so() -> None:
    with pytest.raises(TooManyConnections) as caught:
        WebRTCTransport.open(lambda *_: Response(429, "", retry_after=7.0), **settings())
    assert caught.value.retry_after == 7.0


def test_an_error_of_the_function_that_posts_the_offer_is_the_callers(open_transport: Open) -> None:
    def fail(_: Any) -> Any:
        raise ConnectError("no server there")

    with RTCFake(edit=fail) as fake, pytest.raises(ConnectError, match="no server there"):
        open_transport(fake)


def test_the_offer_is_posted_in_the_callers_thread_with_a_new_uuid(rtc: RTCFake, open_transport: Open) -> None:
    ids = {open_transport(rtc).webrtc_id, open_transport(rtc).webrtc_id}
    assert {offer["webrtc_id"] for offer in rtc.offers} == ids
    assert len(ids) == 2
    assert {offer["type"] for offer in rtc.offers} == {"offer"}
    assert set(rtc.offering_threads) == {threading.current_thread()}


def test_no_server_but_the_one_asked_for_hears_of_it(rtc: RTCFake, open_transport: Open) -> None:
    open_transport(rtc)
    assert "typ host" in rtc.offers[0]["sdp"]
    assert "typ srflx" not in rtc.offers[0]["sdp"]


def test_a_machine_with_loopback_alone_is_reported_so_before_anything_is_posted(
    rtc: RTCFake, open_transport: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: [])
    with pytest.raises(ConfigurationError, match="other than loopback"):
        open_transport(rtc)
    assert rtc.offers == []


def test_a_server_that_cannot_be_reached_is_a_time_out_of_connecting(open_transport: Open) -> None:
    with RTCFake() as fake:

        def leave(answer: dict[str, Any]) -> tuple[int, Any]:
            fake.hang_up()
            return 200, answer

        fake.edit = leave
        with pytest.raises(Timeout) as caught:
            open_transport(fake, deadline=Deadline(0.6))
    assert caught.value.phase == "connect"


def test_without_the_extra_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, open_transport: Open
) -> None:
    with RTCFake() as fake:
        monkeypatch.setitem(sys.modules, "aiortc", None)
        with pytest.raises(ConfigurationError, match='extra "webrtc": the module aiortc is not'):
            open_transport(fake)


@pytest.mark.parametrize("server", ["nonsense", "http://example.com", {"url": "stun:127.0.0.1"}, 7])
def test_an_ice_server_that_cannot_be_used_is_refused_before_anything_is_posted(
    rtc: RTCFake, open_transport: Open, server: Any
) -> None:
    with pytest.raises(ConfigurationError, match="ice_servers"):
        open_transport(rtc, ice_servers=[server])
    assert rtc.offers == []
