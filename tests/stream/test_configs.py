from __future__ import annotations

import copy
import json
import math
import operator
import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any
from unittest.mock import Mock

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


class Broken(dict[str, Any]):
    """A mapping that cannot be read, as a closed store is."""

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("it is closed")


def iter_and_fail(error: Exception) -> Iterator[ModelConfigBase]:
    yield FaceConfig()
    raise error


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
        (FaceConfig, {"facs": {1: 2}}, "keys of a dict must be str, got 1"),
        (FaceConfig, {"facs": {"a": [math.nan]}}, "finite numbers"),
        (FaceConfig, {"facs": {"a": np.float32("nan")}}, "finite numbers"),
        (FaceConfig, {"facs": {"a": {"\ud800": 1}}}, "cannot be written as JSON"),
        (FaceConfig, {"facs": {"a": np.zeros(3)}}, "type ndarray is not JSON"),
        (FaceConfig, {"facs": Broken()}, "cannot be written as JSON"),
        (FaceConfig, {"facs": Mock()}, "a dict"),
        (FaceConfig, {"fps_pred": Mock()}, "a finite number"),
        (FaceConfig, {"fps_pred": np.array(3.0)}, "a finite number"),
        (FaceConfig, {"fps_pred": Decimal("sNaN")}, "a finite number"),
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


@pytest.mark.parametrize("number", [np.float64(2.5), np.float32(2.5), Decimal("2.5"), Fraction(5, 2)])
def test_a_number_of_another_type_is_kept_as_a_plain_one(number: Any) -> None:
    config = FaceConfig(fps_pred=number, facs={"a": [number]})
    assert type(config.fps_pred) is float
    assert json.dumps(config.to_dict()) == '{"fps_pred": 2.5, "facs": {"a": [2.5]}}'
    assert type(FaceConfig(min_face_size=np.int64(3)).min_face_size) is int


NESTED: dict[str, Any] = {"a": [1, {"b": [None, True, "x", 2.5]}], "c": {}}

EQUAL: list[tuple[ModelConfigBase, ModelConfigBase]] = [
    *((kind(), kind()) for kind in ALL),
    (FaceConfig(facs={}, fps_pred=3), FaceConfig(facs={}, fps_pred=3.0)),
    (FaceConfig(facs=NESTED), FaceConfig(facs=copy.deepcopy(NESTED))),
    (FaceConfig(facs={"a": 1, "b": 2}), FaceConfig(facs={"b": 2, "a": 1})),
    (FaceConfig(facs={"a": [1]}), FaceConfig(facs={"a": (1,)})),
    (LanguageConfig(sentiment={}, toxicity=OrderedDict()), LanguageConfig(sentiment=MappingProxyType({}), toxicity={})),
    (ProsodyConfig(window={"length": 4.0}), ProsodyConfig(window={"length": np.float32(4)})),
]


@pytest.mark.parametrize(("one", "other"), EQUAL, ids=str)
def test_equal_configurations_have_equal_hashes(one: ModelConfigBase, other: ModelConfigBase) -> None:
    assert one == other
    assert hash(one) == hash(other)
    assert {one: 1}[other] == 1
    assert len({one, other, FaceConfig(facs={"another": 1})}) == 2


