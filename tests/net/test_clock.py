"""What tests do to `time` does not stop the library: each way of it, against each thing that waits."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from unittest import mock

import freezegun
import pytest
import time_machine

import hume_sync
from hume_sync import ConnectError, HumeStreamClient, LanguageConfig, RetryPolicy, Timeout
from hume_sync.emulator import Emulator
from hume_sync.fastrtc import FastRTCClient, ReplyTimeout
from hume_sync.net import clock
from hume_sync.net.deadline import Deadline
from hume_sync.net.duplex import Duplex, Heartbeat
from hume_sync.net.endpoint import Endpoint
from hume_sync.stream.breaker import CircuitBreaker
from tests.fastrtc.fake import FakeFastRTC
from tests.faultproxy import Peer, read_frame

from .support import server, upgraded

SOON = 20.0


WAYS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "freezegun": lambda: freezegun.freeze_time("2001-01-01"),
    "time-machine": lambda: time_machine.travel("2001-01-01", tick=False),
    "mock-monotonic": lambda: mock.patch("time.monotonic", return_value=0.0),
    "mock-sleep": lambda: mock.patch("time.sleep", return_value=None),
}


@pytest.fixture(params=WAYS)
def frozen(request: pytest.FixtureRequest) -> Iterator[None]:
    with WAYS[request.param]():
        yield


def mute(peer: Peer) -> None:
    peer.wait_gone()


@pytest.mark.usefixtures("frozen")
def test_the_clock_goes_on() -> None:
    begin, wall = clock.monotonic(), clock.wall()
    while clock.monotonic() == begin:
        pass
    assert clock.monotonic() > begin
    assert wall > 0


@pytest.mark.usefixtures("frozen")
def test_a_deadline_passes() -> None:
    with server(upgraded(mute)) as port:
        client = HumeStreamClient("k", base_url=f"ws://127.0.0.1:{port}", retry=RetryPolicy.none())
        socket = client.connect([LanguageConfig()])
        with pytest.raises(Timeout):
            socket.send_text("x", timeout=0.2)
        socket.close()


@pytest.mark.usefixtures("frozen")
def test_a_deadline_does_not_pass_too_early(hume_client: HumeStreamClient) -> None:
    with hume_client.connect([LanguageConfig()]) as socket:
        assert socket.send_text("x", timeout=SOON).attempts == 1


@pytest.mark.usefixtures("frozen")
def test_idle_connections_of_a_pool_expire_and_others_do_not(hume_client: HumeStreamClient) -> None:
    for max_idle, same in ((0.02, False), (3600.0, True)):
        with hume_client.pool([LanguageConfig()], max_idle=max_idle) as pool:
            with pool.socket() as socket:
                socket.send_text("x")
                before = socket.epoch
            until = clock.monotonic() + 0.05
            while clock.monotonic() < until:
                pass
            with pool.socket() as socket:
                socket.send_text("x")
                assert (socket.epoch == before) is same


@pytest.mark.usefixtures("frozen")
def test_back_off_ends(hume_emulator: Emulator) -> None:
    client = HumeStreamClient(
        "k", base_url=hume_emulator.url, proxy=False, retry=RetryPolicy(initial=0.01, maximum=0.02)
    )
    hume_emulator.refuse(503, times=2)
    with client.pool([LanguageConfig()]) as pool, pool.socket() as socket:
        assert socket.send_text("x", timeout=SOON).attempts == 3


@pytest.mark.usefixtures("frozen")
def test_a_gate_lets_its_prober_through_in_time() -> None:
    gate, caller = CircuitBreaker(RetryPolicy(initial=0.01, maximum=0.02)), object()
    gate.record_failure(caller, ConnectError("away"))
    gate.wait_for_turn(caller, Deadline(SOON))


@pytest.mark.usefixtures("frozen")
def test_a_session_goes_on_beating() -> None:
    beats: list[bytes] = []

    def listen(peer: Peer) -> None:
        for _ in range(3):
            beats.append(read_frame(peer.file)[1])
        peer.wait_gone()

    with server(upgraded(listen)) as port:
        beat = Heartbeat(b"beat", interval=0.02, timeout=SOON)
        duplex = Duplex.open(Endpoint("127.0.0.1", port, "/"), Deadline(SOON), beat=beat)
        until = clock.monotonic() + SOON
        while len(beats) < 3 and clock.monotonic() < until:
            duplex.receive(Deadline(0.01))
        duplex.abort()
    assert len(beats) == 3


@pytest.mark.usefixtures("frozen")
def test_a_reply_of_a_handler_is_not_waited_for_without_end() -> None:
    with FakeFastRTC() as fake:
        client = FastRTCClient(fake.url, path="/echo", proxy=False)
        with client.connect() as session, pytest.raises(ReplyTimeout):
            session.reply(timeout=0.1)


@pytest.mark.usefixtures("frozen")
def test_the_local_servers_timers_go_on() -> None:
    with Emulator(latency=0.05, idle_timeout=0.2) as emulator:
        client = HumeStreamClient("k", base_url=emulator.url, proxy=False)
        with client.connect([LanguageConfig()]) as socket:
            assert socket.send_text("x", timeout=SOON).attempts == 1
            assert emulator.journal.wait_for(lambda journal: bool(journal.ends), timeout=SOON)


IMPORTED_FROZEN = """
import freezegun, time
with freezegun.freeze_time("2001-01-01"):
    import hume_sync
    from hume_sync.net import clock
    begin = clock.monotonic()
    for _ in range(1000):
        clock.monotonic()
    print(clock.monotonic() > begin, type(clock.monotonic).__name__)
"""


def test_a_library_first_imported_while_time_is_frozen_has_the_real_clock() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED_FROZEN], capture_output=True, text=True, check=True)
    assert done.stdout == "True partial\n"


def test_no_module_asks_another_clock() -> None:
    package = Path(hume_sync.__file__).parent
    allowed = {Path("net/clock.py"), Path("emulator/server.py")}
    users = {
        module.relative_to(package)
        for module in package.rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name == "time" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "time" and not node.level)
    }
    assert users <= allowed
