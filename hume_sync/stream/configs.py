"""Model configurations: the official SDK's classes, frozen and checked when built."""

from __future__ import annotations

import copy
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Self

import attrs
import orjson

from ..errors import InputError, described
from ..reprs import safe_repr

__all__ = [
    "BurstConfig",
    "FaceConfig",
    "FacemeshConfig",
    "LanguageConfig",
    "ModelConfigBase",
    "ModelType",
    "NerConfig",
    "ProsodyConfig",
    "check_configs",
    "deserialize_configs",
    "serialize_configs",
]


class ModelType(StrEnum):
    """The models of the protocol, by the names they have on the wire: ``ModelType.FACE == "face"``."""

    BURST = "burst"
    FACE = "face"
    FACEMESH = "facemesh"
    LANGUAGE = "language"
    NER = "ner"
    PROSODY = "prosody"

    @classmethod
    def from_str(cls, model_type: str) -> ModelType:
        """The model of that name.

        Raises:
            ValueError: there is none.
        """
        try:
            return cls(model_type)
        except ValueError:
            raise ValueError(f"Unknown model type '{model_type}'") from None


def _number(config: object, attribute: attrs.Attribute[Any], value: object) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (number and abs(value) < 2**63):  # type: ignore[arg-type]  # also refuses NaN
        _refuse(config, attribute, value, "a finite number")


