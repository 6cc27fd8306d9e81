from __future__ import annotations

from fractions import Fraction

import pytest

from hume_sync.emulator.audio_window import AudioWindow, WindowView
from hume_sync.emulator.clips import Clip, PcmFormat

from .support import tone

MONO = PcmFormat(16_000, 1, 2)


def _clip(seconds: float, start: float = 0, rate: int = 16_000) -> Clip:
    samples = tone(seconds, rate=rate, start=round(start * rate))
    return Clip.from_samples(samples, PcmFormat(rate, 1, 2))


def _views(width: float, *lengths: float, whole: bool = True) -> list[WindowView]:
    window, views, start = AudioWindow(), [], 0.0
    for length in lengths:
        window, view = window.append(_clip(length, start), Fraction(str(width)), whole=whole)
        views.append(view)
        start += length
    return views


def _samples(view: WindowView) -> bytes:
    return b"".join(clip.content for clip in view.clips)


@pytest.mark.parametrize(
    ("width", "begin"),
    [(1.0, 0.0), (2.0, 0.0), (0.6, 0.4), (0.5, 0.5)],
)
def test_of_two_half_seconds_the_window_keeps_what_the_reference_says(width: float, begin: float) -> None:
    view = _views(width, 0.5, 0.5)[1]
    assert _samples(view) == tone(1)[round(begin * 16_000) * 2 :]
    assert (float(view.begin), float(view.end)) == (begin, 1.0)


def test_the_view_reaches_back_over_several_payloads() -> None:
    view = _views(2, 0.75, 0.5, 0.5, 0.5)[-1]
    assert _samples(view) == tone(2.25)[-2 * 32_000 :]


def test_a_payload_longer_than_the_window_is_seen_whole() -> None:
    view = _views(0.5, 0.5, 2)[-1]
    assert _samples(view) == tone(2.5)[-2 * 32_000 :]
    assert (view.begin, view.end) == (Fraction(1, 2), Fraction(5, 2))


def test_or_only_the_end_of_it_when_so_set() -> None:
    view = _views(0.5, 0.5, 2, whole=False)[-1]
    assert _samples(view) == tone(2.5)[-16_000:]
    assert (view.begin, view.end) == (Fraction(2), Fraction(5, 2))


def test_what_was_cut_by_a_narrow_window_is_seen_again_by_a_wide_one() -> None:
    window, _ = AudioWindow().append(_clip(0.5), Fraction(5))
    window, narrow = window.append(_clip(0.5, 0.5), Fraction(1, 2))
    _, wide = window.append(_clip(0.5, 1.0), Fraction(5))
    assert len(_samples(narrow)) == 16_000
    assert _samples(wide) == tone(1.5)


def test_only_the_longest_window_is_kept() -> None:
    window = AudioWindow()
    for second in range(13):
        window, view = window.append(_clip(1, second), Fraction(10))
    assert sum(clip.seconds for clip in window.history) == 10
    assert window.clock == view.end == 13
    assert view.begin == 3


def test_clips_of_different_rates_are_cut_by_time() -> None:
    window, _ = AudioWindow().append(_clip(1, rate=8000), Fraction(5))
    _, view = window.append(_clip(1, rate=44_100), Fraction(3, 2))
    assert [clip.seconds for clip in view.clips] == [Fraction(1, 2), 1]
    assert view.clips[0].content == tone(1, rate=8000)[-8000:]


def test_nothing_older_is_joined_on_to_a_clip_that_was_cut() -> None:
    fast, slow = _clip(1, rate=44_100), Clip.from_samples(tone(1, rate=3), PcmFormat(3, 1, 2))
    window, _ = AudioWindow().append(fast, Fraction(5))
    window, _ = window.append(slow, Fraction(5))
    _, view = window.append(_clip(1), Fraction(3, 2))
    assert [clip.seconds for clip in view.clips] == [Fraction(1, 3), 1]


def test_reset_empties_the_history_and_leaves_the_clock() -> None:
    window, _ = AudioWindow().append(_clip(1), Fraction(5))
    _, view = window.reset().append(_clip(1, 1), Fraction(5))
    assert _samples(view) == tone(2)[32_000:]
    assert (float(view.begin), float(view.end)) == (1.0, 2.0)


def test_reset_can_set_the_clock_back() -> None:
    window, _ = AudioWindow().append(_clip(1), Fraction(5))
    assert window.reset(clock=True) == AudioWindow()


def test_a_view_is_as_loud_as_the_loudest_of_its_clips() -> None:
    quiet, loud = Clip.from_samples(tone(1, level=100), MONO), Clip.from_samples(tone(1), MONO)
    assert WindowView((quiet, loud), Fraction(0), Fraction(2)).peak == loud.peak
    assert WindowView((), Fraction(0), Fraction(0)).peak == 0
