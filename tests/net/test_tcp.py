"""Connecting to a host with several addresses: staggered, without threads, and without a socket left behind."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from hume_sync import ConnectError, PoolClosed, Timeout
from hume_sync.net import connect as dial_module
from hume_sync.net import keepalive
from hume_sync.net import sockets as wire_module
from hume_sync.net import tcp as module
from hume_sync.net.connect import open_stream
from hume_sync.net.deadline import Deadline
from hume_sync.net.endpoint import Endpoint
from hume_sync.net.pending import DialSockets, Pending
from hume_sync.net.route import Route
from hume_sync.net.tcp import connect

from .support import deaf, tls_contexts

if TYPE_CHECKING:
    from _typeshed import TraceFunction

V4, V6 = socket.AF_INET, socket.AF_INET6


class Names:
    """The name look-up of a test: the addresses of every host."""

    addresses: tuple[str, ...] = ()

    def getaddrinfo(self, host: str, port: int, **_: object) -> list[Any]:
        family = {True: V6, False: V4}
        return [(family[":" in a], socket.SOCK_STREAM, 6, "", (a, port)) for a in self.addresses]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    return names


class Made(socket.socket):
    """A socket that is remembered, with the addresses that it was connected to."""

    all: list[socket.socket]
    tried: list[str]

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if sys._getframe(1).f_globals["__name__"] == DialSockets.__module__:  # not those of the test
            self.all.append(self)

    def connect_ex(self, address: Any) -> int:
        if self in self.all:
            self.tried.append(address[0])
        return super().connect_ex(address)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> type[Made]:
    Made.all, Made.tried = [], []
    monkeypatch.setattr(socket, "socket", Made)
    return Made


def still_open(made: type[Made]) -> list[socket.socket]:
    return [sock for sock in made.all if sock.fileno() >= 0]


@pytest.fixture
def port() -> Iterator[int]:
    """Listens on 127.0.0.1: a connection is established even if no one accepts it."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


def connected(port: int, route: Route | None = None, timeout: float = 10.0) -> str:
    """Connect; return the address that answered."""
    sockets = DialSockets()
    try:
        return str(connect("many.example", port, Deadline(timeout), sockets, route or Route()).getpeername()[0])
    finally:
        sockets.release()


# --- the order


@pytest.mark.parametrize(
    ("addresses", "first", "order"),
    [
        ([(V4, "a")], None, "a"),
        ([(V4, "a"), (V4, "b"), (V4, "a")], None, "ab"),
        ([(V6, "1"), (V6, "2"), (V6, "3"), (V4, "a"), (V4, "b")], None, "1a2b3"),
        ([(V4, "a"), (V6, "1"), (V6, "2")], None, "a12"),
        ([(V6, "1"), (V6, "2"), (V4, "a"), (V4, "b")], (V4, "b"), "b1a2"),
        ([(V4, "a"), (V4, "b")], (V4, "gone"), "ab"),
        ([], (V4, "gone"), ""),
    ],
)
def test_each_address_is_tried_once_families_by_turns_and_what_worked_last_first(
    addresses: list[Any], first: Any, order: str
) -> None:
    assert "".join(address for _, address in module._in_order(addresses, first)) == order


# --- attempts


def test_an_address_that_drops_packets_costs_no_more_than_a_moment(names: Names, made: type[Made], port: int) -> None:
    names.addresses = ("127.0.0.2", "127.0.0.3", "127.0.0.1")
    with deaf("127.0.0.2", port), deaf("127.0.0.3", port):
        assert connected(port, timeout=1000.0) == "127.0.0.1"
    assert made.tried == ["127.0.0.2", "127.0.0.3", "127.0.0.1"]


def test_the_attempts_that_lost_are_closed_at_once(names: Names, made: type[Made], port: int) -> None:
    names.addresses = ("127.0.0.2", "127.0.0.1")
    with deaf("127.0.0.2", port):
        sockets = DialSockets()
        winner = connect("many.example", port, Deadline(10), sockets, Route())
        assert still_open(made) == [winner]
        sockets.release()
        assert still_open(made) == []


def test_a_failed_attempt_starts_the_next_at_once(names: Names, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STAGGER", 600.0)
    names.addresses = ("127.0.0.2", "::1", "127.0.0.3", "127.0.0.1")  # no one listens at the first three
    assert connected(port, timeout=1000.0) == "127.0.0.1"


@pytest.mark.parametrize("second", [(V4, "127.0.0.3"), (99, "elsewhere")], ids=["refused", "no-such-family"])
def test_it_does_so_while_others_are_still_unanswered(
    port: int, second: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STAGGER", 0.01)

    class Patient(socket.socket):
        def connect_ex(self, address: Any) -> int:
            monkeypatch.setattr(module, "_STAGGER", 600.0)  # for those behind the first
            return super().connect_ex(address)

    found = [(V4, "127.0.0.2"), second, (V4, "127.0.0.1")]
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(family, 1, 6, "", (address, port)) for family, address in found]
    )
    with deaf("127.0.0.2", port):
        monkeypatch.setattr(socket, "socket", Patient)
        monkeypatch.setattr(module, "_in_order", lambda addresses, first: addresses)
        assert connected(port, timeout=2000.0) == "127.0.0.1"


