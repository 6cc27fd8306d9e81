"""The circuit breaker alone: threads, events and no network."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import attrs
import pytest

from hume_sync import (
    AuthenticationError,
    CertificateRejected,
    ConnectError,
    HandshakeRejected,
    HumeClientException,
    RetryPolicy,
    Timeout,
)
from hume_sync.errors import PoolClosed
from hume_sync.net.condition import Condition
from hume_sync.net.deadline import Deadline
from hume_sync.stream.breaker import CircuitBreaker
from tests.clocks import Clock

_T = TypeVar("_T")

pytestmark = pytest.mark.usefixtures("errors_of_fakes_are_own")

AT_ONCE = RetryPolicy(initial=1e-9)  # a back-off that is over before anybody looks


class Waiting(Condition):
    """The breaker's condition, which counts the threads that wait in it."""

    def __init__(self, lock: threading.RLock) -> None:
        super().__init__(lock)
        self.count = 0
        self.more = threading.Semaphore(0)

    def wait_for(self, attempt: Callable[[], _T | None], deadline: Deadline) -> _T | None:
        self.count += 1
        self.more.release()
        try:
            return super().wait_for(attempt, deadline)
        finally:
            self.count -= 1


@attrs.define
class Scene:
    breaker: CircuitBreaker
    changed: Waiting
    pool: ThreadPoolExecutor

    def enter(self, caller: object, timeout: float = 5.0) -> Future[None]:
        return self.pool.submit(self.breaker.wait_for_turn, caller, Deadline(timeout))

    def waits(self, caller: object, timeout: float = 5.0) -> Future[None]:
        """Enter, and return once it really waits."""
        future = self.enter(caller, timeout)
        assert self.changed.more.acquire(timeout=5)
        assert not future.done()
        return future


@pytest.fixture
def scene(request: pytest.FixtureRequest) -> Callable[..., Scene]:
    def make(policy: RetryPolicy = AT_ONCE) -> Scene:
        breaker = CircuitBreaker(policy)
        breaker._changed = changed = Waiting(breaker._lock)
        pool = ThreadPoolExecutor(8)
        request.addfinalizer(pool.shutdown)
        request.addfinalizer(lambda: breaker.shut_down(PoolClosed("over")))
        return Scene(breaker, changed, pool)

    return make


Make = Callable[..., Scene]


def refused() -> ConnectError:
    return ConnectError("refused", phase="connect")


class Untouchable:
    def __enter__(self) -> None:
        raise AssertionError("the lock was taken")

    def __exit__(self, *_: object) -> None:
        raise AssertionError


def test_while_it_is_healthy_no_caller_takes_its_lock() -> None:
    breaker = CircuitBreaker(AT_ONCE)
    breaker._changed = Untouchable()  # type: ignore[assignment]
    assert breaker.is_healthy
    breaker.wait_for_turn("a", Deadline(1))
    assert breaker.connect(lambda _: "connection", "a", Deadline(1)) == "connection"
    breaker.record_success()
    breaker.release_probe("a")


def test_one_prober_comes_through_and_the_others_wait_until_it_has_a_good_reply(scene: Make) -> None:
    s = scene()
    s.breaker.record_failure("prober", refused())
    assert not s.breaker.is_healthy
    others = [s.waits(name) for name in ("b", "c", "d")]
    s.enter("prober").result(5)
    assert not any(other.done() for other in others)
    s.breaker.record_success()
    for other in others:
        other.result(5)
    assert s.breaker.is_healthy


def test_each_waits_under_its_own_deadline(scene: Make) -> None:
    s = scene()
    s.breaker.record_failure("prober", refused())
    patient = s.waits("patient")
    with pytest.raises(ConnectError, match="refused") as caught:  # the cause, rather than that time is up
        s.breaker.wait_for_turn("hurried", Deadline(0.01))
    assert not caught.value.maybe_processed
    assert not patient.done()


