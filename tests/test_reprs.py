from __future__ import annotations

import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

import hume_sync
from hume_sync.reprs import safe_repr


def classes() -> Iterator[Any]:
    """All classes of the package."""
    for info in pkgutil.walk_packages(hume_sync.__path__, "hume_sync."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if cls.__module__ == info.name:
                yield cls


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # event loops that were never begun
@pytest.mark.parametrize("cls", list(classes()), ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_an_object_that_is_not_complete_has_a_repr(cls: type[Any]) -> None:
    try:
        incomplete = cls.__new__(cls)  # type: ignore[call-overload]  # mypy takes it for a metaclass
    except TypeError:
        pytest.skip("it cannot be made without arguments")
    assert repr(incomplete), "put @safe_repr above the class"


def test_what_a_refused_argument_leaves_behind_is_shown() -> None:
    with pytest.raises(hume_sync.ConfigurationError) as caught:
        hume_sync.HumeStreamClient(base_url="nothing")
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "ConfigurationError" in shown


def test_a_complete_object_is_shown_as_its_class_says() -> None:
    @safe_repr
    @attrs.frozen
    class Point:
        x: int

    assert repr(Point(1)).endswith("Point(x=1)")
    assert repr(Point.__new__(Point)) == "<Point, not complete>"


def test_a_failure_that_is_no_missing_attribute_is_not_hidden() -> None:
    @safe_repr
    class Broken:
        def __repr__(self) -> str:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        repr(Broken())