def _flag(config: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not isinstance(value, bool):
        _refuse(config, attribute, value, "True or False")


def _text(config: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not isinstance(value, str):
        _refuse(config, attribute, value, "a str")


def _options(config: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        _refuse(config, attribute, value, "a dict ({} switches it on)")
    try:
        orjson.dumps(value)
    except (TypeError, RecursionError) as exc:
        raise InputError(f"{type(config).__name__}.{attribute.name} cannot be written as JSON: {exc}") from None
    if not _finite(value):
        _refuse(config, attribute, value, "a dict of finite numbers")


def _own(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """A copy, so that a caller who changes a dict changes no configuration."""
    try:
        return copy.deepcopy(value)
    except (TypeError, RecursionError) as exc:
        raise InputError(f"a setting holds what cannot be copied, nor written as JSON: {exc}") from None


def _plain(value: float | None) -> float | None:
    """A number of a plain type: subclasses, as numpy's float64, are not JSON."""
    return float(value) if isinstance(value, float) else value


def _finite(value: object) -> bool:
    """Whether no NaN or infinity hides in a JSON-like value: orjson would write it as null."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return not isinstance(value, list | tuple) or all(map(_finite, value))


def _refuse(config: object, attribute: attrs.Attribute[Any], value: object, accepted: str) -> None:
    raise InputError(f"{type(config).__name__}.{attribute.name} must be {accepted} or None, got {described(value)}")


@safe_repr
@attrs.frozen
class ModelConfigBase(ABC):
    """Base of the configurations. ``None`` leaves a setting to the server."""

    @classmethod
    @abstractmethod
    def get_model_type(cls) -> ModelType:
        """The model this configures."""

    def to_dict(self, skip_none: bool = True) -> dict[str, Any]:
        """The settings by name; those left at None only with ``skip_none=False``."""
        return {
            field.name: copy.deepcopy(value)
            for field in attrs.fields(type(self))
            if (value := getattr(self, field.name)) is not None or not skip_none
        }

    @classmethod
    def from_dict(cls, request_dict: Mapping[str, Any]) -> Self:
        """Build from settings by name; unknown names are dropped with a warning.

        Raises:
            InputError: a value of the wrong type.
        """
        known = {field.name for field in attrs.fields(cls)}
        for name in request_dict:
            if name not in known:
                warnings.warn(f"Got an unknown parameter `{name}` when loading `{cls.__name__}`.", stacklevel=2)
        return cls(**{name: value for name, value in request_dict.items() if name in known})


@safe_repr
@attrs.frozen
class BurstConfig(ModelConfigBase):
    """Vocal bursts: laughs, sighs and other sounds that are no words. Nothing to set."""

    @classmethod
    def get_model_type(cls) -> ModelType:
        """`ModelType.BURST`."""
        return ModelType.BURST


@safe_repr
@attrs.frozen
class FaceConfig(ModelConfigBase):
    """Facial expression.

    Attributes:
        fps_pred: frames per second of a video that are looked at; the server's default is 3.
        prob_threshold: faces less probable than this (0 to 1) are left out.
        identify_faces: give each face an id for the life of the connection; else all are "unknown".
        min_face_size: faces with a shorter side (pixels) are left out.
        save_faces: batch API only.
        descriptions: ``{}`` adds facial descriptions.
        facs: ``{}`` adds facial action units.
    """

    fps_pred: float | None = attrs.field(default=None, validator=_number, converter=_plain)
    prob_threshold: float | None = attrs.field(default=None, validator=_number, converter=_plain)
    identify_faces: bool | None = attrs.field(default=None, validator=_flag)
    min_face_size: float | None = attrs.field(default=None, validator=_number, converter=_plain)
    save_faces: bool | None = attrs.field(default=None, validator=_flag)
    descriptions: dict[str, Any] | None = attrs.field(default=None, validator=_options, converter=_own)
    facs: dict[str, Any] | None = attrs.field(default=None, validator=_options, converter=_own)

    @classmethod
    def get_model_type(cls) -> ModelType:
        """`ModelType.FACE`."""
        return ModelType.FACE


@safe_repr
@attrs.frozen
class FacemeshConfig(ModelConfigBase):
    """Facial expression from landmarks alone: no image leaves the machine. Nothing to set."""

    @classmethod
    def get_model_type(cls) -> ModelType:
        """`ModelType.FACEMESH`."""
        return ModelType.FACEMESH


@safe_repr
@attrs.frozen
class LanguageConfig(ModelConfigBase):
    """Emotional language.

    Attributes:
        granularity: "word" (the server's default), "sentence", "utterance" or "passage" (one result for all).
        identify_speakers: batch API only.
        sentiment: ``{}`` adds a distribution from "1" (negative) to "9" (positive).
        toxicity: ``{}`` adds scores of toxic language.
    """

    granularity: str | None = attrs.field(default=None, validator=_text)
    identify_speakers: bool | None = attrs.field(default=None, validator=_flag)
    sentiment: dict[str, Any] | None = attrs.field(default=None, validator=_options, converter=_own)
    toxicity: dict[str, Any] | None = attrs.field(default=None, validator=_options, converter=_own)

    @classmethod
    def get_model_type(cls) -> ModelType:
        """`ModelType.LANGUAGE`."""
        return ModelType.LANGUAGE


@safe_repr
@attrs.frozen
class NerConfig(ModelConfigBase):
    """Named entities. Batch API only: streaming servers refuse it.

    Attributes:
        identify_speakers: batch API only.
    """

    identify_speakers: bool | None = attrs.field(default=None, validator=_flag)

    @classmethod
    def get_model_type(cls) -> ModelType:
        """`ModelType.NER`."""
        return ModelType.NER


@safe_repr
@attrs.frozen
class ProsodyConfig(ModelConfigBase):
    """Speech prosody: how something is said. Nothing to set in streaming.

    Attributes:
        identify_speakers, granularity, window: batch API only.
    """

    identify_speakers: bool | None = attrs.field(default=None, validator=_flag)
    granularity: str | None = attrs.field(default=None, validator=_text)
    window: dict[str, float] | None = attrs.field(default=None, validator=_options, converter=_own)

    @classmethod
    def get_model_type(cls) -> ModelType:
        """`ModelType.PROSODY`."""
        return ModelType.PROSODY


_BY_TYPE: dict[ModelType, type[ModelConfigBase]] = {
    config.get_model_type(): config
    for config in (BurstConfig, FaceConfig, FacemeshConfig, LanguageConfig, NerConfig, ProsodyConfig)
}


def check_configs(configs: object) -> tuple[ModelConfigBase, ...]:
    """Return configurations as a tuple.

    Raises:
        InputError: not an iterable of `ModelConfigBase`, or none at all.
    """
    if isinstance(configs, ModelConfigBase | str | bytes | Mapping) or not isinstance(configs, Iterable):
        raise InputError(
            f"configs must be a list of model configurations, [FaceConfig()] for one; got {described(configs)}"
        )
    checked = tuple(configs)
    for config in checked:
        if not isinstance(config, ModelConfigBase):
            raise InputError(
                f"configs holds {described(config)}; accepted are {', '.join(c.__name__ for c in _BY_TYPE.values())}"
            )
    if not checked:
        raise InputError("configs is empty: name at least one model, [LanguageConfig()] for one")
    return checked


def serialize_configs(configs: Iterable[ModelConfigBase]) -> dict[str, dict[str, Any]]:
    """Settings by model name, in the order given; of two for one model the last counts."""
    return {config.get_model_type().value: config.to_dict() for config in configs}


def deserialize_configs(configs_dict: Mapping[str, Mapping[str, Any]]) -> list[ModelConfigBase]:
    """The reverse of `serialize_configs`.

    Raises:
        ValueError: an unknown model name.
    """
    return [_BY_TYPE[ModelType.from_str(name)].from_dict(settings) for name, settings in configs_dict.items()]
