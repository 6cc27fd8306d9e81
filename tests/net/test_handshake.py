from __future__ import annotations

import logging
from typing import Any

import pytest
import websocket
from websocket._handshake import CookieJar

from hume_sync import AuthenticationError, ConnectionLost, HandshakeRejected, ProtocolError
from hume_sync.net.deadline import Deadline
from hume_sync.net.endpoint import Endpoint
from hume_sync.net.websocket import WebSocket
from hume_sync.reprs import Secret
from tests.faultproxy import Peer, head, upgrade, upgrade_answer

from .support import says, server


def endpoint(port: int, **more: Any) -> Endpoint:
    return Endpoint("127.0.0.1", port, "/prefix/v0/stream/models", **more)


def refuse(answer: str) -> Any:
    def script(peer: Peer) -> None:
        list(head(peer.file))
        peer.send(answer.encode())
        peer.wait_gone()

    return script


def answer_with(extra: str) -> Any:
    def script(peer: Peer) -> None:
        peer.send(upgrade(peer, extra=extra))
        peer.wait_gone()

    return script


def test_the_upgrade_is_what_a_server_expects_and_nothing_else() -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        seen.extend(head(peer.file))

    with server(script) as port, pytest.raises(Exception, match="upgrade"):
        WebSocket.open(
            endpoint(port, headers=(("User-Agent", "x/1"),), secret_headers=(("X-Hume-Api-Key", Secret("hush")),)),
            Deadline(5),
        )
    lines = [line for line in seen if not line.startswith(b"Sec-WebSocket-Key: ")]
    assert lines == [
        b"GET /prefix/v0/stream/models HTTP/1.1\r\n",
        b"Upgrade: websocket\r\n",
        f"Host: 127.0.0.1:{port}\r\n".encode(),
        b"Sec-WebSocket-Version: 13\r\n",
        b"Connection: Upgrade\r\n",
        b"User-Agent: x/1\r\n",
        b"X-Hume-Api-Key: hush\r\n",
        b"\r\n",
    ]
    assert len(seen) == len(lines) + 1


def test_neither_websocket_clients_trace_nor_its_log_ever_shows_a_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    handler = logging.NullHandler()
    websocket.enableTrace(True, handler, "DEBUG")
    try:
        with server(says()) as port:
            WebSocket.open(endpoint(port, secret_headers=(("X-Hume-Api-Key", Secret("hush")),)), Deadline(5)).close(0.1)
    finally:
        websocket.enableTrace(False)
        logging.getLogger("websocket").removeHandler(handler)
    assert "request header" in caplog.text
    assert "hush" not in caplog.text


def test_a_key_that_the_server_repeats_is_shown_to_no_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    handler = logging.NullHandler()
    websocket.enableTrace(True, handler, "DEBUG")

    def script(peer: Peer) -> None:
        peer.send(upgrade(peer, extra="X-Reflect: hush\r\n"))
        peer.send_close(1008, "bad key hush")
        peer.wait_gone()

    try:
        with server(script) as port:
            transport = WebSocket.open(
                endpoint(port, secret_headers=(("X-Hume-Api-Key", Secret("hush")),)), Deadline(5)
            )
            with pytest.raises(ConnectionLost) as caught:
                transport.receive(Deadline(5))
            transport.discard()
    finally:
        websocket.enableTrace(False)
        logging.getLogger("websocket").removeHandler(handler)
    assert caught.value.close_reason == "bad key ***"
    assert "hush" not in f"{caplog.text} {caught.value!r} {transport.headers}"


