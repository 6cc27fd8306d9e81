from __future__ import annotations

import io
import math
import sys
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from hume_sync import InputError
from hume_sync.fastrtc.audio import check_rate, pause_seconds, pieces, silence, write_wav
from tests.audiofiles import encoded

from .sounds import SAMPLES, pack, resample, to_samples, tone, unpack, wav


def generator() -> Iterator[bytes]:
    yield SAMPLES


async def asynchronous() -> AsyncIterator[bytes]:
    yield SAMPLES


class Segment:
    """As pydub's: an iterable of its milliseconds."""

    raw_data = SAMPLES
    frame_rate = 16000

    def __iter__(self) -> Iterator[Segment]:
        yield self


SWAPPED = bytes(byte for pair in zip(SAMPLES[1::2], SAMPLES[::2], strict=True) for byte in pair)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: memoryview(data).cast("c")])
def test_bytes_of_any_kind_are_the_samples(kind: Callable[[bytes], object]) -> None:
    assert to_samples(kind(SAMPLES), 16000) == SAMPLES


@pytest.mark.parametrize("kind", [lambda values: values, memoryview])
def test_a_plain_array_is_the_samples(kind: Callable[[array[int]], object]) -> None:
    assert to_samples(kind(array("h", unpack(SAMPLES))), 16000) == SAMPLES


@pytest.mark.parametrize("kind", [lambda values: values, memoryview])
@pytest.mark.parametrize(("order", "heard"), [("little", SAMPLES), ("big", SWAPPED)])
def test_a_plain_array_lies_as_the_machine_has_it(
    monkeypatch: pytest.MonkeyPatch, order: str, heard: bytes, kind: Callable[[array[int]], object]
) -> None:
    monkeypatch.setattr(sys, "byteorder", order)
    assert to_samples(kind(array("h", SAMPLES)), 16000) == heard


def test_bytes_are_little_endian_on_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "byteorder", "big")
    assert to_samples(memoryview(SAMPLES), 16000) == SAMPLES


def test_a_view_with_gaps_is_read_without_them() -> None:
    assert to_samples(memoryview(SAMPLES)[::3], 16000) == SAMPLES[::3]
    assert to_samples(memoryview(array("h", unpack(SAMPLES)))[::-2], 16000) == pack(unpack(SAMPLES)[::-2])


