from __future__ import annotations

import json
import math
import socket
import threading
from typing import Any

import pytest

from hume_sync import (
    ConfigurationError,
    ConnectionLost,
    InputError,
    Timeout,
)
from hume_sync.errors import HookError
from hume_sync.fastrtc.app_http import StreamingResponse
from hume_sync.fastrtc.events import json_or_text
from hume_sync.net.deadline import Deadline
from hume_sync.reprs import Secret
from tests.faultproxy import Peer
from tests.net.support import server

from .webtalk import PRIVATE, answer, get, http, request, says

# --- requests and answers


def test_a_value_is_posted_as_json() -> None:
    seen = []

    def hook(peer: Peer) -> None:
        seen.append(request(peer))
        peer.send(answer(b'{"ok": true}'))

    with server(hook) as port:
        reply = http(port).post_json("/input_hook?a=1", {"webrtc_id": "x", "n": 1}, Deadline(5))
    first, fields, body = seen[0]
    assert first == "POST /input_hook?a=1 HTTP/1.1"
    assert fields["host"] == f"127.0.0.1:{port}"
    assert fields["content-type"] == "application/json"
    assert json.loads(body) == {"webrtc_id": "x", "n": 1}
    assert (reply.status, reply.text, reply.json) == (200, '{"ok": true}', {"ok": True})


def test_fields_go_into_the_query_behind_what_is_there() -> None:
    seen = []

    def view(peer: Peer) -> None:
        seen.append(request(peer)[0])
        peer.send(answer())

    with server(view, view) as port:
        client = http(port)
        client.get("/latest", {"webrtc_id": "a b&c"}, Deadline(5))
        client.get(f"http://127.0.0.1:{port}/latest?stream=s", {"webrtc_id": "1"}, Deadline(5))
    assert seen == ["GET /latest?webrtc_id=a+b%26c HTTP/1.1", "GET /latest?stream=s&webrtc_id=1 HTTP/1.1"]


@pytest.mark.parametrize(
    ("fields", "seconds"), [((), None), (("Retry-After: 7",), 7.0), (("Retry-After: soon",), None)]
)
def test_an_answer_tells_how_long_to_wait(fields: tuple[str, ...], seconds: float | None) -> None:
    with server(says(answer(b"", "429 Too Many Requests", *fields))) as port:
        assert get(port).retry_after == seconds


def test_an_answer_that_is_not_json_is_text() -> None:
    with server(says(answer("hällo\xff".encode() + b"\xff"))) as port:
        reply = get(port)
    assert (reply.text, reply.json) == ("hällo\xff\ufffd", None)


@pytest.mark.parametrize(
    "framed",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n[1,2]",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n[1,2] and more",
    ],
)
def test_a_body_is_read_however_it_is_framed(framed: bytes) -> None:
    with server(says(framed)) as port:
        assert get(port).json == [1, 2]


def test_an_error_is_an_answer_too_with_a_sentence_of_it() -> None:
    body = b"\x1b[31mno such\r\n handler  here " + b"x" * 1000
    with server(says(answer(body, "500 Oops"))) as port:
        reply = get(port)
    assert reply.status == 500
    assert reply.error_excerpt.startswith("?[31mno such handler here xxx")
    assert len(reply.error_excerpt) == 200


def test_an_answer_is_read_that_comes_before_the_request_is_sent() -> None:
    def impatient(peer: Peer) -> None:
        peer.send(answer(b"too much", "413 Content Too Large"))
        peer.sock.shutdown(socket.SHUT_WR)
        peer.wait_gone()

    with server(impatient) as port:
        assert http(port).post_json("/", "x" * 2**20, Deadline(5)).status == 413


@pytest.mark.parametrize("value", [{1j}, {"a": object()}, "\ud800", 2**64, [1, math.nan], {"a": -math.inf}])
def test_what_is_not_json_is_refused_before_anything_is_sent(value: object) -> None:
    with pytest.raises(InputError, match="sent as JSON"):
        http(1).post_json("/", value, Deadline(5))


