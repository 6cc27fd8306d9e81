from __future__ import annotations

import datetime
import math
import threading
from decimal import Decimal
from fractions import Fraction
from unittest.mock import MagicMock

import numpy as np
import pytest

from hume_sync import InputError
from hume_sync.net.deadline import Deadline, seconds


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
        seconds("open_timeout", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0), (0.25, 0.25), (math.inf, math.inf), (1e300, math.inf), (4294968.0, math.inf), (10**400, math.inf),
        (np.float32(0.25), 0.25), (np.int64(3), 3.0), (Decimal("0.25"), 0.25), (Fraction(1, 4), 0.25),
        (Decimal("Infinity"), math.inf), (Fraction(10**400), math.inf),
    ],
)  # fmt: skip
def test_times_are_float_seconds_and_what_no_timer_can_hold_is_no_limit(value: float, expected: float) -> None:
    assert seconds("timeout", value) == expected
    assert type(seconds("timeout", value)) is float


def test_a_deadline_without_limit_never_expires() -> None:
    deadline = Deadline(math.inf)
    assert deadline.remaining() == math.inf
    assert not deadline.expired()
    assert deadline.socket_timeout() is None
    assert deadline.lock_timeout() == -1


def test_a_deadline_that_has_passed_never_gives_a_socket_zero() -> None:
    deadline = Deadline(0.0)
    assert deadline.expired()
    assert deadline.lock_timeout() == 0
    with pytest.raises(TimeoutError):
        deadline.socket_timeout()


def test_the_tighter_of_two_limits_holds() -> None:
    hour = Deadline(3600)
    assert hour.capped_at(1).remaining() <= 1
    assert Deadline(1).capped_at(3600).remaining() <= 1
    assert hour.capped_at(math.inf) is hour


def test_a_deadline_can_be_put_off_also_once_it_has_passed() -> None:
    passed = Deadline(-5.0)
    assert passed.extended_by(4.0).expired()
    assert 0 < passed.extended_by(10.0).remaining() <= 5
    assert passed.expired()
    assert Deadline(math.inf).extended_by(1.0).remaining() == math.inf


def test_what_is_left_is_never_more_than_a_condition_can_wait() -> None:
    assert Deadline(math.inf).wait_timeout() == threading.TIMEOUT_MAX
    assert 0 < Deadline(5.0).wait_timeout() <= 5
