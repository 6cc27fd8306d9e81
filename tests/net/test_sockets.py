from __future__ import annotations

import errno
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from hume_sync.net import sockets as module
from hume_sync.net.deadline import Deadline
from hume_sync.net.sockets import SocketStream

pytestmark = pytest.mark.usefixtures("errors_of_fakes_are_own")

SOON = Deadline(3600)


@pytest.fixture
def pair() -> Iterator[tuple[SocketStream, socket.socket]]:
    ours, theirs = socket.socketpair()
    wire = SocketStream(ours)
    with theirs:
        yield wire, theirs
    wire.close()


def test_bytes_are_read_ahead_and_handed_out_as_asked(pair: tuple[SocketStream, socket.socket]) -> None:
    wire, peer = pair
    peer.sendall(b"hello")
    assert wire.readline(2, SOON) == b"he"
    assert wire.buffered == 3
    assert wire.read(SOON) == b"llo"
    assert wire.buffered == 0


def test_the_end_of_the_stream_reads_as_nothing(pair: tuple[SocketStream, socket.socket]) -> None:
    wire, peer = pair
    peer.close()
    assert wire.read(SOON) == b""
    with pytest.raises(EOFError):
        wire.poll()


def test_a_line_ends_at_its_end_its_limit_or_the_streams(pair: tuple[SocketStream, socket.socket]) -> None:
    wire, peer = pair
    peer.sendall(b"one\r\ntwo\nthree")
    assert wire.readline(100, SOON) == b"one\r\n"
    assert wire.readline(2, SOON) == b"tw"
    assert wire.readline(100, SOON) == b"o\n"
    peer.shutdown(socket.SHUT_WR)
    assert wire.readline(100, SOON) == b"three"


def test_polling_never_waits(pair: tuple[SocketStream, socket.socket]) -> None:
    wire, peer = pair
    assert not wire.poll()
    peer.sendall(b"x")
    assert wire.poll()
    assert wire.poll()  # what is there stays
    assert wire.read(SOON) == b"x"


@pytest.mark.parametrize(
    "call", [lambda wire, end: wire.read(end), lambda wire, end: wire.send(b"x" * 10_000_000, end)]
)
def test_the_deadline_ends_a_call_that_waits(pair: tuple[SocketStream, socket.socket], call: object) -> None:
    wire, _ = pair
    with pytest.raises(TimeoutError):
        call(wire, Deadline(0.05))  # type: ignore[operator]


def test_a_deadline_that_has_passed_ends_a_call_before_it_begins(pair: tuple[SocketStream, socket.socket]) -> None:
    wire, peer = pair
    peer.sendall(b"x")
    with pytest.raises(TimeoutError):
        wire.read(Deadline(0.0))


class Unanswered(socket.socket):
    """A socket whose keep-alive probes get no answer."""

    def recv(self, *args: object) -> bytes:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    def send(self, *args: object) -> int:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")


@pytest.mark.parametrize(
    "call", [lambda wire: wire.read(SOON), lambda wire: wire.send(b"x", SOON)], ids=["recv", "send"]
)
def test_the_systems_own_time_out_is_a_lost_connection(call: Callable[[SocketStream], object]) -> None:
    ours, theirs = socket.socketpair()
    wire = SocketStream(Unanswered(fileno=ours.detach()))
    with pytest.raises(ConnectionResetError), theirs:
        call(wire)
    wire.close()


def test_a_waiting_call_wakes_when_another_thread_aborts(pair: tuple[SocketStream, socket.socket]) -> None:
    wire, _ = pair
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(bytes(wire.read(SOON))))
    thread.start()
    wire.abort()
    thread.join(5)
    assert got == [b""]


def test_closing_again_or_aborting_afterwards_does_nothing(pair: tuple[SocketStream, socket.socket]) -> None:
    wire, _ = pair
    wire.close()
    wire.close()
    wire.abort()
    wire.send_nowait(b"x")
    assert wire.fileno() == -1


@pytest.fixture(params=["kernel", "python"])
def timed(
    request: pytest.FixtureRequest, pair: tuple[SocketStream, socket.socket]
) -> tuple[SocketStream, socket.socket]:
    """Both ways a wire can have its system calls end in time."""
    pair[0]._by_kernel = request.param == "kernel"
    return pair


def test_a_wait_longer_than_the_timer_goes_on_until_there_is_something(
    timed: tuple[SocketStream, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, peer = timed
    monkeypatch.setattr(module, "_MAX_WAIT", 0.01)
    ticks = threading.Semaphore(0)
    raise_unless_tick = module._raise_unless_tick

    def counted(exc: OSError) -> None:
        raise_unless_tick(exc)
        ticks.release()

    def answer() -> None:
        for _ in range(3):
            assert ticks.acquire(timeout=5)
        peer.sendall(b"at last")

    monkeypatch.setattr(module, "_raise_unless_tick", counted)
    thread = threading.Thread(target=answer)
    thread.start()
    assert wire.read(SOON) == b"at last"
    thread.join()


def test_a_send_longer_than_the_timer_loses_and_repeats_nothing(
    timed: tuple[SocketStream, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, peer = timed
    monkeypatch.setattr(module, "_MAX_WAIT", 0.01)
    message = random.Random(1).randbytes(3_000_000)
    ticked = threading.Event()
    raise_unless_tick = module._raise_unless_tick

    def counted(exc: OSError) -> None:
        raise_unless_tick(exc)
        ticked.set()

    def receive() -> None:
        assert ticked.wait(5)  # nothing more fits, and the sender has waited
        while len(got) < len(message):
            got.extend(peer.recv(100_000))

    monkeypatch.setattr(module, "_raise_unless_tick", counted)
    got = bytearray()
    thread = threading.Thread(target=receive)
    thread.start()
    wire.send(message, SOON)
    thread.join()
    assert got == message


@pytest.mark.parametrize("timeout", [0.02, 0.2])
def test_the_deadline_holds_in_either_way_after_a_longer_one(
    timed: tuple[SocketStream, socket.socket], timeout: float
) -> None:
    wire, peer = timed
    peer.sendall(b"x")
    assert wire.read(SOON) == b"x"  # under five seconds
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="deadline"):
        wire.read(Deadline(timeout))
    assert timeout <= time.monotonic() - began < timeout + 0.5
    peer.sendall(b"y")
    assert wire.read(SOON) == b"y"


def test_after_a_look_without_waiting_reads_wait_again(timed: tuple[SocketStream, socket.socket]) -> None:
    wire, peer = timed
    peer.sendall(b"x")
    assert wire.poll()
    assert wire.read(SOON) == b"x"
    answer = threading.Timer(0.05, peer.sendall, [b"y"])
    answer.start()
    assert wire.read(SOON) == b"y"
    answer.join()


def test_a_socket_that_never_really_blocks_is_timed_by_python() -> None:
    class Cooperative(socket.socket):
        """As gevent's: its descriptor is non-blocking with any timeout."""

        def settimeout(self, value: float | None) -> None:
            super().settimeout(value)
            os.set_blocking(self.fileno(), False)

    ours, theirs = socket.socketpair()
    wires = [SocketStream(ours), SocketStream(Cooperative(fileno=theirs.detach()))]
    assert [wire._by_kernel for wire in wires] == [True, False]
    for wire in wires:
        wire.close()
