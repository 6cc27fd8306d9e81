from __future__ import annotations

import inspect
import pickle

import pytest

import hume_sync
from hume_sync import errors
from hume_sync.errors import HumeClientException, InputError, RequestError, Timeout

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_pickle_with_its_facts(kind: type[HumeClientException]) -> None:
    error = kind(
        "text",
        code="E0102",
        phase="receive",
        attempts=3,
        maybe_processed=True,
        status=429,
        retry_after=1.5,
        close_code=1011,
        close_reason="overload",
    )
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == "text"
    assert vars(copy) == vars(error)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_public_and_drawn_in_the_tree(kind: type[HumeClientException]) -> None:
    assert getattr(hume_sync, kind.__name__) is kind
    assert issubclass(kind, HumeClientException)
    assert kind.__name__ in (errors.__doc__ or "")
    assert inspect.getdoc(kind)


def test_an_error_of_the_server_reads_as_in_the_official_sdk() -> None:
    error = RequestError.from_error("E0102", "message")
    assert str(error) == "hume(E0102): message"
    assert error.code == "E0102"


def test_an_error_without_a_code_says_so() -> None:
    error = RequestError.from_error(None, "message")
    assert str(error) == "hume(unknown): message"
    assert error.code is None


def test_a_servers_text_is_cut_to_a_length_that_cannot_hold_media() -> None:
    assert len(str(RequestError.from_error("E0200", "x" * 10_000))) < 1100


def test_timeouts_and_bad_input_are_also_the_builtin_errors() -> None:
    assert issubclass(Timeout, TimeoutError)
    assert issubclass(InputError, ValueError)
