from __future__ import annotations

import random
import socket
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hume_sync import MessageTooLarge, ProtocolError
from hume_sync.net import frames as module
from hume_sync.net.deadline import Deadline
from hume_sync.net.frames import FINAL, LARGE, FrameReader, FrameWriter
from hume_sync.net.sockets import SocketStream
from tests.faultproxy import BINARY, CONTINUATION, PING, TEXT, frame

SIZES = [0, 1, 2, 3, 4, 125, 126, 127, 2047, 2048, 2049, 2055, 65535, 65536, 65537, 3 * 65536 + 5, 1_000_003]


def opened(built: bytes | memoryview, opcode: int = TEXT) -> bytes:
    """The payload of a frame, by the letter of RFC 6455, 5.2 and 5.3; its header is checked on the way."""
    raw = bytes(built)
    assert raw[0] == FINAL | opcode
    assert raw[1] & 0x80
    extra = {126: 2, 127: 8}.get(raw[1] & 0x7F, 0)
    size = int.from_bytes(raw[2 : 2 + extra], "big") if extra else raw[1] & 0x7F
    assert (size > 125) is bool(extra)
    assert (size > 65535) is (extra == 8)
    key, masked = raw[2 + extra : 6 + extra], raw[6 + extra :]
    assert len(masked) == size
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(masked))


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_any_size_holds_the_parts_in_order(size: int, numpy: str) -> None:
    data = random.Random(size).randbytes(size)
    cut = size // 3
    parts = [data[:cut], b"", data[cut:]]
    assert opened(FrameWriter().build(parts)) == data
    assert opened(FrameWriter().build(parts, BINARY), BINARY) == data
    assert b"".join(parts) == data  # they are the caller's, and may be sent again


class Late:
    """A part that becomes bytes in its place, and no later or earlier."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def write_into(self, place: memoryview) -> None:
        place[:] = self.data


@pytest.mark.parametrize("size", [LARGE, LARGE + 1, 500_003])
def test_a_part_may_be_written_straight_into_the_frame(size: int, numpy: str) -> None:
    data = random.Random(size).randbytes(size)
    assert opened(FrameWriter().build([b"before", Late(data), b"after"])) == b"before" + data + b"after"


def test_each_frame_has_a_fresh_key(numpy: str) -> None:
    writer = FrameWriter()
    for size in (10, 5000):
        keys = {bytes(writer.build([bytes(size)])[-4:]) for _ in range(100)}  # what zeros are masked to
        assert len(keys) == 100


def test_numpy_is_imported_for_who_sends_much_and_for_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    monkeypatch.delitem(sys.modules, "numpy")
    imported: list[str] = []

    class Finder:
        def find_spec(self, name: str, path: object, target: object = None) -> Any:
            imported.append(name)
            raise ImportError

    monkeypatch.setattr(sys, "meta_path", [Finder()])
    writer = FrameWriter()
    for _ in range(module._IMPORT_NUMPY_AFTER // 10_000):
        writer.build([bytes(1000)])
        writer.build([bytes(10_000)])
    assert imported == []
    assert opened(writer.build([bytes(10_000)])) == bytes(10_000)
    assert imported == ["numpy"]
    writer.build([bytes(10_000)])
    assert imported == ["numpy"]  # where it is not to be had, it is not looked for again


# --- reading


@pytest.fixture
def pair() -> Iterator[tuple[SocketStream, socket.socket]]:
    ours, theirs = socket.socketpair()
    wire = SocketStream(ours, Deadline(5))
    with theirs:
        yield wire, theirs
    wire.close()


class Pieces:
    """A wire on which bytes come in pieces."""

    def __init__(self, stream: bytes, cuts: list[int]) -> None:
        self._left = stream
        self._cuts = iter(cuts)
        self._surplus = b""

    def read(self) -> bytes:
        if self._surplus:
            piece, self._surplus = self._surplus, b""
            return piece
        cut = next(self._cuts, len(self._left))
        piece, self._left = self._left[:cut], self._left[cut:]
        return piece

    def read_into(self, view: memoryview) -> int:
        assert not self._surplus
        cut = min(next(self._cuts, len(view)), len(view))
        piece, self._left = self._left[:cut], self._left[cut:]
        view[: len(piece)] = piece
        return len(piece)

    def push_back(self, data: memoryview) -> None:
        assert not self._surplus
        self._surplus = bytes(data)


@settings(max_examples=200)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 2, 125, 126, 300, 65535, 65536, 70_000]), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 2000), max_size=12),
)
def test_frames_come_out_whole_however_the_bytes_come_in(sizes: list[int], cuts: list[int]) -> None:
    payloads = [bytes([65 + i]) * size for i, size in enumerate(sizes)]
    wire = Pieces(b"".join(map(frame, payloads)), cuts)
    reader = FrameReader(cast("SocketStream", wire), 2**20)
    for payload in payloads:
        first, data = reader.read()
        assert (first, bytes(data)) == (FINAL | TEXT, payload)
    with pytest.raises(EOFError):
        reader.read()


def test_the_first_byte_tells_what_kind_of_frame_it_is(pair: tuple[SocketStream, socket.socket]) -> None:
    wire, peer = pair
    peer.sendall(frame(b"a", final=False) + frame(b"p", PING) + frame(b"b", CONTINUATION) + frame(b"c", BINARY))
    reader = FrameReader(wire, 100)
    assert [reader.read()[0] for _ in range(4)] == [TEXT, FINAL | PING, FINAL | CONTINUATION, FINAL | BINARY]


@pytest.mark.parametrize("size", [11, 200, 70_000, 2**40])
def test_a_frame_beyond_the_limit_is_refused_by_its_header(pair: tuple[SocketStream, socket.socket], size: int) -> None:
    wire, peer = pair
    peer.sendall(frame(b"")[:1] + (bytes([127]) + size.to_bytes(8, "big")))
    reader = FrameReader(wire, 10)
    with pytest.raises(MessageTooLarge, match="more than 10 bytes"):
        reader.read()


@pytest.mark.parametrize("raw", [b"\x81\x84abcd", b"\x81\xfe\x00\x01", b"\xc1\x02{}", b"\x91\x02{}", b"\xa1\x00"])
def test_masked_frames_and_reserved_bits_break_the_protocol(
    pair: tuple[SocketStream, socket.socket], raw: bytes
) -> None:
    wire, peer = pair
    peer.sendall(raw)
    with pytest.raises(ProtocolError, match="broke the WebSocket protocol: (a masked frame|reserved bits)"):
        FrameReader(wire, 10).read()


@pytest.mark.parametrize("raw", [b"", b"\x81", b"\x81\x7e\x00", b"\x81\x05abc", b"\x81\x7f" + b"\x00" * 6])
def test_a_stream_that_ends_inside_a_frame_is_an_end(pair: tuple[SocketStream, socket.socket], raw: bytes) -> None:
    wire, peer = pair
    peer.sendall(raw)
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        FrameReader(wire, 10).read()
