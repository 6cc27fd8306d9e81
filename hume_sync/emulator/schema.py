"""The schema of a request: parse a frame to an immutable value, or raise an error.

It is as strict as the service is known to be: unknown fields are rejected with the text that was seen in
third-party outputs, types are not converted, and null means that a field is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson
from attrs import field, frozen

from ..reprs import safe_repr
from .faults import PayloadError

_FIELDS: Final = frozenset(
    {"data", "models", "raw_text", "stream_window_ms", "reset_stream", "job_details", "payload_id"}
)
_MODEL_FIELDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "burst": frozenset(),
        "face": frozenset({"facs", "descriptions", "identify_faces", "fps_pred", "prob_threshold", "min_face_size"}),
        "facemesh": frozenset(),
        "language": frozenset({"sentiment", "toxicity", "granularity"}),
        "prosody": frozenset(),
    }
)
GRANULARITIES: Final = ("word", "sentence", "utterance", "passage")


@safe_repr
@frozen
class FaceOptions:
    """The options of the face model; None where the request does not set one."""

    facs: bool = False
    descriptions: bool = False
    identify_faces: bool = False
    fps_pred: float | None = None
    prob_threshold: float | None = None
    min_face_size: float | None = None


@safe_repr
@frozen
class LanguageOptions:
    """The options of the language model."""

    sentiment: bool = False
    toxicity: bool = False
    granularity: str = "word"


@safe_repr
@frozen
class ParsedRequest:
    """A valid request."""

    data: str | None = field(default=None, repr=False)
    models: tuple[str, ...] = ()
    """Names of the requested models, in the order of the request."""
    face: FaceOptions = field(factory=FaceOptions)
    language: LanguageOptions = field(factory=LanguageOptions)
    raw_text: bool = False
    stream_window_ms: float | None = None
    reset_stream: bool = False
    job_details: bool = False


def load(raw: str | bytes) -> object:
    """Return the JSON value of a frame.

    Raises:
        PayloadError: The frame is binary or not JSON (E0100).
    """
    if isinstance(raw, str):
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise PayloadError("E0100", "Request is not valid JSON.") from error
    raise PayloadError("E0100", "Request is not valid JSON: it came as a binary message.")


def echo_of(value: object) -> tuple[str | None, bool]:
    """Return the payload_id to echo and whether job details are requested, even if the rest is invalid."""
    if not isinstance(value, dict):
        return None, False
    payload_id = value.get("payload_id")
    return payload_id if isinstance(payload_id, str) else None, value.get("job_details") is True


def parse(value: object) -> ParsedRequest:
    """Return the request in a JSON value.

    Raises:
        PayloadError: The value does not follow the schema (E0101).
    """
    if not isinstance(value, dict):
        raise PayloadError("E0101", "Input should be an object")
    top = _Reader(value, _FIELDS)
    top.text("payload_id")
    models = {
        name: _Reader(config, _MODEL_FIELDS.get(name), f"models.{name}")
        for name, config in top.mapping("models").items()
        if config is not None or name not in _MODEL_FIELDS
    }
    request = ParsedRequest(
        data=top.text("data"),
        models=tuple(models),
        face=_face(models["face"]) if "face" in models else FaceOptions(),
        language=_language(models["language"]) if "language" in models else LanguageOptions(),
        raw_text=top.switch("raw_text"),
        stream_window_ms=top.number("stream_window_ms", 500, 10_000),
        reset_stream=top.switch("reset_stream"),
        job_details=top.switch("job_details"),
    )
    if request.data is None and not request.reset_stream and not request.job_details:
        raise PayloadError("E0101", "Field required (data)")
    return request


def _face(config: _Reader) -> FaceOptions:
    return FaceOptions(
        facs=config.block("facs"),
        descriptions=config.block("descriptions"),
        identify_faces=config.switch("identify_faces"),
        fps_pred=config.number("fps_pred", 0, open_low=True),
        prob_threshold=config.number("prob_threshold", 0, 1),
        min_face_size=config.number("min_face_size", 0, open_low=True),
    )


def _language(config: _Reader) -> LanguageOptions:
    granularity = config.text("granularity")
    if granularity is None:
        granularity = "word"
    elif granularity not in GRANULARITIES:
        raise config.fault("granularity", f"Input should be one of {', '.join(GRANULARITIES)}")
    return LanguageOptions(config.block("sentiment"), config.block("toxicity"), granularity)


class _Reader:
    """A reader of typed fields of a JSON object.

    Args:
        value: The object.
        fields: The allowed names; None if no object is allowed here.
        path: The name of the object in error messages.
    """

    def __init__(self, value: object, fields: frozenset[str] | None, path: str = "") -> None:
        self._path = path
        if fields is None:
            raise self.fault("", "Extra inputs are not permitted")
        if not isinstance(value, dict):
            raise self.fault("", "Input should be an object")
        for name in value:
            if name not in fields:
                raise self.fault(name, "Extra inputs are not permitted")
        self._value: dict[str, Any] = value

    def fault(self, name: str, reason: str) -> PayloadError:
        path = ".".join(part for part in (self._path, name) if part)
        return PayloadError("E0101", f"{reason} ({path})")

    def text(self, name: str) -> str | None:
        value = self._value.get(name)
        if value is None or isinstance(value, str):
            return value
        raise self.fault(name, "Input should be a valid string")

    def switch(self, name: str) -> bool:
        value = self._value.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self.fault(name, "Input should be a valid boolean")

    def number(self, name: str, low: float, high: float | None = None, *, open_low: bool = False) -> float | None:
        value = self._value.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fault(name, "Input should be a valid number")
        if value < low or (open_low and value == low):
            raise self.fault(name, f"Input should be greater than {'' if open_low else 'or equal to '}{low:g}")
        if high is not None and value > high:
            raise self.fault(name, f"Input should be less than or equal to {high:g}")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        value = self._value.get(name)
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        raise self.fault(name, "Input should be an object")

    def block(self, name: str) -> bool:
        """Return whether an option without settings (``{}``) is requested."""
        if self._value.get(name) is None:
            return False
        _Reader(self._value[name], frozenset(), ".".join((self._path, name)))
        return True