@pytest.mark.parametrize(
    ("audio", "text"),
    [
        (b"", "audio is empty: there is nothing to send"),
        (b"\0\0\0", "audio must be 16-bit samples, two bytes each; got 3 bytes, an odd number"),
        (memoryview(bytes(3)), "audio must be 16-bit samples, two bytes each; got 3 bytes"),
        (memoryview(bytes(8)).cast("b"), "audio must be a memoryview of bytes, of 16-bit integers .* got format 'b'"),
        (memoryview(bytes(8)).cast("i"), "audio must be a memoryview of bytes, of 16-bit integers .* got format 'i'"),
        (memoryview(bytes(8)).cast("B", [2, 4]), r"in one dimension; got format 'B', shape \(2, 4\)"),
        (array("h"), "audio is empty"),
        (array("b", [1, 2]), "audio must be an array of int16 or of floats .* got typecode 'b'"),
        (array("H", [1, 2]), "got typecode 'H'"),
        (array("i", [1, 2]), "got typecode 'i'"),
        (array("q", [1, 2]), "got typecode 'q'"),
        (b"OggS" + bytes(20), "audio is Ogg, which is to be decoded first; accepted are WAV files"),
        (None, "audio must be bytes .*, an array of int16 .*, a WAV file .*; got NoneType"),
        (7, "got int; numbers come in an array"),
        ({"array": b"", "sampling_rate": 1}, "got dict"),
        (bytes, "got the type bytes"),
        (io.BytesIO, "got the type BytesIO"),
        (asynchronous, "got function$"),
        (asynchronous(), "got async_generator, which is asynchronous"),
        (generator, "got function, which is to be called"),
        (Segment(), 'got Segment; pass segment.export.format="wav".'),
        ([], "audio is empty"),
        ([0, 1], "chunk 1 of audio must be bytes .*; got int; numbers come in an array"),
        ([[b"ab"]], "chunk 1 of audio must be bytes .*; got list"),
        ((16000, None), r"audio must be \(rate, array\), got NoneType in place of the array"),
        ((16000, "question.wav"), "got str in place of the array"),
        ((16000, wav()), r"audio is \(rate, array\) with a WAV file, which has a rate of its own"),
        ((999, SAMPLES), "the rate of audio must be an int, 1000 to 768000 Hz; got 999"),
        ((16000.0, SAMPLES), "the rate of audio must be an int, 1000 to 768000 Hz; got 16000.0"),
        ((16000, b"abc"), "audio must be 16-bit samples, two bytes each; got 3 bytes"),
        ((SAMPLES, 16000), "got int in place of the array; the rate comes first"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_audio_is_refused(audio: object, text: str) -> None:
    with pytest.raises(InputError, match=text):
        to_samples(audio, 16000)


@pytest.mark.parametrize("shape", [(6,), (1, 6), (6, 1)])
@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
def test_arrays_of_one_channel_lie_either_way(shape: tuple[int, ...], dtype: str) -> None:
    np = pytest.importorskip("numpy")
    samples = np.frombuffer(SAMPLES, "<i2").astype(dtype).reshape(shape)
    assert to_samples(samples, 16000) == SAMPLES


def test_arrays_of_two_channels_are_mixed_down_whichever_way_they_lie() -> None:
    np = pytest.importorskip("numpy")
    stereo = np.array([[32767, -32768, 100], [32767, -32768, -100]], np.int16)
    assert to_samples(stereo, 16000) == to_samples(stereo.T, 16000) == pack([32767, -32768, 0])


@pytest.mark.parametrize("dtype", ["float16", "longdouble", "int32", "int8", "uint16", "uint8", "bool", "object"])
def test_arrays_of_other_numbers_are_refused_by_name(dtype: str) -> None:
    np = pytest.importorskip("numpy")
    values = np.zeros(8, dtype)
    with pytest.raises(InputError, match=f"audio must be an array of int16, or of float32 .* got dtype {values.dtype}"):
        to_samples(values, 16000)


@pytest.mark.parametrize("shape", [(), (3, 8), (8, 3), (3, 3), (1, 2, 8)])
def test_arrays_of_other_shapes_are_refused_by_shape(shape: tuple[int, ...]) -> None:
    np = pytest.importorskip("numpy")
    with pytest.raises(InputError, match=r"shape \(n,\).*; got \("):
        to_samples(np.zeros(shape, np.int16), 16000)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_arrays_of_floats_are_scaled(dtype: str) -> None:
    np = pytest.importorskip("numpy")
    floats = np.array([0, 0.5, -0.5, 1, -1, 1.5, -2, 1 / 32768], dtype)
    expected = pack([0, 16384, -16384, 32767, -32768, 32767, -32768, 1])
    assert to_samples(floats, 16000) == expected
    assert to_samples(floats.reshape(-1, 1), 16000) == expected
    assert to_samples(np.stack([floats, floats]), 16000) == expected


@pytest.mark.parametrize("typecode", ["f", "d"])
@pytest.mark.parametrize("kind", [lambda values: values, memoryview])
def test_plain_arrays_of_floats_are_scaled(typecode: str, kind: Callable[[array[float]], object], numpy: str) -> None:
    floats = array(typecode, [0, 0.5, -0.5, 1, -1, 1.5, -2, 1 / 32768])
    assert to_samples(kind(floats), 16000) == pack([0, 16384, -16384, 32767, -32768, 32767, -32768, 1])


@pytest.mark.parametrize("dtype", [">i2", ">f4", ">f8"])
def test_a_view_in_the_other_byte_order_is_read_in_it(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    np = pytest.importorskip("numpy")
    view = memoryview(np.array([0.5, -1] if "f" in dtype else [16384, -32768], dtype))
    assert to_samples(view, 16000) == pack([16384, -32768])
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert to_samples(view, 16000) == pack([16384, -32768])


@pytest.mark.parametrize(("bad", "shown"), [(math.nan, "nan"), (math.inf, "inf"), (-2.001, "-2.001"), (32767, "32767")])
@pytest.mark.parametrize("kind", ["plain", "one row", "two rows", "two columns"])
def test_floats_that_cannot_be_samples_are_refused_and_the_first_is_named(kind: str, bad: float, shown: str) -> None:
    np = pytest.importorskip("numpy")
    values = np.zeros(300_000, "f4")  # more than are converted at a time
    values[[280_000, 290_000]] = bad
    audio = {
        "plain": array("f", values.tobytes()),
        "one row": values.reshape(1, -1),
        "two rows": np.stack([np.zeros(300_000, "f4"), values]),
        "two columns": np.stack([values, values]).T,
    }
    with pytest.raises(
        InputError, match=f"^sample 280000 of audio is {shown}; floats must be finite and lie in -1 to 1"
    ):
        to_samples(audio[kind], 16000)


def test_floats_that_cannot_be_samples_are_refused_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(InputError, match="^sample 2 of audio is nan"):
        to_samples(array("d", [0, 2, math.nan, math.inf]), 16000)


class Tensor:
    """As torch's where there is numpy() alone."""

    def __init__(self, values: object) -> None:
        self.values = values

    def numpy(self) -> object:
        if isinstance(self.values, Exception):
            raise self.values
        return self.values


class Convertible(Tensor):
    """What converts itself."""

    def __array__(self, dtype: object = None, copy: object = None) -> object:
        return self.numpy()


@pytest.mark.parametrize("kind", [Tensor, Convertible])
def test_tensors_are_taken_as_the_arrays_they_hold(kind: type[Tensor]) -> None:
    np = pytest.importorskip("numpy")
    assert to_samples(kind(np.array([[0.5, -1]], "f4")), 16000) == pack([16384, -32768])
    with pytest.raises(InputError, match="got dtype int64"):
        to_samples(kind(np.array([1, 2], "i8")), 16000)
    with pytest.raises(InputError, match="audio cannot be read: .* raised RuntimeError.'use detach"):
        to_samples(kind(RuntimeError("use detach()")), 16000)


def test_tensors_without_numpy_are_refused_with_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(InputError, match="audio is a Tensor: to convert it, install numpy"):
        to_samples(Tensor(None), 16000)


def test_what_comes_with_its_rate_is_brought_to_the_sessions() -> None:
    np = pytest.importorskip("numpy")
    sound = np.frombuffer(tone(440, 48000), "<i2")
    expected = resample(sound.tobytes(), 48000, 16000)
    for rate in (48000, np.int64(48000)):
        for array_ in (sound, sound.reshape(1, -1), np.stack([sound, sound]), sound.reshape(-1, 1), sound / 32768):
            assert to_samples((rate, array_), 16000) == expected
    assert to_samples((48000, sound.tobytes()), 16000) == expected
    assert to_samples((16000, SAMPLES), 16000) == SAMPLES


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_a_wav_file_are_the_file(kind: Callable[[bytes], object]) -> None:
    assert to_samples(kind(wav(tone(440, 8000), rate=8000)), 16000) == resample(tone(440, 8000), 8000, 16000)


def test_messages_are_as_few_as_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = list(pieces(bytes(2 * 1000), 16000, silent=0.1, most=600))
    assert list(map(len, messages)) == [1200, 800, 1200, 1200, 800]
    assert list(map(len, pieces(bytes(2 * 1000), 16000, silent=0.1))) == [2000, 3200]
    assert sum(map(len, pieces((48000, bytes(2 * 10_000_000)), 8000))) == 2 * 1_666_667


@pytest.mark.parametrize("shape", [0, (1, 0), (0, 2)])
def test_an_array_of_nothing_is_empty(shape: int | tuple[int, int]) -> None:
    np = pytest.importorskip("numpy")
    with pytest.raises(InputError, match="audio is empty"):
        to_samples(np.zeros(shape, np.int16), 16000)


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_a_rate_in_range_is_itself(rate: int) -> None:
    assert check_rate("rate", rate) == rate


@pytest.mark.parametrize("rate", [7999, 192001, 0, -48000, 48000.0, True, "48000", None, 10**20])
def test_any_other_rate_is_refused_wherever_it_is_given(rate: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="input_sample_rate must be an int, 8000 to 192000 Hz; got "):
        check_rate("input_sample_rate", rate)
    calls: list[Callable[[], object]] = [
        lambda: to_samples(SAMPLES, rate),
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


@pytest.mark.parametrize(
    ("end", "seconds"), [(True, 1.2), (False, 0), (0, 0), (0.0, 0), (0.5, 0.5), (1, 1), (60, 60), (Fraction(1, 2), 0.5)]
)
def test_a_pause_is_that_of_servers_or_so_many_seconds(end: Any, seconds: float) -> None:
    assert pause_seconds("end", end) == seconds


@pytest.mark.parametrize("end", [-0.1, math.nan, math.inf, 60.1, 1e300, 10**400, "1", None, [1]])
def test_a_pause_of_no_length_is_refused(end: Any) -> None:
    with pytest.raises(InputError, match="end must be a bool, or seconds of silence, 0 to 60; got "):
        pause_seconds("end", end)


@pytest.mark.parametrize(
    ("container", "codec", "kind"),
    [
        ("mp3", "libmp3lame", "MP3"),
        ("adts", "aac", "AAC"),
        ("ogg", "libopus", "Ogg"),
        ("flac", "flac", "FLAC"),
        ("mp4", "aac", "MP4"),
        ("matroska", "aac", "WebM or Matroska"),
        ("aiff", "pcm_s16be", "AIFF"),
        ("caf", "pcm_s16be", "CAF"),
        ("au", "pcm_s16be", "AU"),
        ("w64", "pcm_s16le", "W64"),
        ("asf", "wmav2", "WMA"),
    ],
)
def test_other_files_are_detected_by_their_content_and_never_heard_as_noise(
    container: str, codec: str, kind: str
) -> None:
    content = encoded(container, codec, 1.0, rate=16000)
    bare = content[10 + int.from_bytes(content[6:10], "big") :] if content[:3] == b"ID3" else content
    kinds = [content, bare, memoryview(bare).cast("c"), io.BytesIO(bare), (16000, bare)]
    if len(bare) > 1500:
        kinds.append([bare[:1500], bare[1500:]])
    for audio in kinds:
        with pytest.raises(InputError, match=f"audio is {kind}, which is to be decoded first; accepted are WAV files"):
            to_samples(audio, 16000)


def test_a_view_with_gaps_may_be_a_wav_file() -> None:
    twice = bytes(byte for byte in wav() for _ in range(2))
    assert to_samples(memoryview(twice)[::2], 16000) == SAMPLES
