from __future__ import annotations

import json
import pickle
import socket
import ssl
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from hume_sync import (
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    HumeClientException,
    InputError,
    MessageTooLarge,
    ProtocolError,
    Timeout,
)
from hume_sync.errors import HookError
from hume_sync.fastrtc import http as module
from hume_sync.fastrtc.http import Answer, Http, OpenResponse, json_or_text
from hume_sync.fastrtc.origin import Origin
from hume_sync.net.deadline import Deadline
from hume_sync.net.endpoint import Proxy
from hume_sync.net.secret import Secret
from tests.faultproxy import Peer, head
from tests.net.support import Script, server

KEY = "Bearer open-sesame-7"
PRIVATE = (("Authorization", Secret(KEY)), ("X-Pin", Secret("4711")))


def http(port: int, *, host: str = "127.0.0.1", proxied: str | bool | None = None, **more: Any) -> Http:
    return Http(Origin(host=host, port=port, path="/echo/websocket/offer", **more), proxy=proxied)


def request(peer: Peer) -> tuple[str, dict[str, str], bytes]:
    """The next request: its first line, its fields, its body."""
    first, *lines = [line.decode().rstrip("\r\n") for line in head(peer.file)][:-1]
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return first, fields, peer.file.read(int(fields.get("content-length", 0)))


def answer(body: bytes = b"{}", status: str = "200 OK", *fields: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]).encode() + body


def says(data: bytes) -> Script:
    """Read the request, send this, and end."""

    def run(peer: Peer) -> None:
        request(peer)
        peer.send(data)

    return run


def stays(data: bytes = b"") -> Script:
    """Likewise, but wait for the client to go."""

    def run(peer: Peer) -> None:
        says(data)(peer)
        peer.wait_gone()

    return run


def get(port: int, timeout: float = 5.0, **more: Any) -> Answer:
    return http(port, **more).get("/", None, Deadline(timeout))


def elapsed(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


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
    assert reply.parts() == (200, {"ok": True})


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


def test_an_answer_that_is_not_json_is_text() -> None:
    with server(says(answer("hällo\xff".encode() + b"\xff"))) as port:
        reply = get(port)
    assert (reply.text, reply.json, reply.parts()) == ("hällo\xff\ufffd", None, (200, "hällo\xff\ufffd"))


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
    assert reply.sentence.startswith("?[31mno such handler here xxx")
    assert len(reply.sentence) == 200


def test_an_answer_is_read_that_comes_before_the_request_is_sent() -> None:
    def impatient(peer: Peer) -> None:
        peer.send(answer(b"too much", "413 Content Too Large"))
        peer.sock.shutdown(socket.SHUT_WR)
        peer.wait_gone()

    with server(impatient) as port:
        assert http(port).post_json("/", "x" * 2**20, Deadline(5)).status == 413


@pytest.mark.parametrize("value", [{1j}, {"a": object()}, "\ud800", 2**64])
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
    ["", "hook", "//other.example/x", "ftp://x/y", "ws://x/y", "http://", "http://x:0/", "http://x:y/", "http://[x/",
     "/a b", "/a\r\nX: y", "/ä", "\t/x", "http://x/\x00", "/x#y", "http://x/#", None, 7, b"/x"],
)  # fmt: skip
def test_what_is_no_address_is_refused_by_the_name_of_its_argument(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="^input_hook "):
        http(1).resolve(url, name="input_hook")


@pytest.mark.parametrize("url", ["http://me:hush@x/", "http://hush@x/", "https://:hush@x/y", "http://x/y z?token=hush"])
def test_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        http(1).resolve(url)
    assert "hush" not in str(caught.value)


def test_private_headers_go_to_the_servers_own_origin_and_nowhere_else() -> None:
    seen = []

    def view(peer: Peer) -> None:
        seen.append(request(peer)[1])
        peer.send(answer())

    with server(view, view, view) as own, server(view) as foreign:
        client = http(own, private=PRIVATE, headers=(("User-Agent", "me"),))
        client.get("/", None, Deadline(5))
        client.get(f"http://127.0.0.1:{own}/", None, Deadline(5))
        client.post_json(f"http://localhost:{own}/", {}, Deadline(5))  # the same machine, but who knows that
        client.get(f"http://127.0.0.1:{foreign}/", None, Deadline(5))
    assert [fields.get("authorization") for fields in seen] == [KEY, KEY, None, None]
    assert [fields.get("x-pin") for fields in seen] == ["4711", "4711", None, None]
    assert {fields["user-agent"] for fields in seen} == {"me"}


