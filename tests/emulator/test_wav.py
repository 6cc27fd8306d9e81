from __future__ import annotations

from fractions import Fraction

import pytest

from hume_sync.emulator.clips import PcmFormat
from hume_sync.emulator.faults import PayloadError
from hume_sync.emulator.wav import is_wav, read_wav

from .support import chunk, tone, wav


@pytest.mark.parametrize(
    ("bits", "code", "extensible"),
    [(8, 1, False), (16, 1, False), (24, 1, False), (32, 1, False), (32, 3, False), (24, 1, True), (32, 3, True)],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_integers_and_floats_of_every_width_are_read(bits: int, code: int, extensible: bool, channels: int) -> None:
    samples = bytes(range(240))
    clip = read_wav(wav(samples, rate=8000, channels=channels, bits=bits, code=code, extensible=extensible))
    assert clip.content == samples
    assert clip.pcm == PcmFormat(8000, channels, bits // 8, code == 3)
    assert clip.seconds == Fraction(240, bits // 8 * channels * 8000)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 100_000])
def test_the_data_size_of_a_stream_stands_for_all_that_follows(size: int) -> None:
    samples = tone(0.1)
    assert read_wav(wav(samples, size=size)).content == samples


def test_chunks_of_any_name_and_odd_length_are_passed_over() -> None:
    samples = tone(0.1)
    content = wav(samples, before=chunk(b"JUNK", b"abc")) + chunk(b"LIST", b"more")
    assert read_wav(content).content == samples


def test_a_file_without_samples_is_a_clip_of_no_length() -> None:
    assert read_wav(wav(b"")).seconds == 0


@pytest.mark.parametrize(
    "content",
    [
        wav(b"")[:12],
        wav(b"")[:30],
        wav(b"")[:36],
        b"RIFF....WAVE" + chunk(b"data", tone(0.1)),
        b"RIFF....WAVE" + chunk(b"fmt ", b"short") + chunk(b"data", tone(0.1)),
        wav(tone(0.1), rate=0),
        wav(tone(0.1), channels=0),
        wav(tone(0.1), block=3),
        wav(tone(0.1), bits=12),
        wav(tone(0.1), code=7, bits=8),
        wav(tone(0.1), code=0xFFFE),
    ],
    ids=["empty", "cut in fmt", "no data", "data first", "short fmt", "no rate", "no channels", "block",
         "12 bits", "mu-law", "extensible cut short"],
)  # fmt: skip
def test_a_file_without_usable_format_or_data_is_refused_with_e0200(content: bytes) -> None:
    with pytest.raises(PayloadError, match=r"^E0200: Failed to parse data as a valid media file$"):
        read_wav(content)


def test_a_wav_is_known_by_its_first_bytes() -> None:
    assert is_wav(wav(b""))
    assert not is_wav(b"RIFF....AVI LIST")
