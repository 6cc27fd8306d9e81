from __future__ import annotations

import io
import math
import os
import struct
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hume_sync import InputError
from hume_sync.fastrtc import audio as module
from hume_sync.fastrtc.audio import check_rate, resample, silence, to_samples, write_wav

SAMPLES = struct.pack("<6h", 1, -2, 300, -400, 32767, -32768)

PAIRS = [(48000, 8000), (8000, 48000), (44100, 48000), (16000, 24000), (48000, 44100), (22050, 16001)]


@pytest.fixture(params=["numpy", "no numpy"])
def numpy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        pytest.importorskip("numpy")
    else:
        monkeypatch.setitem(sys.modules, "numpy", None)
    return str(request.param)


def pack(values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}h", *values)


def unpack(samples: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(samples) // 2}h", samples))


def tone(hertz: float, rate: int, seconds: float = 0.05, peak: float = 10000) -> bytes:
    return pack([round(peak * math.sin(math.tau * hertz * k / rate)) for k in range(round(seconds * rate))])


def middle(samples: bytes) -> list[int]:
    """Away from both ends, where the silence around is heard."""
    values = unpack(samples)
    return values[len(values) // 4 : -len(values) // 4]


def level(values: list[int], hertz: float, rate: int) -> float:
    """The peak of one tone among others."""
    turns = [math.tau * hertz * k / rate for k in range(len(values))]
    sine = sum(value * math.sin(turn) for value, turn in zip(values, turns, strict=True))
    cosine = sum(value * math.cos(turn) for value, turn in zip(values, turns, strict=True))
    return 2 * math.hypot(sine, cosine) / len(values)


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
    extension: bytes = b"",
    between: bytes = b"",
) -> bytes:
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + extension
    body = b"WAVE" + chunk(b"fmt ", form) + between + chunk(b"data", samples, size)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def extension(tag: int) -> bytes:
    """What WAVE_FORMAT_EXTENSIBLE adds: its size, the bits that count, the speakers, the sub-format."""
    return struct.pack("<HHIH", 22, 16, 0, tag) + bytes.fromhex("000000001000800000aa00389b71")


def samples_of(content: bytes, rate: int = 16000) -> bytes:
    return to_samples(io.BytesIO(content), rate)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: memoryview(data).cast("h")])
def test_bytes_of_any_kind_are_the_samples(kind: Callable[[bytes], object]) -> None:
    assert to_samples(kind(SAMPLES), 16000) == SAMPLES


def test_a_view_with_gaps_is_read_without_them() -> None:
    assert to_samples(memoryview(SAMPLES)[::3], 16000) == SAMPLES[::3]


@pytest.mark.parametrize(
    ("audio", "text"),
    [
        (b"", "audio is empty: there is nothing to send"),
        (b"\0\0\0", "audio must be 16-bit samples, two bytes each; got 3 bytes, an odd number"),
        (memoryview(bytes(8)).cast("f"), "got format 'f'"),
        (wav(), "this is a WAV file: pass its path or io.BytesIO"),
        ([0, 1], "audio must be bytes .* got list"),
        (None, "got NoneType"),
    ],
    ids=["empty", "odd", "floats", "WAV", "list", "None"],
)
def test_what_is_no_audio_is_refused(audio: object, text: str) -> None:
    with pytest.raises(InputError, match=text):
        to_samples(audio, 16000)


@pytest.mark.parametrize("shape", [(6,), (1, 6), (6, 1)])
@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
def test_arrays_of_one_channel_lie_either_way(shape: tuple[int, ...], dtype: str) -> None:
    np = pytest.importorskip("numpy")
    array = np.frombuffer(SAMPLES, "<i2").astype(dtype).reshape(shape)
    assert to_samples(array, 16000) == SAMPLES


def test_arrays_of_two_channels_are_mixed_down_whichever_way_they_lie() -> None:
    np = pytest.importorskip("numpy")
    stereo = np.array([[32767, -32768, 100], [32767, -32768, -100]], np.int16)
    assert to_samples(stereo, 16000) == to_samples(stereo.T, 16000) == pack([32767, -32768, 0])


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint16", "uint8", "bool"])
def test_arrays_of_other_numbers_are_refused_by_name(dtype: str) -> None:
    np = pytest.importorskip("numpy")
    with pytest.raises(InputError, match=f"audio must be an array of int16, got dtype {dtype}"):
        to_samples(np.zeros(8, dtype), 16000)