def test_a_caller_cannot_change_what_a_request_needs() -> None:
    seen = []

    def view(peer: Peer) -> None:
        seen.append(request(peer)[1])
        peer.send(answer())

    private = (("accept-encoding", Secret("gzip")), ("Content-Type", Secret("text/x")), ("User-Agent", Secret("me")))
    with server(view) as port:
        http(port, private=private, headers=(("User-Agent", "us"),)).post_json("/", {}, Deadline(5))
    assert seen[0]["accept-encoding"] == "identity"
    assert seen[0]["content-type"] == "application/json"
    assert seen[0]["user-agent"] == "me"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        location = f"Location: http://127.0.0.1:{target.getsockname()[1]}/"
        with server(says(answer(b"", f"{status} Elsewhere", location))) as port:
            with pytest.raises(HookError, match="redirect") as caught:
                get(port, private=PRIVATE)
        assert caught.value.status == status
        target.setblocking(False)
        with pytest.raises(BlockingIOError):
            target.accept()


# --- what may go unencrypted


class Elsewhere(socket.socket):
    """A socket that says it is connected to another machine."""

    def getpeername(self) -> Any:
        return "192.0.2.7", 80


@pytest.mark.parametrize("private", [PRIVATE, (("X-Tenant", Secret("a")),)])
def test_headers_never_go_unencrypted_to_another_machine(
    monkeypatch: pytest.MonkeyPatch, private: tuple[tuple[str, Secret], ...]
) -> None:
    seen = []
    with server(lambda peer: seen.append(peer.sock.recv(100))) as port:
        monkeypatch.setattr(socket, "socket", Elsewhere)  # by its address: its name is localhost
        with pytest.raises(ConfigurationError, match="unencrypted"):
            get(port, host="localhost", private=private)
    assert seen == [b""]


def test_headers_go_unencrypted_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(says(answer())) as port:
        monkeypatch.setattr(socket, "socket", Elsewhere)
        with pytest.warns(UserWarning, match="unencrypted"):
            assert get(port, private=PRIVATE, allow_plaintext=True).status == 200


def test_without_headers_any_machine_may_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(says(answer())) as port:
        monkeypatch.setattr(socket, "socket", Elsewhere)
        assert get(port).status == 200


def test_requests_are_encrypted_and_the_certificate_is_checked() -> None:
    authority = trustme.CA()
    serving, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(trusting)

    def secure(peer: Peer) -> None:
        with serving.wrap_socket(peer.sock.dup(), server_side=True) as sock:
            inner = Peer(sock, peer.stop)
            says(answer(b"[1]"))(inner)
            inner.file.close()

    with server(secure, secure) as port:
        assert get(port, host="localhost", tls=trusting, private=PRIVATE).json == [1]
        with pytest.raises(ConnectError, match="certificate"):
            http(1).get(f"https://localhost:{port}/", None, Deadline(5))  # another origin: the system's certificates