def test_a_family_that_this_machine_does_not_speak_starts_the_next_at_once(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STAGGER", 600.0)
    found = [(99, socket.SOCK_STREAM, 6, "", ("elsewhere",)), (V4, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert connected(port, timeout=1000.0) == "127.0.0.1"


def test_an_answer_that_comes_late_counts_while_others_are_tried(
    names: Names, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STAGGER", 0.05)
    names.addresses = ("127.0.0.2", "127.0.0.3")
    with socket.socket() as first, contextlib.ExitStack() as fillers, deaf("127.0.0.3", port):
        first.bind(("127.0.0.2", port))
        first.listen(0)
        for _ in range(2):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.2", port))

        def make_room() -> None:
            for _ in range(2):
                first.accept()[0].close()

        with ThreadPoolExecutor(1) as aside:
            room = aside.submit(make_room)
            assert connected(port) == "127.0.0.2"  # by its second packet, a second later
            room.result(5)


def test_with_little_time_every_address_has_its_turn(names: Names, port: int) -> None:
    names.addresses = (*(f"127.0.0.{i}" for i in range(2, 8)), "127.0.0.1")
    with contextlib.ExitStack() as stack:
        for address in names.addresses[:-1]:
            stack.enter_context(deaf(address, port))
        assert connected(port, timeout=1.0) == "127.0.0.1"  # seven times a quarter of a second would be more


def test_where_no_address_answers_in_time_the_error_names_each_and_its_reason(
    names: Names, made: type[Made], port: int
) -> None:
    names.addresses = ("127.0.0.2", "127.0.0.3", "127.0.0.3")
    with deaf("127.0.0.2", port), pytest.raises(Timeout) as caught:
        connected(port, timeout=0.3)
    assert caught.value.phase == "connect"
    assert str(caught.value) == (
        f"timed out connecting to many.example:{port} (127.0.0.3: Connection refused; 127.0.0.2: no answer)"
    )
    assert still_open(made) == []


def test_where_every_address_refuses_the_error_names_each_and_its_reason(names: Names, port: int) -> None:
    names.addresses = ("127.0.0.2", "::1")
    with pytest.raises(ConnectError) as caught:
        connected(port)
    assert str(caught.value) == (
        f"cannot connect to many.example:{port} (127.0.0.2: Connection refused; ::1: Connection refused)"
    )


def test_without_time_nothing_is_tried(names: Names, made: type[Made], port: int) -> None:
    names.addresses = ("127.0.0.1",)
    with pytest.raises(Timeout, match=r"127\.0\.0\.1: no time left to try it"):
        connected(port, timeout=0.0)
    assert made.all == []


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
def test_a_name_that_cannot_be_encoded_is_named(host: str) -> None:
    with pytest.raises(ConnectError, match="cannot look up the host"):
        connect(host, 1, Deadline(1), DialSockets(), Route())


def test_where_there_is_no_poll_select_does(names: Names, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("select.poll")
    names.addresses = ("127.0.0.2", "127.0.0.3", "127.0.0.1")
    with deaf("127.0.0.2", port):
        assert connected(port) == "127.0.0.1"


# --- the address that worked last


def test_the_address_that_answered_is_tried_first_the_next_time(names: Names, made: type[Made], port: int) -> None:
    names.addresses = ("127.0.0.2", "127.0.0.1")
    route = Route()
    for tried in (["127.0.0.2", "127.0.0.1"], ["127.0.0.1"], ["127.0.0.1"]):
        made.tried.clear()
        assert connected(port, route) == "127.0.0.1"
        assert made.tried == tried


def test_it_is_forgotten_when_it_fails(names: Names, made: type[Made], port: int) -> None:
    names.addresses = ("127.0.0.1", "127.0.0.2")
    route = Route()
    route.address = V4, ("127.0.0.2", port)
    assert connected(port, route) == "127.0.0.1"
    assert made.tried == ["127.0.0.2", "127.0.0.1"]
    assert route.address == (V4, ("127.0.0.1", port))
    names.addresses = ("127.0.0.2",)
    route.address = V4, ("127.0.0.2", port)
    with pytest.raises(ConnectError):
        connected(port, route)
    assert route.address is None


def test_it_is_forgotten_when_it_no_longer_answers_in_time(names: Names, port: int) -> None:
    names.addresses = ("127.0.0.2",)
    route = Route()
    route.address = V4, ("127.0.0.2", port)
    with deaf("127.0.0.2", port), pytest.raises(Timeout):
        connected(port, route, timeout=0.1)
    assert route.address is None


def test_a_failure_of_another_address_does_not_make_it_forgotten() -> None:
    route = Route()
    route.address = V4, ("127.0.0.2", 1)
    route.forget((V4, ("127.0.0.1", 1)))
    assert route.address


# --- interruptions


def test_an_abort_from_another_thread_ends_all_attempts(names: Names, made: type[Made], port: int) -> None:
    names.addresses = ("127.0.0.2", "127.0.0.3")
    watched: list[Pending] = []

    def abort() -> None:
        until = time.monotonic() + 5
        while len(made.tried) < 2:
            assert time.monotonic() < until
            time.sleep(0.001)
        watched[0].abort()

    with deaf("127.0.0.2", port), deaf("127.0.0.3", port), ThreadPoolExecutor(1) as aside:
        aborting = aside.submit(abort)
        with pytest.raises(ConnectError, match="closed while it was being made"):
            open_stream(Endpoint("many.example", port, "/"), Deadline(1000), watched.append)
        aborting.result(5)
    assert still_open(made) == []


def test_an_abort_before_the_attempt_has_begun_ends_it_too(names: Names, made: type[Made], port: int) -> None:
    names.addresses = ("127.0.0.2",)
    with deaf("127.0.0.2", port), pytest.raises(ConnectError, match="closed while it was being made"):
        open_stream(Endpoint("many.example", port, "/"), Deadline(1000), lambda pending: pending.abort())
    assert still_open(made) == []


def test_what_watch_raises_ends_the_dialling(made: type[Made], port: int) -> None:
    def closed(pending: Pending) -> None:
        raise PoolClosed("the pool is closed")

    with pytest.raises(PoolClosed):
        open_stream(Endpoint("127.0.0.1", port, "/"), Deadline(5), closed)
    assert still_open(made) == []


class Encrypted(ssl.SSLSocket):
    """One that is remembered like the plain ones."""

    @classmethod
    def _create(cls, *args: Any, **more: Any) -> Any:
        made = super()._create(*args, **more)  # type: ignore[misc]  # the one way to see it before the caller does
        Made.all.append(made)
        return made


@pytest.fixture(scope="module")
def greeter() -> Iterator[tuple[int, ssl.SSLContext]]:
    """A server that shakes hands over TLS where it is asked to; and the client's context."""
    serving, trusting = tls_contexts("many.example")
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:

        def serve() -> None:
            while True:
                try:
                    sock = listener.accept()[0]
                except OSError:
                    return
                with sock, contextlib.suppress(OSError):
                    if sock.recv(1, socket.MSG_PEEK):
                        with serving.wrap_socket(sock, server_side=True) as encrypted:
                            encrypted.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], trusting
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_a_watcher_is_not_kept_alive(port: int) -> None:
    class Watcher:
        def watch(self, pending: Pending) -> None:
            self.pending = pending

    watcher = Watcher()
    wire = open_stream(Endpoint("127.0.0.1", port, "/"), Deadline(5), watcher.watch)
    gone = weakref.ref(watcher)
    gc.disable()
    try:
        del watcher
        assert gone() is None  # by its references alone
    finally:
        gc.enable()
        wire.close()


class Alarm(TimeoutError):
    """What a signal handler may raise."""


@pytest.mark.parametrize("encrypted", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, Alarm, ConnectionResetError, BlockingIOError, EOFError])
def test_an_exception_from_outside_leaves_no_socket_at_any_line(
    names: Names,
    made: type[Made],
    greeter: tuple[int, ssl.SSLContext],
    error: type[BaseException],
    encrypted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, tls = greeter
    monkeypatch.setattr(tls, "sslsocket_class", Encrypted)
    endpoint = Endpoint("many.example", port, "/", tls=tls if encrypted else None)
    names.addresses = ("127.0.0.2", "127.0.0.3", "127.0.0.1")
    files = {traced.__file__ for traced in (module, keepalive, dial_module, wire_module)}
    seen = 0

    def strike_at(line: int) -> TraceFunction:
        def trace(frame: FrameType, event: str, _: object) -> TraceFunction | None:
            nonlocal seen
            if frame.f_code.co_filename not in files:
                return None
            if event == "line":
                seen += 1
                if seen == line:
                    raise error("from outside")
            return trace

        return trace

    def attempt(line: int) -> bool:
        """Strike there; return whether there was such a line."""
        nonlocal seen
        seen = 0
        before = sys.gettrace()
        sys.settrace(strike_at(line))
        try:
            wire = open_stream(endpoint, Deadline(10))
        except error as exc:
            return exc.args == ("from outside",)
        finally:
            sys.settrace(before)
        wire.close()
        return False

    line = 1
    while attempt(line):  # as it is: it was not translated
        assert still_open(made) == [], f"line {line} of the open_stream"
        line += 1
    assert line > 60
    assert still_open(made) == []
