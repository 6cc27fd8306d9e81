from __future__ import annotations

import gzip
import pickle
import socket
import warnings

import pytest

from hume_sync import (
    ConnectError,
    ConnectionLost,
    HumeClientException,
    MessageTooLarge,
    ProtocolError,
    Timeout,
)
from hume_sync.errors import HookError
from hume_sync.net import deadline, sockets
from hume_sync.net.deadline import Deadline
from hume_sync.net.pending import Pending
from tests.clocks import Later
from tests.faultproxy import Peer
from tests.net.support import server

from .webtalk import PRIVATE, answer, get, http, request, says, stays


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
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n[1]", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"[1]", mtime=0)[:-1], ConnectionLost),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 3\r\n\r\n[1]", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nbad name: x\r\nContent-Encoding: gzip\r\n\r\n[1]", ProtocolError),
        (b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n[1]", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n[1]", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: y\rno colon\r\n\r\n[1]", ProtocolError),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, ProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, ProtocolError),
    ],
)
def test_what_is_no_answer_is_an_error_that_says_so(data: bytes, error: type[HumeClientException]) -> None:
    with server(says(data)) as port:
        with pytest.raises(error) as caught:
            get(port, secret_headers=PRIVATE)
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
def test_a_dripping_server_ends_with_the_deadline(drip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Later(monkeypatch, "monotonic", deadline, sockets)

    def run(peer: Peer) -> None:
        request(peer)
        peer.send(drip[:20])
        clock.offset = 60
        peer.drip(drip[20:], 0.01)

    with server(run) as port, pytest.raises(Timeout) as caught:
        get(port, 60)
    assert caught.value.phase == "receive"
    assert caught.value.maybe_processed


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


@pytest.mark.parametrize("coding", [b"", b"Content-Encoding: gzip\r\n"])
def test_an_endless_body_is_cut_off_at_its_cap(coding: bytes) -> None:
    def endless(peer: Peer) -> None:
        request(peer)
        peer.send(b"HTTP/1.1 200 OK\r\n" + coding + b"\r\n")
        peer.flood(gzip.compress(bytes(2**22)) if coding else b"x" * 65536, 2**30)

    with server(endless) as port:
        with pytest.raises(MessageTooLarge, match="larger than 262144 bytes"):
            http(port).get("/", None, Deadline(5), max_size=2**18)


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(ConnectError, match=f"127.0.0.1:{port}"):
        get(port)


def test_a_request_is_interrupted_from_another_thread() -> None:
    pending: list[Pending] = []

    def interrupt(peer: Peer) -> None:
        request(peer)
        pending[-1].abort()
        peer.wait_gone()

    with server(interrupt) as port:
        with pytest.raises(ConnectionLost):
            http(port).get("/", None, Deadline(5), watch=pending.append)


def test_no_connection_is_left_open() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with server(stays(answer()), stays(answer(b"", "302 Found")), stays(b"nonsense\r\n")) as port:
            get(port)
            for _ in range(2):
                with pytest.raises((HookError, ProtocolError)):
                    get(port)
