"""The reply of each model: invented scores in the format of the protocol.

Every image has one face. Its position, its probability and all scores are functions of the content. The times
of an audio prediction are those of the connection's clock and span the audio that the model saw.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from attrs import define, field, frozen

from ..reprs import safe_repr
from .audio_window import WindowView
from .clips import digest
from .faults import WARNING_TEXTS, PayloadError
from .knobs import Knobs
from .names import DESCRIPTIONS, EMOTIONS, FACS, LANGUAGE_EMOTIONS, SENTIMENT, TOXICITY
from .payloads import Media
from .schema import ParsedRequest
from .scores import content_key, distribution, fractions, scores

Answer = dict[str, Any]

_MAX_FPS = 30  # assumed frame rate of a video, which limits `fps_pred`
_VIDEO_SIZE = (640, 480)  # assumed size of a video, as no frame is decoded
_WORD = re.compile(r"\S+")
_SENTENCE = re.compile(r"\S(?:.*?[.!?]+(?=\s|$)|.*)", re.DOTALL)


@safe_repr
@define
class FaceRegistry:
    """The faces that a connection has identified; they are kept as long as the connection."""

    known: dict[bytes, str] = field(factory=dict, repr=False)

    def name(self, content: bytes) -> str:
        """Return the name of a face; the first is "face_0"."""
        return self.known.setdefault(content, f"face_{len(self.known)}")


@safe_repr
@frozen
class PredictionInput:
    """The input of the models for one request."""

    request: ParsedRequest
    media: Media
    view: WindowView | None
    face_registry: FaceRegistry
    knobs: Knobs


def predict(inputs: PredictionInput) -> dict[str, Answer]:
    """Return the answers of the requested models by name, in the alphabetical order of the protocol."""
    return {name: _MODELS[name](inputs) for name in sorted(inputs.request.models)}


def _warning(code: str, knobs: Knobs) -> Answer:
    answer = {"warning": knobs.warning_texts.get(code, dict(WARNING_TEXTS)[code])}
    return {**answer, "code": code} if knobs.model_warning_code else answer


# --- audio -----------------------------------------------------------------------------------------------


def _burst(inputs: PredictionInput) -> Answer:
    return _audio(inputs, "burst", "W0101", inputs.knobs.burst_loudness)


def _prosody(inputs: PredictionInput) -> Answer:
    return _audio(inputs, "prosody", "W0105", inputs.knobs.speech_loudness)


def _audio(inputs: PredictionInput, model: str, silence: str, loudness: float) -> Answer:
    view = inputs.view
    assert view is not None
    if view.peak <= loudness:
        return _warning(silence, inputs.knobs)
    key = content_key(inputs.knobs.seed, model, digest(view.clips))
    time = {"begin": _seconds(view.begin), "end": _seconds(view.end)}
    return {"predictions": [{"time": time, "emotions": scores(key, EMOTIONS)}]}


def _seconds(exact: Fraction) -> float:
    return round(float(exact), 6)


# --- faces -----------------------------------------------------------------------------------------------


def _face(inputs: PredictionInput) -> Answer:
    found = [face for frame, time in _frames(inputs) for face in _faces_in(inputs, frame, time)]
    return {"predictions": found} if found else _warning("W0103", inputs.knobs)


def _frames(inputs: PredictionInput) -> Iterator[tuple[int, float | None]]:
    """Yield the number and time of each analysed frame; for an image, number 0 and no time."""
    if inputs.media.kind == "image":
        yield 0, None
        return
    asked = inputs.request.face.fps_pred or inputs.knobs.fps_pred
    rate = Fraction(str(min(asked, _MAX_FPS)))
    for number in range(max(1, math.ceil((inputs.media.seconds or 0) * rate))):
        yield number, _seconds(number / rate)


def _faces_in(inputs: PredictionInput, frame: int, time: float | None) -> Iterator[Answer]:
    options, knobs, media = inputs.request.face, inputs.knobs, inputs.media
    key = content_key(knobs.seed, "face", media.content, str(frame).encode())
    box = _box(key, media.size if media.kind == "image" else _VIDEO_SIZE)
    certainty = round(0.99 + fractions(key, 5)[4] / 100, 6)
    smallest = knobs.min_face_size if options.min_face_size is None else options.min_face_size
    threshold = knobs.prob_threshold if options.prob_threshold is None else options.prob_threshold
    if min(box["w"], box["h"]) < smallest or certainty < threshold:
        return
    face: Answer = {
        "frame": frame,
        "time": time,
        "bbox": box,
        "prob": certainty,
        "face_id": inputs.face_registry.name(content_key(0, "identity", media.content))
        if options.identify_faces
        else "unknown",
        "emotions": scores(key, EMOTIONS),
    }
    if options.facs:
        face["facs"] = scores(content_key(knobs.seed, "facs", key), FACS)
    if options.descriptions:
        face["descriptions"] = scores(content_key(knobs.seed, "descriptions", key), DESCRIPTIONS)
    yield face


def _box(key: bytes, size: tuple[int, int]) -> dict[str, float]:
    """Return a box inside an image, 30 to 90 % of its width and height."""
    left, top, wide, high, _ = fractions(key, 5)
    width, height = size[0] * (0.3 + 0.6 * wide), size[1] * (0.3 + 0.6 * high)
    x, y = (size[0] - width) * left, (size[1] - height) * top
    return {"x": round(x, 4), "y": round(y, 4), "w": round(width, 4), "h": round(height, 4)}


def _facemesh(inputs: PredictionInput) -> Answer:
    faces = inputs.media.faces
    if not faces:
        return _warning("W0102", inputs.knobs)
    keys = [content_key(inputs.knobs.seed, "facemesh", face) for face in faces]
    return {"predictions": [{"emotions": scores(key, EMOTIONS)} for key in keys]}


# --- text ------------------------------------------------------------------------------------------------


def _language(inputs: PredictionInput) -> Answer:
    text, options, knobs = inputs.media.text, inputs.request.language, inputs.knobs
    if not text.strip():
        if knobs.blank_text == "error":
            raise PayloadError("E0101", "Text should not be blank (data)")
        return _warning("W0104", knobs)
    found = []
    for begin, end in _spans(text, options.granularity):
        part = text[begin:end]
        key = content_key(knobs.seed, "language", part.encode())
        item: Answer = {
            "text": part,
            "position": {"begin": begin, "end": end},
            "emotions": scores(key, LANGUAGE_EMOTIONS),
        }
        if options.sentiment:
            item["sentiment"] = distribution(content_key(knobs.seed, "sentiment", key), SENTIMENT)
        if options.toxicity:
            item["toxicity"] = scores(content_key(knobs.seed, "toxicity", key), TOXICITY)
        found.append(item)
    return {"predictions": found}


def _spans(text: str, granularity: str) -> list[tuple[int, int]]:
    """Return the start and end of every part: words with their punctuation, sentences, or the whole text."""
    if granularity == "word":
        return [match.span() for match in _WORD.finditer(text)]
    if granularity == "sentence":
        ends = [(match.start(), match.group()) for match in _SENTENCE.finditer(text)]
        return [(begin, begin + len(part.rstrip())) for begin, part in ends]
    return [(0, len(text))]


_MODELS: Final[Mapping[str, Callable[[PredictionInput], Answer]]] = MappingProxyType(
    {
        "burst": _burst,
        "face": _face,
        "facemesh": _facemesh,
        "language": _language,
        "prosody": _prosody,
    }
)
