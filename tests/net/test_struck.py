"""Signal handlers that raise in the middle of other people's code, which takes their exceptions for its own."""

from __future__ import annotations

import dis
import functools
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, SimpleNamespace
from typing import Any

import attrs
import pytest

from hume_sync import InputError, LanguageConfig
from hume_sync.emulator import Emulator
from hume_sync.net.connect import _check_plaintext
from hume_sync.net.deadline import Deadline
from hume_sync.net.endpoint import API_KEY, Endpoint, check_key
from hume_sync.net.http1 import parse_retry_after
from hume_sync.net.interrupts import from_handler
from hume_sync.net.proxies import environment_proxy
from hume_sync.net.replies import decode
from hume_sync.net.tcp import _look_up
from hume_sync.net.urls import split_url
from hume_sync.net.websocket import upgrade
from hume_sync.stream.configs import check_configs
from hume_sync.stream.landmarks import serialize_landmarks
from tests.strikes import CTRL, STRIKING, look_away, watched

NO_PROXY = "10.0.0.0/8, fd00::/8, 127.1, ::1, *.example.com, 10.0.0.0/255.0.0.0, schön.example"


class Limit(Exception):
    """A time limit of the caller's own."""


@attrs.frozen
class Struck:
    work: Callable[[], object]
    files: tuple[str, ...]
    """What the files end with whose instructions are struck."""

    def points(self) -> list[tuple[CodeType, int]]:
        seen: dict[tuple[CodeType, int], None] = {}
        with watched(self._chosen, lambda code, at: seen.setdefault((code, at))):
            self.work()
        return [(code, at) for code, at in seen if STRIKING.match(dis.opname[code.co_code[at]])]

    def strike(self, point: tuple[CodeType, int]) -> BaseException | None:
        """Work, and be interrupted before that instruction; return what came out of it."""
        todo = [point]

        def look(code: CodeType, at: int) -> None:
            if todo and todo[0] == (code, at):
                todo.clear()
                look_away()
                CTRL.c  # noqa: B018 - reading it is what it is for

        try:
            with watched(lambda code: code is point[0], look):
                self.work()
                for _ in range(2):
                    len("")
        except BaseException as exc:
            return exc
        return None

    def _chosen(self, code: CodeType) -> bool:
        return code.co_filename.endswith(self.files)


def endpoint_of(url: str) -> Endpoint:
    encrypted, host, port, prefix = Endpoint.parse_url(url)
    assert not encrypted
    return Endpoint(host, port, prefix + "/v0/stream/models", secret_headers=((API_KEY, check_key("k")),))


def plaintext() -> None:
    sock: Any = SimpleNamespace(getpeername=lambda: ("127.0.0.1", 80))
    _check_plaintext(sock, endpoint_of("ws://127.0.0.1"))


def upgraded(url: str) -> None:
    wire, _ = upgrade(endpoint_of(url), Deadline(10))
    wire.close()


WORK = {
    "a URL": Struck(lambda: split_url("ws://[fe80::1%25eth0]:80/x"), ("urls.py", "urllib/parse.py", "ipaddress.py")),
    "a host": Struck(lambda: split_url("ws://schön.example:80/x"), ("urls.py", "urllib/parse.py", "idna.py")),
    "no_proxy": Struck(lambda: environment_proxy("ws", "10.1.2.3", 80), ("proxies.py", "ipaddress.py", "idna.py")),
    "no_proxy, IPv6": Struck(lambda: environment_proxy("ws", "fd00::2", 80), ("proxies.py", "ipaddress.py")),
    "loopback": Struck(plaintext, ("dial.py", "proxies.py", "ipaddress.py")),
    "a date": Struck(lambda: parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), ("http1.py", "preload.py")),
    "JSON": Struck(
        lambda: decode(b'{"a": NaN, "b": ["\\ud800"]}'), ("replies.py", "json/__init__.py", "json/decoder.py")
    ),
    # (Of `socket` itself a ValueError does not come out: it takes it for a family that has no name.)
    "an address": Struck(lambda: _look_up("localhost", 80), ("net/tcp.py", "idna.py")),
}


