from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from hume_sync.emulator.faults import PayloadError
from hume_sync.emulator.knobs import Knobs
from hume_sync.emulator.payloads import Media, read_media
from tests.audiofiles import encoded

from .support import avi, b64, face, flac, jpeg, mp4, png, tone, wav, webm

SECOND = wav(tone(1))


def _read(data: bytes | str, *models: str, raw_text: bool = False, **knobs: Any) -> Media:
    text = b64(data) if isinstance(data, bytes) else data
    return read_media(text, models, raw_text=raw_text, knobs=Knobs(**knobs))


def _fault(data: bytes | str, *models: str, raw_text: bool = False, **knobs: Any) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        _read(data, *models, raw_text=raw_text, **knobs)
    return caught.value


@pytest.mark.parametrize(
    ("content", "model", "kind"),
    [
        (SECOND, "prosody", "audio"),
        (flac(1), "burst", "audio"),
        (mp4(1, b"soun"), "prosody", "audio"),
        (mp4(1, b"soun", b"vide"), "prosody", "video"),
        (webm(b"V_VP8"), "face", "video"),
        (png(), "face", "image"),
        (jpeg(), "face", "image"),
        (b"Hello there.", "language", "text"),
        (b"[1] is how a list of sources begins", "language", "text"),
        (orjson.dumps([face()]), "facemesh", "facemesh"),
    ],
)
def test_the_kind_is_detected_from_the_content(content: bytes, model: str, kind: str) -> None:
    assert _read(content, model).kind == kind


@pytest.mark.parametrize(
    "data", ["not base64!", "[not a list", "[words] in brackets", "data:audio/wav;base64,AAAA", "abc", "é"]
)
def test_what_is_not_base64_is_refused_with_e0201(data: str) -> None:
    assert _fault(data, "prosody").code == "E0201"


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02\x03", tone(0.1), b"text\x00with a zero"])
def test_what_is_of_no_known_kind_is_refused_with_e0200(content: bytes) -> None:
    fault = _fault(content, "prosody")
    assert (fault.code, fault.text) == ("E0200", "Failed to parse data as a valid media file")


@pytest.mark.parametrize(
    ("content", "models", "model", "kind"),
    [
        (png(), ("prosody",), "prosody", "image"),
        (png(), ("face", "burst"), "burst", "image"),
        (SECOND, ("face",), "face", "audio"),
        (SECOND, ("language",), "language", "audio"),
        (b"Hello", ("prosody",), "prosody", "text"),
        (orjson.dumps([face()]), ("face",), "face", "facemesh"),
        (webm(b"V_VP8"), ("language",), "language", "video"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_the_exact_text_of_e0102(
    content: bytes, models: tuple[str, ...], model: str, kind: str
) -> None:
    fault = _fault(content, *models)
    assert fault.code == "E0102"
    assert fault.text == (
        f"Streaming payload configured with model type '{model}', "
        f"which is not supported for the detected file type '{kind}'."
    )


@pytest.mark.parametrize("content", [wav(b""), webm(b"V_VP8"), avi(1, b"vids")])
def test_media_without_sound_is_refused_for_audio_models_with_e0202(content: bytes) -> None:
    assert _fault(content, "prosody").code == "E0202"


def test_a_payload_of_five_seconds_is_accepted() -> None:
    assert _read(wav(tone(5)), "prosody").seconds == 5


@pytest.mark.parametrize(
    "content", [lambda: wav(tone(5) + tone(0.001)), lambda: encoded("flac", "flac", 5.001)], ids=["wav", "flac"]
)
def test_a_payload_longer_than_five_seconds_is_refused_with_e0203(content: Callable[[], bytes]) -> None:
    fault = _fault(content(), "prosody")
    assert fault.code == "E0203"
    assert "5000 milliseconds" in fault.text
    assert "5001 milliseconds" in fault.text


def test_audio_is_as_long_as_its_samples_and_not_as_its_head_says() -> None:
    joined = encoded("mp3", "libmp3lame", 3.0) * 2
    assert _fault(joined, "prosody").code == "E0203"
    cut = encoded("flac", "flac", 8.0)
    assert _read(cut[: len(cut) // 2], "prosody").kind == "audio"


def test_a_longer_video_is_refused_with_e0204() -> None:
    assert _fault(encoded("mp4", "aac", 5.5, video=True), "face").code == "E0204"


def test_telephone_audio_is_audio() -> None:
    assert _read(wav(tone(1), rate=8000, bits=8, code=7), "prosody").seconds == 4


def test_compressed_audio_in_wav_is_taken_where_it_can_be_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded("wav", "libmp3lame")
    assert _read(content, "prosody").seconds == pytest.approx(4.1, abs=0.01)
    monkeypatch.setitem(sys.modules, "av", None)
    assert _fault(content, "prosody").code == "E0200"


@pytest.mark.parametrize("content", [png(3001, 10), jpeg(10, 3001)])
def test_a_larger_image_is_refused_with_e0205(content: bytes) -> None:
    assert _fault(content, "face").code == "E0205"


def test_an_image_of_3000_pixels_square_is_accepted() -> None:
    assert _read(png(3000, 3000), "face").size == (3000, 3000)


@pytest.mark.parametrize("raw_text", [True, False])
def test_more_than_ten_thousand_characters_are_refused_with_the_configured_code(raw_text: bool) -> None:
    def data(count: int) -> str:
        text = "é" * count
        return text if raw_text else b64(text.encode())

    assert len(_read(data(10_000), "language", raw_text=raw_text).text) == 10_000
    assert _fault(data(10_001), "language", raw_text=raw_text).code == "E0206"
    assert _fault(data(10_001), "language", raw_text=raw_text, too_long_text_code="E0299").code == "E0299"


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("raw_text", [True, False])
def test_landmarks_arrive_the_same_in_every_encoding_of_the_official_clients(plain: bool, raw_text: bool) -> None:
    text = orjson.dumps([face(), face(1)])
    found = _read(text.decode() if plain else text, "facemesh", raw_text=raw_text)
    assert found.faces == _read(text, "facemesh").faces
    assert len(found.faces) == 2


@pytest.mark.parametrize(
    "landmarks",
    [
        [face()[:-10]],
        [[point[:2] for point in face()]],
        [face(), [["a", "b", "c"]] * 478],
        [[[True, 1, 1]] * 478],
        [7],
        face(),
    ],
)
def test_landmarks_of_another_shape_are_refused_with_the_configured_code(landmarks: Any) -> None:
    content = orjson.dumps(landmarks)
    assert _fault(content, "facemesh", face_limit=1000).code == "E0200"
    assert _fault(content, "facemesh", face_limit=1000, facemesh_shape_code="E0101").code == "E0101"


def test_too_many_faces_are_refused_with_the_configured_code() -> None:
    content = orjson.dumps([face()] * 11)
    assert len(_read(content, "facemesh").faces) == 11
    assert _fault(content, "facemesh", face_limit=10).code == "E0207"


def test_raw_text_is_always_text() -> None:
    assert _read("[[1, 2]]", "language", raw_text=True).kind == "text"


def test_raw_text_does_not_become_landmarks_beside_another_model() -> None:
    assert "'facemesh'" in _fault("words", "language", "facemesh", raw_text=True).text


def test_an_unknown_length_is_unknown_seconds() -> None:
    clip = _read(webm(b"A_OPUS"), "prosody", unknown_seconds=0.5).clip
    assert clip is not None
    assert clip.seconds == 0.5
