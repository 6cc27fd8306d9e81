from __future__ import annotations

from hume_sync.emulator.scripted_faults import Rejection, ScriptedFaults, TokenBucket


def test_scripted_faults_are_taken_in_order() -> None:
    faults = ScriptedFaults()
    faults.add_rejection(Rejection(503, 2.0), 2)
    faults.add_rejection(Rejection(401), 1)
    faults.add_error("I0100", "one", 1)
    faults.add_error("E0300", "two", 1)
    refused = [faults.next_rejection() for _ in range(4)]
    assert refused == [Rejection(503, 2.0), Rejection(503, 2.0), Rejection(401), None]
    failed = [faults.next_error() for _ in range(3)]
    assert [error and error.code for error in failed] == ["I0100", "E0300", None]


def test_a_token_bucket_limits_the_rate() -> None:
    now = [0.0]
    bucket = TokenBucket(2, lambda: now[0])
    assert [bucket.try_acquire() for _ in range(3)] == [True, True, False]
    now[0] = 0.5
    assert [bucket.try_acquire() for _ in range(2)] == [True, False]
    now[0] = 100
    assert [bucket.try_acquire() for _ in range(3)] == [True, True, False]


def test_a_rate_below_one_per_second_still_lets_the_first_through() -> None:
    bucket = TokenBucket(0.001, lambda: 0.0)
    assert [bucket.try_acquire() for _ in range(2)] == [True, False]
