from __future__ import annotations

import io
import os
import struct
import wave
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hume_sync import InputError
from hume_sync.fastrtc.audio import write_wav

from .sounds import SAMPLES, chunk, extension, resample, samples_of, to_samples, tone, wav


def test_a_path_of_either_kind_and_a_file_object_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    path.write_bytes(wav())
    assert to_samples(path, 16000) == to_samples(str(path), 16000) == SAMPLES
    with path.open("rb") as file:
        assert to_samples(file, 16000) == SAMPLES


def test_a_file_at_another_rate_is_resampled() -> None:
    sound = tone(440, 48000)
    assert samples_of(wav(sound, rate=48000)) == resample(sound, 48000, 16000)


def test_a_file_of_the_standard_library_is_read() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 16000, 0, "NONE", ""))
        writer.writeframes(SAMPLES)
    assert samples_of(file.getvalue()) == SAMPLES


def test_other_chunks_of_odd_and_even_size_are_stepped_over() -> None:
    between = chunk(b"LIST", b"odd") + chunk(b"fact", b"even")
    assert samples_of(wav(between=between) + chunk(b"LIST", b"behind")) == SAMPLES


def test_the_extensible_form_is_read_when_it_is_16_bit_pcm() -> None:
    assert samples_of(wav(tag=0xFFFE, extension=extension(1))) == SAMPLES


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_file_written_to_a_pipe_is_read_to_its_end(size: int) -> None:
    assert samples_of(wav(size=size)) == SAMPLES


LIST = chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 5) + b"Lavf\0\0") + chunk(b"id3 ", b"odd")


def test_what_stands_behind_the_samples_is_no_sound() -> None:
    assert samples_of(wav() + LIST) == SAMPLES
    with pytest.raises(InputError, match="empty"):
        samples_of(wav(b"") + LIST)
    with pytest.raises(InputError, match="empty"):
        samples_of(wav(b"") + LIST[:-1])  # without the last pad


def test_a_file_beyond_32_bits_says_elsewhere_how_much_it_holds() -> None:
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, len(SAMPLES), len(SAMPLES) // 2, 0))
    content = wav(size=0xFFFFFFFF)
    content = b"RF64" + content[4:12] + sizes + content[12:]
    assert samples_of(content + LIST) == SAMPLES
    assert samples_of(content[:-2]) == SAMPLES[:-2]  # cut off


@pytest.mark.parametrize(("channels", "kept"), [(1, 10), (2, 8)])
def test_a_file_that_was_cut_off_counts_to_its_last_whole_frame(channels: int, kept: int) -> None:
    expected = samples_of(wav(SAMPLES[:kept], channels=channels))
    assert samples_of(wav(channels=channels)[:-1]) == expected


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            wav(bits=16, tag=0x1234),
            "audio holds 16-bit audio of format 0x1234 of 1 channels, 2 bytes a frame; accepted",
        ),
        (wav(bits=8, tag=0x55), "audio holds 8-bit MP3 of 1 channels"),
        (
            wav(bits=4, tag=0x11, align=260),
            "audio holds 4-bit IMA ADPCM of 1 channels, 260 bytes a frame; accepted are",
        ),
        (wav(tag=0xFFFE), "format 0xfffe"),
        (wav()[:28] + bytes(4) + b"\x03\x00" + wav()[34:], "16-bit PCM of 1 channels, 3 bytes a frame"),
        (wav(rate=999), "the sample rate of audio must be an int, 1000 to 768000 Hz; got 999"),
        (wav(rate=768001), "the sample rate of audio must be an int, 1000 to 768000 Hz; got 768001"),
        (wav(b""), "audio is empty"),
        (wav()[:36], "audio is damaged: it has no samples; accepted are WAV files of PCM, float, mu-law or A-law"),
        (wav()[:12] + wav()[36:], "audio is damaged: its samples have no format"),
        (wav() + chunk(b"data", SAMPLES), "audio has two chunks of samples"),
        (b"RF64" + wav()[4:], "audio is damaged: it does not begin with its size"),
        (b"", "audio is empty; accepted are WAV files of PCM, float, mu-law or A-law"),
        (b"RIFF\0\0\0\0AVI LIST", "audio is no WAV file; accepted"),
        (b"what a day", "audio is no WAV file"),
        (b"ID3\x04 an MP3", "audio is MP3, which is to be decoded first; accepted are WAV files"),
        (b"OggS", "audio is Ogg"),
        (b"fLaC", "audio is FLAC"),
        (b"FORM\0\0\0\0AIFF", "audio is AIFF"),
        (b"\0\0\0\x20ftypisom", "audio is MP4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_files_are_refused_by_what_they_hold(content: bytes, text: str) -> None:
    with pytest.raises(InputError, match=text):
        samples_of(content)


@settings(max_examples=60)
@given(place=st.integers(0, 43), value=st.integers(0, 255), size=st.integers(0, 56))
def test_a_damaged_head_is_refused_or_read_and_nothing_else(place: int, value: int, size: int) -> None:
    content = bytearray(wav())
    content[place] = value
    for damaged in (bytes(content), bytes(content[:size])):
        try:
            assert samples_of(damaged)
        except InputError:
            pass


def test_a_file_that_is_missing_or_a_directory_stays_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        to_samples(tmp_path / "none.wav", 16000)
    with pytest.raises(IsADirectoryError):
        to_samples(tmp_path, 16000)


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="fifo' is no regular file; pass an open file object"):
        to_samples(tmp_path / "fifo", 16000)


def test_a_name_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="cannot exist"):
        to_samples("a\0b.wav", 16000)


def test_a_text_file_is_refused_with_the_way_to_open_it() -> None:
    with pytest.raises(InputError, match="audio must read as bytes, got str; open the file with mode 'rb'"):
        to_samples(io.StringIO("RIFF"), 16000)


def test_a_file_that_was_written_is_read_as_it_was(tmp_path: Path) -> None:
    for path in (tmp_path / "out.wav", str(tmp_path / "again.wav")):
        write_wav(path, SAMPLES, 24000)
        assert to_samples(path, 24000) == SAMPLES
        with wave.open(str(path)) as reader:
            assert reader.getparams()[:4] == (1, 2, 24000, 6)


def test_a_file_that_cannot_be_written_stays_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_wav(tmp_path / "none" / "out.wav", SAMPLES, 24000)


def test_half_a_sample_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got 3 bytes, an odd number"):
        write_wav(tmp_path / "out.wav", b"abc", 24000)
    assert not list(tmp_path.iterdir())


def test_rates_that_take_a_large_filter_can_be_cancelled_as_well() -> None:
    checks: list[None] = []
    to_samples(io.BytesIO(wav(bytes(200), rate=16001)), 16000, check=lambda: checks.append(None))
    assert len(checks) > 1000


@pytest.mark.parametrize("channels", [1, 2])
def test_turning_a_file_into_samples_can_be_cancelled(numpy: str, channels: int) -> None:
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 3:
            raise LookupError("cancelled")

    content = wav(bytes(2 * channels * 44100 * 20), rate=44100, channels=channels)
    with pytest.raises(LookupError):
        to_samples(io.BytesIO(content), 16000, check=check)
    assert checks == 3
