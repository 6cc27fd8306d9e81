from __future__ import annotations

import math
import threading
from typing import Any

import attrs
import numpy as np
import pytest

from hume_sync import (
    BurstConfig,
    FaceConfig,
    FacemeshConfig,
    InputError,
    LanguageConfig,
    ModelConfigBase,
    ModelType,
    NerConfig,
    ProsodyConfig,
    deserialize_configs,
    serialize_configs,
)
from hume_sync.stream.configs import check_configs

ALL: list[type[ModelConfigBase]] = [BurstConfig, FaceConfig, FacemeshConfig, LanguageConfig, NerConfig, ProsodyConfig]


@pytest.mark.parametrize("kind", ALL)
def test_each_configuration_is_frozen_and_knows_its_model(kind: type[ModelConfigBase]) -> None:
    config = kind()
    assert config.get_model_type().value == kind.__name__.removesuffix("Config").lower()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.anything = 1  # type: ignore[attr-defined]


def test_settings_left_alone_are_not_sent_and_falsy_ones_are() -> None:
    config = FaceConfig(fps_pred=0, identify_faces=False, facs={})
    assert serialize_configs([config]) == {"face": {"fps_pred": 0, "identify_faces": False, "facs": {}}}
    assert config.to_dict(skip_none=False) == {
        "fps_pred": 0,
        "prob_threshold": None,
        "identify_faces": False,
        "min_face_size": None,
        "save_faces": None,
        "descriptions": None,
        "facs": {},
    }


def test_models_keep_their_order_and_of_two_for_one_model_the_last_counts() -> None:
    configs = [LanguageConfig(granularity="word"), BurstConfig(), LanguageConfig(granularity="sentence")]
    assert list(serialize_configs(configs).items()) == [("language", {"granularity": "sentence"}), ("burst", {})]


def test_configurations_come_back_from_what_they_were_written_as() -> None:
    configs: list[ModelConfigBase] = [FaceConfig(facs={}), ProsodyConfig(window={"length": 4.0}), NerConfig()]
    assert deserialize_configs(serialize_configs(configs)) == configs


def test_unknown_settings_are_dropped_with_a_warning_and_the_callers_dict_stays_as_it_is() -> None:
    settings = {"facs": {}, "novelty": 1}
    with pytest.warns(UserWarning, match="unknown parameter `novelty`.*FaceConfig"):
        assert FaceConfig.from_dict(settings) == FaceConfig(facs={})
    assert settings == {"facs": {}, "novelty": 1}


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(ValueError, match="Unknown model type 'gesture'"):
        deserialize_configs({"gesture": {}})
    assert ModelType.from_str("burst") is ModelType.BURST


@pytest.mark.parametrize(
    ("kind", "settings", "accepted"),
    [
        (FaceConfig, {"fps_pred": "3"}, "a finite number"),
        (FaceConfig, {"fps_pred": True}, "a finite number"),
        (FaceConfig, {"fps_pred": math.nan}, "a finite number"),
        (FaceConfig, {"prob_threshold": math.inf}, "a finite number"),
        (FaceConfig, {"min_face_size": 2**64}, "a finite number"),
        (FaceConfig, {"min_face_size": 10**5000}, "a finite number"),
        (FaceConfig, {"identify_faces": 1}, "True or False"),
        (FaceConfig, {"facs": True}, "a dict"),
        (FaceConfig, {"facs": {1: 2}}, "a dict"),
        (FaceConfig, {"facs": {"a": [math.nan]}}, "finite numbers"),
        (FaceConfig, {"facs": {"a": {"b": 2**64}}}, "cannot be written as JSON"),
        (FaceConfig, {"facs": {"a": object()}}, "cannot be written as JSON"),
        (LanguageConfig, {"granularity": 7}, "a str"),
        (ProsodyConfig, {"window": "wide"}, "a dict"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused_by_name(
    kind: type[ModelConfigBase], settings: dict[str, Any], accepted: str
) -> None:
    (name,) = settings
    with pytest.raises(InputError, match=f"{kind.__name__}.{name} .*{accepted}"):
        kind(**settings)


def test_a_number_of_another_type_is_kept_as_a_plain_one() -> None:
    assert type(FaceConfig(fps_pred=np.float64(2.5)).fps_pred) is float


def test_what_cannot_be_copied_or_is_too_deep_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    for options in (deep, {"a": threading.Lock()}):
        with pytest.raises(InputError, match="JSON"):
            FaceConfig(facs=options)


def test_the_base_of_all_configurations_configures_nothing_itself() -> None:
    with pytest.raises(TypeError):
        ModelConfigBase()  # type: ignore[abstract]


def test_changing_a_dict_afterwards_changes_no_configuration() -> None:
    options: dict[str, Any] = {}
    config = FaceConfig(facs=options)
    options["late"] = 1
    config.to_dict()["facs"]["later"] = 1
    assert config == FaceConfig(facs={})


@pytest.mark.parametrize(
    ("configs", "text"),
    [
        ([], "configs is empty"),
        (FaceConfig(), r"a list of model configurations.*got FaceConfig"),
        ("face", "a list of model configurations"),
        ({"face": {}}, "a list of model configurations"),
        (None, "a list of model configurations"),
        (7, "a list of model configurations"),
        ([FaceConfig], "accepted are BurstConfig, FaceConfig"),
        ([FaceConfig(), "language"], "holds 'language'"),
        (b"x" * 10**6, "x{50}"),
    ],
)
def test_what_is_no_list_of_configurations_is_refused(configs: object, text: str) -> None:
    with pytest.raises(InputError, match=text):
        check_configs(configs)


def test_any_iterable_of_configurations_will_do() -> None:
    assert check_configs(iter([BurstConfig()])) == (BurstConfig(),)
