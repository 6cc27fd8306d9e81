from __future__ import annotations

import contextlib
import random

import pytest

from hume_sync.emulator.containers import Tracks, read_tracks
from hume_sync.emulator.faults import PayloadError

from .support import avi, box, flac, mp4, webm

MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)  # 128 kbit/s, 44.1 kHz: 1152 samples


def _seconds(tracks: Tracks | None) -> float | None:
    assert tracks is not None
    return None if tracks.seconds is None else float(tracks.seconds)


@pytest.mark.parametrize(
    ("content", "audio", "video", "seconds"),
    [
        (flac(2.5), True, False, 2.5),
        (MP3_FRAME * 100, True, False, 2.612),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00" + MP3_FRAME * 100, True, False, 2.612),
        (mp4(1.5, b"soun"), True, False, 1.5),
        (mp4(1.5, b"vide"), False, True, 1.5),
        (mp4(1.5, b"vide", b"soun"), True, True, 1.5),
        (webm(b"A_OPUS"), True, False, None),
        (webm(b"V_VP9", b"A_OPUS", milliseconds=1500), True, True, 1.5),
        (b"\x1a\x45\xdf\xa3V_AV1\x44\x89\x84\x45\xbb\x80\x00" + bytes(8), False, True, 6.0),
        (webm(b"V_VP8") + b"\x44\x89\x88\x00", False, True, None),
        (webm(b"V_VP8", milliseconds=float("nan")), False, True, None),
        (avi(2, b"vids", b"auds"), True, True, 2.0),
        (avi(0, b"vids"), False, True, None),
        (b"RIFF....AVI vids", False, True, None),
        (b"\xff\xf1\x50\x80" + bytes(100), True, False, None),
    ],
    ids=["flac", "mp3", "id3", "m4a", "mp4 silent", "mp4", "webm audio", "webm", "webm float, no scale",
         "webm cut", "webm nan", "avi", "avi empty", "avi without header", "adts"],
)  # fmt: skip
def test_tracks_and_length_are_read_from_the_header(
    content: bytes, audio: bool, video: bool, seconds: float | None
) -> None:
    tracks = read_tracks(content)
    assert tracks is not None
    assert (tracks.audio, tracks.video) == (audio, video)
    assert _seconds(tracks) == (None if seconds is None else pytest.approx(seconds, abs=0.02))


@pytest.mark.parametrize("content", [mp4(1), webm(), avi(1), b"RIFF....AVI "])
def test_a_container_without_tracks_is_refused_with_e0200(content: bytes) -> None:
    with pytest.raises(PayloadError, match="E0200"):
        read_tracks(content)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff", b"RIFF....WAVE", b"[[1, 2, 3]]"])
def test_other_bytes_are_no_compressed_media(content: bytes) -> None:
    assert read_tracks(content) is None


@pytest.mark.parametrize(
    "start",
    [b"OggS", b"fLaC", b"ID3", b"\xff\xfb", b"\x00\x00\x00\x18ftypM4A hdlr12345678soun", b"\x1a\x45\xdf\xa3A_OPUS"],
)
def test_hostile_bytes_after_a_good_beginning_give_tracks_or_e0200_and_nothing_else(start: bytes) -> None:
    noise = random.Random(0)
    for _ in range(50):
        content = start + noise.randbytes(noise.randrange(200))
        with contextlib.suppress(PayloadError):
            tracks = read_tracks(content)
            assert tracks is not None
            assert tracks.seconds is None or tracks.seconds > 0


def test_boxes_cut_short_are_hostile_too() -> None:
    content = mp4(1.5, b"soun") + box(b"moov", box(b"mvhd", b"short"))
    for end in range(12, len(content)):
        with contextlib.suppress(PayloadError):
            read_tracks(content[:end])
