from __future__ import annotations

import io
import json
import os
import pickle
import sys
import tracemalloc
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hume_sync import (
    BurstConfig,
    ConfigurationError,
    FaceConfig,
    FacemeshConfig,
    HumeStreamClient,
    InputError,
    LanguageConfig,
    ModelConfigBase,
    NerConfig,
    ProsodyConfig,
)
from hume_sync.batch.folders import files
from hume_sync.batch.item import Item
from hume_sync.batch.merge import merge
from hume_sync.batch.parts import Part
from hume_sync.batch.reader import ItemReader
from hume_sync.stream.landmarks import serialize_landmarks
from hume_sync.stream.wav import Wav

from ..audiofiles import chunk, decoded_seconds, encoded, fmt, noise, riff
from ..stream.support import DATA, FACE, SPEECH, landmarks
from .test_payloads_pictures import picture

MESH = (DATA / "facemesh.json").read_bytes()
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"
AUDIO: list[ModelConfigBase] = [ProsodyConfig(), BurstConfig()]
ALL: list[ModelConfigBase] = [*AUDIO, FaceConfig(), LanguageConfig(), FacemeshConfig()]


def wav(seconds: float, *, rate: int = 16_000, channels: int = 1) -> bytes:
    return riff(
        chunk(b"fmt ", fmt(channels=channels, rate=rate)), chunk(b"data", noise(round(seconds * rate) * 2 * channels))
    )


def item(folder: Path, name: str, data: bytes) -> Item:
    (folder / name).write_bytes(data)
    return Item.of(name, folder / name)


def parts_of(given: Item, configs: list[ModelConfigBase] | None = None, **options: Any) -> list[Part]:
    with ItemReader(configs, **options).open(given) as opened:
        return list(opened.parts())


def models(part: Part) -> list[str] | None:
    return None if part.configs is None else [config.get_model_type().value for config in part.configs]


# --- what a file is, and which models measure it


@pytest.mark.parametrize(
    ("name", "data", "kind", "asked"),
    [
        ("a.wav", wav(2.0), "media", ["prosody", "burst"]),
        ("a.mp3", encoded("mp3", "libmp3lame", 2.0), "media", ["prosody", "burst"]),
        ("a", encoded("webm", "libopus", 2.0, rate=48_000), "media", ["prosody", "burst"]),
        ("a.mp4", encoded("mp4", "aac", 2.0, video=True), "media", ["prosody", "burst", "face"]),
        ("a.mp4", encoded("mp4", "aac", 2.0), "media", ["prosody", "burst"]),
        ("a.jpg", FACE, "media", ["face"]),
        ("a.txt", b"Hello there.\r\n", "text", ["language"]),
        ("a", "Grüße".encode("utf-16"), "text", ["language"]),
        ("a.json", MESH, "landmarks", ["facemesh"]),
        ("a", MESH, "landmarks", ["facemesh"]),
    ],
)
def test_a_file_is_typed_by_its_content_and_gets_the_models_that_fit(
    tmp_path: Path, name: str, data: bytes, kind: str, asked: list[str]
) -> None:
    (part,) = parts_of(item(tmp_path, name, data), ALL)
    assert (part.kind, models(part)) == (kind, asked)
    (by_type,) = parts_of(item(tmp_path, name, data))
    assert sorted(models(by_type) or []) == sorted(asked)
    fitting = [config for config in ALL if config.get_model_type() in asked]
    (alone,) = parts_of(item(tmp_path, name, data), fitting)
    assert models(alone) is None


def test_media_that_is_short_enough_is_sent_as_it_is(tmp_path: Path) -> None:
    for name, data in (
        ("a.mp3", encoded("mp3", "libmp3lame", 4.0, rate=44_100)),
        ("a.webm", encoded("webm", "libopus", 4.0, rate=48_000)),
        ("a.mp4", encoded("mp4", "aac", 4.0, video=True)),
        ("a.jpg", FACE),
    ):
        (part,) = parts_of(item(tmp_path, name, data), ALL)
        assert part.data == data
        assert parts_of(Item.of("key.txt", data), ALL) == [part]  # a key is no name of a file


