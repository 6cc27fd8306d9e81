from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

import hume_sync
from hume_sync.errors import ConfigurationError
from hume_sync.reprs import Secret, safe_repr
from hume_sync.stream.media_types import MediaType


def classes() -> Iterator[Any]:
    """All classes of the package."""
    for info in pkgutil.walk_packages(hume_sync.__path__, "hume_sync."):
        if info.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(info.name)
        except ConfigurationError:  # it needs an extra
            continue
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
    assert isinstance(str(incomplete), str)  # (an exception's may be empty)


class Value(float):
    """A stand-in for the value of any attribute."""

    def __getattr__(self, name: str) -> Value:
        return self

    def __format__(self, form: str) -> str:
        return "value"

    def __iter__(self) -> Iterator[object]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __getitem__(self, key: object) -> Value:
        return self

    def __call__(self, *arguments: object, **more: object) -> Value:
        return self


@pytest.mark.parametrize("cls", list(filter(attrs.has, classes())), ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_an_object_that_is_being_made_is_shown_at_every_moment(cls: type[Any]) -> None:
    try:
        growing = cls.__new__(cls)  # type: ignore[call-overload]  # as above
    except TypeError:
        pytest.skip("it cannot be made without arguments")
    for field in attrs.fields(cls):
        assert repr(growing)
        assert str(growing)
        object.__setattr__(growing, field.name, Value())


def test_what_a_complete_holder_of_a_lease_and_a_complete_type_of_media_say() -> None:
    holder = hume_sync.LeaseHolder("view.py", 7, "MainThread", 1.25, stream="'call'", thread_ended=True)
    assert str(holder) == "view.py:7 in thread MainThread, which has ended, for 1.2 s, stream 'call'"
    assert repr(holder) == f"<LeaseHolder {holder}>"
    assert str(MediaType("MP3", "audio")) == "MP3 audio"


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


def test_a_secret_shows_itself_nowhere_but_when_asked() -> None:
    secret = Secret("hush")
    assert "hush" not in f"{secret!r} {secret!s} {[secret]}"
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == "hush"


@pytest.mark.parametrize("operation", [pickle.dumps, copy.deepcopy])
def test_a_secret_is_not_pickled(operation: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="never pickled"):
        operation(Secret("hush"))


def test_a_secret_blots_itself_out_of_a_text() -> None:
    assert Secret("hush").redact("say hush, hush") == "say ***, ***"
    assert Secret("").redact("say nothing") == "say nothing"
