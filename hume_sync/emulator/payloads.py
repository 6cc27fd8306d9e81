"""Decode the ``data`` of a request to media, detect its type and check its limits.

The checks run in the order of the service as far as it is known: base64 (E0201), type (E0200), model for that
type (E0102), an audio signal for audio models (E0202), limits (E0203 and up).
"""

from __future__ import annotations

import binascii
import math
import struct
from base64 import b64decode
from collections.abc import Collection, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Final, Literal

import orjson
from attrs import field, frozen

from ..reprs import safe_repr
from .clips import Clip
from .containers import read_tracks
from .faults import UNPARSED_MEDIA, PayloadError
from .images import JPEG, PNG, image_size
from .knobs import Knobs
from .lengths import read_lengths
from .wav_decoder import is_wav, read_wav

Kind = Literal["audio", "video", "image", "text", "facemesh"]

AUDIO_MODELS: Final = frozenset({"burst", "prosody"})
TEXT_LIMIT: Final = 10_000
"""Characters in one text."""
SECONDS_LIMIT: Final = 5
"""Seconds of audio or video in one payload."""
IMAGE_LIMIT: Final = 3000
"""Pixels of width and of height."""
LANDMARKS: Final = 478
"""Points of one face, three coordinates each."""

_ACCEPTED_KINDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "burst": frozenset({"audio", "video"}),
        "prosody": frozenset({"audio", "video"}),
        "face": frozenset({"image", "video"}),
        "language": frozenset({"text"}),
        "facemesh": frozenset({"facemesh"}),
    }
)


@safe_repr
@frozen
class Media:
    """A decoded payload: its kind, its bytes, and the input for the models of that kind."""

    kind: Kind
    content: bytes = field(default=b"", repr=False)
    text: str = field(default="", repr=False)
    faces: tuple[bytes, ...] = field(default=(), repr=False)
    """Facemesh: the coordinates of each face as little-endian doubles."""
    size: tuple[int, int] = (0, 0)
    """Image: width and height in pixels."""
    seconds: Fraction | None = None
    """Audio or video: its duration, None if unknown."""
    clip: Clip | None = None
    """The audio, also that of a video."""


def read_media(data: str, models: Collection[str], *, raw_text: bool, knobs: Knobs) -> Media:
    """Return the media in ``data`` for these models.

    Facemesh landmarks are accepted in the three encodings that official clients have used: base64 of the
    JSON text, the JSON text itself, and base64 with ``raw_text`` set.

    Args:
        data: The field of the request.
        models: The names of the models asked for.
        raw_text: Whether ``data`` is plain text.
        knobs: The settings of the server.

    Raises:
        PayloadError: The media is not readable, not for these models, or beyond a limit.
    """
    media = _decode(data, models, raw_text=raw_text, knobs=knobs)
    for model in models:
        if media.kind not in _ACCEPTED_KINDS[model]:
            raise PayloadError(
                "E0102",
                f"Streaming payload configured with model type '{model}', "
                f"which is not supported for the detected file type '{media.kind}'.",
            )
    if AUDIO_MODELS & set(models) and (media.clip is None or not media.clip.seconds):
        raise PayloadError("E0202", "Audio models are configured, but the payload has no audio signal.")
    _check_limits(media, knobs)
    return media


def _decode(data: str, models: Collection[str], *, raw_text: bool, knobs: Knobs) -> Media:
    if raw_text and set(models) != {"facemesh"}:
        return Media("text", text=data)
    if data.lstrip().startswith("["):  # not base64: landmarks as plain JSON
        media = _detect_text(data.encode(), models, knobs)
        if media.kind == "facemesh":
            return media
    try:
        content = b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PayloadError("E0201", "Failed to decode data: it is not valid base64.") from error
    return _detect(content, models, knobs)


def _detect(content: bytes, models: Collection[str], knobs: Knobs) -> Media:
    if content.startswith((PNG, JPEG)):
        return Media("image", content, size=image_size(content))
    if is_wav(content):
        return _wav(content)
    if tracks := read_tracks(content):
        lengths = read_lengths(content)
        clip = Clip(content, lengths.audio or Fraction(str(knobs.unknown_seconds))) if tracks.audio else None
        if tracks.video:
            return Media("video", content, seconds=lengths.longest, clip=clip)
        return Media("audio", content, seconds=lengths.audio, clip=clip)
    return _detect_text(content, models, knobs)


def _wav(content: bytes) -> Media:
    clip = read_wav(content)
    if clip is None:  # compressed: measure it like any other audio file
        seconds = read_lengths(content).audio
        if seconds is None:
            raise PayloadError("E0200", UNPARSED_MEDIA)
        clip = Clip(content, seconds)
    return Media("audio", content, seconds=clip.seconds, clip=clip)


def _detect_text(content: bytes, models: Collection[str], knobs: Knobs) -> Media:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = ""
    if not text or "\x00" in text:
        raise PayloadError("E0200", UNPARSED_MEDIA)
    if text.lstrip().startswith("["):
        try:
            landmarks = orjson.loads(text)
        except orjson.JSONDecodeError:
            return Media("text", content, text=text)
        try:
            return Media("facemesh", content, faces=tuple(_read_face(face, knobs) for face in landmarks))
        except PayloadError:
            if "facemesh" in models:
                raise  # for any other model, this is text that happens to be a JSON list
    return Media("text", content, text=text)


def _read_face(face: object, knobs: Knobs) -> bytes:
    if isinstance(face, list) and len(face) == LANDMARKS and all(_is_point(point) for point in face):
        return struct.pack(f"<{3 * LANDMARKS}d", *(value for point in face for value in point))
    raise PayloadError(
        knobs.facemesh_shape_code, f"{UNPARSED_MEDIA}: a face has {LANDMARKS} points of three finite numbers."
    )


def _is_point(point: object) -> bool:
    return isinstance(point, list) and len(point) == 3 and all(_is_coordinate(value) for value in point)


def _is_coordinate(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_limits(media: Media, knobs: Knobs) -> None:
    if media.kind in {"audio", "video"} and media.seconds is not None and media.seconds > SECONDS_LIMIT:
        raise PayloadError(
            "E0203" if media.kind == "audio" else "E0204",
            f"{media.kind.capitalize()} is too long: the limit is {SECONDS_LIMIT * 1000} milliseconds, "
            f"but the payload has {math.ceil(media.seconds * 1000)} milliseconds.",
        )
    if max(media.size) > IMAGE_LIMIT:
        raise PayloadError(
            "E0205",
            f"Image is too large: the limit is {IMAGE_LIMIT} x {IMAGE_LIMIT} pixels, "
            f"but the payload has {media.size[0]} x {media.size[1]} pixels.",
        )
    if len(media.faces) > knobs.face_limit:
        raise PayloadError(
            knobs.too_many_faces_code,
            f"Too many faces: the limit is {knobs.face_limit}, but the payload has {len(media.faces)}.",
        )
    if len(media.text) > TEXT_LIMIT:
        raise PayloadError(
            knobs.too_long_text_code,
            f"Text is too long: the limit is {TEXT_LIMIT} characters, "
            f"but the payload has {len(media.text)} characters.",
        )
