"""Iterables of audio, as `pieces` takes them."""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hume_sync import InputError
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc.audio import pieces

from .sounds import SAMPLES, pack, resample, to_samples, tone, unpack, wav


def test_each_chunk_is_a_message_as_it_comes() -> None:
    asked = []

    def chunks() -> Iterator[bytes]:
        for number in range(3):
            asked.append(number)
            yield pack([number])

    messages = pieces(chunks(), 16000, silent=0.1)
    assert asked == []
    for number in range(3):
        assert next(messages) == pack([number])
        assert asked == [*range(number + 1)]
    assert list(messages) == [bytes(3200)]


@pytest.mark.parametrize("kind", [list, tuple, iter, lambda chunks: (chunk for chunk in chunks)])
def test_chunks_are_of_every_kind(kind: Callable[[list[Any]], Any], tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    path = tmp_path / "clip.wav"
    path.write_bytes(wav())
    ints = np.frombuffer(SAMPLES, "<i2")
    chunks = [SAMPLES, bytearray(SAMPLES), memoryview(SAMPLES), ints, ints / 32768, (16000, ints), path, str(path)]
    chunks += [io.BytesIO(wav()), wav()]
    assert to_samples(kind(chunks), 16000) == SAMPLES * len(chunks)


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(0, 4410), max_size=12), rates=st.sampled_from([(44100, 16000), (16000, 44100)]))
def test_chunks_of_another_rate_have_no_seam(cuts: list[int], rates: tuple[int, int]) -> None:
    np = pytest.importorskip("numpy")
    source, target = rates
    sound = tone(440, source, 4410 / source)
    places = [0, *sorted(cuts), 4410]
    chunks = ((source, np.frombuffer(sound, "<i2")[begin:end]) for begin, end in itertools.pairwise(places))
    assert to_samples(chunks, target) == resample(sound, source, target)


def test_without_numpy_there_is_no_seam_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    sound = tone(440, 44100)
    chunks = ((44100, sound[begin : begin + 700]) for begin in range(0, len(sound), 700))
    assert to_samples(chunks, 16000) == resample(sound, 44100, 16000)


def test_a_change_of_rate_ends_the_sound_before_it() -> None:
    chunks: list[tuple[int, bytes]] = [(48000, tone(440, 48000)), (8000, tone(440, 8000)), (16000, SAMPLES)]
    expected = b"".join(resample(sound, rate, 16000) for rate, sound in chunks)
    assert to_samples(chunks, 16000) == expected


@given(cuts=st.lists(st.integers(0, 11), max_size=6))
def test_bytes_may_be_divided_anywhere(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(SAMPLES)]
    chunks = [SAMPLES[begin:end] for begin, end in itertools.pairwise(places)]
    assert to_samples(chunks, 16000) == SAMPLES


@pytest.mark.parametrize(
    ("chunks", "sent", "text"),
    [
        ([], 0, "audio is empty: there is nothing to send"),
        ([b"", b""], 0, "audio is empty: there is nothing to send"),
        ([b"ab", b"c"], 1, "its chunks end in the middle of one"),
        ([b"abc", (16000, b"ab")], 1, "chunk 2 of audio comes in the middle of a sample"),
        ([b"ab", None], 1, "chunk 2 of audio must be bytes .*; got NoneType"),
        ([b"ab", 7], 1, "chunk 2 of audio must be .*; got int; numbers come in an array"),
        ([b"ab", [b"ab"]], 1, "chunk 2 of audio must be .*; got list"),
        ([b"ab", (7, b"ab")], 1, "the rate of chunk 2 of audio must be an int, 1000 to 768000 Hz; got 7"),
        ([b"ab", b"OggS...."], 1, "chunk 2 of audio is Ogg"),
        ([wav(), b"the rest"], 1, "chunk 2 of audio is bare bytes after a WAV file"),
        ([(16000, wav())], 0, "chunk 1 of audio is .rate, array. with a WAV file"),
        ([io.BytesIO(b"ab")], 0, "chunk 1 of audio is no WAV file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_chunk_that_is_no_audio_is_refused_by_its_number(chunks: list[Any], sent: int, text: str) -> None:
    messages = pieces(iter(chunks), 16000)
    for _ in range(sent):
        assert next(messages)
    with pytest.raises(InputError, match=text):
        next(messages)


def test_a_float_that_cannot_be_is_named_with_its_chunk() -> None:
    np = pytest.importorskip("numpy")
    with pytest.raises(InputError, match="^sample 1 of chunk 2 of audio is nan"):
        to_samples([np.zeros(3), np.array([0, np.nan])], 16000)


@pytest.mark.parametrize("error", [LookupError("exhausted"), ConnectionLost("of another"), OSError(5, "no microphone")])
def test_what_an_iterable_raises_comes_out_as_it_is(error: Exception) -> None:
    def chunks() -> Iterator[bytes]:
        yield SAMPLES
        raise error

    messages = pieces(chunks(), 16000)
    assert next(messages) == SAMPLES
    with pytest.raises(type(error)) as caught:
        next(messages)
    assert caught.value is error


def test_the_check_comes_between_chunks() -> None:
    class Enough(Exception):
        pass

    left = [2]

    def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Enough

    messages = pieces(itertools.repeat(SAMPLES), 16000, check=check)
    assert [next(messages), next(messages)] == [SAMPLES, SAMPLES]
    with pytest.raises(Enough):
        next(messages)


def test_a_chunk_of_a_few_samples_is_not_lost_in_the_filter() -> None:
    sound = tone(440, 48000)
    chunks = ((48000, pack([value])) for value in unpack(sound))
    assert to_samples(chunks, 16000) == resample(sound, 48000, 16000)
