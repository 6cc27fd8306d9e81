from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import ExitStack
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import connect as async_connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from hume_sync.emulator import Emulator, Journal, Knobs, server
from tests.net.support import tls_contexts

from .support import request


def _dial(emulator: Emulator, **options: Any) -> ClientConnection:
    client: ClientConnection = connect(emulator.url + "/v0/stream/models?apikey=k", **options)
    return client


def _visit(emulator: Emulator) -> None:
    with _dial(emulator) as client:
        client.send(request(job_details=True))
        assert "job_details" in orjson.loads(client.recv(timeout=10))


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "hume-emulator"]


def test_it_listens_on_loopback_at_a_free_port() -> None:
    with Emulator() as one, Emulator() as two:
        assert one.url == f"ws://127.0.0.1:{one.port}"
        assert one.port != two.port
        assert repr(one) == f"<Emulator on port {one.port}>"


def test_it_can_be_had_at_a_given_port_and_again_after_its_end() -> None:
    emulator = Emulator().start()
    port = emulator.port
    _visit(emulator)
    emulator.close()
    again = Emulator(port=port)
    for _ in range(2):
        with again:
            assert again.port == port
            _visit(again)
    assert again.journal.counts["handshakes"] == 2


def test_a_host_of_version_six_stands_in_brackets() -> None:
    emulator = Emulator("::1")
    try:
        emulator.start()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    try:
        assert emulator.url == f"ws://[::1]:{emulator.port}"
        _visit(emulator)
    finally:
        emulator.close()


def test_a_name_is_kept_or_becomes_the_address_that_has_the_port() -> None:
    with Emulator("localhost") as emulator:
        _visit(emulator)


def test_it_serves_tls() -> None:
    tls, trusting = tls_contexts("127.0.0.1")

    async def visit(emulator: Emulator) -> None:
        # On asyncio: over TLS, the client for threads lets two of them use one connection, and hangs now and then.
        url = emulator.url + "/v0/stream/models?apikey=k"
        async with asyncio.timeout(10), async_connect(url, ssl=trusting) as client:
            await client.send(request(job_details=True))
            assert "job_details" in orjson.loads(await client.recv())
            emulator.drop_connections()
            with pytest.raises(ConnectionClosed):
                await client.recv()

    with Emulator(ssl_context=tls) as emulator:
        assert emulator.url.startswith("wss://")
        asyncio.run(visit(emulator))


def test_close_does_not_wait_for_a_tls_handshake_either() -> None:
    tls, _ = tls_contexts("127.0.0.1")
    emulator = Emulator(ssl_context=tls).start()
    with socket.create_connection(("127.0.0.1", emulator.port)):
        emulator.close()
    assert _threads() == []


def test_what_needs_a_started_emulator_says_so() -> None:
    emulator = Emulator()
    assert repr(emulator) == "<Emulator not started>"
    for use in (lambda: emulator.url, lambda: emulator.port, emulator.drop_connections):
        with pytest.raises(RuntimeError, match="not started"):
            use()


def test_it_cannot_be_started_twice() -> None:
    with Emulator() as emulator, pytest.raises(RuntimeError, match="already started"):
        emulator.start()


def test_a_port_in_use_is_an_os_error_and_leaves_no_thread() -> None:
    with Emulator() as one:
        with pytest.raises(OSError, match=str(one.port)):
            Emulator(port=one.port).start()
        assert len(_threads()) == 1


def test_close_ends_thread_and_connections_and_may_be_repeated() -> None:
    emulator = Emulator().start()
    port = emulator.port
    with _dial(emulator) as client:
        emulator.close()
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(timeout=10)
    emulator.close()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1001
    assert _threads() == []
    assert emulator.journal.counts["open"] == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("upgraded", [False, True])
def test_close_does_not_wait_for_clients_that_do_not_answer(upgraded: bool) -> None:
    emulator = Emulator(latency=600).start()
    with socket.create_connection(("127.0.0.1", emulator.port)) as silent:
        if upgraded:
            silent.sendall(
                b"GET /v0/stream/models?apikey=k HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            assert silent.recv(12) == b"HTTP/1.1 101"
            silent.sendall(b"\x81\x82\x00\x00\x00\x00{}")
            assert emulator.journal.wait_for(lambda journal: bool(journal.requests))
        emulator.close()
    assert _threads() == []


def test_a_close_that_ran_out_of_time_can_be_finished() -> None:
    emulator = Emulator(latency=600).start()
    with _dial(emulator):
        emulator.close(timeout=0)
        emulator.close()
    assert _threads() == []


def test_settings_and_journal_are_at_hand_before_the_start() -> None:
    emulator = Emulator(seed=7)
    assert emulator.knobs == Knobs(seed=7)
    assert isinstance(emulator.journal, Journal)


def test_an_unknown_setting_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(TypeError, match=r"unknown settings of Emulator: latnecy; known are: .*latency"):
        Emulator(latnecy=1)


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"latency": -1}, ValueError, "latency"),
        ({"host": ""}, TypeError, "host"),
        ({"port": 65_536}, ValueError, "port"),
        ({"port": "80"}, ValueError, "port"),
        ({"api_keys": "key"}, TypeError, "api_keys"),
        ({"api_keys": [""]}, TypeError, "api_keys"),
        ({"api_keys": []}, ValueError, "api_keys"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        Emulator(**arguments)


@pytest.mark.parametrize("status", [101, 200, 299, 600, 499, True, "401"])
def test_only_a_status_that_refuses_can_be_asked_for(status: Any) -> None:
    with pytest.raises(ValueError, match="status"):
        Emulator().refuse(status)


@pytest.mark.parametrize("times", [0, True, 1.5])
def test_a_fault_happens_a_whole_number_of_times(times: Any) -> None:
    with pytest.raises(ValueError, match="times"):
        Emulator().refuse(503, times=times)
    with pytest.raises(ValueError, match="times"):
        Emulator().fail_next("I0100", "text", times=times)


def test_a_failure_has_a_code_and_a_text() -> None:
    for code, text in (("", "text"), (100, "text"), ("I0100", None)):
        with pytest.raises(TypeError, match="code and text"):
            Emulator().fail_next(code, text)  # type: ignore[arg-type]


def test_a_code_that_no_frame_can_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="close code"):
        Emulator().drop_connections(1006)


def test_the_url_names_the_first_of_several_addresses() -> None:
    class _Server:
        sockets = (socket.socket(), socket.socket())

    try:
        for each in _Server.sockets:
            each.bind(("127.0.0.1", 0))
        assert server._address("name", _Server) == _Server.sockets[0].getsockname()  # type: ignore[arg-type]
    finally:
        for each in _Server.sockets:
            each.close()


def test_several_hundred_connections_are_served_at_once() -> None:
    with Emulator() as emulator, ExitStack() as stack:
        clients = [stack.enter_context(_dial(emulator, compression=None)) for _ in range(200)]
        for client in clients:
            client.send(request(job_details=True))
        jobs = {orjson.loads(client.recv(timeout=10))["job_details"]["job_id"] for client in clients}
        assert len(jobs) == emulator.journal.counts["peak"] == 200
