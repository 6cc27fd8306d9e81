from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import pytest

from hume_sync import (
    BurstConfig,
    FaceConfig,
    FacemeshConfig,
    InputError,
    LanguageConfig,
    ModelConfigBase,
    ProsodyConfig,
)
from hume_sync.cli.inputs import MODELS, PAYLOAD_LIMIT, Configs, Payload, file_input, piped_input, text_input
from hume_sync.stream.wav import Wav

from .audiofiles import chunk, encoded, fmt, riff
from .stream.support import DATA, FACE, SPEECH

MESH = (DATA / "facemesh.json").read_bytes()
AUDIO: list[type[ModelConfigBase]] = [ProsodyConfig, BurstConfig]
VIDEO = [FaceConfig, *AUDIO]


def payloads(name: str, data: bytes, configs: Configs | None = None) -> list[Payload]:
    """Return the payloads of a pipe with that name."""
    found = list(piped_input(io.BytesIO(data), name, configs).payloads())
    for payload in found:
        payload.check()
    return found


def kinds(name: str, data: bytes) -> list[type[ModelConfigBase]]:
    return [type(config) for config in payloads(name, data)[0].configs]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("face.jpg", FACE, [FaceConfig]),
        ("face.png", FACE, [FaceConfig]),  # an image all the same
        ("speech.wav", SPEECH, AUDIO),
        ("speech.mp3", SPEECH, AUDIO),
        ("mulaw.wav", riff(chunk(b"fmt ", fmt(7, bits=8)), chunk(b"data", bytes(800))), AUDIO),
        ("mp3.wav", riff(chunk(b"fmt ", fmt(0x55)), chunk(b"data", bytes(800))), AUDIO),
        ("browser.webm", encoded("webm", "libopus", 1.0, rate=48_000), AUDIO),
        ("browser", encoded("webm", "libopus", 1.0, rate=48_000), AUDIO),
        ("samsung.m4a", encoded("3gp", "aac", 1.0), AUDIO),
        ("sound.mp4", encoded("mp4", "aac", 1.0), AUDIO),
        ("talk.mp4", encoded("mp4", "aac", 1.0, video=True), VIDEO),
        ("talk.mkv", encoded("matroska", "libopus", 1.0, video=True), VIDEO),
        ("mesh.json", MESH, [FacemeshConfig]),
        ("mesh", MESH.decode().encode("utf-16"), [FacemeshConfig]),
        ("mesh.txt", b'{"landmarks": ' + MESH + b"}", [FacemeshConfig]),
        ("story.txt", b"[aside] he left", [LanguageConfig]),
        ("story", "Grüße".encode("utf-16"), [LanguageConfig]),
        ("story.log", "Grüße".encode("utf-8-sig"), [LanguageConfig]),
    ],
)
def test_models_are_chosen_by_the_media_type(name: str, data: bytes, expected: list[type[ModelConfigBase]]) -> None:
    assert kinds(name, data) == expected


