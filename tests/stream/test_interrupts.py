"""What a signal handler or another thread raises in a call comes out at once, as it is, and nothing is sent twice."""

from __future__ import annotations

import ctypes
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import trustme

from hume_sync import (
    ConnectError,
    ConnectionLost,
    HumeStreamClient,
    InputError,
    LanguageConfig,
    ProsodyConfig,
    ProtocolError,
    RetryPolicy,
    ServerError,
    StreamSocket,
    Timeout,
)
from hume_sync.emulator import Emulator
from hume_sync.net.deadline import Deadline
from tests.emulator.support import tone, wav
from tests.faultproxy import FaultProxy, Peer

AUDIO = wav(tone(1.0))
RAISED: list[Exception] = [
    TimeoutError("my limit"),
    OSError("mine"),
    OSError(110, "mine"),
    ConnectionResetError(104, "mine"),
    BrokenPipeError("mine"),
    BlockingIOError(11, "mine"),
    InterruptedError(4, "mine"),
    ssl.SSLError("mine"),
    ssl.SSLWantReadError("mine"),
    EOFError("mine"),
    Timeout("mine", phase="connect"),
    ConnectionLost("mine"),
    ConnectError("mine"),
    ProtocolError("mine"),
    ServerError("mine", code="I0100"),
    InputError("mine"),
    ValueError("mine"),
    StopIteration("mine"),
]
KINDS = [f"{type(error).__name__}-{number}" for number, error in enumerate(RAISED)]


@contextmanager
def raising_on_alarm(error: Exception) -> Iterator[Callable[..., object]]:
    """Yield a function that makes the main thread raise ``error``, wherever it is by then."""

    def handler(number: int, frame: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.05)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def server_of(scheme: str) -> Iterator[tuple[Emulator, dict[str, Any]]]:
    """A local server, and the client's arguments for it."""
    context = None
    arguments: dict[str, Any] = {}
    if scheme == "wss":
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        arguments["ssl_context"] = trusting
    with Emulator(ssl_context=context) as server:
        yield server, arguments


def socket_of(server: Emulator | FaultProxy, url: str, arguments: dict[str, Any], stack: ExitStack, kind: str) -> Any:
    client = HumeStreamClient(
        "k", base_url=url, timeout=20, close_timeout=0.2, retry=RetryPolicy(initial=0.001), proxy=False, **arguments
    )
    if kind == "pool":
        pool = stack.enter_context(client.pool([ProsodyConfig()]))
        return stack.enter_context(pool.socket())
    socket = client.connect([ProsodyConfig()])
    stack.callback(socket.close)
    return socket


Stall = Callable[[FaultProxy, Callable[..., object], threading.Event], None]


def stalled_connect(proxy: FaultProxy, strike: Callable[..., object], done: threading.Event) -> None:
    def fault(peer: Peer) -> bool:
        strike()
        done.wait(10)
        return False

    proxy.on_connect(fault)


def stalled_reply(proxy: FaultProxy, strike: Callable[..., object], done: threading.Event) -> None:
    def fault(peer: Peer, genuine: bytes) -> bool:
        strike()
        done.wait(10)
        return False

    proxy.on_reply(fault)


@pytest.mark.parametrize("error", RAISED, ids=KINDS)
@pytest.mark.parametrize("kind", ["socket", "pool"])
@pytest.mark.parametrize("phase", ["connect", "receive", "replay"])
def test_a_handlers_exception_comes_out_as_it_is_and_nothing_is_sent_twice(
    phase: str, kind: str, error: Exception
) -> None:
    done = threading.Event()
    with ExitStack() as stack:
        server, arguments = stack.enter_context(server_of("ws"))
        proxy = stack.enter_context(FaultProxy(("127.0.0.1", server.port)))
        strike = stack.enter_context(raising_on_alarm(error))
        stack.callback(done.set)
        socket = socket_of(proxy, proxy.url, arguments, stack, kind)
        if phase != "connect":
            socket.send_media(AUDIO)
        if phase == "replay":
            socket._executor.stream.connection.discard()
        before = len(server.journal.requests)
        (stalled_connect if phase == "connect" else stalled_reply)(proxy, strike, done)
        with pytest.raises(type(error)) as caught:
            socket.send_media(AUDIO)
        assert caught.value is error
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert len(server.journal.requests) <= before + (phase != "connect")
        done.set()
        reply = socket.send_media(AUDIO)  # on a new connection: the one that was interrupted is gone
        assert reply.attempts == 1


@pytest.mark.parametrize("error", RAISED, ids=KINDS)
def test_a_handlers_exception_comes_out_of_a_tls_connection_too(error: Exception) -> None:
    with ExitStack() as stack:
        server, arguments = stack.enter_context(server_of("wss"))
        strike = stack.enter_context(raising_on_alarm(error))
        socket = socket_of(server, server.url, arguments, stack, "socket")
        socket.send_media(AUDIO)
        with Emulator(latency=600, ssl_context=None) as _:
            pass
        websocket = socket._executor.stream.connection._transport
        strike()
        with pytest.raises(type(error)) as caught:
            while True:
                websocket.receive(Deadline(20.0))
        assert caught.value is error


@pytest.mark.parametrize("error", RAISED, ids=KINDS)
def test_a_handlers_exception_ends_the_wait_before_a_retry(error: Exception) -> None:
    def handler_is_due(event: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    policy = RetryPolicy(max_attempts=5, initial=1e6, maximum=1e6, on_retry=handler_is_due)
    with ExitStack() as stack:
        server = stack.enter_context(Emulator())
        stack.enter_context(raising_on_alarm(error))
        client = HumeStreamClient("k", base_url=server.url, timeout=1e6, retry=policy)
        socket = stack.enter_context(client.connect([LanguageConfig()]))
        server.fail_next("I0100", "busy", times=9)
        with pytest.raises(type(error)) as caught:
            socket.send_text("x")
        assert caught.value is error
        assert len(server.journal.requests) == 1


@pytest.mark.parametrize("kind", [TimeoutError, ConnectionLost, EOFError, OSError])
def test_what_another_thread_throws_into_a_call_comes_out(kind: type[Exception], hume_emulator: Emulator) -> None:
    caught: list[BaseException] = []
    inside = threading.Event()
    done = threading.Event()
    with FaultProxy(("127.0.0.1", hume_emulator.port)) as proxy:

        def fault(peer: Peer, genuine: bytes) -> bool:
            inside.set()
            done.wait(10)
            return False

        proxy.on_reply(fault)

        def call() -> None:
            socket: StreamSocket = HumeStreamClient("k", base_url=proxy.url, timeout=10).connect([LanguageConfig()])
            try:
                socket.send_text("x")
            except BaseException as exc:
                caught.append(exc)
            finally:
                socket.close()

        thread = threading.Thread(target=call)
        thread.start()
        assert inside.wait(10)
        assert thread.ident
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(kind))
        thread.join(15)
        done.set()
    assert [type(exc) for exc in caught] == [kind]
    assert not any(caught[0].args)
    assert len(hume_emulator.journal.requests) == 1
