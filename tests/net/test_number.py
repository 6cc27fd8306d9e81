from __future__ import annotations

import datetime
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from hume_sync.net.number import plain_number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3),
        (10**400, 10**400),
        (2.5, 2.5),
        (Decimal("2.5"), 2.5),
        (Fraction(5, 2), 2.5),
        (np.float64(2.5), 2.5),
        (np.float32(2.5), 2.5),
        (np.longdouble(2.5), 2.5),
        (np.uint8(3), 3),
        (Decimal("1e999"), math.inf),
        (Fraction(10**400), math.inf),
        (-Fraction(10**400), -math.inf),
    ],
    ids=repr,
)
def test_a_number_of_any_type_is_made_a_plain_one(value: Any, number: float) -> None:
    plain = plain_number(value)
    assert (type(plain), plain) == (type(number), number)


@pytest.mark.parametrize("value", [math.nan, Decimal("NaN"), Decimal("sNaN"), np.float32("nan")], ids=repr)
def test_what_is_none_is_nan(value: Any) -> None:
    assert math.isnan(plain_number(value) or 0)


@pytest.mark.parametrize(
    "value",
    [
        None, True, "3", b"3", 3j, [3], np.True_, np.array(3), np.array([3]), np.complex64(3), np.timedelta64(3, "s"),
        np.datetime64("2020"), datetime.timedelta(seconds=3), MagicMock(), object(),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_real_number_is_none(value: Any) -> None:
    assert plain_number(value) is None