@pytest.fixture
def error(request: pytest.FixtureRequest) -> Iterator[Exception]:
    """What a handler of SIGINT raises."""
    error: Exception = type(request.param)(*request.param.args)  # without the tracebacks of other tests

    def handler(number: int, frame: object) -> None:
        raise error

    before = signal.signal(signal.SIGINT, handler)
    yield error
    signal.signal(signal.SIGINT, before)


ERRORS = [ValueError("mine"), UnicodeError("mine"), TimeoutError("mine"), Limit("mine")]
any_error = pytest.mark.parametrize("error", ERRORS, indirect=True, ids=lambda error: type(error).__name__)


def check(struck: Struck, error: Exception) -> None:
    struck.work()  # what is imported, compiled and cached is so the first time
    found = struck.points()
    assert len(found) > 5
    for code, at in found:
        came = struck.strike((code, at))
        assert came is error, f"{came!r} at {at} of {code.co_qualname}"
        error.__traceback__ = error.__context__ = error.__cause__ = None


@any_error
@pytest.mark.parametrize("name", WORK)
def test_a_handlers_exception_comes_out_of_other_peoples_code(
    name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", NO_PROXY)
    monkeypatch.setenv("ws_proxy", "http://proxy.example")
    check(WORK[name], error)


@any_error
def test_a_handlers_exception_comes_out_of_websocket_client(error: Exception, hume_emulator: Emulator) -> None:
    check(Struck(lambda: upgraded(hume_emulator.url), ("_http.py", "_handshake.py", "_core.py", "upgrade.py")), error)


class Points(Sequence[object]):
    """A row of the caller's, which does something when it is read."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def __len__(self) -> int:
        self._act()
        return 1

    def __getitem__(self, index: object) -> Any:
        self._act()
        raise IndexError(index)


class Options(Mapping[str, object]):
    """Likewise, by names."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: object) -> Any:
        return key

    def __iter__(self) -> Iterator[str]:
        self._act()
        return iter(["x"])


READERS: dict[str, Callable[[Any], object]] = {
    "landmarks": lambda act: serialize_landmarks(Points(act)),
    "configs": lambda act: check_configs(Points(act)),
    "options of a configuration": lambda act: LanguageConfig(sentiment=Options(act)),
}


@pytest.mark.parametrize("error", [ValueError("mine"), KeyError("mine"), RuntimeError("mine")], indirect=True)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_handlers_exception_is_no_fault_of_the_object_that_is_being_read(
    read: Callable[[Any], object], error: Exception
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(InputError):
        read(fail)
    error.__traceback__ = None
    with pytest.raises(type(error)) as caught:
        read(lambda: signal.raise_signal(signal.SIGINT))
    assert caught.value is error


@pytest.mark.parametrize(
    "handle",
    [
        lambda error: lambda *given: fail_with(error),
        lambda error: functools.partial(fail_at, error),
        lambda error: Handler(error).handle,
    ],
    ids=["a lambda", "a partial", "a method"],
)
def test_handlers_of_any_form_are_known(handle: Callable[[Exception], Any]) -> None:
    error = ValueError("mine")
    before = signal.signal(signal.SIGINT, handle(error))
    try:
        with pytest.raises(ValueError, match="mine") as caught:
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert from_handler(caught.value)
    with pytest.raises(ValueError, match="mine") as caught:
        fail_with(ValueError("mine"))
    assert not from_handler(caught.value)


def fail_with(error: Exception) -> None:
    raise error


def fail_at(error: Exception, number: int, frame: object) -> None:
    raise error


class Handler:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def handle(self, number: int, frame: object = None) -> None:
        fail_with(self._error)