BROKEN = [
    ("empty.wav", b"", "is empty"),
    ("zeros.wav", bytes(9000), "zeros.wav holds nothing but NUL bytes"),
    ("lfs.wav", LFS, "lfs.wav is a Git LFS pointer, not the file it stands for: run git lfs pull"),
    ("page.mp3", b"<!doctype html><p>404", "page.mp3 holds an HTML page, not audio"),
    ("head.wav", riff(chunk(b"fmt ", fmt()), chunk(b"data", b"", 0xFFFFFFFF)), "is WAV audio without a single sample"),
    ("cut.wav", SPEECH[:30], "cut.wav is damaged"),
    ("cut.mp4", encoded("mp4", "aac", 4.0)[:3000], "cut.mp4 is damaged, or of a format that cannot be read"),
    ("noise.mp3", b"\x80\xff" * 500, "cannot tell what noise.mp3 is: it is of no known media format$"),
    ("noise", b"\x80\xff" * 500, "known media format; as a text, it is not UTF-8"),
    ("photo.jpg", SPEECH, "photo.jpg is WAV audio, although its name is that of an image: rename it"),
    ("clip.wav", FACE, "clip.wav is JPEG image data, although its name is that of audio: rename it"),
    ("notes.txt", encoded("mp3", "libmp3lame", 1.0), "MP3 audio, although its name is that of a text"),
    ("paper", b"%PDF-1.7\n", "paper is a PDF document: no model measures that"),
    ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC image data, which v0 servers are not known to take"),
    ("page", b"<!DOCTYPE html><p>404", "is an HTML page, not prose: to measure it as it stands, pass its text"),
    ("rows.csv", b"id,text\n1,fine", "rows.csv is a table, not prose"),
    ("mesh.json", b"[[[0.1, 0.2", "mesh.json is not JSON"),
    ("error.json", b'{"error": 1}', "is JSON, but not facemesh landmarks"),
    ("blank.txt", b" \n\n", "blank.txt is a blank text"),
    ("latin.txt", "schön".encode("latin-1"), "byte 0xf6 at 3"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "text"), BROKEN, ids=[name for name, _, _ in BROKEN])
def test_a_file_that_cannot_be_measured_says_why(tmp_path: Path, name: str, data: bytes, text: str) -> None:
    with pytest.raises(InputError, match=text):
        parts_of(item(tmp_path, name, data), ALL)


