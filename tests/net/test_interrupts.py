from __future__ import annotations

import socket
import types
from collections.abc import Callable

import pytest

from hume_sync import Timeout
from hume_sync.net.deadline import Deadline
from hume_sync.net.interrupts import from_outside
from hume_sync.net.sockets import SocketStream


def raised(call: Callable[[], object], module: str) -> BaseException:
    """What a call raises, as a function of that module sees it."""
    namespace: dict[str, object] = {"__name__": module, "from_outside": from_outside}
    source = "def catch(call):\n try:\n  call()\n except BaseException as exc:\n  return exc\n"
    exec(source, namespace)
    catch = namespace["catch"]
    assert isinstance(catch, types.FunctionType)
    exc = catch(call)
    assert isinstance(exc, BaseException)
    return exc


def through(module: str, call: Callable[[], object]) -> Callable[[], object]:
    """The call, made by a function of that module."""
    namespace: dict[str, object] = {"__name__": module, "call": call}
    exec("def through(): return call()", namespace)
    made = namespace["through"]
    assert callable(made)
    return made


def too_late() -> object:
    """Raises this library's own TimeoutError."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        return SocketStream(ours).read(Deadline(0.0))


def strike() -> None:
    raise TimeoutError("mine")


@pytest.mark.parametrize("module", ["hume_sync.net.x", "websocket._core", "ssl", "concurrent.futures", "http.client"])
def test_an_error_of_the_calls_own_is_none_from_outside(module: str) -> None:
    own = raised(
        through("hume_sync.net.x", through(module, through("hume_sync.net.y", too_late_of_ours))), "hume_sync.x"
    )
    assert not from_outside(own)


def test_nor_where_others_watch_the_calls_on_their_way() -> None:
    """As Sentry does those of http.client."""
    watched = through(
        "sentry_sdk.integrations.stdlib", through("http.client", through("hume_sync.y", too_late_of_ours))
    )
    assert not from_outside(raised(watched, "hume_sync.x"))


def too_late_of_ours() -> object:
    return through("hume_sync.z", too_late)()


@pytest.mark.parametrize("module", ["__main__", "timeout_decorator.timeout_decorator", "tests.handlers"])
def test_what_a_handler_raises_is_from_outside_wherever_it_strikes(module: str) -> None:
    handler = through(module, strike)
    for struck in (handler, through("ssl", handler), through("hume_sync.y", through("threading", handler))):
        assert from_outside(raised(struck, "hume_sync.x"))


def test_an_exception_without_arguments_is_another_threads() -> None:
    for exc in (TimeoutError(), Timeout(), ConnectionResetError()):
        assert from_outside(exc)