@pytest.mark.parametrize("shape", [(), (3, 8), (8, 3), (1, 2, 8)])
def test_arrays_of_other_shapes_are_refused_by_shape(shape: tuple[int, ...]) -> None:
    np = pytest.importorskip("numpy")
    with pytest.raises(InputError, match=r"shape \(n,\).*; got \("):
        to_samples(np.zeros(shape, np.int16), 16000)


def test_an_array_of_nothing_is_empty() -> None:
    np = pytest.importorskip("numpy")
    with pytest.raises(InputError, match="audio is empty"):
        to_samples(np.zeros(0, np.int16), 16000)


def test_a_path_of_either_kind_and_a_file_object_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    path.write_bytes(wav())
    assert to_samples(path, 16000) == to_samples(str(path), 16000) == SAMPLES
    with path.open("rb") as file:
        assert to_samples(file, 16000) == SAMPLES


def test_a_file_at_another_rate_is_resampled() -> None:
    sound = tone(440, 48000)
    assert samples_of(wav(sound, rate=48000)) == resample(sound, 48000, 16000)


def test_two_channels_are_mixed_down(numpy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 2)  # frames at a time: there are seams between them
    stereo = pack([10, 20, -32768, -32768, 32767, 32767, 5, -5, 0, -1])
    assert samples_of(wav(stereo, channels=2)) == pack([15, -32768, 32767, 0, -1])


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


