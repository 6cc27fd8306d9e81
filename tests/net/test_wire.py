from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from hume_sync.net.deadline import Deadline
from hume_sync.net.wire import Wire


@pytest.fixture
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    ours, theirs = socket.socketpair()
    wire = Wire(ours, Deadline(5))
    with theirs:
        yield wire, theirs
    wire.close()


def test_bytes_are_read_ahead_and_handed_out_as_asked(pair: tuple[Wire, socket.socket]) -> None:
    wire, peer = pair
    peer.sendall(b"hello")
    assert wire.recv(2) == b"he"
    assert wire.surplus == 3
    assert wire.recv(10) == b"llo"
    assert wire.surplus == 0


def test_the_end_of_the_stream_reads_as_nothing(pair: tuple[Wire, socket.socket]) -> None:
    wire, peer = pair
    peer.close()
    assert wire.recv(1) == b""
    with pytest.raises(EOFError):
        wire.poll()


def test_a_line_ends_at_its_end_its_limit_or_the_streams(pair: tuple[Wire, socket.socket]) -> None:
    wire, peer = pair
    peer.sendall(b"one\r\ntwo\nthree")
    assert wire.recv_line(100) == b"one\r\n"
    assert wire.recv_line(2) == b"tw"
    assert wire.recv_line(100) == b"o\n"
    peer.shutdown(socket.SHUT_WR)
    assert wire.recv_line(100) == b"three"


def test_polling_never_waits(pair: tuple[Wire, socket.socket]) -> None:
    wire, peer = pair
    assert not wire.poll()
    peer.sendall(b"x")
    assert wire.poll()
    assert wire.poll()  # what is there stays
    assert wire.recv(1) == b"x"


@pytest.mark.parametrize("call", [lambda wire: wire.recv(1), lambda wire: wire.send(b"x" * 10_000_000)])
def test_the_deadline_ends_a_call_that_waits(pair: tuple[Wire, socket.socket], call: object) -> None:
    wire, _ = pair
    wire.deadline = Deadline(0.05)
    with pytest.raises(TimeoutError):
        call(wire)  # type: ignore[operator]


def test_a_deadline_that_has_passed_ends_a_call_before_it_begins(pair: tuple[Wire, socket.socket]) -> None:
    wire, peer = pair
    peer.sendall(b"x")
    wire.deadline = Deadline(0.0)
    with pytest.raises(TimeoutError):
        wire.recv(1)


class Unanswered(socket.socket):
    """A socket whose keep-alive probes nobody answers."""

    def recv(self, *args: object) -> bytes:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    def send(self, *args: object) -> int:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")


@pytest.mark.parametrize("call", [lambda wire: wire.recv(1), lambda wire: wire.send(b"x")], ids=["recv", "send"])
def test_the_systems_own_time_out_is_a_lost_connection(call: Callable[[Wire], object]) -> None:
    ours, theirs = socket.socketpair()
    wire = Wire(Unanswered(fileno=ours.detach()), Deadline(5))
    with pytest.raises(ConnectionResetError), theirs:
        call(wire)
    wire.close()


def test_a_waiting_call_wakes_when_another_thread_aborts(pair: tuple[Wire, socket.socket]) -> None:
    wire, _ = pair
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(wire.recv(1)))
    thread.start()
    wire.abort()
    thread.join(5)
    assert got == [b""]


def test_closing_again_or_aborting_afterwards_does_nothing(pair: tuple[Wire, socket.socket]) -> None:
    wire, _ = pair
    wire.close()
    wire.close()
    wire.abort()
    wire.try_send(b"x")
    assert wire.fileno() == -1