@pytest.mark.parametrize(
    ("data", "configs", "text"),
    [
        (SPEECH, [LanguageConfig(), FaceConfig()],
         r"a is WAV audio, and none of the models asked for \(face, language\) measures that: burst, prosody$"),
        (FACE, [ProsodyConfig()], r"a is JPEG image data, .*\(prosody\) measures that: face$"),
        (b"Hello.", [NerConfig(), FaceConfig()], r"a is a text, .*\(face, ner\) measures that: language$"),
        (MESH, [LanguageConfig()], r"a is facemesh landmarks, .*\(language\) measures that: facemesh$"),
        (encoded("mp4", "aac", 2.0, video=True), [LanguageConfig()], r"a is MP4 video, .*: burst, face, prosody$"),
    ],
)  # fmt: skip
def test_an_item_that_no_model_measures_says_which_would(
    tmp_path: Path, data: bytes, configs: list[ModelConfigBase], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        parts_of(item(tmp_path, "a", data), configs)


def test_a_servers_own_model_may_measure_any_media(tmp_path: Path) -> None:
    class Own(ModelConfigBase):
        @classmethod
        def get_model_type(cls) -> Any:
            return "posture"

    assert len(parts_of(item(tmp_path, "a", FACE), [Own()])) == 1
    with pytest.raises(InputError, match=r"none of the models asked for \(posture\)"):
        parts_of(Item.of("t", "Hello."), [Own()])


def test_files_and_folders_that_cannot_be_opened_raise_what_the_system_says(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        parts_of(Item.of("a", tmp_path / "none"))
    with pytest.raises(IsADirectoryError):
        parts_of(Item.of("a", tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is no regular file"):
        parts_of(Item.of("a", tmp_path / "pipe"))
    refused = PermissionError(13, "Permission denied", "x")
    with pytest.raises(PermissionError) as caught:
        parts_of(Item("a", "rejected", refused))
    assert caught.value is refused


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_must_not_be_read_raises_what_the_system_says(tmp_path: Path) -> None:
    given = item(tmp_path, "a.wav", SPEECH)
    (tmp_path / "a.wav").chmod(0)
    with pytest.raises(PermissionError):
        parts_of(given)


@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        ("text", 5, "the text of k must be a str, got 5"),
        ("text", " ", "k is a blank text"),
        ("media", b"", "k is empty"),
        ("landmarks", [[[1, 2]]], "exactly 478"),
    ],
)
def test_other_items_that_cannot_be_measured_say_why(kind: Any, content: object, text: str) -> None:
    with pytest.raises(InputError, match=text):
        parts_of(Item("k", kind, content))


def test_options_are_checked() -> None:
    for name in ("split", "scale_images"):
        options: dict[str, Any] = {name: 1}
        with pytest.raises(InputError, match=f"{name} must be True or False, got 1"):
            ItemReader(**options)
    with pytest.raises(InputError, match="configs must be a list"):
        ItemReader(ProsodyConfig())
    reader = ItemReader([ProsodyConfig()], split=False)
    assert pickle.loads(pickle.dumps(reader)) == reader


# --- hashes


def test_the_hash_is_that_of_the_content_however_it_is_given(tmp_path: Path) -> None:
    def hash_of(given: Item) -> str:
        with ItemReader().open(given) as opened:
            return opened.hash

    def expected(data: bytes) -> str:
        return blake2b(data, digest_size=16).hexdigest()

    large = SPEECH + bytes(3 * 2**20)
    assert hash_of(item(tmp_path, "a", large)) == hash_of(Item.of("b", large)) == expected(large)
    assert hash_of(Item.of("t", "Grüße")) == expected("Grüße".encode())
    assert len(hash_of(Item.of("t", "\ud800"))) == 32
    mesh = landmarks()
    assert hash_of(Item.of("l", mesh)) == hash_of(Item.of("l", np.array(mesh))) == expected(serialize_landmarks(mesh))
    assert hash_of(item(tmp_path, "damaged", b"\x80\xff")) == expected(
        b"\x80\xff"
    )  # known though it cannot be measured


# --- long audio


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2)])
def test_wav_is_cut_into_parts_of_five_seconds(tmp_path: Path, rate: int, channels: int) -> None:
    data = wav(12.3, rate=rate, channels=channels)
    found = parts_of(item(tmp_path, "a.wav", data), AUDIO)
    assert [part.seconds for part in found] == pytest.approx([5.0, 5.0, 2.3])
    whole = Wav.parse(data)
    assert whole
    cut = [Wav.parse(part.data) for part in found]
    assert b"".join(bytes(each.samples) for each in cut if each) == bytes(whole.samples)
    assert parts_of(Item.of("a", data), AUDIO) == found