def test_a_prober_that_leaves_hands_on_to_one_and_only_one(scene: Make) -> None:
    s = scene()
    s.breaker.record_failure("prober", refused())
    waiting = {name: s.waits(name) for name in ("b", "c")}
    s.breaker.release_probe("prober")
    heir = next(name for name in iter(lambda: s.breaker._prober, object()) if name is not None)
    waiting[str(heir)].result(5)
    other = waiting["c" if heir == "b" else "b"]
    assert not other.done()
    s.breaker.release_probe(heir)
    other.result(5)


def test_a_prober_that_dies_while_dialling_hands_on(scene: Make) -> None:
    s = scene()
    s.breaker.record_failure("prober", refused())
    waiting = s.waits("b")

    def die(_: Deadline) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        try:
            s.breaker.connect(die, "prober", Deadline(5))
        finally:
            s.breaker.release_probe("prober")
    waiting.result(5)


def test_one_who_leaves_without_being_the_prober_changes_nothing(scene: Make) -> None:
    s = scene()
    s.breaker.record_failure("prober", refused())
    waiting = s.waits("b")
    s.breaker.release_probe("passer-by")
    assert s.breaker._prober == "prober"
    assert not waiting.done()


def test_a_dial_that_succeeds_does_not_close_the_breaker(scene: Make) -> None:
    s = scene()
    s.breaker.record_failure("prober", refused())
    waiting = s.waits("b")
    assert s.breaker.connect(lambda _: "connection", "prober", Deadline(5)) == "connection"
    assert not s.breaker.is_healthy
    assert not waiting.done()


def test_a_refused_key_goes_to_all_who_wait_each_with_an_error_of_its_own(scene: Make) -> None:
    s = scene()
    s.breaker.record_failure("prober", refused())
    waiting = [s.waits(name) for name in ("b", "c")]
    refusal = AuthenticationError("bad key", phase="connect", status=401)

    def refuse(_: Deadline) -> None:
        raise refusal

    with pytest.raises(AuthenticationError):
        s.breaker.connect(refuse, "prober", Deadline(5))
    errors = [future.exception(5) for future in waiting]
    assert all(type(error) is AuthenticationError and error.status == 401 for error in errors)
    assert len({id(error) for error in [refusal, *errors]}) == 3


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, "monotonic")


def dialled(breaker: CircuitBreaker, result: HumeClientException | str) -> int:
    """How many of three calls one after another have dialled; what they do gets this result."""
    dials = []

    def connect(_: Deadline) -> str:
        dials.append(1)
        if isinstance(result, HumeClientException):
            raise result
        return result

    for caller in ("a", "b", "c"):
        with suppress(HumeClientException):
            breaker.connect(connect, caller, Deadline(5))
        breaker.release_probe(caller)
    return len(dials)


