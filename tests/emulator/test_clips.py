from __future__ import annotations

import struct
from fractions import Fraction

import pytest

from hume_sync.emulator.clips import Clip, PcmFormat, digest

from .support import tone

MONO = PcmFormat(16_000, 1, 2)


def test_bytes_beyond_the_last_whole_frame_are_left_out() -> None:
    clip = Clip.from_samples(bytes(4 * 10 + 3), PcmFormat(8000, 2, 2))
    assert (len(clip.content), clip.seconds) == (40, Fraction(10, 8000))


def test_the_end_of_samples_is_cut_right_to_the_sample() -> None:
    samples = tone(1)
    end = Clip.from_samples(samples, MONO).last(Fraction(123, 16_000) + Fraction(1, 100_000))
    assert end.content == samples[-246:]
    assert end.seconds == Fraction(123, 16_000)


def test_the_end_of_an_encoded_file_is_cut_in_proportion() -> None:
    end = Clip(bytes(range(100)), Fraction(2)).last(Fraction(1, 2))
    assert end.content == bytes(range(75, 100))
    assert end.seconds == Fraction(1, 2)


@pytest.mark.parametrize("pcm", [MONO, None])
def test_nothing_is_left_of_no_time_and_all_of_more_time_than_there_is(pcm: PcmFormat | None) -> None:
    clip = Clip(tone(1), Fraction(1), pcm)
    assert clip.last(Fraction(0)).content == b""
    assert clip.last(Fraction(3)) is clip


@pytest.mark.parametrize(
    ("samples", "pcm", "peak"),
    [
        (struct.pack("<3h", 0, -16_384, 100), MONO, 0.5),
        (struct.pack("<2h", -32_768, 0), MONO, 1.0),
        (bytes(64), MONO, 0.0),
        (bytes([128, 192, 128]), PcmFormat(8000, 1, 1), 0.5),
        (bytes([128, 0]), PcmFormat(8000, 1, 1), 1.0),
        (bytes([128, 128]), PcmFormat(8000, 1, 1), 0.0),
        (b"\x00\x00\x00\x01\x00\x40", PcmFormat(8000, 1, 3), 0.5),
        (struct.pack("<2i", 0, 2**29), PcmFormat(8000, 1, 4), 0.25),
        (struct.pack("<3f", 0.25, -0.75, float("nan")), PcmFormat(8000, 1, 4, "float"), 0.75),
        (struct.pack("<f", 7.5), PcmFormat(8000, 1, 4, "float"), 1.0),
        (struct.pack("<f", float("nan")), PcmFormat(8000, 1, 4, "float"), 0.0),
        (struct.pack("<2q", 0, -(2**62)), PcmFormat(8000, 1, 8), 0.5),
        (b"\xff\x7f\xff", PcmFormat(8000, 1, 1, "mu-law"), 0.0),
        (b"\xff\x80\xff", PcmFormat(8000, 1, 1, "mu-law"), 32_124 / 2**15),
        (b"\xff\x9f", PcmFormat(8000, 1, 1, "mu-law"), 8_316 / 2**15),
        (b"\xd5", PcmFormat(8000, 1, 1, "a-law"), 8 / 2**15),
        (b"\xd5\x2a", PcmFormat(8000, 1, 1, "a-law"), 32_256 / 2**15),
        (b"\x80", PcmFormat(8000, 1, 1, "a-law"), 5_504 / 2**15),
        (b"", MONO, 0.0),
        (b"mp3", None, 1.0),
    ],
)
def test_the_peak_is_the_loudest_sample_as_a_part_of_full_scale(
    samples: bytes, pcm: PcmFormat | None, peak: float
) -> None:
    assert Clip(samples, Fraction(1), pcm).peak == peak


def test_the_fingerprint_of_samples_does_not_depend_on_where_clips_end() -> None:
    samples = tone(1)
    whole = [Clip.from_samples(samples, MONO)]
    parts = [Clip.from_samples(part, MONO) for part in (samples[:100], samples[100:1000], samples[1000:])]
    assert digest(whole) == digest(parts)


def test_the_fingerprint_changes_with_format_and_with_content() -> None:
    samples = tone(1)
    prints = {
        digest([Clip.from_samples(samples, MONO)]),
        digest([Clip.from_samples(samples, PcmFormat(8000, 1, 2))]),
        digest([Clip.from_samples(samples[2:], MONO)]),
        digest([Clip(samples, Fraction(1))]),
        digest([Clip(samples[:10], Fraction(1)), Clip(samples[10:], Fraction(1))]),
    }
    assert len(prints) == 5