def test_a_proxy_of_the_environment_is_looked_for_by_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def tunnel(peer: Peer) -> None:
        asked.append(next(iter(head(peer.file))).decode())
        peer.send(answer(b"", "403 No"))

    with server(tunnel, tunnel) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "inner.example")
        with pytest.raises(ConnectError, match="refused the tunnel") as caught:
            http(1).get("http://outer.example/", None, Deadline(5))
        assert caught.value.status == 403
        given = http(1, proxied="http://127.0.0.1", proxy=Proxy("127.0.0.1", port))
        with pytest.raises(ConnectError, match="refused the tunnel"):
            given.get("http://inner.example/", None, Deadline(5))
    assert [line.split()[1] for line in asked] == ["outer.example:80", "inner.example:80"]

    def nowhere(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    for client, url in [(http(1, proxied=False), "http://outer.example/"), (http(1), "http://inner.example/")]:
        with pytest.raises(ConnectError):
            client.get(url, None, Deadline(5))
    assert asked[2:] == ["outer.example", "inner.example"]


# --- what shows


def test_no_error_shows_a_header_that_the_server_repeats() -> None:
    body = b'{"detail": "open-sesame-7 is not known, nor is Bearer open-sesame-7 or 4711"}'
    with server(says(answer(body, "403 Forbidden"))) as port:
        reply = get(port, private=PRIVATE)
    assert reply.sentence == '{"detail": "*** is not known, nor is *** or ***"}'
    assert "sesame" not in repr(reply)


def test_nothing_shows_headers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("http.client.HTTPConnection.debuglevel", 9)
    with server(says(answer())) as port:
        client = http(port, private=PRIVATE)
        client.get("/", None, Deadline(5))
        assert repr(client) == f"<Http http://127.0.0.1:{port}/>"
    assert capsys.readouterr() == ("", "")


# --- servers that misbehave


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", ConnectionLost),
        (b"HTTP/1.1 200 OK\r\n", ConnectionLost),
        (b"HTTP/1.1 200 OK\r\nContent-Le", ConnectionLost),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[1]", ConnectionLost),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n", ConnectionLost),
        (b"SSH-2.0-OpenSSH_9.6\r\n", ProtocolError),
        (b"HTTP/1.1 abc OK\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, ProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, ProtocolError),
    ],
)
def test_what_is_no_answer_is_an_error_that_says_so(data: bytes, error: type[HumeClientException]) -> None:
    with server(says(data)) as port:
        with pytest.raises(error) as caught:
            get(port, private=PRIVATE)
    assert type(caught.value) is error
    assert len(str(caught.value)) < 200
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    "drip",
    [
        b"H" * 1000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 90,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 90,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000,
    ],
)
def test_a_dripping_server_ends_with_the_deadline(drip: bytes) -> None:
    def run(peer: Peer) -> None:
        request(peer)
        peer.drip(drip, 0.01)

    def fails(port: int) -> None:
        with pytest.raises(Timeout) as caught:
            get(port, 0.2)
        assert caught.value.phase == "receive"
        assert caught.value.maybe_processed

    with server(run) as port:
        assert elapsed(lambda: fails(port)) < 0.5


def test_a_silent_server_ends_with_the_deadline() -> None:
    with server(lambda peer: peer.wait_gone()) as port:
        with pytest.raises(Timeout):
            get(port, 0.1)


def test_a_server_that_does_not_read_ends_with_the_deadline() -> None:
    def deaf(peer: Peer) -> None:
        peer.stop.wait(5)

    with server(deaf) as port:
        with pytest.raises(Timeout) as caught:
            http(port).post_json("/", "x" * (16 * 2**20), Deadline(0.2))
    assert caught.value.phase == "send"
    assert not caught.value.maybe_processed


def test_an_endless_body_is_cut_off_at_its_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_BODY", 2**18)

    def endless(peer: Peer) -> None:
        request(peer)
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.flood(b"x" * 65536, 2**30)

    with server(endless) as port:
        with pytest.raises(MessageTooLarge, match="larger than 262144 bytes"):
            get(port)


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(ConnectError, match=f"127.0.0.1:{port}"):
        get(port)


def test_a_request_is_interrupted_from_another_thread() -> None:
    aborts: list[Callable[[], None]] = []

    def interrupt(peer: Peer) -> None:
        request(peer)
        aborts[-1]()
        peer.wait_gone()

    with server(interrupt) as port:
        with pytest.raises(ConnectionLost):
            http(port).get("/", None, Deadline(5), watch=aborts.append)


def test_no_connection_is_left_open() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with server(stays(answer()), stays(answer(b"", "302 Found")), stays(b"nonsense\r\n")) as port:
            get(port)
            for _ in range(2):
                with pytest.raises((HookError, ProtocolError)):
                    get(port)


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
    opened: list[OpenResponse] = []
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


def test_without_urllib3_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "urllib3.connection", None)
    with server(lambda peer: peer.wait_gone()) as port:
        with pytest.raises(ConfigurationError, match=r"hume_sync\[fastrtc\]"):
            get(port)


def test_json_is_read_strictly() -> None:
    deep = "[" * 100_000
    assert [json_or_text(text) for text in (" [1] ", "null", "NaN", "", deep)] == [[1], None, "NaN", "", deep]
