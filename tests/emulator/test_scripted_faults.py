from __future__ import annotations

from hume_sync.emulator.scripted_faults import Refusal, ScriptedFaults, TokenBucket


def test_refusals_and_failures_are_taken_in_the_order_they_were_asked_for() -> None:
    script = ScriptedFaults()
    script.refuse(Refusal(503, 2.0), 2)
    script.refuse(Refusal(401), 1)
    script.fail("I0100", "one", 1)
    script.fail("E0300", "two", 1)
    refused = [script.next_refusal() for _ in range(4)]
    assert refused == [Refusal(503, 2.0), Refusal(503, 2.0), Refusal(401), None]
    failed = [script.next_failure() for _ in range(3)]
    assert [error and error.code for error in failed] == ["I0100", "E0300", None]


def test_the_gate_lets_so_many_through_per_second_and_no_more() -> None:
    now = [0.0]
    gate = TokenBucket(2, lambda: now[0])
    assert [gate.passes() for _ in range(3)] == [True, True, False]
    now[0] = 0.5
    assert [gate.passes() for _ in range(2)] == [True, False]
    now[0] = 100
    assert [gate.passes() for _ in range(3)] == [True, True, False]


def test_a_rate_below_one_per_second_still_lets_the_first_through() -> None:
    gate = TokenBucket(0.001, lambda: 0.0)
    assert [gate.passes() for _ in range(2)] == [True, False]
