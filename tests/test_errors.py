from __future__ import annotations

import inspect
import pickle

import pytest

import hume_sync
from hume_sync import errors
from hume_sync.errors import HumeClientException, InputError, RequestError, Timeout

CLASSES = [kind for name in errors.__all__ if issubclass(kind := getattr(errors, name), Exception)]


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


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (errors.ConfigurationError("x"), False),
        (InputError("x"), False),
        (errors.MisuseError("x"), False),
        (RequestError.from_reply("E0102", "x"), False),
        (RequestError.from_reply(None, "x"), False),
        (RequestError.from_reply("I0100", "x"), True),
        (errors.HookError("x", status=404), False),
        (errors.HookError("x", status=503), True),
        (errors.HookError("x", status=200), False),
        (errors.HookError.from_failure("x", errors.ConnectError("y")), True),
        (errors.HookError.from_failure("x", errors.ConnectError("y", status=407)), False),
        (errors.HookError.from_failure("x", errors.CertificateRejected("y")), False),
        (errors.PoolClosed("x"), False),
        (errors.PoolTimeout("x"), True),
        (errors.PoolFull("x"), True),
        (errors.ConnectError("x"), True),
        (errors.ConnectError("x", status=407), False),
        (errors.CertificateRejected("x"), False),
        (errors.AuthenticationError("x", status=401), False),
        (errors.AuthenticationError("x"), False),
        (errors.HandshakeRejected("x", status=403), False),
        (errors.HandshakeRejected("x", status=429), True),
        (errors.HandshakeRejected("x", status=503), True),
        (errors.HandshakeRejected("x"), False),
        (errors.HandshakeRejected("x", status=200), False),
        (errors.ConnectionAlreadyExists("x"), False),
        (errors.TooManyConnections("x"), True),
        (errors.TooManyConnections("x", status=200), True),
        (errors.TooManyConnections("x", status=429), True),
        (errors.ConnectionLost("x"), True),
        (errors.ConnectionLost("x", close_code=1011), True),
        (errors.ConnectionLost("x", close_code=1009), False),
        (errors.InboxOverflow("x"), False),
        (Timeout("x"), True),
        (errors.ReplyTimeout("x"), True),
        (errors.ProtocolError("x"), True),
        (errors.MessageTooLarge("x"), False),
        (errors.ReplyMismatch("x"), True),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}" if isinstance(value, bool) else type(value).__name__,
)
def test_an_error_says_whether_the_same_call_may_succeed_later(error: HumeClientException, retryable: bool) -> None:
    assert error.retryable is retryable
    assert pickle.loads(pickle.dumps(error)).retryable is retryable


def test_a_fault_of_the_servers_own_is_a_server_error_and_a_request_error() -> None:
    error = RequestError.from_reply("I0100", "internal")
    assert type(error) is errors.ServerError
    assert isinstance(error, RequestError)
    assert str(error) == "hume(I0100): internal"
