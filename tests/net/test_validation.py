from __future__ import annotations

import datetime
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from hume_sync import InputError
from hume_sync.net.validation import plain_number, to_seconds


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


@pytest.mark.parametrize(
    "value",
    [
        0, -1, 0.0, math.nan, -math.inf, True, False, "3", None, [1], -(10**5000), Decimal("sNaN"), Decimal(0),
        Fraction(-1, 2), np.float32("nan"), np.True_, np.array(3.0), datetime.timedelta(seconds=3), MagicMock(),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_time_above_zero_is_refused_by_name(value: object) -> None:
    with pytest.raises(InputError, match="open_timeout must be a number of seconds above zero"):
        to_seconds("open_timeout", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0), (0.25, 0.25), (math.inf, math.inf), (1e300, math.inf), (4294968.0, math.inf), (10**400, math.inf),
        (np.float32(0.25), 0.25), (np.int64(3), 3.0), (Decimal("0.25"), 0.25), (Fraction(1, 4), 0.25),
        (Decimal("Infinity"), math.inf), (Fraction(10**400), math.inf),
    ],
)  # fmt: skip
def test_times_are_float_seconds_and_what_no_timer_can_hold_is_no_limit(value: float, expected: float) -> None:
    assert to_seconds("timeout", value) == expected
    assert type(to_seconds("timeout", value)) is float
