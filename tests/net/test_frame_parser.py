from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hume_sync import MessageTooLarge, ProtocolError
from hume_sync.net.deadline import Deadline
from hume_sync.net.endpoint import Endpoint
from hume_sync.net.frame_parser import FrameParser
from hume_sync.net.sockets import SocketStream
from hume_sync.net.websocket import WebSocket
from tests.faultproxy import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, announce, frame

LIMIT = 70_000

Item = tuple[int, bytes]


def fed(parser: FrameParser, data: bytes) -> Iterator[Item]:
    """All messages and control frames that are complete with these bytes."""
    event = parser.next_event(data)
    while event is not None:
        if event[0] != CONTINUATION:
            yield event[0], bytes(event[1])
        event = parser.next_event()


controls = st.tuples(st.sampled_from([PING, PONG, CLOSE]), st.binary(max_size=125))
texts = st.builds(
    lambda start, size: start[:1] * size, st.binary(min_size=1), st.sampled_from([0, 1, 125, 126, 300, 65535, LIMIT])
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[Item]]:
    """Bytes of a valid stream, and what is to come of them."""
    raw, items = b"", []
    for opcode, message in draw(st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), texts), max_size=4)):
        cuts = sorted(draw(st.lists(st.integers(0, len(message)), max_size=3)))
        pieces = [message[a:b] for a, b in zip([0, *cuts], [*cuts, len(message)], strict=True)]
        for number, piece in enumerate(pieces):
            for control, payload in draw(st.lists(controls, max_size=2)):  # between fragments too
                raw += frame(payload, control)
                items.append((control, payload))
            raw += frame(piece, CONTINUATION if number else opcode, final=number == len(pieces) - 1)
        items.append((opcode, message))
    return raw, items


@given(streams(), st.lists(st.integers(0, 80_000), max_size=20), st.integers(0, 64))
def test_however_a_stream_is_cut_the_same_messages_come_of_it(
    stream: tuple[bytes, list[Item]], cuts: list[int], first_bytes: int
) -> None:
    raw, items = stream
    parser = FrameParser(LIMIT, binary=True)
    # A byte at a time at first, where the headers are; then in pieces.
    places = sorted({*range(min(first_bytes, len(raw))), *(cut for cut in cuts if cut < len(raw)), len(raw)})
    got: list[Item] = []
    start = 0
    for place in places:
        got += fed(parser, raw[start:place])
        start = place
    assert got == items
    assert parser.is_between_messages


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (frame(b"x", reserved=4), "reserved bits"),
        (b"\x81\x81", "masked"),
        (frame(b"x", CONTINUATION), "at the start of a message"),
        (frame(b"x", final=False) + frame(b"y"), "inside a fragmented message"),
        (frame(b"x", final=False) + frame(b"y", BINARY), "inside a fragmented message"),
        (frame(b"x", BINARY, final=False) + frame(b"y"), "inside a fragmented message"),
        (frame(b"x", PING, final=False), "control frame"),
        (frame(b"x" * 126, PONG), "control frame"),
        (frame(b"", 11), "unknown opcode 11"),
        (frame(b"", 3), "at the start of a message"),
    ],
)
def test_what_breaks_the_protocol_is_refused_by_its_header_and_what_came_before_is_there(
    raw: bytes, fault: str
) -> None:
    parser = FrameParser(LIMIT, binary=True)
    items = fed(parser, frame(b"before") + raw[: -1 if raw[-2:] != b"\x81\x81" and len(raw) > 2 else None])
    assert next(items) == (TEXT, b"before")
    with pytest.raises(ProtocolError, match=fault):
        next(items)


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONTINUATION])
@pytest.mark.parametrize("size", [LIMIT + 1, 2**40, 2**64 - 1])
def test_a_message_beyond_the_limit_is_refused_before_memory_is_taken_for_it(opcode: int, size: int) -> None:
    parser = FrameParser(LIMIT, binary=True)
    if opcode == CONTINUATION:
        assert not list(fed(parser, frame(b"x", final=False)))
        size -= 1
    with pytest.raises(MessageTooLarge, match=f"more than {LIMIT} bytes"):
        list(fed(parser, announce(size, opcode)))