def silent_video() -> bytes:
    def box(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", len(body) + 8, name) + body

    handler = box(b"hdlr", bytes(8) + b"vide" + bytes(13))
    return box(b"ftyp", b"isom\0\0\0\0") + box(b"moov", box(b"trak", box(b"mdia", handler)))


def test_a_video_without_sound_goes_to_the_face_model_alone() -> None:
    assert kinds("silent.mp4", silent_video()) == [FaceConfig]


REFUSED = [
    ("noise.bin", b"\x80\xff", r"cannot tell what .*noise\.bin is: .*not UTF-8"),
    ("notes.txt", "schön".encode("latin-1"), r"byte 0xf6 at 3\): convert it to UTF-8"),
    ("notes.txt", "hello".encode("utf-16-le"), "without a byte order mark"),
    ("zeros", bytes(9000), "zeros holds nothing but NUL bytes"),
    ("empty.wav", b"", "is empty"),
    (
        "head.wav",
        riff(chunk(b"fmt ", fmt()), chunk(b"data", b"", 0xFFFFFFFF)),
        "head.wav is WAV audio without a single",
    ),
    ("photo.jpg", SPEECH, "photo.jpg is WAV audio, although its name is that of an image"),
    ("photo.jpg", encoded("mp3", "libmp3lame", 1.0), "photo.jpg is MP3 audio, although"),
    ("clip.wav", FACE, "clip.wav is JPEG image data, although its name is that of audio"),
    ("clip.mp3", encoded("mp4", "aac", 1.0, video=True), "clip.mp3 is MP4 video, although its name is that of audio"),
    ("clip.mp4", FACE, "although its name is that of audio or video"),
    ("notes.txt", SPEECH, "notes.txt is WAV audio, although its name is that of a text"),
    ("mesh.json", FACE, "mesh.json is JPEG image data, although its name is that of JSON"),
    ("a.aiff", encoded("aiff", "pcm_s16be", 1.0), "AIFF audio, which v0 servers are not known to take: convert it"),
    ("a.caf", encoded("caf", "pcm_s16be", 1.0), "CAF audio, which v0 servers are not known to take"),
    ("a.wma", encoded("asf", "wmav2", 1.0), "Windows Media audio, which v0 servers are not known to take"),
    ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", r"HEIC image data, .*\(PNG and JPEG are\)"),
    ("a.webp", b"RIFF\x24\0\0\0WEBPVP8 ", "WebP image"),
    ("cut.mp4", b"\0\0\0\x10ftypisom\0\0\0\0" + bytes(99), "MP4 of unknown tracks: name the models"),
    ("paper.pdf", b"%PDF-1.7\n", "is a PDF document: no model measures that"),
    ("mesh.npy", b"\x93NUMPY\x01\0", "is a NumPy array: no model measures that"),
    ("letter.docx", b"PK\x03\x04\x14\0", "is a ZIP archive"),
    ("page", b"<!DOCTYPE html><p>404", "page is an HTML page, not prose"),
    ("error", b'{"error": "not found"}', "error is JSON, but not facemesh landmarks"),
    ("reviews.csv", b"id,text\n1,wonderful", "reviews.csv is a table, not prose"),
    ("mesh", b"0.1 0.2 0.3\n" * 478, "mesh is a table of numbers"),
    ("talk.srt", b"1\n00:00:00,000 --> 00:00:01,000\nHi", "is subtitles"),
    ("mesh.json", b"What a day!", "mesh.json is not JSON"),
    ("mesh.json", b"", "is empty"),
    ("mesh.json", b"[[[0.1, 0.2", "mesh.json is not JSON"),
    ("mesh", b"[[[0.1 0.2 0.3]\n [0.1 0.2 0.3]]]", "mesh is not JSON"),
    ("mesh", b"[" + MESH + b"," + MESH + b"]", "mesh holds the landmarks of 2 frames"),
]


@pytest.mark.parametrize(("name", "data", "text"), REFUSED)
def test_what_no_model_fits_is_refused_by_what_it_is(name: str, data: bytes, text: str) -> None:
    with pytest.raises(InputError, match=text):
        payloads(name, data)


@pytest.mark.parametrize(("name", "data", "text"), [entry for entry in REFUSED if entry[1]])
def test_a_file_is_refused_for_the_same(tmp_path: Path, name: str, data: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=text):
        next(file_input(str(tmp_path / name)).payloads())


@pytest.mark.parametrize(
    ("name", "data", "model"),
    [
        ("noise.bin", b"\x80\xff", "face"),
        ("photo.jpg", SPEECH, "prosody"),
        ("clip.mp3", encoded("mp4", "aac", 1.0, video=True), "prosody"),
        ("a.aiff", encoded("aiff", "pcm_s16be", 1.0), "prosody"),
        ("cut.mp4", b"\0\0\0\x10ftypisom\0\0\0\0" + bytes(99), "burst"),
        ("page", b"<!DOCTYPE html><p>404", "language"),
        ("talk.srt", b"1\n00:00:00,000 --> 00:00:01,000\nHi", "language"),
        ("letter.rtf", b"{\\rtf1 hello}", "language"),
        ("mesh.json", MESH, "language"),
    ],
)
def test_named_models_override_the_detected_type(name: str, data: bytes, model: str) -> None:
    assert payloads(name, data, [MODELS[model]])[0].configs == [MODELS[model]]


@pytest.mark.parametrize(
    ("name", "data", "model"),
    [
        ("zeros.wav", bytes(9000), "prosody"),
        ("pointer.wav", b"version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 1\n" % 0, "prosody"),
        ("page.mp3", b"<!DOCTYPE html><p>404", "prosody"),
        ("page.mp3", b"<!DOCTYPE html><p>404", "language"),
        ("notes.txt", "schön".encode("latin-1"), "language"),
        ("notes.txt", b"What a day!", "facemesh"),
        ("mesh.npy", b"\x93NUMPY\x01\0", "facemesh"),
        ("head.wav", riff(chunk(b"fmt ", fmt()), chunk(b"data", b"", 0xFFFFFFFF)), "prosody"),
    ],
)
def test_named_models_do_not_permit_invalid_media(tmp_path: Path, name: str, data: bytes, model: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=re.escape(name)):
        next(file_input(str(tmp_path / name), [MODELS[model]]).payloads())


class Sent:
    """A sender that records what is sent."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.media: list[bytes] = []

    def send_text(self, text: str, configs: object) -> None:
        self.texts.append(text)

    def send_media(self, data: bytes, configs: object) -> None:
        self.media.append(data)


def sent(found: list[Payload]) -> Sent:
    sender = Sent()
    for payload in found:
        payload.send(sender)  # type: ignore[arg-type]  # it has no replies
    return sender


@pytest.mark.parametrize(
    "data",
    [
        b"What a day!\nOh no.",
        b"What a day!\nOh no.\n",
        b"What a day!\r\nOh no.\r\n",
        b"\xef\xbb\xbfWhat a day!\rOh no.",
        "What a day!\r\nOh no.\r\n".encode("utf-16"),
        "What a day!\nOh no.".encode("utf-32"),
    ],
)
def test_a_text_is_the_same_however_its_file_is_written(data: bytes) -> None:
    assert sent(payloads("letter.txt", data)).texts == ["What a day!\nOh no."]


def test_text_input_is_always_text() -> None:
    (payload,) = text_input("[1]").payloads()
    assert payload.configs == (LanguageConfig(),)
    assert sent([payload]).texts == ["[1]"]


# --- WAV, cut while it is read


def test_speech_is_cut_and_each_part_named_by_its_seconds(tmp_path: Path) -> None:
    (tmp_path / "speech.wav").write_bytes(SPEECH)
    for found in (payloads("speech", SPEECH), list(file_input(str(tmp_path / "speech.wav")).payloads())):
        assert [payload.part for payload in found] == ["0.0-5.0 s", "5.0-10.0 s", "10.0-10.4 s"]
        whole = Wav.parse(SPEECH)
        assert whole
        assert sent(found).media == list(whole.cut(5.0))


class Pipe(io.RawIOBase):
    """An endless WAV file that counts the bytes read."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self.count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._head[self.count : self.count + size]
        data += bytes(max(size, 1) - len(data))
        self.count += len(data)
        return data


def test_a_pipe_is_checked_before_it_is_read_to_its_end_and_nothing_is_read_twice() -> None:
    endless = Pipe(riff(chunk(b"fmt ", fmt()), chunk(b"data", b"", 0xFFFFFFFF)))
    piped = piped_input(endless, "-")  # type: ignore[arg-type]  # only its read methods are used
    next(piped.payloads()).check()
    assert endless.count < 6 * 32_000
    parts = piped.payloads()
    assert [next(parts).part for _ in range(3)] == ["0.0-5.0 s", "5.0-10.0 s", "10.0-15.0 s"]


def test_audio_is_cut_wherever_its_samples_are(tmp_path: Path) -> None:
    form, samples = chunk(b"fmt ", fmt()), chunk(b"data", bytes(16_000 * 2 * 7))
    for data in (
        riff(samples, form),
        b"ID3\3\0\0\0\0\0\1x" + riff(form, samples),
        riff(chunk(b"JUNK", bytes(2**21)), form, samples),
    ):
        (tmp_path / "long.wav").write_bytes(data)
        cut = ["0.0-5.0 s", "5.0-7.0 s"]
        assert [payload.part for payload in file_input(str(tmp_path / "long.wav")).payloads()] == cut
        assert [payload.part for payload in piped_input(io.BytesIO(data), "-").payloads()] == cut


@pytest.mark.parametrize("size", [10, 30, 40])
def test_a_wav_file_that_was_cut_off_in_its_head_is_refused_by_its_name(tmp_path: Path, size: int) -> None:
    path = tmp_path / "short.wav"
    path.write_bytes(riff(chunk(b"fmt ", fmt()), chunk(b"data", bytes(9)))[:size])
    for configs in (None, [ProsodyConfig()]):
        with pytest.raises(InputError, match=r"short\.wav is damaged"):
            list(file_input(str(path), configs).payloads())
        with pytest.raises(InputError, match="standard input is damaged"):
            list(piped_input(io.BytesIO(path.read_bytes()), "standard input", configs).payloads())


def test_only_wav_may_be_larger_than_a_payload(tmp_path: Path) -> None:
    for name, head in (
        ("large.wav", riff(chunk(b"fmt ", fmt()), chunk(b"data", b"", PAYLOAD_LIMIT + 1), size=PAYLOAD_LIMIT + 100)),
        ("large.mp3", b"ID3\x04"),
    ):
        with (tmp_path / name).open("wb") as file:
            file.write(head)
            file.truncate(PAYLOAD_LIMIT + 1000)
    assert next(file_input(str(tmp_path / "large.wav")).payloads()).part == "0.0-5.0 s"
    with pytest.raises(InputError, match=rf"large\.mp3 holds {PAYLOAD_LIMIT + 1000} bytes: only WAV audio is split"):
        next(file_input(str(tmp_path / "large.mp3")).payloads())
