"""Synthetic media and requests for tests."""

from __future__ import annotations

import struct
from array import array
from base64 import b64encode
from typing import Any

import orjson


def tone(seconds: float, *, rate: int = 16_000, start: int = 0, level: int = 10_000) -> bytes:
    """Return 16-bit mono samples that never repeat within a test; ``start`` in samples."""
    count = round(seconds * rate)
    return array("h", (((start + i) * 7919) % (2 * level) - level for i in range(count))).tobytes()


def wav(
    samples: bytes,
    *,
    rate: int = 16_000,
    channels: int = 1,
    bits: int = 16,
    code: int = 1,
    size: int | None = None,
    extensible: bool = False,
    before: bytes = b"",
    block: int | None = None,
) -> bytes:
    block = channels * bits // 8 if block is None else block
    layout = (0xFFFE if extensible else code, channels, rate, rate * block, block, bits)
    fmt = struct.pack("<HHIIHH", *layout)
    if extensible:
        fmt += struct.pack("<HHIH", 22, bits, 0, code) + b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    body = b"WAVE" + before + chunk(b"fmt ", fmt) + chunk(b"data", samples, size)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    length = len(content) if size is None else size
    return name + struct.pack("<I", length) + content + b"\x00" * (len(content) % 2)


def png(width: int = 640, height: int = 480, *, tail: bytes = b"") -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + tail


def jpeg(width: int = 640, height: int = 480, *, before: bytes = b"", marker: int = 0xC0) -> bytes:
    frame = struct.pack(">BBHBHH", 0xFF, marker, 17, 8, height, width)
    return b"\xff\xd8\xff\xe0\x00\x04ab" + before + frame + b"\x03\x01"


def flac(seconds: float, *, rate: int = 16_000) -> bytes:
    total = round(seconds * rate)
    packed = (rate << 44) | (0 << 41) | (15 << 36) | total
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    return b"fLaC\x80" + len(info).to_bytes(3, "big") + info


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def mp4(seconds: float, *handlers: bytes) -> bytes:
    mvhd = box(b"mvhd", bytes(12) + struct.pack(">II", 1000, round(seconds * 1000)) + bytes(80))
    traks = b"".join(box(b"trak", box(b"mdia", box(b"hdlr", bytes(8) + kind + bytes(13)))) for kind in handlers)
    return box(b"ftyp", b"isom\x00\x00\x02\x00isom") + box(b"moov", mvhd + traks)


def webm(*codecs: bytes, milliseconds: float | None = None) -> bytes:
    length = b"" if milliseconds is None else b"\x44\x89\x88" + struct.pack(">d", milliseconds)
    return b"\x1a\x45\xdf\xa3" + b"\x2a\xd7\xb1\x83\x0f\x42\x40" + length + b"".join(codecs)


def avi(seconds: float, *streams: bytes) -> bytes:
    header = b"avih" + struct.pack("<IIIIII", 56, 40_000, 0, 0, 0, round(seconds * 25)) + bytes(36)
    return b"RIFF" + struct.pack("<I", 1000) + b"AVI LIST" + header + b"".join(streams)


def face(offset: float = 0.0) -> list[list[float]]:
    return [[offset + i, i / 2, 0.5] for i in range(478)]


def b64(content: bytes) -> str:
    return b64encode(content).decode()


def request(data: bytes | str | None = None, *models: str, **fields: Any) -> str:
    """Return a request as text; bytes are encoded in base64, ``models`` get no options."""
    value: dict[str, Any] = {}
    if data is not None:
        value["data"] = b64(data) if isinstance(data, bytes) else data
    if models:
        value["models"] = {name: {} for name in models}
    return orjson.dumps(value | fields).decode()