# --- where requests go


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        ("/input_hook", "http://server.example:7860/input_hook"),
        ("/a?b=c", "http://server.example:7860/a?b=c"),
        ("http://other.example", "http://other.example/"),
        ("HTTPS://Other.example:8443/x?y", "https://other.example:8443/x?y"),
        ("http://[::1]:80/x", "http://[::1]/x"),
    ],
)
def test_a_path_belongs_to_the_origin_and_a_url_stays_as_it_is(url: str, absolute: str) -> None:
    assert http(7860, host="server.example").resolve(url) == absolute


@pytest.mark.parametrize(
    "url",
    ["", "hook", "//other.example/x", "///x", "http://a..b/", "ftp://x/y", "ws://x/y", "http://", "http://x:0/",
     "http://x:y/", "http://[x/", "/a b", "/a\r\nX: y", "/ä", "\t/x", "http://x/\x00", "/x#y", "http://x/#",
     None, 7, b"/x"],
)  # fmt: skip
def test_what_is_no_address_is_refused_by_the_name_of_its_argument(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="^input_hook "):
        http(1).resolve(url, name="input_hook")


@pytest.mark.parametrize("url", ["http://me:hush@x/", "http://hush@x/", "https://:hush@x/y", "http://x/y z?token=hush"])
def test_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        http(1).resolve(url)
    assert "hush" not in str(caught.value)


def test_a_caller_cannot_change_what_a_request_needs() -> None:
    seen = []

    def view(peer: Peer) -> None:
        seen.append(request(peer)[1])
        peer.send(answer())

    private = (("accept-encoding", Secret("gzip")), ("Content-Type", Secret("text/x")), ("User-Agent", Secret("me")))
    with server(view) as port:
        http(port, secret_headers=private, headers=(("User-Agent", "us"),)).post_json("/", {}, Deadline(5))
    assert seen[0]["accept-encoding"] == "identity"
    assert seen[0]["content-type"] == "application/json"
    assert seen[0]["user-agent"] == "me"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        location = f"Location: http://127.0.0.1:{target.getsockname()[1]}/"
        with server(says(answer(b"", f"{status} Elsewhere", location))) as port:
            with pytest.raises(HookError, match="redirect") as caught:
                get(port, secret_headers=PRIVATE)
        assert caught.value.status == status
        target.setblocking(False)
        with pytest.raises(BlockingIOError):
            target.accept()


# --- a response whose body is still to come


def test_a_stream_goes_on_after_a_time_out_in_the_middle_of_a_chunk() -> None:
    go = [threading.Event() for _ in range(4)]

    def pieces(peer: Peer) -> None:
        first, fields, _ = request(peer)
        assert (first, fields["accept"]) == ("GET /updates?webrtc_id=1 HTTP/1.1", "text/event-stream")
        peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for gate, piece in zip(go, [b"0", b"5\r\nhel", b"lo\r", b"\n0\r\n\r\n"], strict=True):
            assert gate.wait(5)
            peer.send(piece)

    with server(pieces) as port:
        response = http(port).stream("/updates", {"webrtc_id": "1"}, Deadline(5))
        assert (response.status, response.content_type) == (200, "text/event-stream")
        read = b""
        for gate in go[:3]:
            with pytest.raises(Timeout):
                while piece := response.read(Deadline(0.05)):
                    read += piece
            gate.set()
        with pytest.raises(Timeout):
            while piece := response.read(Deadline(0.05)):
                read += piece
        go[3].set()
        assert response.read(Deadline(5)) == b""
        response.close()
        assert read == b"hello"


def test_a_blocked_reader_ends_at_once_when_another_thread_says_so() -> None:
    opened: list[StreamingResponse] = []
    reading = threading.Event()

    def interrupt(peer: Peer) -> None:
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")(peer)
        assert reading.wait(5)
        opened[0].abort()
        peer.wait_gone()

    with server(interrupt) as port:
        opened.append(http(port).stream("/", None, Deadline(5)))
        reading.set()
        with pytest.raises(ConnectionLost):
            opened[0].read(Deadline(5))
        opened[0].close()


def test_json_is_read_strictly() -> None:
    deep = "[" * 100_000
    assert [json_or_text(text) for text in (" [1] ", "null", "NaN", "", deep)] == [[1], None, "NaN", "", deep]
