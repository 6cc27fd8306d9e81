from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hume_sync import MessageTooLarge, ProtocolError
from hume_sync.net.frame_parser import FrameParser
from tests.faultproxy import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, announce, frame

LIMIT = 70_000

Item = tuple[int, bytes]

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
    parser = FrameParser(LIMIT)
    # A byte at a time at first, where the headers are; then in pieces.
    places = sorted({*range(min(first_bytes, len(raw))), *(cut for cut in cuts if cut < len(raw)), len(raw)})
    got: list[Item] = []
    start = 0
    for place in places:
        got += parser.feed(raw[start:place])
        start = place
    assert got == items
    assert not parser._buffer


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (frame(b"x", reserved=4), "reserved bits"),
        (b"\x81\x81", "masked"),
        (frame(b"x", CONTINUATION), "neither text nor binary"),
        (frame(b"x", final=False) + frame(b"y"), "one message inside another"),
        (frame(b"x", final=False) + frame(b"y", BINARY), "one message inside another"),
        (frame(b"x", BINARY, final=False) + frame(b"y"), "one message inside another"),
        (frame(b"x", PING, final=False), "control frame"),
        (frame(b"x" * 126, PONG), "control frame"),
        (frame(b"", 11), "opcode 11"),
        (frame(b"", 3), "neither text nor binary"),
    ],
)
def test_what_breaks_the_protocol_is_refused_by_its_header_and_what_came_before_is_there(
    raw: bytes, fault: str
) -> None:
    parser = FrameParser(LIMIT)
    items = parser.feed(frame(b"before") + raw[: -1 if raw[-2:] != b"\x81\x81" and len(raw) > 2 else None])
    assert next(items) == (TEXT, b"before")
    with pytest.raises(ProtocolError, match=fault):
        next(items)


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONTINUATION])
@pytest.mark.parametrize("size", [LIMIT + 1, 2**40, 2**64 - 1])
def test_a_message_beyond_the_limit_is_refused_before_memory_is_taken_for_it(opcode: int, size: int) -> None:
    parser = FrameParser(LIMIT)
    if opcode == CONTINUATION:
        assert not list(parser.feed(frame(b"x", final=False)))
        size -= 1
    with pytest.raises(MessageTooLarge, match=f"more than {LIMIT} bytes"):
        list(parser.feed(announce(size, opcode)))


def test_fragments_count_together_and_control_frames_between_them_do_not() -> None:
    parser = FrameParser(200)
    parts = frame(b"x" * 200, final=False) + frame(b"y" * 125, PING) + frame(b"", CONTINUATION)
    assert list(parser.feed(parts)) == [(PING, b"y" * 125), (TEXT, b"x" * 200)]
    assert not list(parser.feed(frame(b"x" * 200, final=False)))
    with pytest.raises(MessageTooLarge):
        list(parser.feed(struct.pack("!BB", 0x80, 1)))


def test_who_stops_in_the_middle_goes_on_where_it_was() -> None:
    parser = FrameParser(LIMIT)
    items = parser.feed(frame(b"one") + frame(b"two") + frame(b"three")[:-1])
    assert next(items) == (TEXT, b"one")
    items.close()  # type: ignore[attr-defined]  # it is a generator
    assert list(parser.feed(b"e")) == [(TEXT, b"two"), (TEXT, b"three")]
