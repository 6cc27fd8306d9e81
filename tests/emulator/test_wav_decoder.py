from __future__ import annotations

import struct
from fractions import Fraction

import pytest

from hume_sync.emulator.clips import Clip, PcmFormat
from hume_sync.emulator.faults import PayloadError
from hume_sync.emulator.wav_decoder import is_wav, read_wav
from tests.audiofiles import chunk, decoded_seconds, extensible, fmt, noise, riff

from .support import tone, wav


def _clip(content: bytes) -> Clip:
    clip = read_wav(content)
    assert clip
    return clip


@pytest.mark.parametrize(
    ("bits", "code", "extensible"),
    [(8, 1, False), (16, 1, False), (24, 1, False), (32, 1, False), (32, 3, False), (24, 1, True), (32, 3, True)],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_integers_and_floats_of_every_width_are_read(bits: int, code: int, extensible: bool, channels: int) -> None:
    samples = bytes(range(240))
    clip = _clip(wav(samples, rate=8000, channels=channels, bits=bits, code=code, extensible=extensible))
    assert clip.content == samples
    assert clip.pcm == PcmFormat(8000, channels, bits // 8, "float" if code == 3 else "integer")
    assert clip.seconds == Fraction(240, bits // 8 * channels * 8000)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 100_000])
def test_the_data_size_of_a_stream_stands_for_all_that_follows(size: int) -> None:
    samples = tone(0.1)
    assert _clip(wav(samples, size=size)).content == samples


def test_chunks_of_any_name_and_odd_length_are_passed_over() -> None:
    samples = tone(0.1)
    content = wav(samples, before=chunk(b"JUNK", b"abc")) + chunk(b"LIST", b"more")
    assert _clip(content).content == samples


def test_a_file_without_samples_is_a_clip_of_no_length() -> None:
    assert _clip(wav(b"")).seconds == 0


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
        wav(tone(0.1), code=7, bits=16),
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


ADPCM = b"\1\x10\0\0\0\0\0" + noise(249)

KINDS = {
    "12 bits in 16": riff(chunk(b"fmt ", fmt(bits=12)), chunk(b"data", noise(8000))),
    "20 bits in 24": riff(chunk(b"fmt ", fmt(bits=20)), chunk(b"data", noise(9000))),
    "24 bits in 32": riff(chunk(b"fmt ", fmt(bits=24, align=4)), chunk(b"data", noise(8000))),
    "24 bits in 32, extensible": riff(
        chunk(b"fmt ", fmt(0xFFFE, bits=32, extra=extensible(1, 24))), chunk(b"data", noise(8000))
    ),
    "mu-law": riff(chunk(b"fmt ", fmt(7, bits=8)), chunk(b"data", noise(8000))),
    "A-law": riff(chunk(b"fmt ", fmt(6, bits=8)), chunk(b"data", noise(8000))),
    "MS ADPCM": riff(chunk(b"fmt ", fmt(2, bits=4, align=256)), chunk(b"data", (ADPCM * 30)[:-90])),
    "IMA ADPCM": riff(chunk(b"fmt ", fmt(17, bits=4, align=256)), chunk(b"data", bytes(256 * 30 - 92))),
    "Yamaha ADPCM": riff(chunk(b"fmt ", fmt(32, bits=4, align=256)), chunk(b"data", noise(8001))),
    "Yamaha ADPCM, stereo": riff(chunk(b"fmt ", fmt(32, channels=2, bits=4, align=256)), chunk(b"data", noise(8001))),
    "GSM 6.10": riff(chunk(b"fmt ", fmt(49, bits=0, align=65)), chunk(b"data", bytes(65 * 30 - 9))),
    "no block size": riff(chunk(b"fmt ", fmt(align=0, byte_rate=32_000)), chunk(b"data", noise(8000))),
    "a wrong block size": riff(
        chunk(b"fmt ", fmt(channels=2, align=2, byte_rate=64_000)), chunk(b"data", noise(8000))
    ),
    "samples in front": riff(chunk(b"data", noise(8000)), chunk(b"fmt ", fmt())),
    "RIFX": riff(
        chunk(b"fmt ", fmt(order=">"), order=">"), chunk(b"data", noise(8000), order=">"), head=b"RIFX", order=">"
    ),
    "RF64, a chunk behind": riff(
        chunk(b"ds64", struct.pack("<QQQI", 0, 8000, 0, 0)), chunk(b"fmt ", fmt()),
        chunk(b"data", noise(8000), 0xFFFFFFFF), chunk(b"axml", bytes(9999)), head=b"RF64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_the_length_that_a_decoder_makes_of_it(name: str) -> None:
    assert float(_clip(KINDS[name]).seconds) == pytest.approx(decoded_seconds(KINDS[name]), abs=1e-9)


@pytest.mark.parametrize("name", ["mu-law", "RIFX", "RF64, a chunk behind"])
@pytest.mark.parametrize(
    "tags",
    [b"ID3\3\0\0\0\0\0\0", b"ID3\4\0\x10\0\0\1\2" + bytes(130) + b"3DI\4\0\x10\0\0\1\2", b"ID3\3\0\0\0\0\0\1x" * 2],
)
def test_a_file_behind_id3_tags_is_the_file_without_them(name: str, tags: bytes) -> None:
    assert is_wav(tags + KINDS[name])
    assert _clip(tags + KINDS[name]) == _clip(KINDS[name])
    assert not is_wav(tags)
    assert not is_wav(tags[:-1] + KINDS[name])


def test_telephone_audio_is_cut_to_the_sample_and_its_loudness_known() -> None:
    clip = _clip(KINDS["mu-law"]).last(Fraction(100, 16_000))
    assert clip.content == noise(8000)[-100:]
    assert 0.5 < clip.peak <= 1


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [(b"\x01\x02", 2, b"\x02\x01"), (b"abc", 3, b"cba"), (b"abcd", 4, b"dcba"), (b"abcdefgh", 8, b"hgfedcba")],
)
def test_big_endian_samples_are_turned(values: bytes, width: int, expected: bytes) -> None:
    form = fmt(bits=8 * width, order=">")
    content = riff(chunk(b"fmt ", form, order=">"), chunk(b"data", values, order=">"), head=b"RIFX", order=">")
    assert _clip(content).content == expected


@pytest.mark.parametrize(
    "content",
    [
        riff(chunk(b"fmt ", fmt()), chunk(b"data", noise(90)), chunk(b"data", noise(90))),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", b""), chunk(b"LIST", b"more")),
        riff(chunk(b"fmt ", fmt()), chunk(b"data", noise(90), 0xFFFFFFFF), head=b"RF64"),
        riff(chunk(b"ds64", bytes(28)), chunk(b"fmt ", fmt()), chunk(b"data", noise(90), 0xFFFFFFFF), head=b"RF64"),
        riff(chunk(b"ds64", bytes(28)), chunk(b"fmt ", fmt()), chunk(b"data", noise(90))),
        riff(chunk(b"fmt ", fmt(0xFFFE, bits=32, extra=extensible(1, 16))), chunk(b"data", noise(80))),
        riff(chunk(b"fmt ", fmt(0xFFFE, extra=extensible(1, 16, tail="00" * 14))), chunk(b"data", noise(80))),
        riff(chunk(b"fmt ", fmt(2, bits=4, align=0)), chunk(b"data", noise(80))),
    ],
    ids=["samples twice", "none, or a chunk", "no ds64", "no size in ds64", "ds64 in RIFF", "16 valid bits in 32",
         "a foreign sub-format", "ADPCM without blocks"],
)  # fmt: skip
def test_a_file_that_can_be_read_in_two_ways_is_refused_with_e0200(content: bytes) -> None:
    with pytest.raises(PayloadError, match="E0200"):
        read_wav(content)


def test_other_compressed_audio_in_wav_is_not_read_here() -> None:
    assert read_wav(riff(chunk(b"fmt ", fmt(0x55, bits=0, align=1)), chunk(b"data", noise(80)))) is None