@pytest.mark.parametrize(("channels", "kept"), [(1, 10), (2, 8)])
def test_a_file_that_was_cut_off_counts_to_its_last_whole_frame(channels: int, kept: int) -> None:
    expected = samples_of(wav(SAMPLES[:kept], channels=channels))
    assert samples_of(wav(channels=channels)[:-1]) == expected


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (wav(bits=8), "audio holds 8-bit PCM of 1 channels, 1 bytes a frame; accepted is 16-bit PCM"),
        (wav(bits=24), "24-bit PCM"),
        (wav(bits=32, tag=3), "32-bit float"),
        (wav(bits=8, tag=6), "8-bit A-law"),
        (wav(bits=16, tag=0x1234), "16-bit audio of format 0x1234"),
        (wav(bits=32, tag=0xFFFE, extension=extension(3)), "32-bit float"),
        (wav(tag=0xFFFE), "format 0xfffe"),
        (wav(channels=6), "16-bit PCM of 6 channels, 12 bytes a frame"),
        (wav()[:32] + b"\x03\x00" + wav()[34:], "16-bit PCM of 1 channels, 3 bytes a frame"),
        (wav(rate=4000), "the sample rate of audio must be an int, 8000 to 192000 Hz; got 4000"),
        (wav(b""), "audio is empty"),
        (wav()[:36], "audio is a damaged WAV file: it has no samples"),
        (wav()[:12] + wav()[36:], "damaged WAV file: its format does not come before its samples"),
        (b"", "audio is empty; accepted are WAV files of 16-bit PCM"),
        (b"ID3\x04 an MP3", "audio is no WAV file; accepted are WAV files of 16-bit PCM"),
        (b"RIFF\0\0\0\0AVI LIST", "audio is no WAV file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_files_are_refused_by_what_they_hold(content: bytes, text: str) -> None:
    with pytest.raises(InputError, match=text):
        samples_of(content)


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
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


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.truncate(256 * 2**20 + 1)  # all hole
    with pytest.raises(InputError, match="large.wav' holds 268435457 bytes; the limit is 268435456"):
        to_samples(path, 16000)


def test_a_file_object_beyond_the_limit_is_refused_as_soon_as_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_FILE", 2**20)
    file = io.BytesIO(bytes(2**22))
    with pytest.raises(InputError, match="audio holds more than 1048576 bytes, the limit"):
        to_samples(file, 16000)
    assert file.tell() == 2**21


def test_a_text_file_is_refused_with_the_way_to_open_it() -> None:
    with pytest.raises(InputError, match="audio must read as bytes, got str; open the file with mode 'rb'"):
        to_samples(io.StringIO("RIFF"), 16000)


@pytest.mark.parametrize("hertz", [440, 3000])
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_tone_stays_what_it_is_and_where_it_is(hertz: float, source: int, target: int, numpy: str) -> None:
    new = middle(resample(tone(hertz, source), source, target))
    old = middle(tone(hertz, target))
    assert len(new) == len(old)
    assert max(abs(a - b) for a, b in zip(new, old, strict=True)) <= 25  # of 10000


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_constant_stays_the_same_to_the_bit(source: int, target: int, numpy: str) -> None:
    assert set(middle(resample(pack([1234] * (source // 20)), source, target))) == {1234}


@pytest.mark.parametrize("hertz", [4200, 5500, 10000, 23000])
def test_what_the_new_rate_cannot_carry_is_taken_out(hertz: float, numpy: str) -> None:
    heard = middle(resample(tone(hertz, 48000), 48000, 8000))
    loudness = math.sqrt(sum(value**2 for value in heard) / len(heard))
    assert loudness < 10000 / math.sqrt(2) / 10 ** (50 / 20)  # 50 dB down


def test_no_mirror_image_appears_above_what_the_old_rate_carried(numpy: str) -> None:
    heard = middle(resample(tone(3000, 8000), 8000, 48000))
    assert level(heard, 3000, 48000) == pytest.approx(10000, rel=0.01)
    assert level(heard, 5000, 48000) < 10000 / 10 ** (50 / 20)


def test_what_rings_beyond_16_bits_is_cut_and_does_not_wrap(numpy: str) -> None:
    square = pack(([32767] * 40 + [-32768] * 40) * 5)
    heard = unpack(resample(square, 16000, 48000))
    assert (min(heard), max(heard)) == (-32768, 32767)
    assert all(value > 0 for value in heard[10:100])


def test_at_the_same_rate_nothing_is_done() -> None:
    assert resample(SAMPLES, 16000, 16000) is SAMPLES


def test_blocks_leave_no_seams(numpy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = tone(440, 44100, 0.01)
    whole = resample(sound, 44100, 48000)
    monkeypatch.setattr(module, "_BLOCK", 500)
    assert resample(sound, 44100, 48000) == whole


@settings(derandomize=True, database=None, deadline=None, max_examples=25)
@given(
    data=st.binary(max_size=400),
    source=st.sampled_from([8000, 11025, 16000, 44100, 48000]),
    target=st.sampled_from([8000, 16000, 22050, 24000, 44100, 48000, 8001]),
)
def test_with_and_without_numpy_the_length_is_exact_and_samples_differ_by_one_at_most(
    data: bytes, source: int, target: int
) -> None:
    pytest.importorskip("numpy")
    samples = data[: len(data) // 2 * 2]
    fast = resample(samples, source, target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "numpy", None)
        slow = resample(samples, source, target)
    assert len(fast) == len(slow) == 2 * round(len(samples) // 2 * target / source)
    assert all(abs(a - b) <= 1 for a, b in zip(unpack(fast), unpack(slow), strict=True))


def test_numpy_is_imported_where_the_work_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    np = pytest.importorskip("numpy")
    monkeypatch.setattr(module, "loaded_numpy", lambda: None)
    assert module._numpy_for(2**22) is np
    assert module._numpy_for(2**22 - 1) is None
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert module._numpy_for(2**22) is None


def test_half_a_sample_is_not_resampled() -> None:
    with pytest.raises(InputError, match="samples must be 16-bit samples, two bytes each; got 3 bytes"):
        resample(b"abc", 16000, 8000)


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_a_rate_in_range_is_itself(rate: int) -> None:
    assert check_rate("rate", rate) == rate


@pytest.mark.parametrize("rate", [7999, 192001, 0, -48000, 48000.0, True, "48000", None, 10**20])
def test_any_other_rate_is_refused_wherever_it_is_given(rate: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="input_sample_rate must be an int, 8000 to 192000 Hz; got "):
        check_rate("input_sample_rate", rate)
    calls: list[Callable[[], object]] = [
        lambda: to_samples(SAMPLES, rate),
        lambda: resample(SAMPLES, rate, 8000),
        lambda: resample(SAMPLES, 8000, rate),
        lambda: silence(1, rate),
        lambda: write_wav(tmp_path / "out.wav", SAMPLES, rate),
    ]
    for call in calls:
        with pytest.raises(InputError, match="must be an int, 8000 to 192000 Hz"):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("seconds", "count"), [(0, 0), (1.2, 57600), (0.00001, 0), (0.000011, 1)])
def test_silence_is_zeros_of_that_length(seconds: float, count: int) -> None:
    assert silence(seconds, 48000) == bytes(2 * count)


@pytest.mark.parametrize("seconds", [-0.1, math.nan, math.inf, 3601, True, "1", None])
def test_silence_of_no_length_is_refused(seconds: Any) -> None:
    with pytest.raises(InputError, match="seconds must be a number, 0 to 3600; got "):
        silence(seconds, 48000)


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