@pytest.mark.parametrize(
    ("container", "codec", "rate", "channels", "video"),
    [
        ("mp3", "libmp3lame", 44_100, 2, False),
        ("mp3", "libmp3lame", 16_000, 1, False),
        ("flac", "flac", 16_000, 1, False),
        ("ogg", "libopus", 48_000, 1, False),
        ("webm", "libopus", 48_000, 2, True),
        ("ipod", "aac", 16_000, 1, False),
        ("mp4", "aac", 44_100, 2, True),
        ("mov", "pcm_s16le", 16_000, 1, True),
        ("avi", "libmp3lame", 16_000, 1, True),
        ("asf", "wmav2", 16_000, 1, False),
        ("wav", "libmp3lame", 16_000, 1, False),
    ],
)
def test_long_sound_of_other_formats_is_decoded_into_wav(
    tmp_path: Path, container: str, codec: str, rate: int, channels: int, video: bool
) -> None:
    data = encoded(container, codec, 7.0, rate=rate, channels=channels, video=video and container != "webm")
    found = parts_of(item(tmp_path, "a", data), AUDIO)
    cut = [Wav.parse(part.data) for part in found]
    assert all(
        each and (each.sample_rate, each.format.channels, each.format.tag) == (rate, channels, 1) for each in cut
    )
    assert [each.seconds for each in cut if each] == [part.seconds for part in found]
    assert found[0].seconds == 5.0
    assert sum(part.seconds or 0 for part in found) == pytest.approx(decoded_seconds(data), abs=0.1)


def test_decoded_parts_are_the_samples_of_the_file(tmp_path: Path) -> None:
    """FLAC has no loss, so its parts are those of the WAV that it was made of."""
    flac, pcm = encoded("flac", "flac", 7.0), encoded("wav", "pcm_s16le", 7.0)
    assert [part.data for part in parts_of(item(tmp_path, "a", flac), AUDIO)] == [
        part.data for part in parts_of(item(tmp_path, "b", pcm), AUDIO)
    ]


@pytest.mark.parametrize(("container", "codec"), [("aiff", "pcm_s16be"), ("caf", "pcm_s16be"), ("asf", "wmav2")])
def test_a_format_that_servers_are_not_known_to_take_is_decoded_though_it_is_short(
    tmp_path: Path, container: str, codec: str
) -> None:
    (part,) = parts_of(item(tmp_path, "a", encoded(container, codec, 2.0)), AUDIO)
    assert part.seconds == pytest.approx(2.0, abs=0.1)
    assert part.data[:4] == b"RIFF"


@pytest.mark.parametrize("seconds", [2.0, 7.0])
def test_a_container_whose_tracks_its_head_does_not_tell_is_looked_into(tmp_path: Path, seconds: float) -> None:
    found = parts_of(item(tmp_path, "a.ts", encoded("mpegts", "aac", seconds)), ALL)
    assert [models(part) for part in found] == [["prosody", "burst"]] * len(found)
    assert sum(part.seconds or 0 for part in found) == pytest.approx(seconds, abs=0.2)


def test_a_large_file_is_typed_by_its_head(tmp_path: Path) -> None:
    """The index of an MP4 is at its end, behind what is read of a large one."""
    data = encoded("mp4", "aac", 7.0)
    place = data.index(b"mdat") - 4
    padding = (9 * 2**20).to_bytes(4, "big") + b"free" + bytes(9 * 2**20 - 8)
    index = data.index(b"moov") - 4
    given = item(tmp_path, "a.m4a", data[:index] + padding + data[index:])
    assert sum(part.seconds or 0 for part in parts_of(given, AUDIO)) == pytest.approx(7.0, abs=0.2)
    with pytest.raises(InputError, match=r"b.m4a is damaged, or of a format that cannot be read"):
        parts_of(item(tmp_path, "b.m4a", data[:place] + padding), AUDIO)
    video = encoded("mp4", "aac", 2.0, video=True)
    index = video.index(b"moov") - 4
    (part,) = parts_of(item(tmp_path, "c.mp4", video[:index] + padding + video[index:]), ALL)
    assert models(part) == ["prosody", "burst", "face"]
    with pytest.raises(InputError, match=r"d.m4a is MP4 video, although its name is that of audio"):
        parts_of(item(tmp_path, "d.m4a", video[:index] + padding + video[index:]), ALL)


