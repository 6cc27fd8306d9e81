from __future__ import annotations

import random
import sys
from collections.abc import Callable

import pytest

from hume_sync.emulator import lengths
from hume_sync.emulator.lengths import Lengths, read_lengths
from tests.audiofiles import NOT_UTF_8, decoded_seconds, encoded, noise


def mp3(*, pipe: bool = False) -> bytes:
    return encoded("mp3", "libmp3lame", rate=24_000, pipe=pipe)


FILES: dict[str, Callable[[], bytes]] = {
    "MP3": mp3,
    "MP3 of VBR from a pipe": lambda: mp3(pipe=True),
    "MP3s joined": lambda: mp3() + mp3(),
    "half an MP3": lambda: mp3()[5000:],
    "ADTS": lambda: encoded("adts", "aac"),
    "Opus chained": lambda: encoded("ogg", "libopus", rate=48_000) * 2,
    "Vorbis": lambda: encoded("ogg", "vorbis", channels=2),
    "FLAC": lambda: encoded("flac", "flac"),
    "M4A": lambda: encoded("ipod", "aac"),
    "WebM": lambda: encoded("webm", "libopus", rate=48_000, pipe=True),
    "AVI": lambda: encoded("avi", "libmp3lame"),
    "MP3 in WAV": lambda: encoded("wav", "libmp3lame"),
}


@pytest.mark.parametrize("name", FILES)
def test_audio_is_as_long_as_a_decoder_makes_it(name: str) -> None:
    content = FILES[name]()
    found = read_lengths(content)
    assert found.audio is not None
    assert float(found.audio) == pytest.approx(decoded_seconds(content))
    assert found.video is None


def test_a_video_has_two_lengths() -> None:
    found = read_lengths(encoded("mp4", "aac", 2.0, video=True))
    assert found.video == 2
    assert found.audio == found.longest == pytest.approx(2, abs=0.07)


@pytest.mark.parametrize(
    "content",
    [b"", b"text", noise(1000), b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", b"fLaC" + bytes(50), b"\xff\xf3\xa4"],
    ids=["nothing", "text", "noise", "a playlist", "a FLAC of nothing", "the beginning of a frame"],
)
def test_what_cannot_be_decoded_is_of_unknown_length(content: bytes) -> None:
    assert read_lengths(content) == Lengths()
    assert read_lengths(content).longest is None


def test_without_pyav_lengths_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    data = mp3()  # made with PyAV
    monkeypatch.setitem(sys.modules, "av", None)
    assert read_lengths(data) == Lengths()


def test_tags_that_are_not_utf_8_do_not_matter() -> None:
    assert read_lengths(NOT_UTF_8 + mp3()) == read_lengths(mp3()) != Lengths()


def test_decoding_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lengths, "_MAX_SECONDS", 1)
    assert read_lengths(mp3()).audio == pytest.approx(1, abs=0.03)
    monkeypatch.setattr(lengths, "_MAX_PACKETS", 10)
    assert read_lengths(mp3()).audio == pytest.approx(0.2, abs=0.1)


@pytest.mark.parametrize("name", FILES)
def test_changed_bytes_never_fail(name: str) -> None:
    changes = random.Random(name)
    for _ in range(5):
        content = bytearray(FILES[name]())
        for _ in range(20):
            content[changes.randrange(len(content))] = changes.randrange(256)
        found = read_lengths(bytes(content))
        assert found.audio is None or found.audio > 0