def test_cookies_go_neither_way_even_if_other_code_uses_websocket_client() -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        lines = list(head(peer.file))
        seen.extend(lines)
        peer.send(upgrade_answer(lines, extra="Set-Cookie: session=1; domain=127.0.0.1\r\n"))

    CookieJar.add("other=1; domain=127.0.0.1")
    try:
        with server(script) as port:
            transport = WebSocket.open(endpoint(port), Deadline(5))
            assert "set-cookie" not in transport.headers
            transport.discard()
        assert not [line for line in seen if line.lower().startswith(b"cookie")]
        assert "session" not in CookieJar.get("127.0.0.1")
    finally:
        CookieJar.jar.clear()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_its_target_never_called(status: int) -> None:
    with server(refuse(f"HTTP/1.1 {status} Moved\r\nContent-Length: 0\r\nLocation: ws://127.0.0.1:1/\r\n\r\n")) as port:
        with pytest.raises(HandshakeRejected, match=f"HTTP {status}.*never followed") as caught:
            WebSocket.open(endpoint(port), Deadline(5))
    assert caught.value.status == status


def test_a_401_has_the_official_text_word_for_word() -> None:
    with server(refuse("HTTP/1.1 401 Unauthorized\r\n\r\n")) as port:
        with pytest.raises(AuthenticationError) as caught:
            WebSocket.open(endpoint(port, secret_headers=(("X-Hume-Api-Key", Secret("hush")),)), Deadline(5))
    assert str(caught.value) == "HumeStreamClient initialized with invalid API key."


@pytest.mark.parametrize(("status", "error"), [(401, AuthenticationError), (403, HandshakeRejected)])
def test_a_refusal_where_no_key_was_sent_says_so(status: int, error: type[Exception]) -> None:
    other = (("Authorization", Secret("Bearer hush")),)
    for private in ((), other):
        with server(refuse(f"HTTP/1.1 {status} No\r\n\r\nwho are you?")) as port:
            with pytest.raises(error, match="no API key was sent: set HUME_API_KEY, or pass api_key$") as caught:
                WebSocket.open(endpoint(port, secret_headers=private), Deadline(5))
        assert f"HTTP {status}" in str(caught.value)


@pytest.mark.parametrize("status", [400, 404, 429, 503])
def test_another_refusal_says_nothing_of_keys(status: int) -> None:
    with server(refuse(f"HTTP/1.1 {status} No\r\n\r\n")) as port:
        with pytest.raises(HandshakeRejected) as caught:
            WebSocket.open(endpoint(port), Deadline(5))
    assert "key" not in str(caught.value)


def test_another_refusal_begins_with_the_official_text_and_says_what_the_server_said() -> None:
    with server(refuse("HTTP/1.1 403 Forbidden\r\n\r\n  plan: \x1b[31m none for\n hush ")) as port:
        with pytest.raises(HandshakeRejected) as caught:
            WebSocket.open(endpoint(port, secret_headers=(("X-Hume-Api-Key", Secret("hush")),)), Deadline(5))
    said = f"HTTP 403 from 127.0.0.1:{port}: plan: ?[31m none for ***"
    assert str(caught.value) == f"Unexpected error when creating streaming connection ({said})"


def test_half_a_key_at_the_end_of_what_is_read_is_not_shown() -> None:
    body = "no key" + " " * (8192 - len("no key") - len("hush")) + "hush-hush"
    with server(refuse(f"HTTP/1.1 403 Forbidden\r\n\r\n{body}")) as port:
        with pytest.raises(HandshakeRejected, match="no key") as caught:
            WebSocket.open(endpoint(port, secret_headers=(("X-Hume-Api-Key", Secret("hush-hush")),)), Deadline(5))
    assert caught.value.body == "no key"
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0", 0.0), ("soon", None), ("-3", None), ("", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_the_time_to_wait_is_read_as_seconds_or_a_date(value: str, seconds: float | None) -> None:
    with server(refuse(f"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\nRetry-After: {value}\r\n\r\n")) as port:
        with pytest.raises(HandshakeRejected) as caught:
            WebSocket.open(endpoint(port), Deadline(5))
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("extra", ["Sec-WebSocket-Protocol: chat\r\n", "Sec-WebSocket-Extensions: x\r\n"])
def test_what_was_not_offered_may_not_be_chosen(extra: str) -> None:
    with server(answer_with(extra)) as port:
        with pytest.raises(ProtocolError, match="was not offered"):
            WebSocket.open(endpoint(port), Deadline(5))