def test_missing_sound_becomes_silence_so_that_times_are_those_of_the_media(tmp_path: Path) -> None:
    data = encoded("matroska", "pcm_s16le", 7.0, gap=3.0)
    found = parts_of(item(tmp_path, "a", data), AUDIO)
    assert sum(part.seconds or 0 for part in found) == pytest.approx(10.0, abs=0.1)
    samples = np.concatenate([np.frombuffer(part.data[44:], "<i2") for part in found])
    silent = np.flatnonzero(samples[16_000:] == 0)
    assert len(silent) > 2.9 * 16_000
    assert not samples[5 * 16_000 : 6 * 16_000].any()


def test_time_stamps_that_make_no_sense_are_not_followed(tmp_path: Path) -> None:
    data = encoded("matroska", "pcm_s16le", 7.0, gap=3000.0)
    found = parts_of(item(tmp_path, "a", data), AUDIO)
    assert sum(part.seconds or 0 for part in found) == pytest.approx(7.0, abs=0.1)


def test_links_of_a_chain_with_another_rate_are_put_at_the_rate_of_the_first(tmp_path: Path) -> None:
    data = encoded("ogg", "flac", 4.0) + encoded("ogg", "flac", 4.0, rate=8_000)
    found = parts_of(item(tmp_path, "a", data), AUDIO)
    assert sum(part.seconds or 0 for part in found) == pytest.approx(8.0, abs=0.1)


def test_damage_in_the_middle_is_left_out_and_damage_everywhere_is_reported(tmp_path: Path) -> None:
    data = bytearray(encoded("flac", "flac", 12.0))
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    found = parts_of(item(tmp_path, "a.flac", bytes(data)), AUDIO)
    assert 10 < sum(part.seconds or 0 for part in found) < 12.1
    broken = encoded("mp4", "aac", 12.0)
    place = broken.index(b"mdat") + 4
    broken = broken[:place] + bytes(len(broken) - place - 9000) + broken[-9000:]
    with pytest.raises(InputError, match=r"a.m4a is damaged: most of its sound cannot be decoded \(.+\)"):
        parts_of(item(tmp_path, "a.m4a", broken), AUDIO)


def test_an_audio_file_of_any_size_is_held_in_part_only(tmp_path: Path) -> None:
    second = encoded("mp3", "libmp3lame", 30.0, rate=16_000)
    given = item(tmp_path, "a.mp3", second * 100)  # fifty minutes
    assert (tmp_path / "a.mp3").stat().st_size > 8 * 2**20
    with ItemReader(AUDIO).open(given) as opened:
        tracemalloc.start()
        seconds = sum(part.seconds or 0 for part, _ in zip(opened.parts(), range(5), strict=False))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert seconds == 25.0
    assert peak < 4 * 2**20


def test_without_pyav_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mp3, video = encoded("mp3", "libmp3lame", 7.0), encoded("mp4", "aac", 7.0, video=True)
    large = picture(3001, 10)
    monkeypatch.setitem(sys.modules, "av", None)
    for data in (mp3, video, large):
        text = r""" needs hume_sync with the extra "media": .* is not installed; pip install 'hume_sync\[media\]'$"""
        with pytest.raises(ConfigurationError, match=text):
            parts_of(item(tmp_path, "a", data), ALL, scale_images=True)
    for data in (wav(7.0), FACE, b"Hello."):
        assert parts_of(item(tmp_path, "a", data), ALL)


# --- video


def test_the_sound_of_a_long_video_is_measured_by_the_audio_models(tmp_path: Path) -> None:
    given = item(tmp_path, "a.mp4", encoded("mp4", "aac", 7.0, video=True))
    assert [part.seconds for part in parts_of(given, AUDIO)] == [5.0, pytest.approx(2.0, abs=0.1)]
    faces: list[ModelConfigBase] = [FaceConfig()]
    for configs in (faces, faces + AUDIO, None):
        with pytest.raises(
            InputError, match=r"a.mp4 is a video of 7.\d s; servers take 5 s of video, .* leave out the"
        ):
            parts_of(given, configs)


