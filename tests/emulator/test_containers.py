from __future__ import annotations

import contextlib
import random

import pytest

from hume_sync.emulator.containers import Tracks, read_tracks
from hume_sync.emulator.faults import PayloadError

from .support import avi, box, flac, mp4, webm

MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)  # 128 kbit/s, 44.1 kHz: 1152 samples


@pytest.mark.parametrize(
    ("content", "audio", "video"),
    [
        (flac(2.5), True, False),
        (MP3_FRAME * 100, True, False),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00" + MP3_FRAME * 100, True, False),
        (mp4(1.5, b"soun"), True, False),
        (mp4(1.5, b"vide"), False, True),
        (mp4(1.5, b"vide", b"soun"), True, True),
        (webm(b"A_OPUS"), True, False),
        (webm(b"V_VP9", b"A_OPUS"), True, True),
        (avi(2, b"vids", b"auds"), True, True),
        (b"RIFF....AVI vids", False, True),
        (b"\xff\xf1\x50\x80" + bytes(100), True, False),
    ],
    ids=["flac", "mp3", "id3", "m4a", "mp4 silent", "mp4", "webm audio", "webm", "avi", "avi without header", "adts"],
)
def test_tracks_are_read_from_the_header(content: bytes, audio: bool, video: bool) -> None:
    assert read_tracks(content) == Tracks(audio, video)


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
            assert read_tracks(content) is not None


def test_boxes_cut_short_are_hostile_too() -> None:
    content = mp4(1.5, b"soun") + box(b"moov", box(b"mvhd", b"short"))
    for end in range(12, len(content)):
        with contextlib.suppress(PayloadError):
            read_tracks(content[:end])
