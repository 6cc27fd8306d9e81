from __future__ import annotations

import math

import pytest

from hume_sync.net.deadline import Deadline


def test_a_deadline_without_limit_never_expires() -> None:
    deadline = Deadline(math.inf)
    assert deadline.remaining() == math.inf
    assert not deadline.expired()
    assert deadline.socket_timeout() is None


def test_a_deadline_that_has_passed_never_gives_a_socket_zero() -> None:
    deadline = Deadline(0.0)
    assert deadline.expired()
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