def test_a_video_without_sound_is_one_for_the_face_model_only(tmp_path: Path) -> None:
    silent = io.BytesIO()
    import av

    with av.open(silent, "w", "mp4") as output:
        track: Any = output.add_stream("mpeg4", rate=10, width=64, height=48, pix_fmt="yuv420p")
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.zeros((72, 64), np.uint8), "yuv420p")
            frame.pts = number
            output.mux(track.encode(frame))
        output.mux(track.encode(None))
    given = item(tmp_path, "a.mp4", silent.getvalue())
    (part,) = parts_of(given, ALL)
    assert models(part) == ["face"]
    assert len(parts_of(given)) == 1
    with pytest.raises(InputError, match="a.mp4 is MP4 video without sound, and none of the models asked for"):
        parts_of(given, AUDIO)


def test_a_video_in_a_format_that_servers_do_not_take_is_refused_for_its_pictures(tmp_path: Path) -> None:
    given = item(tmp_path, "a.wmv", encoded("asf", "wmav2", 2.0, video=True))
    assert parts_of(given, AUDIO)[0].data[:4] == b"RIFF"
    with pytest.raises(InputError, match="a.wmv is Windows Media video, which v0 servers .*: convert it to MP4"):
        parts_of(given, ALL)


# --- images


def test_an_image_that_is_too_large_is_scaled_only_when_asked(tmp_path: Path) -> None:
    given = item(tmp_path, "a.jpg", picture(3001, 30))
    with pytest.raises(
        InputError, match="a.jpg has 3001 x 30 pixels; servers take 3000 x 3000: pass scale_images=True"
    ):
        parts_of(given, ALL)
    (part,) = parts_of(given, ALL, scale_images=True)
    assert part.data != given.content.read_bytes()
    assert part.data[:3] == b"\xff\xd8\xff"
    small = item(tmp_path, "b.jpg", FACE)
    assert parts_of(small, ALL, scale_images=True)[0].data == FACE


# --- texts


def test_a_long_text_is_cut_between_sentences_with_their_offsets(tmp_path: Path) -> None:
    text = "All is well here. " * 1500
    found = parts_of(Item.of("t", text), [LanguageConfig()])
    assert "".join(part.data for part in found) == text
    assert [part.offset_chars for part in found] == [0, 9990, 19980]
    assert all(part.data.startswith("All") and len(part.data) <= 10_000 for part in found)
    assert parts_of(item(tmp_path, "t.txt", text.encode()), [LanguageConfig()]) == found


def test_a_passage_of_nothing_but_blanks_is_left_out() -> None:
    text = "One." + " " * 25_000 + "Two."
    found = parts_of(Item.of("t", text), [LanguageConfig()])
    assert [part.data.strip() for part in found] == ["One.", "Two."]
    assert found[1].offset_chars == len(text) - len(found[1].data)


# --- sizes


def test_what_is_not_split_is_sent_whole(tmp_path: Path) -> None:
    text = "All is well. " * 2000
    for name, data in (
        ("a.wav", wav(7.0)),
        ("a.mp3", encoded("mp3", "libmp3lame", 7.0)),
        ("a.mp4", encoded("mp4", "aac", 7.0, video=True)),
        ("a.jpg", picture(3001, 30)),
    ):
        (part,) = parts_of(item(tmp_path, name, data), ALL, split=False)
        assert part.data == data
    (part,) = parts_of(Item.of("t", text), ALL, split=False)
    assert part.data == text


@pytest.mark.parametrize(
    ("head", "options", "text"),
    [
        (b"", {}, "cannot tell what a is: it begins with NUL bytes, and too large for a text"),
        (b"Hello", {}, "cannot tell what a is: it is of no known media format, and too large for a text"),
        (FACE, {}, r"a holds \d+ bytes; a request may have 67108864"),
        (SPEECH, {"split": False}, r"a holds \d+ bytes; a request may have 67108864"),
    ],
)
def test_a_huge_file_that_cannot_be_split_is_refused(
    tmp_path: Path, head: bytes, options: dict[str, Any], text: str
) -> None:
    given = item(tmp_path, "a", head)
    os.truncate(tmp_path / "a", 2**26 + 1)  # sparse
    with pytest.raises(InputError, match=text):
        parts_of(given, ALL, **options)


