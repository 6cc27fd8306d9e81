"""That the system notices a vanished peer within a minute, and spares one that is only slow."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from hume_sync.net import keepalive as module
from hume_sync.net import sockets as wire_module
from hume_sync.net.deadline import Deadline
from hume_sync.net.keepalive import allow_for_closed_window, set_keepalive
from hume_sync.net.sockets import SocketStream


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection; the first has its keep-alive set."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        set_keepalive(near)
        yield near, far


def option(sock: socket.socket, name: str) -> int:
    level = socket.SOL_SOCKET if name.startswith("SO_") else socket.IPPROTO_TCP
    return sock.getsockopt(level, getattr(socket, name))


def test_silence_ends_a_connection_within_a_minute(pair: tuple[socket.socket, socket.socket]) -> None:
    near, _ = pair
    assert option(near, "SO_KEEPALIVE")
    idle, interval, count = (option(near, f"TCP_KEEP{name}") for name in ("IDLE", "INTVL", "CNT"))
    assert 0 < idle + interval * count <= 60
    assert 0 < option(near, "TCP_USER_TIMEOUT") <= 60_000


@pytest.mark.parametrize("missing", ["TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT", "TCP_INFO"])
def test_what_a_platform_lacks_is_left_out(
    pair: tuple[socket.socket, socket.socket], missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, missing)
    with socket.socket() as sock:
        set_keepalive(sock)
        assert option(sock, "SO_KEEPALIVE")
    allow_for_closed_window(pair[0])


class Old(socket.socket):
    """A socket of a system that knows nothing of TCP's options."""

    def setsockopt(self, level: int, *args: object) -> None:
        if level == socket.IPPROTO_TCP:
            raise OSError(92, "Protocol not available")
        super().setsockopt(level, *args)  # type: ignore[call-overload]


def test_what_a_system_refuses_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "from_outside", lambda exc: False)  # (the frame of `Old` is no handler's)
    with Old() as sock:
        set_keepalive(sock)
        assert option(sock, "SO_KEEPALIVE")


def test_a_closed_socket_has_no_window() -> None:
    sock = socket.socket()
    sock.close()
    allow_for_closed_window(sock)


def test_a_peer_that_takes_nothing_for_longer_than_the_limit_is_not_abandoned(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = pair
    limit = 1000
    monkeypatch.setattr(module, "_UNACKNOWLEDGED", limit)
    monkeypatch.setattr(wire_module, "_MAX_WAIT", 0.1)
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit)
    message = random.Random(1).randbytes(30_000_000)
    got = bytearray()
    limits = []
    busy = threading.Event()

    def slowly() -> None:
        busy.wait(2.5 * limit / 1000)  # while its window is closed
        limits.append(option(near, "TCP_USER_TIMEOUT"))
        while len(got) < len(message):
            got.extend(far.recv(1 << 20))
        far.sendall(b"done")

    peer = threading.Thread(target=slowly)
    peer.start()
    wire, deadline = SocketStream(near), Deadline(20)
    wire.send(message, deadline)
    assert wire.read(deadline) == b"done"
    peer.join(10)
    assert limits == [0]
    assert got == message


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_peer_that_vanishes_is_a_lost_connection_within_a_minute_though_the_call_has_no_limit() -> None:
    namespace = ["unshare", "--user", "--map-root-user", "--net"]
    try:
        subprocess.run([*namespace, "ip", "link", "add", "near", "type", "veth"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"no network namespace with a cable may be made here: {exc}")
    script = subprocess.run(
        [*namespace, sys.executable, "-m", "tests.net.vanishing"], check=True, capture_output=True, text=True
    )
    for error, cause, seconds in json.loads(script.stdout).values():
        assert (error, cause) == ("ConnectionLost", "ETIMEDOUT")
        assert seconds < 60
