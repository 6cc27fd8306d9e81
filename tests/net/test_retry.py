"""The policy as a table, and its work through tenacity and through a real socket."""

from __future__ import annotations

import gc
import logging
import math
import random
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import attrs
import pytest

from hume_sync import (
    AuthenticationError,
    CertificateRejected,
    ConnectError,
    ConnectionLost,
    HandshakeRejected,
    HumeClientException,
    HumeStreamClient,
    InputError,
    LanguageConfig,
    MessageTooLarge,
    MisuseError,
    ProtocolError,
    ReplyMismatch,
    RequestError,
    RetryPolicy,
    ServerError,
    Timeout,
)
from hume_sync.emulator import Emulator
from hume_sync.errors import PoolClosed
from hume_sync.net.deadline import Deadline
from hume_sync.net.retry import AttemptCounter, RetryEvent, retry
from tests.faultproxy import FaultProxy, Peer

pytestmark = pytest.mark.usefixtures("errors_of_fakes_are_own")

QUICK = {"initial": 0.001, "maximum": 0.001}


# --- the policy


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_attempts": 0}, {"max_attempts": -1}, {"max_attempts": 1.0}, {"max_attempts": True},
        {"max_attempts": None}, {"max_attempts": -(10**5000)},
        *({name: value} for name in ("initial", "maximum")
          for value in (0, -1, math.nan, math.inf, True, "1", None)),
    ],
    ids=lambda arguments: f"{next(iter(arguments))}-{type(next(iter(arguments.values()))).__name__}",
)  # fmt: skip
def test_numbers_out_of_range_are_refused_by_name(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        RetryPolicy(**arguments)


@pytest.mark.parametrize("arguments", [{"resend_unknown": 1}, {"on_retry": "callback"}])
def test_arguments_of_another_type_are_refused_by_name(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        RetryPolicy(**arguments)


def test_a_policy_is_immutable_and_equal_to_its_like() -> None:
    policy = RetryPolicy(max_attempts=5)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        policy.max_attempts = 6  # type: ignore[misc]
    assert policy == RetryPolicy(max_attempts=5)
    assert hash(policy) == hash(RetryPolicy(max_attempts=5))


def test_the_default_policy() -> None:
    policy = RetryPolicy()
    assert (policy.max_attempts, policy.initial, policy.maximum) == (3, 0.2, 5.0)
    assert policy.resend_unknown
    assert policy.on_retry is None
    assert RetryPolicy.none().max_attempts == 1


@pytest.mark.parametrize(
    ("failures", "most"), [(1, 0.2), (2, 0.4), (3, 0.8), (5, 3.2), (6, 5.0), (7, 5.0), (10**9, 5.0)]
)
def test_waits_are_drawn_evenly_from_zero_to_a_doubling_bound(
    failures: int, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    monkeypatch.setattr(random, "uniform", uniform)
    assert RetryPolicy().delay(failures) == pytest.approx(most)
    assert bounds[0] == pytest.approx((0.0, most))


def lost(code: int | None = None, *, phase: str = "receive") -> ConnectionLost:
    return ConnectionLost("lost", phase=phase, maybe_processed=phase == "receive", close_code=code)


def broken(kind: type[ProtocolError] = ProtocolError, phase: str = "receive") -> ProtocolError:
    return kind("broken", phase=phase, maybe_processed=phase == "receive")


YES, NO, UNKNOWN = (True, True), (False, False), (True, False)  # with and without resend_unknown
TABLE = [
    # no connection, HTTP 408, 429 or 5xx
    (ConnectError("refused", phase="connect"), YES),
    *((HandshakeRejected("no", status=status, phase="connect"), YES) for status in (408, 429, 500, 502, 503, 504)),
    (Timeout("the dial's own limit", phase="connect"), YES),
    # HTTP 401, 403, other 4xx; a certificate not accepted
    (AuthenticationError("no", status=401, phase="connect"), NO),
    *((HandshakeRejected("no", status=status, phase="connect"), NO) for status in (200, 302, 400, 403, 404, 426)),
    (HandshakeRejected("no status"), NO),
    (CertificateRejected("certificate", phase="connect"), NO),
    (ConnectError("the proxy refused the tunnel", phase="connect", status=407), NO),
    (ConnectError("the proxy refused the tunnel", phase="connect", status=502), YES),
    (broken(phase="connect"), NO),
    # lost before the request was complete
    (lost(phase="send"), YES),
    (lost(phase="idle"), YES),
    (lost(phase="replay"), YES),
    # lost or closed while the reply was awaited
    *((lost(code), UNKNOWN) for code in (None, 1000, 1001, 1005, 1006, 1011, 1012, 1013, 1015, 4000)),
    # closed by objection
    *((lost(code, phase=phase), NO) for code in (1002, 1003, 1007, 1008, 1009, 1010) for phase in ("receive", "idle")),
    # broken replies
    (broken(), UNKNOWN),
    (broken(ReplyMismatch), UNKNOWN),
    (broken(phase="replay"), YES),
    (broken(ReplyMismatch, phase="replay"), YES),
    (broken(MessageTooLarge), NO),
    # the server's own fault, and its objections
    *((RequestError.from_reply(code, "no"), YES) for code in ("I0100", "I")),
    *((RequestError.from_reply(code, "no"), NO) for code in ("E0100", "E0203", "E0300", "W0101", "", None)),
    # no time left
    *((Timeout("late", phase=phase), NO) for phase in ("lock", "send", "receive", "replay")),
    # not of a connection
    (InputError("no"), NO),
    (MisuseError("no"), NO),
    (PoolClosed("no"), NO),
]


@pytest.mark.parametrize(
    ("error", "allowed"),
    TABLE,
    ids=[f"{type(e).__name__}-{e.phase}-{e.status or e.close_code or e.code}-{n}" for n, (e, _) in enumerate(TABLE)],
)
def test_what_is_tried_again_depends_on_what_may_have_happened(
    error: HumeClientException, allowed: tuple[bool, bool]
) -> None:
    for resend, expected in zip((True, False), allowed, strict=True):
        assert RetryPolicy(resend_unknown=resend).allows(error) is expected


@pytest.mark.parametrize("phase", ["receive", "replay"])
def test_broken_replies_are_forgiven_once(phase: str) -> None:
    assert not RetryPolicy().allows(broken(phase=phase), earlier=1)


# --- retry()


class Play:
    """A row of outcomes, and what `retry` did about them."""

    def __init__(self, policy: RetryPolicy, *outcomes: BaseException | str, timeout: float = 60) -> None:
        self.policy = policy
        self.outcomes: Iterator[BaseException | str] = iter(outcomes)
        self.deadline = Deadline(timeout)
        self.attempts = AttemptCounter()
        self.sleeps: list[float] = []
        self.events: list[RetryEvent] = []
        self.stale: Callable[[HumeClientException], bool] = lambda error: False

    def run(self, first: HumeClientException) -> str:
        return retry(
            self.policy,
            first,
            self.again,
            sleep=self.sleeps.append,
            wait=lambda error, failures: float(failures) if error.retry_after is None else error.retry_after,
            deadline=self.deadline,
            attempts=self.attempts,
            is_free=self.stale,
            tell=self.events.append,
        )

    def again(self) -> str:
        outcome = next(self.outcomes)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def test_attempts_are_counted_the_first_included() -> None:
    play = Play(RetryPolicy(), lost(), "reply")
    assert play.run(lost()) == "reply"
    assert play.attempts.number == 3
    assert play.sleeps == [1.0, 2.0]


def test_the_last_failure_is_raised_once_the_attempts_are_spent() -> None:
    last = lost(1011)
    play = Play(RetryPolicy(), lost(), last)
    with pytest.raises(ConnectionLost) as caught:
        play.run(lost())
    assert caught.value is last
    assert play.attempts.number == 3


def test_a_failure_that_no_retry_can_mend_ends_it_at_once() -> None:
    play = Play(RetryPolicy(max_attempts=9), RequestError("no", code="E0102"))
    with pytest.raises(RequestError):
        play.run(lost())
    assert play.attempts.number == 2


def test_broken_replies_are_counted_over_the_whole_call() -> None:
    play = Play(RetryPolicy(max_attempts=9), lost(), broken(ReplyMismatch))
    with pytest.raises(ReplyMismatch):
        play.run(broken())
    assert play.attempts.number == 3


@pytest.mark.parametrize("asked", [None, 0.0, 0.2, 30.0])
def test_what_a_server_asks_for_makes_a_wait_longer_and_never_shorter(
    monkeypatch: pytest.MonkeyPatch, asked: float | None
) -> None:
    monkeypatch.setattr("random.uniform", lambda _, most: most)
    error = HandshakeRejected("busy", status=429, retry_after=asked)
    policy = RetryPolicy(initial=0.5, maximum=4.0)
    assert [policy.delay(failures, error) for failures in (1, 2, 9)] == [max(own, asked or 0) for own in (0.5, 1, 4)]


def test_a_wait_that_does_not_fit_is_not_begun() -> None:
    refusal = HandshakeRejected("busy", status=429, retry_after=7.0, phase="connect")
    play = Play(RetryPolicy(), timeout=5)
    with pytest.raises(HandshakeRejected) as caught:
        play.run(refusal)
    assert caught.value is refusal
    assert play.sleeps == []
    assert play.events == []


def test_the_first_retry_after_a_stale_connection_is_free_and_immediate() -> None:
    play = Play(RetryPolicy(max_attempts=2), lost(), "reply")
    play.stale = lambda error: True
    assert play.run(lost()) == "reply"
    assert play.sleeps == [0.0, 1.0]
    assert (play.attempts.number, play.attempts.free) == (3, 1)


def test_before_each_wait_the_facts_are_reported_and_nothing_else() -> None:
    play = Play(RetryPolicy(), ServerError("secret", code="I0100"), "reply")
    play.run(lost())
    first, second = play.events
    assert (first.attempt, first.error, first.code, first.phase, first.wait) == (
        1, "ConnectionLost", None, "receive", 1.0,
    )  # fmt: skip
    assert (second.attempt, second.error, second.code, second.phase, second.wait) == (
        2, "ServerError", "I0100", None, 2.0,
    )  # fmt: skip
    assert 0 <= first.elapsed <= second.elapsed < 60
    assert "secret" not in repr(second)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        first.wait = 0  # type: ignore[misc]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_ctrl_c_and_what_is_not_ours_pass_through_at_once(interrupt: type[BaseException]) -> None:
    play = Play(RetryPolicy(max_attempts=9), interrupt())
    with pytest.raises(interrupt):
        play.run(lost())
    assert play.attempts.number == 2


class Held:
    """What the frames of a failure hold on to."""


@pytest.mark.parametrize("step", ["sleep", "wait", "tell"])
@pytest.mark.parametrize("error", [PoolClosed("closed"), StopIteration("mine"), KeyboardInterrupt()], ids=repr)
def test_what_a_step_between_attempts_raises_ends_it_and_nothing_is_left_to_the_collector(
    error: BaseException, step: str
) -> None:
    play = Play(RetryPolicy())
    held: list[weakref.ref[Held]] = []

    def closed(*_: object) -> float:
        if play.attempts.number == 2:
            raise error
        return 0.0

    def again() -> str:
        frames_own = Held()
        held.append(weakref.ref(frames_own))
        raise lost()

    steps: dict[str, Any] = {"sleep": play.sleeps.append, "wait": lambda *_: 0.0, "tell": play.events.append}
    steps[step] = closed
    gc.disable()
    try:
        with pytest.raises(type(error)) as caught:
            retry(
                play.policy, lost(), again, deadline=play.deadline, attempts=play.attempts, is_free=lambda _: False,
                **steps,
            )  # fmt: skip
        assert caught.value is error
        assert play.attempts.number == 2
        del caught
        error.__traceback__ = error.__context__ = None
        assert [ref() for ref in held] == [None]
    finally:
        gc.enable()


# --- through a socket


def client(server: Emulator | FaultProxy, **policy: Any) -> HumeStreamClient:
    return HumeStreamClient(
        "k", base_url=server.url, timeout=10, close_timeout=0.2, retry=RetryPolicy(**{**QUICK, **policy})
    )


def hang_up(peer: Peer, *_: object) -> bool:
    return False


def test_a_socket_says_how_often_it_tried(hume_emulator: Emulator) -> None:
    with client(hume_emulator).connect([LanguageConfig()]) as socket:
        hume_emulator.fail_next("I0100", "busy", times=2)
        assert socket.send_text("x").attempts == 3
        assert socket.send_text("x").attempts == 1
        hume_emulator.fail_next("I0100", "busy", times=3)
        with pytest.raises(RequestError) as caught:
            socket.send_text("x")
    assert (caught.value.attempts, caught.value.code) == (3, "I0100")


def test_refused_handshakes_are_tried_again_and_the_servers_wait_is_obeyed(hume_emulator: Emulator) -> None:
    events: list[RetryEvent] = []
    hume_emulator.refuse(429, retry_after=1)
    with closing(client(hume_emulator, on_retry=events.append).connect([LanguageConfig()])) as socket:
        assert socket.send_text("x").attempts == 2
    assert [round(event.wait, 1) for event in events] == [1.0]


def test_a_servers_wait_that_does_not_fit_the_deadline_is_not_begun(hume_emulator: Emulator) -> None:
    events: list[RetryEvent] = []
    hume_emulator.refuse(429, retry_after=60)
    socket = client(hume_emulator, on_retry=events.append).connect([LanguageConfig()])
    for attempt in range(2):  # the second call knows, and does not even dial
        with pytest.raises(HandshakeRejected) as caught:
            socket.send_text("x")
        assert (caught.value.attempts, caught.value.retry_after, attempt) == (1, 60.0, attempt)
    assert events == []
    assert hume_emulator.journal.counts["handshakes"] == 1


def test_a_connection_found_dead_on_sending_is_replaced_at_once_even_where_one_retry_is_all(proxy: FaultProxy) -> None:
    events: list[RetryEvent] = []
    with client(proxy, max_attempts=2, on_retry=events.append).connect([LanguageConfig()]) as socket:
        socket.send_text("first")
        proxy.on_request(hang_up)
        proxy.on_connect(hang_up)
        assert socket.send_text("second").attempts == 3
    assert [event.error for event in events] == ["ConnectionLost", "ConnectError"]
    assert events[0].wait == 0.0


def test_what_on_retry_raises_is_logged_and_forgotten(
    hume_emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: RetryEvent) -> None:
        raise ZeroDivisionError("of the callback")

    hume_emulator.fail_next("I0100", "busy")
    with caplog.at_level(logging.ERROR, "hume_sync"):
        with client(hume_emulator, on_retry=fail).connect([LanguageConfig()]) as socket:
            assert socket.send_text("x").attempts == 2
    assert "on_retry failed" in caplog.text
    assert "of the callback" in caplog.text


def test_ctrl_c_in_on_retry_ends_the_call(hume_emulator: Emulator) -> None:
    def interrupt(_: RetryEvent) -> None:
        raise KeyboardInterrupt

    hume_emulator.fail_next("I0100", "busy")
    with client(hume_emulator, on_retry=interrupt).connect([LanguageConfig()]) as socket:
        with pytest.raises(KeyboardInterrupt):
            socket.send_text("x")
        assert socket.send_text("y").attempts == 1


def test_the_same_stream_cannot_be_called_from_on_retry_but_another_can(hume_emulator: Emulator) -> None:
    misuse: list[HumeClientException] = []
    locked_out: list[BaseException | None] = []
    other = client(hume_emulator).connect([LanguageConfig()])

    def call(_: RetryEvent) -> None:
        other.send_text("fine")
        try:
            socket.send_text("not here")
        except MisuseError as exc:
            misuse.append(exc)
        with ThreadPoolExecutor(1) as pool:  # the call that is under way is as alone as before
            locked_out.append(pool.submit(socket.get_job_details, timeout=0.05).exception(5))

    with other, client(hume_emulator, on_retry=call).connect([LanguageConfig()]) as socket:
        hume_emulator.fail_next("I0100", "busy", times=1)
        assert socket.send_text("x").attempts == 2
    assert len(misuse) == 1
    assert "callback" in str(misuse[0])
    (error,) = locked_out
    assert isinstance(error, Timeout)
    assert error.phase == "lock"


def test_closing_during_a_back_off_ends_the_call_promptly(hume_emulator: Emulator) -> None:
    waiting = threading.Event()
    policy = RetryPolicy(max_attempts=2, on_retry=lambda _: waiting.set())
    hume_emulator.refuse(429, retry_after=60)
    made = HumeStreamClient("k", base_url=hume_emulator.url, timeout=600, close_timeout=0.05, retry=policy)
    socket = made.connect([LanguageConfig()])
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(socket.send_text, "x")
        assert waiting.wait(5)
        socket.close()
        assert isinstance(busy.exception(timeout=5), MisuseError)


def test_a_caller_that_asked_for_no_retries_gets_no_second_attempt(proxy: FaultProxy) -> None:
    made = HumeStreamClient("k", base_url=proxy.url, retry=RetryPolicy.none())
    with made.connect([LanguageConfig()]) as socket:
        socket.send_text("first")
        for arm in (proxy.on_request, proxy.on_reply):
            arm(hang_up)
            with pytest.raises(ConnectionLost) as caught:
                socket.send_text("x")
            assert caught.value.attempts == 1
            assert socket.send_text("x").attempts == 1