def test_fragments_count_together_and_control_frames_between_them_do_not() -> None:
    parser = FrameParser(200, binary=True)
    parts = frame(b"x" * 200, final=False) + frame(b"y" * 125, PING) + frame(b"", CONTINUATION)
    assert list(fed(parser, parts)) == [(PING, b"y" * 125), (TEXT, b"x" * 200)]
    assert not list(fed(parser, frame(b"x" * 200, final=False)))
    with pytest.raises(MessageTooLarge):
        list(fed(parser, struct.pack("!BB", 0x80, 1)))


def test_events_that_were_not_asked_for_yet_are_kept() -> None:
    parser = FrameParser(LIMIT, binary=True)
    items = fed(parser, frame(b"one") + frame(b"two") + frame(b"three")[:-1])
    assert next(items) == (TEXT, b"one")
    items.close()  # type: ignore[attr-defined]  # it is a generator
    assert list(fed(parser, b"e")) == [(TEXT, b"two"), (TEXT, b"three")]


def test_binary_messages_are_refused_unless_they_are_allowed() -> None:
    with pytest.raises(ProtocolError, match="unexpected opcode 2"):
        FrameParser(LIMIT).next_event(frame(b"x", BINARY))


# --- read from a stream, by a `WebSocket`


class Pieces:
    """A stream on which bytes come in pieces."""

    def __init__(self, stream: bytes, cuts: list[int]) -> None:
        self._left = stream
        self._cuts = iter(cuts)

    def read(self, deadline: Deadline) -> bytes:
        cut = next(self._cuts, len(self._left))
        piece, self._left = self._left[:cut], self._left[cut:]
        return piece

    def read_into(self, view: memoryview, deadline: Deadline) -> int:
        cut = min(next(self._cuts, len(view)), len(view))
        piece, self._left = self._left[:cut], self._left[cut:]
        view[: len(piece)] = piece
        return len(piece)


def reading(stream: object, limit: int = 2**20) -> WebSocket:
    return WebSocket(cast("SocketStream", stream), {}, Endpoint("localhost", 1, "/", max_message_size=limit))


@settings(max_examples=200)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 2, 125, 126, 300, 65535, 65536, 70_000]), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 2000), max_size=12),
)
def test_frames_come_out_whole_however_the_bytes_come_in(sizes: list[int], cuts: list[int]) -> None:
    payloads = [bytes([65 + i]) * size for i, size in enumerate(sizes)]
    websocket = reading(Pieces(b"".join(map(frame, payloads)), cuts))
    for payload in payloads:
        opcode, data = websocket._next_event(Deadline(5))
        assert (opcode, bytes(data)) == (TEXT, payload)
    with pytest.raises(EOFError):
        websocket._next_event(Deadline(5))


@pytest.fixture
def pair() -> Iterator[tuple[SocketStream, socket.socket]]:
    ours, theirs = socket.socketpair()
    stream = SocketStream(ours)
    with theirs:
        yield stream, theirs
    stream.close()


@pytest.mark.parametrize("size", [11, 200, 70_000, 2**40])
def test_a_frame_beyond_the_limit_is_refused_by_its_header(pair: tuple[SocketStream, socket.socket], size: int) -> None:
    stream, peer = pair
    peer.sendall(frame(b"")[:1] + (bytes([127]) + size.to_bytes(8, "big")))
    with pytest.raises(MessageTooLarge, match="more than 10 bytes"):
        reading(stream, 10)._next_event(Deadline(5))


@pytest.mark.parametrize("raw", [b"\x81\x84abcd", b"\x81\xfe\x00\x01", b"\xc1\x02{}", b"\x91\x02{}", b"\xa1\x00"])
def test_masked_frames_and_reserved_bits_break_the_protocol(
    pair: tuple[SocketStream, socket.socket], raw: bytes
) -> None:
    stream, peer = pair
    peer.sendall(raw)
    with pytest.raises(ProtocolError, match="broke the WebSocket protocol: (a masked frame|reserved bits)"):
        reading(stream, 10)._next_event(Deadline(5))


@pytest.mark.parametrize("raw", [b"", b"\x81", b"\x81\x7e\x00", b"\x81\x05abc", b"\x81\x7f" + b"\x00" * 6])
def test_a_stream_that_ends_inside_a_frame_is_an_end(pair: tuple[SocketStream, socket.socket], raw: bytes) -> None:
    stream, peer = pair
    peer.sendall(raw)
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        reading(stream, 10)._next_event(Deadline(5))
