"""Lengths of audio: exact for WAV, as the head says for what tinytag reads, and never a failure."""

from __future__ import annotations

import io
import struct
import sys
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hume_sync.stream import duration
from hume_sync.stream.duration import media_seconds
from tests.emulator.support import box, chunk, flac, tone, wav

LIMIT = 64 * 1024
MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)  # 128 kbit/s, 44.1 kHz: 1152 samples
WHOLE = wav(tone(1.5))


def resized(size: int) -> bytes:
    return wav(tone(1.5), size=size)


@pytest.mark.parametrize(
    ("media", "seconds"),
    [
        (WHOLE, Fraction(3, 2)),
        (wav(tone(1.5)[:-2]), Fraction(23_999, 16_000)),
        (wav(tone(1), rate=44_100), Fraction(16_000, 44_100)),
        (wav(tone(1), channels=2), Fraction(1, 2)),
        (wav(tone(1), bits=8), Fraction(2)),
        (wav(tone(1), extensible=True), Fraction(1)),
        (wav(tone(1), before=chunk(b"LIST", bytes(7))), Fraction(1)),
        (wav(tone(1)[:-1]), Fraction(15_999, 16_000)),
        (resized(0), Fraction(3, 2)),
        (resized(0xFFFFFFFF), Fraction(3, 2)),
        (resized(10**6), Fraction(3, 2)),
        (resized(32_000), Fraction(1)),
        (WHOLE[:-32_000], Fraction(1, 2)),
        (wav(b""), Fraction(0)),
    ],
    ids=["plain", "a sample short", "44.1 kHz", "stereo", "8 bits", "extensible", "a chunk before", "half a sample",
         "size 0", "size 0xFFFFFFFF", "size beyond the end", "size below", "cut off", "empty"],
)  # fmt: skip
def test_wav_is_measured_to_the_sample_by_the_bytes_that_are_there(media: bytes, seconds: Fraction) -> None:
    for form in (bytes, bytearray, memoryview):
        assert media_seconds(form(media)) == seconds


