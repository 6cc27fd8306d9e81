from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hume_sync import InputError
from hume_sync.fastrtc.audio import check_rate, silence, write_wav

from .sounds import SAMPLES, pack, to_samples, unpack, wav

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
        (memoryview(bytes(8)).cast("f"), "audio must be a memoryview of bytes or of 16-bit .* got format 'f'"),
        (memoryview(bytes(8)).cast("b"), "audio must be a memoryview of bytes or of 16-bit .* got format 'b'"),
        (memoryview(bytes(8)).cast("B", [2, 4]), r"in one dimension; got format 'B', shape \(2, 4\)"),
        (array("h"), "audio is empty"),
        (array("f", [0.5]), "audio must be an array of int16 .typecode 'h'., got typecode 'f'"),
        (array("b", [1, 2]), "audio must be an array of int16 .typecode 'h'., got typecode 'b'"),
        (array("H", [1, 2]), "got typecode 'H'"),
        (array("i", [1, 2]), "got typecode 'i'"),
        (wav(), "this is a WAV file: pass its path or io.BytesIO"),
        ([0, 1], "audio must be bytes .*, an array of int16 .*, or a WAV file .* got list"),
        (None, "got NoneType"),
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


@pytest.mark.parametrize("dtype", ["float32", "int32", "int8", "uint16", "uint8", "bool"])
def test_arrays_of_other_numbers_are_refused_by_name(dtype: str) -> None:
    np = pytest.importorskip("numpy")
    with pytest.raises(InputError, match=f"audio must be an array of int16, got dtype {dtype}"):
        to_samples(np.zeros(8, dtype), 16000)


@pytest.mark.parametrize("shape", [(), (3, 8), (8, 3), (3, 3), (1, 2, 8)])
def test_arrays_of_other_shapes_are_refused_by_shape(shape: tuple[int, ...]) -> None:
    np = pytest.importorskip("numpy")
    with pytest.raises(InputError, match=r"shape \(n,\).*; got \("):
        to_samples(np.zeros(shape, np.int16), 16000)


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
