from __future__ import annotations

import gzip
import random
import zlib

import pytest

from hume_sync import ConnectionLost, ProtocolError
from hume_sync.net.body import Body, ChunkedBody, SizedBody, body_reader


def fed(body: Body, data: bytes, size: int) -> bytes:
    pieces = []
    for at in range(0, len(data), size):
        pieces.append(body.feed(data[at : at + size]))
        while body.holds_more:
            pieces.append(body.feed(b""))
    return b"".join(pieces)


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
        (b"2\r\nabc\r\n", "malformed chunk"),
        (b"1;" + b"a" * 8192, "too long"),
    ],
)
def test_what_is_no_chunk_is_refused(stream: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        ChunkedBody().feed(stream)


def test_a_body_with_a_length_ends_there() -> None:
    body = SizedBody(5)
    assert body.feed(b"hel") == b"hel"
    assert not body.ended
    assert body.feed(b"lo and more") == b"lo"
    assert body.ended


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    body = SizedBody(None)
    assert body.feed(b"hello") == b"hello"
    assert not body.ended
    assert body.feed(b"") == b""
    assert body.ended


@pytest.mark.parametrize("body", [SizedBody(5), ChunkedBody()])
def test_a_connection_that_ends_in_the_middle_of_a_body_is_lost(body: SizedBody | ChunkedBody) -> None:
    with pytest.raises(ConnectionLost, match="cut its answer short"):
        body.feed(b"")


def test_some_answers_have_no_body_even_if_their_headers_announce_one() -> None:
    assert all(body_reader(status, {"transfer-encoding": "chunked"}).ended for status in (101, 204, 304))


@pytest.mark.parametrize(
    "fields",
    [
        {"content-encoding": "br"},
        {"content-encoding": "gzip, gzip"},
        {"content-encoding": "deflate"},
        {"transfer-encoding": "gzip, chunked"},
        {"content-length": "-1"},
        {"content-length": "5, 6"},
        {"content-length": "9" * 5000},
    ],
)
def test_a_body_that_cannot_be_read_is_refused_before_it_is(fields: dict[str, str]) -> None:
    with pytest.raises(ProtocolError):
        body_reader(200, fields)


# --- gzip

ZIPPED = {"content-encoding": "gzip"}
NOISE = random.Random(0).randbytes(3000)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip"])
@pytest.mark.parametrize("parts", [[b"hello"], [NOISE], [b"hello, ", b"wide ", b"world"], [b""]])
def test_gzip_is_decoded_however_it_is_cut(parts: list[bytes], coding: str, size: int) -> None:
    data = b"".join(gzip.compress(part) for part in parts)  # RFC 1952, 2.2: one member after the other
    body = body_reader(200, {"content-encoding": coding, "content-length": str(len(data))})
    assert fed(body, data, size) == b"".join(parts)
    assert body.ended


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_gzip_in_chunks_is_decoded_and_padding_is_ignored(size: int) -> None:
    data = gzip.compress(NOISE) + bytes(20)
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (data[:5], data[5:])) + b"0\r\n\r\n"
    body = body_reader(200, ZIPPED | {"transfer-encoding": "chunked"})
    assert fed(body, chunked, size) == NOISE
    assert body.ended


def test_what_was_flushed_of_a_stream_in_gzip_comes_at_once() -> None:
    encoder = zlib.compressobj(wbits=31)
    body = body_reader(200, ZIPPED)
    for text in (b"data: 1\n\n", b"data: 2\n\n"):
        assert body.feed(encoder.compress(text) + encoder.flush(zlib.Z_SYNC_FLUSH)) == text
    assert body.feed(encoder.flush()) == b""
    assert not body.ended
    assert body.feed(b"") == b""
    assert body.ended


def test_of_a_few_bytes_that_stand_for_many_no_step_makes_more_than_its_limit() -> None:
    data = gzip.compress(bytes(50 * 2**20))
    body = body_reader(200, ZIPPED)
    pieces = [len(body.feed(data))]
    while body.holds_more:
        pieces.append(len(body.feed(b"")))
    assert sum(pieces) == 50 * 2**20
    assert max(pieces) == 2**20


def test_an_empty_body_may_claim_to_be_gzip() -> None:
    assert body_reader(200, ZIPPED | {"content-length": "0"}).ended


@pytest.mark.parametrize("framed", [{}, {"content-length": "20"}])
def test_gzip_that_ends_too_soon_is_lost(framed: dict[str, str]) -> None:
    body = body_reader(200, ZIPPED | framed)

    def feed() -> None:
        body.feed(gzip.compress(NOISE)[:20])
        body.feed(b"")

    with pytest.raises(ConnectionLost, match="cut its answer short"):
        feed()


@pytest.mark.parametrize(
    "data", [b"data: 1\n\n", gzip.compress(b"a", mtime=0) + b"more", gzip.compress(b"a", mtime=0)[:-8] + bytes(8)]
)
def test_what_claims_to_be_gzip_and_is_not_is_refused(data: bytes) -> None:
    body = body_reader(200, ZIPPED)
    with pytest.raises(ProtocolError, match="invalid gzip data"):
        fed(body, data, 10_000)


def test_a_coding_is_named_where_it_is_one() -> None:
    with pytest.raises(ProtocolError, match=r"not asked for \(br\)$"):
        body_reader(200, {"content-encoding": "br"})
    with pytest.raises(ProtocolError, match="not asked for$"):
        body_reader(200, {"content-encoding": "open-sesame-7"})
