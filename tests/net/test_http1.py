from __future__ import annotations

import socket

import pytest

from hume_sync import ProtocolError
from hume_sync.net.deadline import Deadline
from hume_sync.net.http1 import ResponseHead, parse_retry_after, read_head
from hume_sync.net.sockets import SocketStream


def read(data: bytes) -> tuple[ResponseHead, int]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        wire = SocketStream(ours)
        return read_head(wire, Deadline(5)), wire.buffered


def test_a_head_is_read_to_its_empty_line_and_no_further() -> None:
    head, left = read(b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nX-A:\r\n\r\nbody")
    assert (head.status, left) == (429, 4)
    assert head.fields == (("retry-after", "7"), ("x-a", ""))
    assert head.get("retry-after") == "7"
    assert head.get("x-b") is None


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 9000 + b": y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
    ],
)
def test_what_is_no_http_head_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(data)


def test_a_head_that_breaks_off_is_the_end_of_the_stream() -> None:
    with pytest.raises(EOFError):
        read(b"HTTP/1.1 200 OK\r\nX-A: b")


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:30 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", "no date", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", None, 0.0),
        ("7", "no date", 7.0),
    ],
)
def test_a_date_to_wait_for_is_measured_by_the_servers_own_clock(value: str, date: str | None, seconds: float) -> None:
    assert parse_retry_after(value, date) == seconds
