"""WebRTC with servers that mean no good, or do not know how."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from typing import Any

import pytest

from hume_sync.errors import (
    ConnectError,
    ConnectionLost,
    HandshakeRejected,
    HumeClientException,
    ProtocolError,
    Timeout,
)
from hume_sync.fastrtc import FastRTCClient
from hume_sync.fastrtc.events import Custom
from hume_sync.net.deadline import Deadline
from tests.faultproxy import Peer
from tests.net.support import server

from .rtcfake import RTCFake, tone
from .rtctalk import MARKS, Open, end_of, event_of
from .talk import took

pytestmark = MARKS

Edit = Callable[[str], str]


def edited(edit: Edit) -> Callable[[dict[str, Any]], tuple[int, Any]]:
    """A server whose SDP is another than it should be."""
    return lambda answer: (200, {**answer, "sdp": edit(answer["sdp"])})


def without(line: str) -> Edit:
    return lambda sdp: re.sub(rf"(?m)^{line}.*\r\n", "", sdp)


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (without("a=ice-ufrag"), ProtocolError),
        (without("a=setup"), ProtocolError),
        (without("a=mid"), ProtocolError),
        (without("a=rtcp-mux"), ProtocolError),
        (without("m=application"), ProtocolError),
        (lambda sdp: sdp[: len(sdp) // 2], ProtocolError),
        (lambda sdp: sdp.replace(" 1 udp ", " one udp "), ProtocolError),
        (lambda sdp: re.sub(r"m=audio \d+", "m=audio port", sdp), ProtocolError),
        (lambda sdp: sdp.replace("opus/48000", "opus/zero"), ProtocolError),
        (lambda sdp: re.sub(r"a=rtpmap:.*\r\n", "", sdp).replace("96 9 0 8", "99"), ProtocolError),
        (lambda sdp: re.sub(r"(a=candidate:\S+ \d udp \d+) \S+", r"\1 example.com", sdp), ConnectError),
        (lambda sdp: re.sub(r"(a=fingerprint:\S+) ..:..", r"\1 00:00", sdp), ConnectError),
        (without("a=group"), Timeout),
    ],
)
def test_an_sdp_with_a_flaw_is_an_error_and_nothing_of_it_is_left(
    rtc: RTCFake, open_transport: Open, edit: Edit, error: type[HumeClientException], caplog: pytest.LogCaptureFixture
) -> None:
    rtc.edit = edited(edit)
    with pytest.raises(HumeClientException) as caught:
        open_transport(rtc, deadline=Deadline(1.0))
    assert type(caught.value) is error
    assert caught.value.phase == "connect"
    rtc.hang_up()
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_a_server_that_was_reached_is_not_called_unreachable(rtc: RTCFake, open_transport: Open) -> None:
    rtc.edit = edited(lambda sdp: re.sub(r"(a=fingerprint:\S+) ..:..", r"\1 00:00", sdp))
    with pytest.raises(ConnectError, match="the server was reached, but"):
        open_transport(rtc)


def test_an_sdp_of_any_length_does_not_keep_the_thread_busy(rtc: RTCFake, open_transport: Open) -> None:
    more = "".join(
        f"a=candidate:1 1 udp 1 10.0.{number // 250}.{number % 250} 5 typ host\r\n" for number in range(4000)
    )
    rtc.edit = edited(lambda sdp: sdp.replace("a=end-of-candidates\r\n", more, 1))
    with pytest.raises(ProtocolError, match="longer than 65536"):
        open_transport(rtc)


def test_what_a_server_says_of_our_own_headers_is_left_out_of_its_refusal() -> None:
    said = b'{"status": "failed", "meta": {"error": "who is open-sesame-7?"}}'

    def refuse(peer: Peer) -> None:
        peer.file.readline()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))
        peer.wait_gone()

    with server(refuse) as port, pytest.raises(HandshakeRejected) as caught:
        FastRTCClient(f"http://127.0.0.1:{port}", proxy=False, headers={"X-Key": "open-sesame-7"}).connect("webrtc")
    assert "'who is ***?'" in str(caught.value)


def test_text_that_is_none_ends_the_connection(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)
    rtc.say_badly(b"\xff\xfe")
    assert isinstance(end_of(transport), ConnectionLost)


def test_a_server_that_talks_without_end_hinders_neither_receiving_nor_closing(
    rtc: RTCFake, open_transport: Open
) -> None:
    transport = open_transport(rtc, inbox_bytes=10**6)
    with rtc.talking():
        for _ in range(100):
            assert event_of(transport) == Custom(None, "x" * 1000)
        assert took(lambda: transport.close(5)) < 1
        assert not transport._loop.thread.is_alive()


def test_a_server_that_plays_without_end_hinders_no_closing(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)
    rtc.play(tone(1, 48000) * 100)
    event_of(transport)
    assert took(lambda: transport.close(5)) < 1
    assert not transport._loop.thread.is_alive()


def test_a_server_that_has_frozen_hinders_no_closing(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)
    with rtc.frozen():
        assert took(lambda: transport.close(5)) < 1
        assert not transport._loop.thread.is_alive()
