from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hume_sync.formats import resample as module

from ..fastrtc.sounds import pack, resample, samples_of, tone, unpack, wav

PAIRS = [(48000, 8000), (8000, 48000), (44100, 48000), (16000, 24000), (48000, 44100), (22050, 16001)]


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


def test_blocks_leave_no_seams(numpy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = tone(440, 44100, 0.01)
    whole = resample(sound, 44100, 48000)
    monkeypatch.setattr(module, "_BLOCK", 500)
    assert resample(sound, 44100, 48000) == whole


@settings(max_examples=25)
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
    assert module.numpy_for(2**22) is np
    assert module.numpy_for(2**22 - 1) is None
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert module.numpy_for(2**22) is None


def test_two_channels_are_mixed_down(numpy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 2)  # frames at a time: there are seams between them
    stereo = pack([10, 20, -32768, -32768, 32767, 32767, 5, -5, 0, -1])
    assert samples_of(wav(stereo, channels=2)) == pack([15, -32768, 32767, 0, -1])
