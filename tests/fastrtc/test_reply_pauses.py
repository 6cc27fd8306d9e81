"""Silence where a handler paused; with times that are written here."""

from __future__ import annotations

import pytest

from hume_sync import InputError
from hume_sync.fastrtc import AudioChunk, with_pauses

RATE = 8000
LOUD = b"\1\0" * (RATE // 50)
"""20 ms."""


def frames(arrived: float, count: int, media_time: float | None = None, *, delayed: bool = False) -> list[AudioChunk]:
    """So many frames that come as they play."""
    return [
        AudioChunk(
            LOUD,
            RATE,
            delayed,
            arrived=arrived + number / 50,
            media_time=None if media_time is None else media_time + number / 50,
        )
        for number in range(count)
    ]


def silent(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE))


def test_audio_that_comes_as_it_plays_or_faster_has_no_pauses() -> None:
    assert with_pauses(frames(100.0, 50)) == 50 * LOUD
    at_once = [AudioChunk(LOUD, RATE, arrived=100.0 + number / 1000) for number in range(50)]
    assert with_pauses(at_once) == 50 * LOUD
    assert with_pauses([]) == b""


def test_audio_that_comes_a_little_late_again_and_again_makes_none_either() -> None:
    uneven = [AudioChunk(LOUD, RATE, arrived=100 + number / 50 + 0.09 * (number % 2)) for number in range(500)]
    assert with_pauses(uneven) == 500 * LOUD


def test_a_pause_is_as_long_as_nothing_came_for() -> None:
    assert with_pauses(frames(100.0, 10) + frames(101.2, 10)) == 10 * LOUD + silent(1.0) + 10 * LOUD


def test_what_came_ahead_of_time_fills_a_part_of_the_pause() -> None:
    chunks = [AudioChunk(50 * LOUD, RATE, arrived=7.0), AudioChunk(LOUD, RATE, arrived=10.0)]
    assert with_pauses(chunks) == 50 * LOUD + silent(2.0) + LOUD


def test_what_was_held_back_is_of_before_the_pause() -> None:
    chunks = frames(100.0, 10, 0.0) + frames(102.2, 5, 0.2, delayed=True) + frames(102.3, 10, 0.3)
    assert with_pauses(chunks) == 15 * LOUD + silent(2.0) + 10 * LOUD


def test_a_gap_in_the_servers_time_is_silence_of_its_length_however_late_the_rest_comes() -> None:
    lost = frames(100.0, 10, 0.0) + frames(100.22, 10, 0.22)
    assert with_pauses(lost) == 10 * LOUD + silent(0.02) + 10 * LOUD
    left_out = frames(100.0, 10, 0.0) + frames(105.19, 10, 5.2)
    assert with_pauses(left_out) == 10 * LOUD + silent(5.0) + 10 * LOUD


def test_a_new_connection_begins_another_time() -> None:
    assert with_pauses(frames(100.0, 10, 60.0) + frames(100.2, 10, 0.0)) == 20 * LOUD


def test_chunks_made_by_hand_are_joined() -> None:
    assert with_pauses([AudioChunk(LOUD, RATE), AudioChunk(LOUD, RATE, arrived=5.0)]) == 2 * LOUD


def test_chunks_of_different_rates_are_refused() -> None:
    with pytest.raises(InputError, match="chunks must have one rate, got 8000 and 16000"):
        with_pauses([AudioChunk(LOUD, RATE), AudioChunk(LOUD, 2 * RATE)])
