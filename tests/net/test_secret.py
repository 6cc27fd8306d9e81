from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from hume_sync.net.secret import Secret


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
