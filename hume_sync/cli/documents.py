"""Text files as the command takes them: prose, facemesh landmarks as JSON, or what only looks like a text."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from ..errors import InputError
from ..stream.media_types import identify

__all__ = ["looks_like_json", "other_than_prose", "read_landmarks", "tidied"]

_KEYS: Final = (
    "landmarks", "face_landmarks", "faceLandmarks", "multi_face_landmarks", "multiFaceLandmarks", "landmark",
)  # fmt: skip
"""Under which MediaPipe's results, and files made from them, hold landmarks."""

_DEPTH: Final = 8
"""Lists and objects in each other that are looked into: frames, faces, points, and an object around each."""

_NUMBER: Final = r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|nan|inf(?:inity)?)"

_JSON: Final = re.compile(
    rf"""\s*(\[\s*\{{|\{{\s*["'}}]|\[\s*[\[(]\s*([\[{{(]|{_NUMBER}[\s,])|\[\s*{_NUMBER}(\s*,\s*|\s+){_NUMBER}[\s,])""",
    re.IGNORECASE,
)
"""How no prose begins: "[{", '{"', "[[[", "[[0.5, ", "[0.5, 1, ". It may with "[aside]", "[[link]]" or "[10:31]"."""


def tidied(text: str) -> str:
    r"""Return the content of a text file as ``--text`` would give it: lines end in ``\n``, the last one does not."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def looks_like_json(text: str) -> bool:
    """Tell whether this is JSON other than a single value, or was meant to be."""
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
    """Read landmarks from JSON, whatever is around them: lists of points, or an object that holds these by a known key.

    Points may be lists or objects with x, y and z. Whether these are landmarks as the protocol wants them is for
    `StreamSocket.send_facemesh` to check; NaN and infinity, which many programs write, are kept for it.

    Args:
        text: what was read.
        name: how an error names it.

    Raises:
        InputError: this is not JSON, or holds no landmarks, or those of several frames.
    """
    try:
        document = _parsed(text)
    except json.JSONDecodeError as exc:
        raise InputError(f"{name} is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{name} is not JSON of landmarks: it has longer numbers, or is nested more deeply") from None
    landmarks = _unwrapped(document, 0)
    depth, innermost = 0, landmarks
    while isinstance(innermost, list) and innermost and depth < _DEPTH:
        depth, innermost = depth + 1, innermost[0]
    if depth == 4 and len(landmarks) == 1:
        landmarks, depth = landmarks[0], 3  # a list around
    if depth == 4:
        raise InputError(f"{name} holds the landmarks of {len(landmarks)} frames: send those of one frame at a time")
    is_number = isinstance(innermost, int | float) and not isinstance(innermost, bool)
    if not isinstance(landmarks, list) or not (is_number or innermost is None or innermost == []) or depth > 4:
        raise InputError(
            f"{name} is JSON, but not facemesh landmarks: accepted are lists of points, (n, 478, 3) or (478, 3), also"
            f" as the value of one of {', '.join(_KEYS)}"
        )
    return landmarks


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)  # NaN, which JSON does not have; else it says what is wrong, and where


def _unwrapped(value: Any, depth: int) -> Any:
    """Take lists out of the objects around them."""
    if depth >= _DEPTH:
        return value
    if isinstance(value, dict):
        if value.keys() >= {"x", "y", "z"}:
            return [value["x"], value["y"], value["z"]]
        return next((_unwrapped(value[key], depth + 1) for key in _KEYS if key in value), value)
    if isinstance(value, list):
        return [_unwrapped(item, depth + 1) if isinstance(item, list | dict) else item for item in value]
    return value


def other_than_prose(text: str) -> str | None:
    """Name what this is if it is no prose, so that its words would not be measured, or marks with them."""
    begin = text[:4096].lstrip()
    for pattern, name in _FORMATS:
        if pattern.match(begin):
            return name
    return next((name for is_one, name in _WHOLE if is_one(text)), None)


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
    """Whether one element is around all of it."""
    root = re.match(r"\s*<([A-Za-z][\w:.-]*)[\s/>]", text)
    return root is not None and text.rstrip().endswith(f"</{root[1]}>")


def _is_numbers(text: str) -> bool:
    """Whether it is a table of numbers, and no word but the names of its columns."""
    lines = [line for line in text.splitlines() if line.strip()]
    rows = [re.split(r"[\s,;]+", line.strip(" \t,;[]()")) for line in lines]
    numbers = [row for row in rows[1:] if all(re.fullmatch(_NUMBER, cell, re.IGNORECASE) for cell in row)]
    return len(rows) > 2 and len(numbers) == len(rows) - 1 and min(map(len, numbers)) > 1


def _is_base64(text: str) -> bool:
    """Whether it is media in base64."""
    joined = "".join(text[:4096].split())
    if len(joined) < 64 or not re.fullmatch(r"[A-Za-z0-9+/]+=*", joined):
        return False
    try:
        return identify(binascii.a2b_base64(joined[: len(joined) // 4 * 4])) is not None
    except binascii.Error:
        return False


_WHOLE: Final[tuple[tuple[Callable[[str], bool], str], ...]] = (
    (_is_markup, "XML"),
    (_is_numbers, "a table of numbers"),
    (_is_base64, "media in base64"),
)
