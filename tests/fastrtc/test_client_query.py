"""A query on the URL of a stream: sent with each handshake and each offer, and never shown."""

from __future__ import annotations

import logging

import pytest
import websocket

from hume_sync.errors import HandshakeRejected
from hume_sync.fastrtc import FastRTCClient, Reconnected
from hume_sync.fastrtc.app_http import AppEndpoint
from hume_sync.reprs import Secret
from tests.net.support import server

from .fake import FakeFastRTC
from .talk import client, say
from .webtalk import answer, stays


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("/?token=hush-hush", "/echo", {"token": "hush-hush"}),
        ("?token=hush-hush", "/echo", {"token": "hush-hush"}),
        ("", "/echo?tenant=5", {"tenant": "5"}),
        ("/echo?token=hush-hush", "", {"token": "hush-hush"}),
        ("/echo?token=hush-hush", "?tenant=5", {"token": "hush-hush", "tenant": "5"}),
        ("/?token=hush%20hush%26%3F&b=/?", "/echo?tenant=5", {"token": "hush hush&?", "b": "/?", "tenant": "5"}),
        ("/?", "/echo?", {}),
    ],
)
def test_it_goes_along_with_the_handshake_and_nowhere_else(
    fake: FakeFastRTC, url: str, path: str, query: dict[str, str]
) -> None:
    one = FastRTCClient(fake.url + url, path=path, proxy=False)
    with one.connect() as session:
        session.set_input(a=1)
        assert "hush" not in repr(one) + repr(session) + repr(vars(one))
    handshake, *others = fake.requests
    assert (handshake.path, handshake.query) == ("/echo/websocket/offer", query)
    assert [seen.query for seen in others] == [{}, {}]


def test_it_goes_along_when_the_connection_is_replaced(fake: FakeFastRTC) -> None:
    with client(fake, "/echo?token=hush-hush").connect(reconnect=True) as session:
        fake.drop()
        event = next(iter(session))
        assert isinstance(event, Reconnected)
        assert "hush" not in repr(event)
        assert say(session)
    assert [seen.query for seen in fake.requests] == [{"token": "hush-hush"}] * 2


def test_it_shows_in_no_log(fake: FakeFastRTC, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    websocket.enableTrace(True, handler=logging.NullHandler())
    try:
        with client(fake, "/echo?token=hush-hush").connect() as session:
            assert say(session)
    finally:
        websocket.enableTrace(False)
    assert "GET /echo/websocket/offer HTTP/1.1" in caplog.text
    assert "hush" not in caplog.text


@pytest.mark.parametrize("said", ["no hush-hush here", "/echo/websocket/offer?token=hush-hush&a=1", "HUSH-HUSH"])
def test_a_refusal_that_repeats_it_does_not_show_it(said: str) -> None:
    with server(stays(answer(said.encode(), "403 Forbidden"))) as port:
        with pytest.raises(HandshakeRejected, match=r"\*\*\*") as caught:
            FastRTCClient(f"http://127.0.0.1:{port}/echo?token=hush-hush&a=1", proxy=False).connect()
    assert "hush" not in f"{caught.value} {vars(caught.value)}".lower()
    assert caught.value.url == f"ws://127.0.0.1:{port}/echo/websocket/offer"


@pytest.mark.parametrize(
    ("query", "text", "shown"),
    [
        ("token=open%20sesame", "open sesame, or open%20sesame, or token=open%20sesame", "***, or ***, or ***"),
        ("token=open+sesame", "no open sesame", "no ***"),
        ("tenant=5", "tenant 5 of 5, tenant=5", "tenant 5 of 5, ***"),
        ("a=1&b=2", "/echo?a=1&b=2", "/echo?***"),
        ("sesame", "no sesame", "no ***"),
        ("x", "an example", "an example"),
    ],
)
def test_its_values_are_taken_out_of_what_servers_say(query: str, text: str, shown: str) -> None:
    assert AppEndpoint(host="x", port=80, path="", query=Secret(query)).redact(text) == shown
