from __future__ import annotations

import pytest

from hume_sync import ConnectionLost, ProtocolError
from hume_sync.net.body import ChunkedBody, PlainBody, framing


def fed(body: PlainBody | ChunkedBody, data: bytes, size: int) -> bytes:
    return b"".join(body.feed(data[at : at + size]) for at in range(0, len(data), size))


CHUNKS = b'5;name="value"\r\nhello\r\n00A\r\n, wide wor\r\n2\nld\n0\r\nTrailer: x\r\n\r\n'


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_chunks_are_put_together_however_they_are_cut(size: int) -> None:
    body = ChunkedBody()
    assert fed(body, CHUNKS, size) == b"hello, wide world"
    assert body.ended


def test_what_follows_the_last_chunk_is_dropped() -> None:
    assert ChunkedBody().feed(CHUNKS + b"HTTP/1.1 200 OK\r\n") == b"hello, wide world"


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"hello\r\n", "size"),
        (b"\r\n", "size"),
        (b"-1\r\n", "size"),
        (b"0x5\r\n", "size"),
        (b"1" * 17 + b"\r\n", "size"),
        (b"2\r\nabc\r\n", "longer than it says"),
        (b"1;" + b"a" * 8192, "no end"),
    ],
)
def test_what_is_no_chunk_is_refused(stream: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        ChunkedBody().feed(stream)


def test_a_body_with_a_length_ends_there() -> None:
    body = PlainBody(5)
    assert body.feed(b"hel") == b"hel"
    assert not body.ended
    assert body.feed(b"lo and more") == b"lo"
    assert body.ended


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    body = PlainBody(None)
    assert body.feed(b"hello") == b"hello"
    assert not body.ended
    assert body.feed(b"") == b""
    assert body.ended


@pytest.mark.parametrize("body", [PlainBody(5), ChunkedBody()])
def test_a_connection_that_ends_in_the_middle_of_a_body_is_lost(body: PlainBody | ChunkedBody) -> None:
    with pytest.raises(ConnectionLost, match="cut its answer short"):
        body.feed(b"")


def test_some_answers_have_no_body_whatever_they_say() -> None:
    assert all(framing(status, {"transfer-encoding": "chunked"}).ended for status in (101, 204, 304))


@pytest.mark.parametrize(
    "fields",
    [
        {"content-encoding": "gzip"},
        {"transfer-encoding": "gzip, chunked"},
        {"content-length": "-1"},
        {"content-length": "5, 6"},
        {"content-length": "9" * 5000},
    ],
)
def test_a_body_that_cannot_be_read_is_refused_before_it_is(fields: dict[str, str]) -> None:
    with pytest.raises(ProtocolError):
        framing(200, fields)
