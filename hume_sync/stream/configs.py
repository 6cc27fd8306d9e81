"""Model configurations: the official SDK's classes, immutable and validated when built."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from enum import Enum, StrEnum
from typing import Any, NoReturn, Self

import attrs
import orjson

from ..errors import FOREIGN, InputError, short_repr, unreadable
from ..net.interrupts import from_handler
from ..net.validation import plain_number
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
    "model_name",
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
        """Return the model of that name.

        Raises:
            InputError: There is none.
        """
        try:
            return cls(model_type)
        except ValueError:
            raise InputError(f"Unknown model type {short_repr(model_type)}") from None


class _Settings(dict[str, Any]):
    """An immutable dict, so that the configuration that contains it can be hashed."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # dict's is None
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("the settings of a configuration never change: build another one")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse


def _frozen(value: object) -> Any:
    """Return an immutable copy of a JSON-like value, made of built-in types.

    Raises:
        TypeError: The value is not JSON.
        ValueError: The value is not JSON.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the keys of a dict must be str, got {short_repr(key)}")
        return _Settings({str(key): _frozen(value[key]) for key in value})
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    number = plain_number(value)
    if number is None:
        raise TypeError(f"type {type(value).__name__} is not JSON")
    if not math.isfinite(number):  # orjson would write it as null
        raise ValueError(f"accepted are finite numbers, got {short_repr(value)}")
    return number


def _thawed(value: Any) -> Any:
    """Return a mutable copy."""
    if isinstance(value, dict):
        return {key: _thawed(item) for key, item in value.items()}
    return list(map(_thawed, value)) if isinstance(value, tuple) else value


def _own(value: object) -> Any:
    """Return a copy, so that changing the caller's dict does not change the configuration."""
    try:
        return _frozen(value)
    except FOREIGN as exc:
        if from_handler(exc):
            raise
        return value  # rejected by `_options`


def _plain(value: object) -> Any:
    """Return a number as a built-in type, as JSON needs; other values are left to `_number`."""
    number = plain_number(value)
    return value if number is None else number


def _number(config: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    # Also refuses NaN.
    if value is not None and not (type(value) in (int, float) and abs(value) < 2**63):
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
    if not isinstance(value, Mapping):
        _refuse(config, attribute, value, "a dict ({} switches it on)")
    try:
        orjson.dumps(value if isinstance(value, _Settings) else _frozen(value))
    except FOREIGN as exc:
        if from_handler(exc):
            raise
        raise InputError(f"{type(config).__name__}.{attribute.name} cannot be written as JSON: {exc}") from None


def _refuse(config: object, attribute: attrs.Attribute[Any], value: object, accepted: str) -> None:
    raise InputError(f"{type(config).__name__}.{attribute.name} must be {accepted} or None, got {short_repr(value)}")


@safe_repr
@attrs.frozen
class ModelConfigBase(ABC):
    """The base class of the configurations. ``None`` leaves a setting to the server."""

    @classmethod
    @abstractmethod
    def get_model_type(cls) -> ModelType:
        """Return the model that this configures."""

    def to_dict(self, skip_none: bool = True) -> dict[str, Any]:
        """Return the settings by name; those that are None only with ``skip_none=False``."""
        return {
            field.name: _thawed(value)
            for field in attrs.fields(type(self))
            if (value := getattr(self, field.name)) is not None or not skip_none
        }

    @classmethod
    def from_dict(cls, request_dict: Mapping[str, Any]) -> Self:
        """Build from settings by name; unknown names are dropped with a warning.

        Raises:
            InputError: The argument is not a mapping, or a value has the wrong type.
        """
        if not isinstance(request_dict, Mapping):
            raise InputError(f"the settings of {cls.__name__} must be a dict, got {short_repr(request_dict)}")
        known = {field.name for field in attrs.fields(cls)}
        for name in request_dict:
            if name not in known:
                warnings.warn(f"Got an unknown parameter `{name}` when loading `{cls.__name__}`.", stacklevel=2)
        return cls(**{name: value for name, value in request_dict.items() if name in known})


@safe_repr
@attrs.frozen
class BurstConfig(ModelConfigBase):
    """Vocal bursts: laughs, sighs and other non-verbal sounds. Nothing to set."""

    @classmethod
    def get_model_type(cls) -> ModelType:
        """`ModelType.BURST`."""
        return ModelType.BURST


@safe_repr
@attrs.frozen
class FaceConfig(ModelConfigBase):
    """Facial expression.

    Attributes:
        fps_pred: Frames per second of a video that are looked at; the server's default is 3.
        prob_threshold: Faces less probable than this (0 to 1) are left out.
        identify_faces: Give each face an id for the life of the connection; else all are "unknown".
        min_face_size: Faces with a shorter side (pixels) are left out.
        save_faces: Batch API only.
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
        identify_speakers: Batch API only.
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
        identify_speakers: Batch API only.
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
        identify_speakers: Batch API only.
        granularity: Batch API only.
        window: Batch API only.
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
        InputError: The argument is not an iterable of `ModelConfigBase`, or is empty.
    """
    if isinstance(configs, ModelConfigBase | str | bytes | Mapping) or not isinstance(configs, Iterable):
        raise InputError(
            f"configs must be a list of model configurations, [FaceConfig()] for one; got {short_repr(configs)}"
        )
    try:
        checked = tuple(configs)
    except InputError:
        raise
    except FOREIGN as exc:
        if from_handler(exc):
            raise
        raise unreadable("configs", configs, exc) from exc
    for config in checked:
        model_name(config)
    if not checked:
        raise InputError("configs is empty: name at least one model, [LanguageConfig()] for one")
    return checked


def model_name(config: object) -> str:
    """Return the name that a configuration's model has on the wire; a server may have models of its own.

    Raises:
        InputError: The argument is not a configuration, or its model has no name.
    """
    if not isinstance(config, ModelConfigBase):
        raise InputError(
            f"configs holds {short_repr(config)}; accepted are {', '.join(c.__name__ for c in _BY_TYPE.values())}"
        )
    model = config.get_model_type()
    name = model.value if isinstance(model, Enum) else model
    if not isinstance(name, str):
        raise InputError(
            f"{type(config).__name__}.get_model_type() must return a ModelType or a str, not {short_repr(model)}"
        )
    return name


def serialize_configs(configs: Iterable[ModelConfigBase]) -> dict[str, dict[str, Any]]:
    """Return the settings by model name, in the order given; of two for one model the last is used.

    Raises:
        InputError: The argument is not an iterable of configurations.
    """
    if not isinstance(configs, Iterable):
        raise InputError(f"configs must be a list of model configurations, got {short_repr(configs)}")
    return {model_name(config): config.to_dict() for config in configs}


def deserialize_configs(configs_dict: Mapping[str, Mapping[str, Any]]) -> list[ModelConfigBase]:
    """Build configurations from what `serialize_configs` returns.

    Raises:
        InputError: A model name is unknown, or settings are not valid.
    """
    if not isinstance(configs_dict, Mapping):
        raise InputError(f"configs_dict must be a dict of settings by model name, got {short_repr(configs_dict)}")
    return [_BY_TYPE[ModelType.from_str(name)].from_dict(settings) for name, settings in configs_dict.items()]
