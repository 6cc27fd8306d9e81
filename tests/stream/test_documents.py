from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from hume_sync import InputError
from hume_sync.stream.documents import detect_non_prose, looks_like_json, normalize_newlines, read_landmarks
from hume_sync.stream.landmarks import serialize_landmarks

from .support import SPEECH

FACE = [[index / 1000, index / 2000, -index / 3000] for index in range(478)]
POINTS = [dict(zip("xyz", point, strict=True), visibility=0.5) for point in FACE]


def landmarks_of(document: Any) -> Any:
    return json.loads(serialize_landmarks(read_landmarks(json.dumps(document), "mesh.json")))


@pytest.mark.parametrize(
    "document",
    [
        [FACE],
        FACE,
        [[FACE]],
        [POINTS],
        POINTS,
        {"landmarks": [FACE]},
        {"landmarks": FACE},
        {"landmarks": [POINTS], "time": 3},
        {"landmark": POINTS},
        {"multi_face_landmarks": [{"landmark": POINTS}]},
        {"faceLandmarks": [POINTS], "faceBlendshapes": []},
        [{"landmarks": POINTS}],
    ],
)
def test_read_landmarks_finds_nested_landmarks(document: Any) -> None:
    assert landmarks_of(document) == [FACE]


def changed(value: Any) -> list[Any]:
    face = [list(point) for point in FACE]
    face[7][2] = value
    return [FACE, face]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps(changed(float("nan"))), "landmarks[1][7][2] is nan"),
        (json.dumps({"landmarks": changed(float("inf"))}), "landmarks[1][7][2] is inf"),
        (json.dumps(changed(float("-inf"))), "landmarks[1][7][2] is -inf"),
        (json.dumps(changed(None)), "landmarks[1][7][2] is a NoneType"),
        (json.dumps(changed("NaN")), "landmarks[1][7][2] is a str"),
        (json.dumps([FACE[:468]]), "must be exactly 478, found 468"),
        (json.dumps([{"landmarks": POINTS[:-1]}]), "must be exactly 478, found 477"),
        ("[]", "No faces sent"),
        ("[[]]", "must be exactly 478, found 0"),
        ("[1]", "landmarks[0]"),
        (json.dumps([[FACE], [FACE]]), "mesh.json holds the landmarks of 2 frames"),
        (json.dumps({"frames": [FACE]}), "mesh.json is JSON, but not facemesh landmarks"),
        (json.dumps([[*POINTS[:-1], {"x": 1, "y": 2}]]), "landmarks[0][477] has dict"),
        ('{"error": "not found"}', "mesh.json is JSON, but not facemesh landmarks"),
        ('["a", "b"]', "mesh.json is JSON, but not facemesh landmarks"),
        ("[[[[[1]]]]]", "mesh.json is JSON, but not facemesh landmarks"),
        ("3", "mesh.json is JSON, but not facemesh landmarks"),
        ("[true]", "mesh.json is JSON, but not facemesh landmarks"),
        ("[[[0.1, 0.2, 0.3],\n]]", "mesh.json is not JSON: "),
        (f"{json.dumps([FACE])}\n{json.dumps([FACE])}", "mesh.json is not JSON: Extra data at line 2, column 1"),
        ("[" * 100_000, "mesh.json is not JSON"),
        ("[" * 900 + "]" * 900, "mesh.json is JSON, but not facemesh landmarks"),
        ("[" + "1" * 5000 + "]", "mesh.json is not JSON of landmarks"),
    ],
)
def test_read_landmarks_names_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=re.escape(reason)):
        serialize_landmarks(read_landmarks(text, "mesh.json"))


JSON = [
    "[]", "[1]", '["a"]', "{}", '{"a": 1}', "  [[[0.1, 0.2", "[[0.1 0.2 0.3]\n", "[0.1, nan, 2]", "[(0.5, 1, 2),",
    "[{'x': 1", "{'error'", "[NaN, NaN, NaN]", '[{"landmarks"',
]  # fmt: skip

PROSE = [
    "[aside] He left.", "[1] is the first.", "[10:31] Alice: hello", "[2024-01-01] Dear diary", "[[Link]] is a note",
    "{laughs} Oh no.", "(sighs) Well.", "3", "<laughs> Oh no.", "I <3 you", "10 out of 10", "1. Wash\n2. Dry\n3. Fold",
    "In 1984,\nwe had 1 2 3", "x < y, and y > x", "http://example.org is down again", "#1 fan", "WebVTTs are dull",
    "Wonderful" * 20, "data: they are everywhere", "🎉",
]  # fmt: skip


@pytest.mark.parametrize("text", JSON)
def test_looks_like_json_is_true_for_damaged_json(text: str) -> None:
    assert looks_like_json(text)


@pytest.mark.parametrize("text", PROSE)
def test_looks_like_json_is_false_for_prose(text: str) -> None:
    assert not looks_like_json(text)
    assert detect_non_prose(text) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("<!DOCTYPE html><p>x", "an HTML page"),
        ("\n <html lang=en>", "an HTML page"),
        ("<?xml version='1.0'?><plist/>", "XML"),
        ("<svg xmlns='http://www.w3.org/2000/svg'></svg>", "XML"),
        ("<Error><Code>NoSuchKey</Code></Error>\n", "XML"),
        ("<speak>Hello</speak>", "XML"),
        ("WEBVTT\n\n00:00.000 --> 00:01.000\nHi", "subtitles (WebVTT)"),
        ("1\n00:00:00,000 --> 00:00:01,000\nHi", "subtitles (SubRip)"),
        ("#EXTM3U\nhttp://example.org/1.ts", "a playlist"),
        ("[playlist]\nFile1=a.mp3", "a playlist"),
        ("[InternetShortcut]\nURL=http://example.org", "a shortcut"),
        ("data:audio/wav;base64,UklGR", "a data: URL"),
        ("HTTP/1.1 404 Not Found\r\n", "a response of HTTP"),
        ("-----BEGIN CERTIFICATE-----\n", "PEM"),
        ("0.1 0.2 0.3\n0.1 0.2 0.3\n1e-3 nan 3\n", "a table of numbers"),
        ("x,y,z\n1,2,3\n4,5,-inf\n", "a table of numbers"),
        (base64.encodebytes(SPEECH).decode(), "media in base64"),
        (base64.b64encode(SPEECH).decode(), "media in base64"),
    ],
)
def test_detect_non_prose_names_the_format(text: str, name: str) -> None:
    assert detect_non_prose(text) == name


def test_normalize_newlines() -> None:
    assert normalize_newlines("a\r\nb\rc\n\n") == "a\nb\nc"
    assert normalize_newlines("  a  ") == "  a  "