@pytest.mark.parametrize("config", [config for config, _ in EQUAL], ids=str)
def test_configurations_survive_pickle_and_copies(config: ModelConfigBase) -> None:
    pickled = [pickle.loads(pickle.dumps(config, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for twin in (*pickled, copy.copy(config), copy.deepcopy(config), attrs.evolve(config)):
        assert (twin, hash(twin), type(twin)) == (config, hash(config), type(config))
    assert deserialize_configs(json.loads(json.dumps(serialize_configs([config])))) == [config]


CHANGES: list[Callable[[Any], object]] = [
    lambda facs: facs.update(late=1),
    lambda facs: facs.__setitem__("late", 1),
    lambda facs: facs.__delitem__("a"),
    lambda facs: facs.pop("a"),
    lambda facs: facs.popitem(),
    lambda facs: facs.clear(),
    lambda facs: facs.setdefault("late", 1),
    lambda facs: operator.ior(facs, {"late": 1}),  # type: ignore[no-untyped-call]  # typeshed leaves it so
    lambda facs: facs["c"].update(late=1),
    lambda facs: facs["a"][1].update(late=1),
    lambda facs: facs["a"].append(1),
]


@pytest.mark.parametrize("change", CHANGES)
def test_the_settings_of_a_configuration_never_change(change: Callable[[Any], object]) -> None:
    config = FaceConfig(facs=NESTED)
    with pytest.raises((TypeError, AttributeError)):
        change(config.facs)
    assert config == FaceConfig(facs=NESTED)


def test_settings_are_given_out_as_plain_lists_and_dicts() -> None:
    facs = FaceConfig(facs=NESTED).to_dict()["facs"]
    assert facs == NESTED
    assert [type(facs), type(facs["a"]), type(facs["a"][1])] == [dict, list, dict]


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


@pytest.mark.parametrize(
    "configs",
    [
        iter_and_fail(KeyError("x")),
        iter_and_fail(TypeError("no")),
        iter_and_fail(RuntimeError("no")),
    ],
    ids=["KeyError", "TypeError", "RuntimeError"],
)
def test_configurations_that_cannot_be_read_are_refused(configs: Any) -> None:
    with pytest.raises(InputError, match=r"configs cannot be read: generator raised \w+Error\(") as caught:
        check_configs(configs)
    assert caught.value.__cause__ is not None


def test_what_reading_a_file_raises_is_no_fault_of_the_argument() -> None:
    with pytest.raises(TimeoutError):  # of a signal handler, for one
        check_configs(iter_and_fail(TimeoutError("time is up")))
    with pytest.raises(InputError, match="FaceConfig.fps_pred"):
        check_configs(FaceConfig(fps_pred=number) for number in ("x",))


class GestureConfig(ModelConfigBase):
    """A model of a server's own."""

    @classmethod
    def get_model_type(cls) -> Any:
        return "gesture"


class NamelessConfig(ModelConfigBase):
    @classmethod
    def get_model_type(cls) -> Any:
        return None


def test_a_server_may_have_models_of_its_own() -> None:
    assert serialize_configs(check_configs([GestureConfig(), FaceConfig()])) == {"gesture": {}, "face": {}}
    for use in (check_configs, serialize_configs):
        with pytest.raises(InputError, match=r"NamelessConfig.get_model_type\(\) must return"):
            use([NamelessConfig()])


@pytest.mark.parametrize(
    ("use", "argument", "text"),
    [
        (FaceConfig.from_dict, None, "the settings of FaceConfig must be a dict, got None"),
        (FaceConfig.from_dict, [("facs", {})], "the settings of FaceConfig must be a dict"),
        (deserialize_configs, None, "configs_dict must be a dict of settings by model name, got None"),
        (deserialize_configs, [FaceConfig()], "configs_dict must be a dict"),
        (deserialize_configs, {"face": None}, "the settings of FaceConfig must be a dict, got None"),
        (deserialize_configs, {7: {}}, "Unknown model type 7"),
        (serialize_configs, FaceConfig(), "configs must be a list"),
        (serialize_configs, ["face"], "configs holds 'face'"),
        (ModelType.from_str, None, "Unknown model type None"),
        (ModelType.from_str, ["face"], "Unknown model type"),
    ],
)
def test_what_is_no_dict_of_settings_is_refused(use: Callable[[Any], object], argument: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        use(argument)


def test_a_model_type_is_its_name() -> None:
    assert ModelType("face") is ModelType.from_str("face") is ModelType.from_str(ModelType.FACE)
    assert deserialize_configs({ModelType.FACE: {"facs": {}}}) == [FaceConfig(facs={})]
    assert {"face": 1}[ModelType.FACE] == 1


def test_any_iterable_of_configurations_will_do() -> None:
    assert check_configs(iter([BurstConfig()])) == (BurstConfig(),)