REFUSALS = [
    AuthenticationError("bad key", status=401),
    HandshakeRejected("forbidden", status=403),
    CertificateRejected("not trusted"),
    ConnectError("the proxy wants a password", status=407),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_a_refusal_is_given_to_all_for_five_seconds_doubling_to_sixty(
    error: HumeClientException, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    breaker = CircuitBreaker(RetryPolicy(), "pool-1 to example")
    for pause in (5, 10, 20, 40, 60, 60):
        assert dialled(breaker, error) == 1
        clock.now += pause - 0.1
        with pytest.raises(type(error)) as caught:
            breaker.wait_for_turn("newcomer", Deadline(5))
        assert caught.value is not error
        assert type(breaker.cause) is type(error)
        clock.now += 0.1
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        f"circuit breaker open for {pause} s" for pause in (5, 10, 20, 40, 60, 60)
    ]


def test_after_a_refusal_one_call_tries_and_a_good_reply_lets_all_through(clock: Clock) -> None:
    breaker = CircuitBreaker(RetryPolicy())
    assert dialled(breaker, AuthenticationError("bad key", status=401)) == 1
    clock.now += 5
    breaker.wait_for_turn("a", Deadline(5))
    with pytest.raises(AuthenticationError):
        breaker.wait_for_turn("b", Deadline(5))
    breaker.record_success()
    assert breaker.is_healthy
    assert breaker.cause is None
    assert dialled(breaker, "connection") == 3
    assert dialled(breaker, AuthenticationError("bad key", status=401)) == 1
    clock.now += 5  # and not 10: the server has answered in between
    breaker.wait_for_turn("a", Deadline(5))


def test_a_refusal_reaches_all_who_wait_from_any_caller(scene: Make) -> None:
    s = scene()
    s.breaker.record_failure("prober", refused())
    waiting = s.waits("other")
    s.breaker.record_fatal("third", AuthenticationError("bad key", status=401))
    assert isinstance(waiting.exception(5), AuthenticationError)


def test_many_that_are_refused_at_one_time_are_one_refusal(clock: Clock) -> None:
    breaker = CircuitBreaker(RetryPolicy())
    for caller in range(8):
        breaker.record_fatal(caller, AuthenticationError("bad key", status=401))
    clock.now += 5
    breaker.wait_for_turn("next", Deadline(5))


def has_refusal(breaker: CircuitBreaker) -> bool:
    return isinstance(breaker.cause, AuthenticationError)


def test_a_refusal_whose_time_is_over_is_no_cause_while_a_call_tries_again(clock: Clock) -> None:
    breaker = CircuitBreaker(RetryPolicy())
    assert dialled(breaker, AuthenticationError("bad key", status=401)) == 1
    clock.now += 4.9
    assert has_refusal(breaker)
    clock.now += 0.1
    assert not has_refusal(breaker)
    breaker.wait_for_turn("a", Deadline(5))  # it may be let in by now: a caller that waits for a lease goes on waiting
    assert not has_refusal(breaker)
    breaker.record_fatal("a", AuthenticationError("bad key", status=401))
    assert has_refusal(breaker)


def timing_out(clock: Clock, spent: float, *, whole: bool = True) -> Callable[[Deadline], None]:
    """A dial that times out after so many seconds, by the deadline of the whole call or by its own."""

    def connect(deadline: Deadline) -> None:
        clock.now += spent
        if whole:
            deadline.end = -math.inf
        raise Timeout("the connection timed out", phase="connect")

    return connect


@pytest.mark.parametrize(
    ("spent", "whole", "opens"), [(0.01, True, False), (0.99, True, False), (1.0, True, True), (0.5, False, True)]
)
def test_a_dial_that_times_out_opens_the_breaker_unless_its_caller_was_in_a_hurry(
    clock: Clock, spent: float, whole: bool, opens: bool
) -> None:
    breaker = CircuitBreaker(RetryPolicy(), fail_fast=True)
    with pytest.raises(Timeout):
        breaker.connect(timing_out(clock, spent, whole=whole), "hurried", Deadline(60))
    assert breaker.is_healthy is not opens
    assert (breaker.cause is not None) is opens


def test_a_prober_that_is_out_of_patience_hands_on(clock: Clock) -> None:
    breaker = CircuitBreaker(AT_ONCE)
    breaker.record_failure("prober", refused())
    clock.now += 1.0  # its back-off is over
    with pytest.raises(Timeout):
        breaker.connect(timing_out(clock, 0.1), "prober", Deadline(60))
    assert isinstance(breaker.cause, ConnectError)  # still: its patience is no news of the server
    breaker.wait_for_turn("next", Deadline(60))


def test_to_fail_fast_is_to_wait_for_nothing(clock: Clock) -> None:
    breaker = CircuitBreaker(RetryPolicy(initial=60, maximum=60), fail_fast=True)
    breaker.record_failure("prober", refused())
    breaker.release_probe("prober")
    for caller in ("prober", "other"):
        with pytest.raises(ConnectError, match="refused"):
            breaker.wait_for_turn(caller, Deadline(1e6))
    clock.now += 60
    breaker.wait_for_turn("prober", Deadline(1e6))  # one tries
    with pytest.raises(ConnectError, match="refused"):
        breaker.wait_for_turn("other", Deadline(1e6))


def test_opening_and_closing_are_logged_once_each(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    breaker = CircuitBreaker(AT_ONCE, "pool-1 to example")
    for _ in range(3):
        breaker.record_failure("prober", HandshakeRejected("secret", status=503))
    breaker.record_success()
    breaker.record_success()
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("hume_sync.retry", "WARNING", "pool-1 to example: circuit breaker open: HandshakeRejected, HTTP 503"),
        ("hume_sync.retry", "WARNING", "pool-1 to example: circuit breaker closed: the server answers"),
    ]


def test_retry_after_is_waited_for(scene: Make) -> None:
    s = scene()
    s.breaker.record_failure("prober", HandshakeRejected("busy", status=429, retry_after=60.0))
    assert 59 < s.breaker.retry_delay("prober") <= 60
    assert s.breaker.retry_delay("other") == 0
    s.breaker.record_failure("other", HandshakeRejected("busy", status=429, retry_after=90.0))
    assert 89 < s.breaker.retry_delay("prober") <= 90


def test_a_wait_that_does_not_fit_is_not_begun_and_says_why(scene: Make) -> None:
    s = scene()
    s.breaker.record_failure("prober", HandshakeRejected("busy", status=429, retry_after=60.0))
    s.breaker.release_probe("prober")
    for name in ("prober", "newcomer"):
        with pytest.raises(HandshakeRejected) as caught:
            s.breaker.wait_for_turn(name, Deadline(1))
        assert (caught.value.status, caught.value.retry_after) == (429, 60.0)
        assert s.breaker.retry_delay(name) > 59  # so that no caller tries again at once, either
    assert s.changed.count == 0


def test_the_prober_waits_out_its_back_off(scene: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    s = scene()
    s.breaker.record_failure("prober", HandshakeRejected("busy", status=429, retry_after=0.05))
    s.breaker.wait_for_turn("prober", Deadline(5))
    assert s.breaker._next_probe_at <= time.monotonic()
    assert s.breaker.retry_delay("prober") == 0


def test_many_that_fail_at_once_count_as_one_failure(scene: Make) -> None:
    s = scene(RetryPolicy(initial=0.001, maximum=3600))
    for caller in range(64):
        s.breaker.record_failure(caller, refused())
    assert s.breaker._next_probe_at - time.monotonic() <= 0.001


def test_without_retries_no_caller_waits(scene: Make) -> None:
    s = scene(RetryPolicy.none())
    s.breaker.record_failure("a", refused())
    assert s.breaker.is_healthy


def test_a_dial_that_fails_opens_the_breaker_where_another_may_succeed(scene: Make) -> None:
    s = scene()

    def fail(_: Deadline) -> None:
        raise refused()

    with pytest.raises(ConnectError):
        s.breaker.connect(fail, "a", Deadline(5))
    assert not s.breaker.is_healthy


def test_shutdown_wakes_all_and_lets_no_caller_in_again(scene: Make) -> None:
    s = scene()
    s.breaker.record_failure("prober", refused())
    waiting = [s.waits(name) for name in ("b", "c")]
    s.breaker.shut_down(PoolClosed("closed"))
    assert all(isinstance(future.exception(5), PoolClosed) for future in waiting)
    with pytest.raises(PoolClosed):
        s.breaker.wait_for_turn("d", Deadline(5))


def test_the_end_wakes_a_prober_in_its_back_off(scene: Make) -> None:
    s = scene()
    s.breaker.record_failure("prober", HandshakeRejected("busy", status=503, retry_after=60.0))
    waiting = s.waits("prober", timeout=600)
    s.breaker.shut_down(PoolClosed("closed"))
    assert isinstance(waiting.exception(5), PoolClosed)


def test_shutdown_of_a_healthy_breaker_lets_no_caller_in() -> None:
    breaker = CircuitBreaker(AT_ONCE)
    breaker.shut_down(PoolClosed("closed"))
    with pytest.raises(HumeClientException):
        breaker.wait_for_turn("a", Deadline(1))
