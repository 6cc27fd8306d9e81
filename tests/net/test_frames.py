from __future__ import annotations

import random
import sys
from typing import Any

import pytest

from hume_sync.net import frames as module
from hume_sync.net.frames import FINAL, LARGE, FrameWriter
from tests.faultproxy import BINARY, TEXT

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


def test_numpy_is_imported_only_for_a_caller_that_sends_much(monkeypatch: pytest.MonkeyPatch) -> None:
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
