"""Lengths of audio against what a decoder makes of it: right, or unknown, and never a failure."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from types import FrameType

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hume_sync import HumeStreamClient, ProsodyConfig
from hume_sync.emulator import Emulator
from hume_sync.stream import duration
from hume_sync.stream.duration import Length, audio_duration, measure
from tests.audiofiles import NOT_UTF_8, chunk, decoded_seconds, encoded, fmt, noise, riff
from tests.emulator.support import tone, wav

WHOLE = wav(tone(1.5))

FRAGMENTS = (("movflags", "frag_keyframe+empty_moov"),)


def mp3(*, rate: int = 24_000, pipe: bool = False) -> bytes:
    return encoded("mp3", "libmp3lame", rate=rate, pipe=pipe)


def opus(container: str = "ogg", *, pipe: bool = False, gap: float = 0.0) -> bytes:
    return encoded(container, "libopus", rate=48_000, pipe=pipe, gap=gap)


def vorbis() -> bytes:
    return encoded("ogg", "vorbis", channels=2)


def flac() -> bytes:
    return encoded("flac", "flac")


def part(data: bytes, begin: float, end: float) -> bytes:
    return data[int(len(data) * begin) : int(len(data) * end)]


KNOWN: dict[str, Callable[[], bytes]] = {
    "MP3": mp3,
    "MP3 of VBR from a pipe, which names no length": lambda: mp3(pipe=True),
    "MP3, 8 kHz": lambda: mp3(rate=8000),
    "MP3 with a tag in front": lambda: b"ID3\x04\x00\x00\x00\x00\x0f\x00" + bytes(15 * 128) + mp3(),
    "MP3s joined": lambda: mp3() + mp3() + mp3(),
    "MP3s of two rates joined": lambda: mp3() + mp3(rate=44_100),
    "MP3, its first half": lambda: part(mp3(), 0, 0.5),
    "MP3, its second half": lambda: part(mp3(), 0.5, 1),
    "MP3, of its middle": lambda: part(mp3(pipe=True), 0.3, 0.8),
    "MP2": lambda: encoded("mp2", "mp2"),
    "ADTS": lambda: encoded("adts", "aac"),
    "ADTS, its second half": lambda: part(encoded("adts", "aac"), 0.5, 1),
    "Opus": opus,
    "Opus chained": lambda: opus() + opus(),
    "Opus cut off": lambda: part(opus(), 0, 0.6),
    "Vorbis": vorbis,
    "Vorbis chained": lambda: vorbis() + vorbis(),
    "FLAC in Ogg": lambda: encoded("ogg", "flac"),
    "FLAC": flac,
    "FLAC from a pipe": lambda: encoded("flac", "flac", pipe=True),
    "FLAC, its first half": lambda: part(flac(), 0, 0.5),
    "M4A": lambda: encoded("ipod", "aac"),
    "M4A, 8 kHz": lambda: encoded("ipod", "aac", rate=8000),
    "M4A of lossless audio": lambda: encoded("ipod", "alac"),
    "M4A in fragments": lambda: encoded("mp4", "aac", pipe=True, options=FRAGMENTS),
    "MP4 with a video": lambda: encoded("mp4", "aac", video=True),
    "WebM": lambda: opus("webm"),
    "WebM from a browser, which names no length": lambda: opus("webm", pipe=True),
    "WebM from a browser, cut off": lambda: part(opus("webm", pipe=True), 0, 0.5),
    "Matroska": lambda: encoded("matroska", "aac"),
    "AIFF": lambda: encoded("aiff", "pcm_s16be"),
    "CAF": lambda: encoded("caf", "pcm_s24le"),
    "AU": lambda: encoded("au", "pcm_mulaw"),
    "AU from a pipe": lambda: encoded("au", "pcm_s16be", pipe=True),
    "W64": lambda: encoded("w64", "pcm_s16le"),
    "WMA": lambda: encoded("asf", "wmav2", rate=44_100, channels=2),
    "WavPack": lambda: encoded("wv", "wavpack"),
    "AC-3": lambda: encoded("ac3", "ac3", rate=48_000),
    "MPEG-TS": lambda: encoded("mpegts", "aac"),
    "MP3 in WAV": lambda: encoded("wav", "libmp3lame"),
    "WAV": lambda: WHOLE,
}

UNKNOWN: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "text": lambda: b"hello",
    "noise": lambda: noise(100_000),
    "a playlist that names another file": lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n",
    "M4A cut off behind its head": lambda: part(encoded("mp4", "aac", options=(("moov_size", "4000"),)), 0, 0.5),
    "WebM cut off behind its head": lambda: part(opus("webm"), 0, 0.5),
    "AIFF cut off": lambda: part(encoded("aiff", "pcm_s16be"), 0, 0.5),
    "AU cut off": lambda: part(encoded("au", "pcm_s16be"), 0, 0.5),
    "WebM with a gap": lambda: opus("webm", gap=1.0),
    "MP4 with a gap": lambda: encoded("mp4", "aac", gap=1.0),
    "Ogg chained of two rates": lambda: encoded("ogg", "flac") + encoded("ogg", "flac", rate=44_100),
    "ADTS of two rates joined": lambda: encoded("adts", "aac") + encoded("adts", "aac", rate=44_100),
    "FLACs of two rates joined": lambda: flac() + encoded("flac", "flac", rate=44_100),
    "WebMs joined": lambda: opus("webm", pipe=True) * 2,
    "Ogg chained of two codecs": lambda: opus() + encoded("ogg", "flac", rate=48_000),
    "WAV with samples twice": lambda: riff(chunk(b"fmt ", fmt()), chunk(b"data", noise(99)), chunk(b"data", noise(99))),
    "WAV cut in its head": lambda: WHOLE[:30],
    "Ogg cut in its head": lambda: opus()[:80],
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known_is_what_a_decoder_makes_of_it(name: str) -> None:
    media = KNOWN[name]()
    decoded = decoded_seconds(media)
    assert decoded > 0.3
    for form in (bytes, bytearray, memoryview):
        seconds = audio_duration(form(media))
        assert seconds is not None
        # Of audio cut in the middle of a frame, the length of that frame is not defined.
        assert float(seconds) == pytest.approx(decoded, abs=0.1)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_the_bytes_do_not_confirm_is_unknown(name: str) -> None:
    assert audio_duration(UNKNOWN[name]()) is None


def test_of_several_audio_tracks_none_is_the_one() -> None:
    file = io.BytesIO()
    with av.open(io.BytesIO(encoded("au", "pcm_s16be")), "r") as source, av.open(file, "w", "matroska") as output:
        tracks = [output.add_stream("pcm_s16le", rate=16_000, layout="mono") for _ in range(2)]
        for frame in source.decode(audio=0):
            for track in tracks:
                output.mux(track.encode(frame))
    assert audio_duration(file.getvalue()) is None


def test_wav_is_exact_and_other_audio_is_not() -> None:
    assert measure(WHOLE) == Length(Fraction(3, 2), exact=True)
    assert measure(flac()) == Length(Fraction(4), exact=False)


def test_without_pyav_lengths_but_those_of_wav_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    data = mp3()  # made with PyAV
    monkeypatch.setitem(sys.modules, "av", None)
    assert audio_duration(data) is None
    assert audio_duration(WHOLE) == Fraction(3, 2)


def test_pyav_is_imported_for_the_first_audio_that_is_not_wav() -> None:
    code = (
        "import sys; from hume_sync.stream.duration import audio_duration;"
        "from tests.emulator.support import tone, wav;"
        "assert audio_duration(wav(tone(1))) == 1;"
        "assert 'av' not in sys.modules;"
        "assert audio_duration(b'fLaC') is None;"
        "assert 'av' in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_parser_that_complains_says_nothing(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for media in (part(mp3(), 0.5, 1), part(encoded("adts", "aac"), 0.3, 0.9), opus()[:80], flac() + flac()):
        audio_duration(media)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@pytest.mark.parametrize("limit", ["_MAX_PACKETS", "_MAX_READ"])
def test_what_lies_beyond_a_limit_makes_the_length_unknown(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert audio_duration(mp3())
    monkeypatch.setattr(duration, limit, 100)
    assert audio_duration(mp3()) is None


@pytest.mark.parametrize(
    "media",
    [lambda: b"\xff\xf1\x60\x40\x01\x1f\xfc" * 2**22, lambda: (b"\xff\xfb\x90\x00" + bytes(413)) * 2**16,
     lambda: b"OggS" * 2**22, lambda: b"\xff" * 2**24, lambda: bytes(2**24), lambda: mp3(pipe=True) + noise(2**24)],
    ids=["frames of 7 bytes", "27 MB of frames", "page heads", "ones", "zeros", "noise behind MP3"],
)  # fmt: skip
def test_many_bytes_do_not_hang(media: Callable[[], bytes]) -> None:
    made = media()
    began = time.monotonic()
    audio_duration(made)
    assert time.monotonic() - began < 5


@settings(max_examples=200)
@given(name=st.sampled_from(list(KNOWN)), keep=st.integers(0, 300), behind=st.binary(max_size=400))
def test_random_bytes_behind_any_head_never_fail(name: str, keep: int, behind: bytes) -> None:
    seconds = audio_duration(KNOWN[name]()[:keep] + behind)
    assert seconds is None or (isinstance(seconds, Fraction) and seconds >= 0)


@pytest.mark.parametrize("name", KNOWN)
def test_changed_bytes_in_any_file_never_fail(name: str) -> None:
    changes = random.Random(name)
    media = KNOWN[name]()
    for _ in range(15):
        hostile = bytearray(media)
        for _ in range(changes.choice([1, 5, 50])):
            hostile[changes.randrange(min(changes.choice([64, 1000, 2**20]), len(hostile)))] = changes.randrange(256)
        seconds = audio_duration(hostile)
        assert seconds is None or seconds >= 0


class TooLate(Exception):
    """What a time limit raises."""


@pytest.mark.parametrize("error", [TooLate("too late"), TooLate(), TimeoutError("too late"), ValueError("too late")])
def test_what_a_signal_handler_raises_while_packets_are_counted_comes_out(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = duration._BoundedReader.read

    def interrupted(self: duration._BoundedReader, size: int) -> bytes:
        os.kill(os.getpid(), signal.SIGALRM)
        return read(self, size)

    def handler(number: int, frame: FrameType | None) -> None:
        raise error

    monkeypatch.setattr(duration._BoundedReader, "read", interrupted)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(type(error)) as caught:
            audio_duration(mp3())
        assert caught.value is error
    finally:
        signal.signal(signal.SIGALRM, before)


def test_times_of_audio_of_unknown_length_are_left_as_received_and_a_lost_window_is_cold_or_whole() -> None:
    unknown = UNKNOWN["WebM cut off behind its head"]()
    with Emulator() as server, HumeStreamClient("k", base_url=server.url).connect([ProsodyConfig()]) as socket:
        socket.send_media(WHOLE)
        socket.send_media(unknown)
        assert socket.send_media(WHOLE).clock_offset is None
        assert len(socket.window.items) == 3
        server.drop_connections()
        reply = socket.send_media(WHOLE)
        assert (reply.window_state, reply.clock_offset) == ("rebuilt", None)
        assert len(server.journal.requests) == 7  # all three again, and this one


def test_tags_that_are_not_utf_8_do_not_matter() -> None:
    data = encoded("mp3", "libmp3lame", 1.0)
    assert audio_duration(NOT_UTF_8 + data) == audio_duration(data) is not None
