"""Synthetic audio files of every kind, and their decoded lengths."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import av
import numpy as np

RATE = 16_000

NOT_UTF_8 = b"ID3\x03\0\0\0\0\0\x0eTIT2\0\0\0\x04\0\0\x03\xff\xfe\xfd"
"""An ID3 tag whose title says that it is UTF-8, and is not."""


class Pipe:
    """A file object that cannot seek or read."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


@cache
def encoded(
    container: str,
    codec: str,
    seconds: float = 4.0,
    *,
    rate: int = RATE,
    channels: int = 1,
    pipe: bool = False,
    options: tuple[tuple[str, str], ...] = (),
    video: bool = False,
    gap: float = 0.0,
) -> bytes:
    """Encode a second of silence and then noise, with a gap of ``gap`` seconds in the middle of the time stamps."""
    file: Any = Pipe() if pipe else io.BytesIO()
    with av.open(file, "w", container, options=dict(options)) as output:
        settings = {"strict": "-2"}
        if codec == "libmp3lame":
            settings = {"flags": "+qscale", "global_quality": "590"}  # VBR
        layout = "mono" if channels == 1 else "stereo"
        track = output.add_stream(codec, rate=rate, layout=layout, options=settings)
        if codec == "wmav2":
            track.codec_context.bit_rate = 128_000
        picture = output.add_stream("mpeg4", rate=10, width=64, height=48, pix_fmt="yuv420p") if video else None
        for number in range(int(seconds * 10)):
            if picture is None:
                break
            frame = av.VideoFrame.from_ndarray(np.zeros((72, 64), np.uint8), "yuv420p")
            frame.pts = number
            output.mux(picture.encode(frame))
        if not track.codec_context.is_open:
            track.codec_context.open()
        for packet in _packets(track, round(seconds * rate), rate, layout):
            if gap and packet.pts * packet.time_base > seconds / 2:
                packet.pts += round(gap / packet.time_base)
                packet.dts = packet.pts
            output.mux(packet)
    return bytes(file.data if pipe else file.getvalue())


def _packets(track: Any, samples: int, rate: int, layout: str) -> Iterator[Any]:
    noise = np.random.default_rng(7).normal(0, 6000, samples).clip(-30_000, 30_000).astype(np.int16)
    noise[:rate] = 0
    resampler = av.AudioResampler(track.codec_context.format, layout, rate, track.codec_context.frame_size or 1024)
    mono = av.AudioFrame.from_ndarray(noise[None, :], "s16", "mono")
    mono.rate = rate
    mono.pts = 0
    for frame in (*resampler.resample(mono), *resampler.resample(None)):
        yield from track.encode(frame)
    yield from track.encode(None)


def decoded_seconds(data: bytes) -> float:
    """Decode a file, skipping damaged parts."""
    seconds = 0.0
    with av.open(io.BytesIO(data), "r") as container:
        for packet in container.demux(container.streams.audio[0]):
            try:
                seconds += sum(frame.samples / frame.sample_rate for frame in packet.decode())
            except av.FFmpegError:
                continue
    return seconds


def fmt(
    tag: int = 1,
    channels: int = 1,
    rate: int = RATE,
    bits: int = 16,
    *,
    align: int | None = None,
    byte_rate: int | None = None,
    extra: bytes = b"",
    order: str = "<",
) -> bytes:
    """Return the body of a "fmt " chunk."""
    align = channels * ((bits + 7) // 8) if align is None else align
    byte_rate = rate * align if byte_rate is None else byte_rate
    return struct.pack(order + "HHIIHH", tag, channels, rate, byte_rate, align, bits) + extra


def extensible(tag: int, valid: int, *, tail: str = "0000 0000 1000 8000 00aa00389b71") -> bytes:
    """Return the additional fields of an extensible format."""
    return struct.pack("<HHIH", 22, valid, 4, tag) + bytes.fromhex(tail)


def chunk(name: bytes, body: bytes, size: int | None = None, *, order: str = "<") -> bytes:
    """Return a padded chunk, with ``size`` in its header."""
    return name + struct.pack(order + "I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def riff(*chunks: bytes, head: bytes = b"RIFF", size: int | None = None, order: str = "<") -> bytes:
    """Return a RIFF file of these chunks."""
    body = b"WAVE" + b"".join(chunks)
    return head + struct.pack(order + "I", len(body) if size is None else size) + body


def noise(size: int) -> bytes:
    """Return samples that never repeat within a test."""
    return np.random.default_rng(3).bytes(size)
