from __future__ import annotations

import pytest

from hume_sync import (
    BurstConfig,
    FaceConfig,
    FacemeshConfig,
    InputError,
    LanguageConfig,
    ModelConfigBase,
    ProsodyConfig,
    StreamResponse,
)
from hume_sync.inputs import MODELS, Payload, payloads, table, text_payload

from .stream.support import DATA, FACE, SPEECH


def kinds(data: bytes) -> list[type[ModelConfigBase]]:
    return [type(config) for config in next(payloads("input", data)).configs]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (FACE, [FaceConfig]),
        (b"\x89PNG\r\n", [FaceConfig]),
        (SPEECH, [ProsodyConfig, BurstConfig]),
        (b"ID3\x04", [ProsodyConfig, BurstConfig]),
        (b"OggS\x00", [ProsodyConfig, BurstConfig]),
        (b"fLaC\x00", [ProsodyConfig, BurstConfig]),
        (b"\0\0\0\x20ftypM4A ", [ProsodyConfig, BurstConfig]),
        (b"\0\0\0\x20ftypisom", [FaceConfig, ProsodyConfig, BurstConfig]),
        (b"\x1a\x45\xdf\xa3", [FaceConfig, ProsodyConfig, BurstConfig]),
        ((DATA / "facemesh.json").read_bytes(), [FacemeshConfig]),
        (b"[1]", [FacemeshConfig]),
        (b"[aside] he left", [LanguageConfig]),
        ("Grüße".encode(), [LanguageConfig]),
    ],
)
def test_bytes_are_known_by_what_they_begin_with(data: bytes, expected: list[type[ModelConfigBase]]) -> None:
    assert kinds(data) == expected


def test_bytes_that_nothing_is_known_of_need_a_model_named() -> None:
    with pytest.raises(InputError, match=r"cannot tell what noise\.bin is"):
        next(payloads("noise.bin", b"\x00\xff"))
    assert next(payloads("noise.bin", b"\x00\xff", [MODELS["face"]])).configs == [FaceConfig()]


def test_speech_is_cut_and_each_part_named_by_its_seconds() -> None:
    assert [payload.part for payload in payloads("speech.wav", SPEECH)] == ["0.0-5.0 s", "5.0-10.0 s", "10.0-10.4 s"]


def test_a_text_given_as_such_is_never_taken_for_anything_else() -> None:
    assert text_payload("[1]").configs == (LanguageConfig(),)


def payload(source: str = "input", *models: str) -> Payload:
    return Payload(source, "", [MODELS[model] for model in models or ("face",)], lambda sender: StreamResponse())


def test_a_table_has_a_row_for_each_model_with_its_highest_expressions_or_its_warning() -> None:
    reply = StreamResponse(
        face={
            "predictions": [{"emotions": [{"name": n, "score": s} for n, s in (("A", 0.1), ("B", 0.9), ("C", 0.5))]}]
        },
        burst={"warning": "No vocal bursts detected."},
    )
    lines = list(table([(payload("input", "face", "burst", "prosody"), reply)]))
    assert [line[54:] for line in lines[1:]] == [
        "B 0.90, C 0.50, A 0.10",
        "(No vocal bursts detected.)",
        "(burst: No vocal bursts detected.)",
    ]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("short.wav", "short.wav"),
        ("/a/very/long/path/to/some/file.wav", "...ong/path/to/some/file.wav"),
        ("a long text of many words, and more", "a long text of many words..."),
        ("esc\x1b", "esc\\x1b"),
    ],
)
def test_a_long_source_is_shortened_where_it_matters_least(source: str, shown: str) -> None:
    line = list(table([(payload(source), StreamResponse())]))[1]
    assert line[:28].rstrip() == shown
