"""Text files by their content: prose, facemesh landmarks as JSON, and formats that are neither."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from ..errors import InputError
from .media_types import identify

__all__ = ["detect_non_prose", "looks_like_json", "normalize_newlines", "read_landmarks"]

_LANDMARK_KEYS: Final = (
    "landmarks", "face_landmarks", "faceLandmarks", "multi_face_landmarks", "multiFaceLandmarks", "landmark",
)  # fmt: skip
"""Keys of the landmarks in MediaPipe's results, and in files made from them."""

_MAX_DEPTH: Final = 8
"""Nested lists and objects that are searched: frames, faces, points, and an object around each."""

_NUMBER: Final = r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|nan|inf(?:inity)?)"

_JSON: Final = re.compile(
    rf"""\s*(\[\s*\{{|\{{\s*["'}}]|\[\s*[\[(]\s*([\[{{(]|{_NUMBER}[\s,])|\[\s*{_NUMBER}(\s*,\s*|\s+){_NUMBER}[\s,])""",
    re.IGNORECASE,
)
"""Beginnings of JSON that prose does not have: "[{", '{"', "[[[", "[[0.5, ", "[0.5, 1, ".

Prose may begin with "[aside]", "[[link]]" or "[10:31]".
"""


def normalize_newlines(text: str) -> str:
    r"""Return text with ``\n`` as the end of each line and none after the last, as ``--text`` would give it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def looks_like_json(text: str) -> bool:
    """Return whether a text is a JSON list or object, or was meant to be one."""
    if text.lstrip()[:1] not in ("[", "{"):
        return False
    if _JSON.match(text):
        return True
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def read_landmarks(text: str, name: str) -> Any:
    """Read landmarks from JSON: lists of points, or an object that holds these under a known key.

    Points may be lists, or objects with x, y and z. `StreamSocket.send_facemesh` checks the number of points and their
    values; NaN and infinity, which many programs write, are kept for that check.

    Args:
        text: The JSON text.
        name: The name of the input in error messages.

    Returns:
        The landmarks as nested lists.

    Raises:
        InputError: The text is not JSON, or holds no landmarks, or those of several frames.
    """
    try:
        document = _parse_json(text)
    except json.JSONDecodeError as exc:
        raise InputError(f"{name} is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{name} is not JSON of landmarks: it has longer numbers, or is nested more deeply") from None
    landmarks = _unwrap(document, 0)
    depth, innermost = 0, landmarks
    while isinstance(innermost, list) and innermost and depth < _MAX_DEPTH:
        depth, innermost = depth + 1, innermost[0]
    if depth == 4 and len(landmarks) == 1:
        landmarks, depth = landmarks[0], 3  # a list of one frame
    if depth == 4:
        raise InputError(f"{name} holds the landmarks of {len(landmarks)} frames: send those of one frame at a time")
    is_number = isinstance(innermost, int | float) and not isinstance(innermost, bool)
    if not isinstance(landmarks, list) or not (is_number or innermost is None or innermost == []) or depth > 4:
        raise InputError(
            f"{name} is JSON, but not facemesh landmarks: accepted are lists of points, (n, 478, 3) or (478, 3), also"
            f" as the value of one of {', '.join(_LANDMARK_KEYS)}"
        )
    return landmarks


def _parse_json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)  # accepts NaN, which orjson does not; its errors name the line


def _unwrap(value: Any, depth: int) -> Any:
    """Replace objects by the landmarks or coordinates that they hold."""
    if depth >= _MAX_DEPTH:
        return value
    if isinstance(value, dict):
        if value.keys() >= {"x", "y", "z"}:
            return [value["x"], value["y"], value["z"]]
        return next((_unwrap(value[key], depth + 1) for key in _LANDMARK_KEYS if key in value), value)
    if isinstance(value, list):
        return [_unwrap(item, depth + 1) if isinstance(item, list | dict) else item for item in value]
    return value


def detect_non_prose(text: str) -> str | None:
    """Return the name of the format if the text is not prose but markup, subtitles, a table or the like."""
    begin = text[:4096].lstrip()
    for pattern, name in _FORMATS:
        if pattern.match(begin):
            return name
    return next((name for matches, name in _DETECTORS if matches(text)), None)


_FORMATS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"<!doctype html|<html[\s>]|<head[\s>]|<body[\s>]", "an HTML page"),
        (r"<\?xml|<!doctype|<svg[\s>]|<!--", "XML"),
        (r"WEBVTT(\s|$)", "subtitles (WebVTT)"),
        (r"\d+\s*\n\d+:\d\d:\d\d[,.]\d+\s*-->", "subtitles (SubRip)"),
        (r"#EXTM3U|\[playlist\]", "a playlist"),
        (r"\[InternetShortcut\]|\[Desktop Entry\]", "a shortcut"),
        (r"data:[\w.+-]+/[\w.+-]+[;,]", "a data: URL"),
        (r"HTTP/\d(\.\d)? \d{3}", "a response of HTTP"),
        (r"-----BEGIN [A-Z ]+-----", "PEM"),
    )
)


def _is_markup(text: str) -> bool:
    """Return whether one element encloses the whole text."""
    root = re.match(r"\s*<([A-Za-z][\w:.-]*)[\s/>]", text)
    return root is not None and text.rstrip().endswith(f"</{root[1]}>")


def _is_numbers(text: str) -> bool:
    """Return whether the text is a table of numbers, after a line of column names."""
    lines = [line for line in text.splitlines() if line.strip()]
    rows = [re.split(r"[\s,;]+", line.strip(" \t,;[]()")) for line in lines]
    numbers = [row for row in rows[1:] if all(re.fullmatch(_NUMBER, cell, re.IGNORECASE) for cell in row)]
    return len(rows) > 2 and len(numbers) == len(rows) - 1 and min(map(len, numbers)) > 1


def _is_base64(text: str) -> bool:
    """Return whether the text is media in base64."""
    joined = "".join(text[:4096].split())
    if len(joined) < 64 or not re.fullmatch(r"[A-Za-z0-9+/]+=*", joined):
        return False
    try:
        return identify(binascii.a2b_base64(joined[: len(joined) // 4 * 4])) is not None
    except binascii.Error:
        return False


_DETECTORS: Final[tuple[tuple[Callable[[str], bool], str], ...]] = (
    (_is_markup, "XML"),
    (_is_numbers, "a table of numbers"),
    (_is_base64, "media in base64"),
)
