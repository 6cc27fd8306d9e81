"""Samples, and the WAV files made of them."""

from __future__ import annotations

import io
import math
import struct

from hume_sync.fastrtc.audio import pieces
from hume_sync.formats.resample import CancelCheck, Resampler, no_check

SAMPLES = struct.pack("<6h", 1, -2, 300, -400, 32767, -32768)


def pack(values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}h", *values)


def unpack(samples: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(samples) // 2}h", samples))


def tone(hertz: float, rate: int, seconds: float = 0.05, peak: float = 10000) -> bytes:
    return pack([round(peak * math.sin(math.tau * hertz * k / rate)) for k in range(round(seconds * rate))])


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def wav(
    samples: bytes = SAMPLES,
    *,
    rate: int = 16000,
    channels: int = 1,
    bits: int = 16,
    tag: int = 1,
    size: int | None = None,
    align: int | None = None,
    extension: bytes = b"",
    between: bytes = b"",
) -> bytes:
    block = channels * bits // 8 if align is None else align
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + extension
    body = b"WAVE" + chunk(b"fmt ", form) + between + chunk(b"data", samples, size)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def extension(tag: int, valid: int = 16) -> bytes:
    """What WAVE_FORMAT_EXTENSIBLE adds: its size, the bits that count, the speakers, the sub-format."""
    return struct.pack("<HHIH", 22, valid, 0, tag) + bytes.fromhex("000000001000800000aa00389b71")


def to_samples(audio: object, rate: int, *, check: CancelCheck = no_check) -> bytes:
    """All that is sent of it."""
    return b"".join(pieces(audio, rate, check=check))


def resample(samples: bytes, source: int, target: int) -> bytes:
    """The same sound at another rate, all of it at once."""
    if source == target:
        return samples
    resampler = Resampler(source, target)
    return b"".join((*resampler.feed(samples), *resampler.end()))


def samples_of(content: bytes, rate: int = 16000) -> bytes:
    return to_samples(io.BytesIO(content), rate)