# --- against the local server


def by_hand(client: HumeStreamClient, configs: list[ModelConfigBase], data: bytes) -> list[Any]:
    """Stream a WAV file as a caller would without this package."""
    whole = Wav.parse(data)
    assert whole
    with client.connect(configs) as socket:
        return [socket.send_media(piece) for piece in whole.cut(5.0)]


def test_parts_of_a_long_file_are_measured_as_the_same_audio_streamed_by_hand(
    tmp_path: Path, hume_client: HumeStreamClient
) -> None:
    data = wav(60.0)
    alone = by_hand(hume_client, AUDIO, data)
    found = parts_of(item(tmp_path, "a.wav", data), AUDIO)
    assert len(found) == 12
    with hume_client.connect(AUDIO) as socket:
        replies = [part.send(socket, timeout=10.0) for part in found]
    merged = merge(replies, found)
    for model in ("prosody", "burst"):
        expected = [prediction for reply in alone for prediction in reply[model]["predictions"]]
        assert merged[model]["predictions"] == expected
    ends = [prediction["time"]["end"] for prediction in merged["prosody"]["predictions"]]
    assert ends == [5.0 * number for number in range(1, 13)]
    assert (merged.emulated, merged.attempts, merged.window_state) == (True, 1, "warm")


def test_times_run_on_over_decoded_parts_too(tmp_path: Path, hume_client: HumeStreamClient) -> None:
    flac, pcm = encoded("flac", "flac", 12.0), encoded("wav", "pcm_s16le", 12.0)
    found = parts_of(item(tmp_path, "a.flac", flac), AUDIO)
    with hume_client.connect(AUDIO) as socket:
        merged = merge([part.send(socket) for part in found], found)
    expected = by_hand(hume_client, AUDIO, pcm)
    for model in ("prosody", "burst"):
        assert merged[model]["predictions"] == [each for reply in expected for each in reply[model]["predictions"]]


def test_words_of_a_long_text_have_their_places_in_the_whole_text(hume_client: HumeStreamClient) -> None:
    text = "".join(f"This is sentence number {number}, and it ends. " for number in range(600))
    configs: list[ModelConfigBase] = [LanguageConfig(granularity="sentence"), ProsodyConfig()]
    found = parts_of(Item.of("t", text), configs)
    assert len(found) > 1
    with hume_client.connect(configs) as socket:
        merged = merge([part.send(socket) for part in found], found)
    predictions = merged["language"]["predictions"]
    assert len(predictions) == 600
    for prediction in predictions:
        place = prediction["position"]
        assert text[place["begin"] : place["end"]] == prediction["text"]


def test_a_mixed_folder_is_measured_as_each_file_by_itself(tmp_path: Path, hume_client: HumeStreamClient) -> None:
    short = wav(2.0)
    contents: dict[str, bytes] = {"a.wav": short, "b.jpg": FACE, "c.txt": b"Hello there.", "d.json": MESH}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    replies = {}
    for given in files(tmp_path):
        found = parts_of(given, ALL)
        with hume_client.connect(ALL) as socket:
            replies[given.key] = merge([part.send(socket) for part in found], found)
    with hume_client.connect(AUDIO) as socket:
        assert replies["a.wav"]["prosody"] == socket.send_media(short)["prosody"]
    with hume_client.connect([FaceConfig()]) as socket:
        assert replies["b.jpg"]["face"] == socket.send_media(FACE)["face"]
    with hume_client.connect([LanguageConfig()]) as socket:
        assert replies["c.txt"]["language"] == socket.send_text("Hello there.")["language"]
    with hume_client.connect([FacemeshConfig()]) as socket:
        assert replies["d.json"]["facemesh"] == socket.send_facemesh(json.loads(MESH))["facemesh"]
