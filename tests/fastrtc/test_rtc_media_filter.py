"""What is made of the frames of a track; in figures, without a network."""

from __future__ import annotations

import pytest

from hume_sync.fastrtc.rtc_media import TrackFilter, to_stereo

RATE = 16000
LOUD = b"\0\1" * (RATE // 50)
SILENT = bytes(len(LOUD))


def heard(ear: TrackFilter, frames: list[bytes], began: float = 0.0) -> list[bytes]:
    """What is left of frames that come 20 ms apart."""
    left = []
    for number, frame in enumerate(frames):
        ear.is_delayed(began + number / 50)
        if ear.should_keep(frame):
            left.append(frame)
    return left


def delayed(ear: TrackFilter, times: list[float]) -> list[bool]:
    return [ear.is_delayed(time) for time in times]


def after(gap: float, last: float, count: int) -> list[float]:
    """When so many frames come, behind a gap."""
    return [last + gap + number / 50 for number in range(count)]


@pytest.mark.parametrize("pause", [1, 50, 100])
def test_a_pause_of_up_to_two_seconds_keeps_its_length(pause: int) -> None:
    frames = [LOUD] * 10 + [SILENT] * pause + [LOUD] * 10
    assert heard(TrackFilter(RATE), frames) == frames


def test_of_silence_that_goes_on_the_first_two_seconds_are_heard_and_then_what_comes_behind_it() -> None:
    assert heard(TrackFilter(RATE), [SILENT] * 500 + [LOUD] * 3 + [SILENT] * 500) == (
        [SILENT] * 100 + [LOUD] * 3 + [SILENT] * 100
    )


@pytest.mark.parametrize("rate", [8000, 48000])
def test_two_seconds_are_two_seconds_at_every_rate(rate: int) -> None:
    assert len(heard(TrackFilter(rate), [bytes(2 * rate // 50)] * 500)) == 100


def test_a_single_sample_breaks_a_silence() -> None:
    click = bytearray(SILENT)
    click[-1] = 1
    assert len(heard(TrackFilter(RATE), [SILENT] * 100 + [bytes(click)] + [SILENT] * 500)) == 100 + 1 + 100


def test_silence_behind_a_gap_is_a_silence_of_its_own() -> None:
    ear = TrackFilter(RATE)
    assert len(heard(ear, [SILENT] * 90)) == 90
    assert len(heard(ear, [SILENT] * 90, began=90 / 50 + 0.3)) == 90


def test_the_first_frames_of_a_connection_are_not_late() -> None:
    assert delayed(TrackFilter(RATE), after(7.0, 0.0, 10)) == [False] * 10


def test_the_first_five_frames_behind_a_gap_were_spoken_before_it() -> None:
    ear = TrackFilter(RATE)
    assert not any(delayed(ear, after(0.0, 0.0, 20)))
    assert delayed(ear, after(0.3, 19 / 50, 8)) == [True] * 5 + [False] * 3


@pytest.mark.parametrize(("gap", "late"), [(0.15, 0), (0.25, 5)])
def test_a_gap_is_longer_than_frames_are_late_on_their_way(gap: float, late: int) -> None:
    ear = TrackFilter(RATE)
    ear.is_delayed(1.0)
    assert sum(delayed(ear, after(gap, 1.0, 8))) == late


def test_of_a_reply_shorter_than_what_is_held_back_the_next_gap_starts_again() -> None:
    ear = TrackFilter(RATE)
    ear.is_delayed(0.0)
    assert delayed(ear, after(1.0, 0.0, 3)) == [True] * 3
    assert delayed(ear, after(1.0, 1.0 + 2 / 50, 7)) == [True] * 5 + [False] * 2


def test_one_channel_is_the_same_on_both() -> None:
    assert to_stereo(b"\1\2\3\4\xff\x80") == b"\1\2\1\2\3\4\3\4\xff\x80\xff\x80"
    assert to_stereo(b"") == b""