def page(payload: bytes, granule: int, number: int, kind: int = 0) -> bytes:
    """An Ogg page with one packet."""
    lacing = bytes([255] * (len(payload) // 255) + [len(payload) % 255])
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, kind, granule, 7, number, 0, len(lacing))
    return head + lacing + payload


OPUS = page(b"OpusHead\x01\x01" + struct.pack("<HIhB", 312, 48_000, 0, 0), 0, 0, 2) + page(
    b"OpusTags" + struct.pack("<I4sI", 4, b"test", 0), 0, 1
)
VORBIS = page(b"\x01vorbis" + struct.pack("<IBIiiiBB", 0, 1, 16_000, 0, 64_000, 0, 0xB8, 1), 0, 0, 2)


def pages(step: int, count: int, size: int = 4000) -> bytes:
    return b"".join(page(bytes(size), step * (i + 1), 2 + i, 4 * (i == count - 1)) for i in range(count))


def m4a(seconds: float, *, late: bool = False, version: int = 0) -> bytes:
    if version:
        mvhd = box(b"mvhd", b"\1" + bytes(19) + struct.pack(">IQ", 1000, round(seconds * 1000)) + bytes(80))
    else:
        mvhd = box(b"mvhd", bytes(12) + struct.pack(">II", 1000, round(seconds * 1000)) + bytes(80))
    sound = box(b"trak", box(b"mdia", box(b"hdlr", bytes(8) + b"soun" + bytes(13))))
    parts = [box(b"moov", mvhd + sound), box(b"mdat", bytes(200_000))]
    return box(b"ftyp", b"M4A \x00\x00\x02\x00isom") + b"".join(reversed(parts) if late else parts)


COMPRESSED = {
    "MP3": (MP3_FRAME * 100, 100 * 1152 / 44_100),
    "MP3 of a few frames": (MP3_FRAME * 3, 3 * 1152 / 44_100),
    "MP3 with ID3": (b"ID3\x04\x00\x00\x00\x00\x00\x00" + MP3_FRAME * 100, 100 * 1152 / 44_100),
    "M4A": (m4a(2.5), 2.5),
    "M4A with its head at the end": (m4a(2.5, late=True), 2.5),
    "M4A of version 1": (m4a(2.5, version=1), 2.5),
    "Ogg Opus": (OPUS + pages(48_000, 3), 3 - 312 / 48_000),
    "Ogg Opus, larger than what is read": (OPUS + pages(12_000, 20, 8000), 5 - 312 / 48_000),
    "Ogg Vorbis": (VORBIS + pages(16_000, 2), 2.0),
    "FLAC": (flac(2.5), 2.5),
    "FLAC of 44.1 kHz": (flac(1.25, rate=44_100), 1.25),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_other_formats_are_measured_by_their_heads(name: str) -> None:
    media, seconds = COMPRESSED[name]
    for form in (bytes, memoryview):
        measured = media_seconds(form(media))
        assert measured is not None
        assert float(measured) == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize(
    "media",
    [b"", b"hello", bytes(1000), b"RIFF....WAVE", wav(tone(1))[:30], b"\x1a\x45\xdf\xa3" + bytes(100), flac(0),
     m4a(0), MP3_FRAME[:3], b"OggS", OPUS],
    ids=["nothing", "text", "zeros", "WAV of nothing", "WAV cut in its head", "WebM", "FLAC of unknown length",
         "M4A of no length", "MP3 cut in its head", "Ogg cut in its head", "Opus without audio"],
)  # fmt: skip
def test_what_no_head_tells_is_unknown(media: bytes) -> None:
    assert media_seconds(media) is None


@pytest.mark.parametrize("name", COMPRESSED)
def test_without_tinytag_lengths_but_those_of_wav_are_unknown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tinytag", None)
    assert media_seconds(COMPRESSED[name][0]) is None
    assert media_seconds(WHOLE) == Fraction(3, 2)


class Counted(duration._Bounded):
    """Counts the bytes handed out, by whatever method."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        Counted.count += len(data)
        return data

    def _refuse(self, *_: object) -> bytes:
        raise AssertionError("a way to read past the limit")

    readline = readinto = read1 = getvalue = getbuffer = __next__ = readlines = _refuse  # type: ignore[assignment]


@pytest.mark.parametrize(
    "media",
    [MP3_FRAME[:4] + b"\xff" * 2**20, b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(2**20), flac(1)[:-4] + bytes(2**20),
     b"fLaC\x04\xff\xff\xff" + bytes(2**21), m4a(3, late=True), OPUS + pages(48_000, 3) * 100,
     OPUS + page(bytes(255 * 254), 1, 3) * 50, box(b"ftyp", b"M4A " + bytes(8)) + box(b"free", b"") * 2**16,
     box(b"ftyp", b"M4A " + bytes(8)) + struct.pack(">I", 2**20) + b"moov" + struct.pack(">I", 2**20) + b"mvhd"
     + bytes(2**20)],
    ids=["noise after MP3", "a huge ID3", "FLAC", "a huge FLAC block", "M4A", "Opus", "long pages", "many boxes",
         "a huge box"],
)  # fmt: skip
def test_no_more_than_64_kib_of_a_file_are_read(media: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duration, "_Bounded", Counted)
    monkeypatch.setattr(Counted, "count", 0)
    media_seconds(media)
    assert Counted.count <= LIMIT


def test_a_length_that_only_the_unread_part_would_tell_is_unknown_rather_than_too_short() -> None:
    # An Ogg file is as long as its last page says: of four thousand pages not even all heads are read.
    assert media_seconds(OPUS + pages(960, 1000, 10)) is not None
    assert media_seconds(OPUS + pages(960, 4000, 10)) is None


def test_the_file_that_tinytag_sees_has_its_true_size() -> None:
    file = duration._Bounded(bytes(200_000))
    assert file.seek(0, io.SEEK_END) == 200_000
    file.seek(150_000)
    assert len(file.read()) == 50_000
    file.seek(0)
    assert len(file.read(None)) == LIMIT - 50_000
    assert file.exhausted
    assert file.read(10) == b""


HEADS = st.sampled_from(
    [b"", *(media[:100] for media, _ in COMPRESSED.values()), WHOLE[:44], b"ID3\x04\x00", b"fLaC", b"OggS\x00\x02",
     b"\x00\x00\x00\x20ftypM4A ", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", b"FORM....AIFF"]
)  # fmt: skip


@settings(max_examples=300)
@given(head=HEADS, keep=st.integers(0, 100), noise=st.binary(max_size=400))
def test_random_bytes_behind_any_head_never_fail(head: bytes, keep: int, noise: bytes) -> None:
    seconds = media_seconds(head[:keep] + noise)
    assert seconds is None or (isinstance(seconds, Fraction) and seconds >= 0)


@settings(max_examples=300)
@given(
    media=st.sampled_from([media[:2000] for media, _ in COMPRESSED.values()] + [WHOLE[:2000]]),
    changes=st.lists(st.tuples(st.integers(0, 199), st.integers(0, 255)), max_size=8),
)
def test_changed_bytes_in_any_head_never_fail(media: bytes, changes: list[tuple[int, int]]) -> None:
    hostile = bytearray(media)
    for place, value in changes:
        hostile[place % len(hostile)] = value
    seconds = media_seconds(hostile)
    assert seconds is None or seconds >= 0
