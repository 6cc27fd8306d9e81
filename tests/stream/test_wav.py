from __future__ import annotations

import io
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hume_sync.stream.wav import Wav

from .support import SPEECH


PCM_GUID = bytes.fromhex("0100 0000 0000 1000 8000 00aa00389b71")


def wav(frames: int = 1000, *, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, width, rate, 0, "NONE", ""))
        writer.writeframes(bytes(i % 251 for i in range(frames * channels * width)))
    return file.getvalue()


def samples(data: bytes) -> bytes:
    with wave.open(io.BytesIO(data)) as reader:
        frames: bytes = reader.readframes(reader.getnframes())
        return frames


@pytest.mark.parametrize(("channels", "width"), [(1, 1), (1, 2), (2, 2), (1, 3), (2, 4)])
def test_the_length_is_exact_to_the_sample(channels: int, width: int) -> None:
    parsed = Wav.parse(wav(12345, rate=16000, channels=channels, width=width))
    assert parsed
    assert parsed.seconds == 12345 / 16000
    assert (parsed.sample_rate, parsed.frame_size) == (16000, channels * width)


@given(frames=st.integers(1, 3000), step=st.integers(1, 3000), width=st.sampled_from([1, 2, 3]))
def test_pieces_are_files_of_at_most_that_length_and_lose_nothing(frames: int, step: int, width: int) -> None:
    whole = wav(frames, width=width)
    parsed = Wav.parse(whole)
    assert parsed
    pieces = list(parsed.cut(step / 8000))
    assert b"".join(map(samples, pieces)) == samples(whole)
    lengths = [piece.seconds for data in pieces if (piece := Wav.parse(data))]
    assert len(lengths) == len(pieces)
    assert all(length <= step / 8000 for length in lengths)
    assert set(lengths[:-1]) <= {step / 8000}


def test_real_speech_is_cut_into_payloads_a_server_takes() -> None:
    parsed = Wav.parse(SPEECH)
    assert parsed
    assert [piece.seconds for data in parsed.cut(5.0) if (piece := Wav.parse(data))] == [5.0, 5.0, 0.3788125]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 10**9])
def test_a_size_that_cannot_be_means_to_the_end(size: int) -> None:
    data = bytearray(wav(1000))
    data[40:44] = struct.pack("<I", size)
    parsed = Wav.parse(data)
    assert parsed
    assert parsed.seconds == 1000 / 8000


def test_chunks_before_and_after_the_samples_are_passed_over() -> None:
    plain = wav(1000)
    extra = plain[:12] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + plain[12:] + b"junk" + struct.pack("<I", 2) + b"xy"
    parsed = Wav.parse(extra)
    assert parsed
    assert parsed.seconds == 1000 / 8000


def test_the_extensible_format_is_read() -> None:
    head = struct.pack("<HHIIHH", 0xFFFE, 2, 8000, 32000, 4, 16) + struct.pack("<HHI", 22, 16, 3) + PCM_GUID
    data = (
        b"RIFF\0\0\0\0WAVE" + b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", 8) + bytes(8)
    )
    parsed = Wav.parse(data)
    assert parsed
    assert parsed.seconds == 2 / 8000


def test_a_frame_cut_short_at_the_end_does_not_count() -> None:
    parsed = Wav.parse(wav(10)[:-1])
    assert parsed
    assert parsed.seconds == 9 / 8000


def fmt(*values: int) -> bytes:
    return b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, *values) + b"data\4\0\0\0abcd"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"\xff\xd8\xff\xe0 a JPEG",
        b"RIFF\0\0\0\0AVI LIST",
        wav(10)[:30],
        wav(10)[:40],
        wav(10).replace(b"fmt ", b"tmf "),
        fmt(0x55, 1, 8000, 8000, 1, 0),  # MP3: frames of no fixed size
        fmt(1, 0, 8000, 0, 0, 16),
        fmt(1, 1, 0, 0, 2, 16),
        fmt(1, 1, 8000, 24000, 3, 16),
        fmt(1, 1, 8000, 0, 0, 0),
    ],
)
def test_anything_else_is_no_wav(data: bytes) -> None:
    assert Wav.parse(data) is None


@given(st.binary(max_size=200))
def test_hostile_bytes_never_fail(tail: bytes) -> None:
    Wav.parse(b"RIFF\0\0\0\0WAVEfmt " + tail)
    Wav.parse(wav(1)[:36] + tail)
