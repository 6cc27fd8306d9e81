from __future__ import annotations

import base64
import json
import math
import random
from typing import Any

import numpy as np
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
from hume_sync.net.frames import LARGE, join_parts
from hume_sync.stream.requests import GET_JOB_DETAILS, RESET_STREAM, Request, RequestBuilder, check_window
from tests.emulator.support import wav

from .support import FACE, landmarks

LIMIT = 10**6


def models(*configs: Any, window: float | None = None, limit: int = LIMIT) -> RequestBuilder:
    return RequestBuilder.create(configs, window, limit)


def written(request: Request) -> list[tuple[str, Any]]:
    """The request as (name, value) in order."""
    parts = (b"{", *request.members, b"}")
    return list(json.loads(join_parts(parts, sum(map(len, parts)))).items())


def test_media_is_written_as_the_official_sdk_does() -> None:
    expected = [
        ("data", base64.b64encode(FACE).decode()),
        ("models", {"face": {"fps_pred": 2.5}}),
        ("raw_text", False),
        ("stream_window_ms", 600),
    ]
    chosen = models(FaceConfig(fps_pred=2.5), window=600)
    assert written(chosen.media(FACE)) == expected
    assert written(chosen.media(bytearray(FACE))) == expected
    assert written(chosen.base64_media(base64.b64encode(FACE))) == expected


@pytest.mark.parametrize("size", [LARGE - 1, LARGE, LARGE + 1, LARGE + 2, 10**6])
@pytest.mark.parametrize("config", [FaceConfig(), ProsodyConfig()])
def test_media_of_any_size_are_written_as_base64(config: ModelConfigBase, size: int) -> None:
    media = random.Random(size).randbytes(size)
    for given in (media, bytearray(media), memoryview(media)):
        assert dict(written(models(config).media(given)))["data"] == base64.b64encode(media).decode()


@pytest.mark.parametrize("data", [wav(bytes(100))[:30], wav(bytes(100))[:36], wav(bytes(100))[:44]], ids=len)
def test_a_wav_file_without_samples_is_refused_for_audio_models_by_the_arguments_name(data: bytes) -> None:
    what = "is (damaged|WAV audio without)"
    for name in ("data", "the file 'x.wav'"):
        with pytest.raises(InputError, match=f"^{name} {what}"):
            models(ProsodyConfig()).media(data, name)
    with pytest.raises(InputError, match=f"^bytes_data {what}"):
        models(BurstConfig()).base64_media(base64.b64encode(data))
    assert models(FaceConfig()).media(data)


def test_many_faces_are_written_as_base64_of_json() -> None:
    faces = landmarks(20)
    request = models(FacemeshConfig(), limit=10**7).facemesh(faces)
    assert not isinstance(request.members[1], bytes)
    assert json.loads(base64.b64decode(dict(written(request))["data"])) == faces


@pytest.mark.parametrize("view", [False, True])
def test_what_is_sent_is_what_was_given_even_if_that_changes_later(view: bool) -> None:
    media = bytearray(range(256)) * 1000
    expected = base64.b64encode(media).decode()
    request = models(FaceConfig()).media(memoryview(media).toreadonly() if view else media)
    media[:] = bytes(len(media))
    assert dict(written(request))["data"] == expected
    if not view:
        media.clear()
        assert dict(written(request))["data"] == expected


@pytest.mark.parametrize("text", ["hello", 'quote " and \\ and \n', "Grüße, 你好, \U0001f600", "\u2028\x00"])
def test_text_is_written_as_the_official_sdk_does(text: str) -> None:
    assert written(models(LanguageConfig()).text(text)) == [
        ("data", text),
        ("models", {"language": {}}),
        ("raw_text", True),
    ]


def test_landmarks_are_written_as_base64_of_json() -> None:
    faces = landmarks(2)
    fields = dict(written(models(FacemeshConfig()).facemesh(faces)))
    assert json.loads(base64.b64decode(fields.pop("data"))) == faces
    assert fields == {"models": {"facemesh": {}}, "raw_text": False}


def test_the_two_requests_without_data_have_one_member() -> None:
    assert written(RESET_STREAM) == [("reset_stream", True)]
    assert written(GET_JOB_DETAILS) == [("job_details", True)]


def test_the_configurations_of_one_call_replace_the_sockets_and_keep_the_window() -> None:
    socket = models(BurstConfig(), ProsodyConfig(), window=10000)
    assert socket.with_configs(None) is socket
    fields = dict(written(socket.with_configs([BurstConfig()]).media(b"x")))
    assert fields["models"] == {"burst": {}}
    assert fields["stream_window_ms"] == 10000
    with pytest.raises(InputError, match="configs is empty"):
        socket.with_configs([])


def test_a_text_for_another_model_is_refused_with_the_official_text() -> None:
    socket = models(LanguageConfig(), ProsodyConfig())
    official = "configured with ProsodyConfig. send_text is only supported when using a LanguageConfig."
    with pytest.raises(InputError) as caught:
        socket.text("hello")
    assert str(caught.value) == f"Socket {official}"
    with pytest.raises(InputError) as caught:
        socket.with_configs([ProsodyConfig()]).text("hello")
    assert str(caught.value) == f"Payload {official}"


def test_landmarks_for_another_model_are_refused_with_the_official_text() -> None:
    with pytest.raises(InputError) as caught:
        models(FaceConfig()).facemesh(landmarks())
    assert str(caught.value) == (
        "Socket configured with FaceConfig. send_facemesh is only supported when using a FacemeshConfig."
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "blank"),
        (" \t\n\u2003", "blank"),
        ("lone \ud800", "lone surrogates"),
        (b"bytes", "must be a str, got bytes"),
        (None, "must be a str, got NoneType"),
        ("x" * 101, "max_payload_size is 100"),
    ],
)
def test_a_text_that_cannot_be_measured_is_refused(text: object, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        models(LanguageConfig(), limit=100).text(text)


def test_a_window_of_another_number_type_is_written_as_a_plain_one() -> None:
    fields = dict(written(models(ProsodyConfig(), window=np.float64(2000.0)).media(b"x")))
    assert fields["stream_window_ms"] == 2000.0


@pytest.mark.parametrize("settings", [{"a": object()}, {"granularity": "\ud800"}])
def test_a_configuration_that_is_no_json_is_refused(settings: dict[str, Any]) -> None:
    class Mine(LanguageConfig):
        def to_dict(self, skip_none: bool = True) -> dict[str, Any]:
            return settings

    with pytest.raises(InputError, match="cannot be written as JSON"):
        models(Mine())


def test_landmarks_beyond_the_limit_are_refused() -> None:
    with pytest.raises(InputError, match=r"landmarks holds \d+ bytes; max_payload_size is 100"):
        models(FacemeshConfig(), limit=100).facemesh(landmarks())


@pytest.mark.parametrize("window", [None, 500, 10000, 5000.5])
def test_a_window_in_range_is_taken(window: float | None) -> None:
    assert check_window(window) == window


@pytest.mark.parametrize(
    "window",
    [499, 499.9, 10001, 0, -1, math.nan, math.inf, True, "600", [600], 2**70, 10**5000],
    ids=lambda w: type(w).__name__,
)
def test_a_window_out_of_range_is_refused(window: object) -> None:
    with pytest.raises(InputError, match="stream_window_ms must be a number from 500 to 10000"):
        check_window(window)
