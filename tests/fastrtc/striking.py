"""Exceptions from outside: raised by a signal handler, or by another thread, while a call waits."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from hume_sync import (
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    InputError,
    MisuseError,
    RequestError,
    Timeout,
)
from hume_sync.errors import ConnectionLost, ProtocolError
from hume_sync.fastrtc import HookError, ReplyTimeout, TooManyConnections
from tests.faultproxy import head, upgrade_answer

KINDS: dict[str, Callable[[], BaseException]] = {
    "TimeoutError": lambda: TimeoutError("mine"),
    "TimeoutError without a text": TimeoutError,
    "TimeoutError of the system": lambda: TimeoutError(errno.ETIMEDOUT, "mine"),
    "OSError": lambda: OSError("mine"),
    "ConnectionResetError": lambda: ConnectionResetError(errno.ECONNRESET, "mine"),
    "BrokenPipeError": lambda: BrokenPipeError("mine"),
    "ConnectionAbortedError": lambda: ConnectionAbortedError("mine"),
    "BlockingIOError": lambda: BlockingIOError(errno.EAGAIN, "mine"),
    "InterruptedError": lambda: InterruptedError("mine"),
    "SSLError": lambda: ssl.SSLError("mine"),
    "SSLWantReadError": lambda: ssl.SSLWantReadError("mine"),
    "SSLCertVerificationError": lambda: ssl.SSLCertVerificationError("mine"),
    "gaierror": lambda: socket.gaierror(socket.EAI_AGAIN, "mine"),
    "EOFError": lambda: EOFError("mine"),
    "Timeout": lambda: Timeout("mine"),
    "ReplyTimeout": lambda: ReplyTimeout("mine"),
    "ConnectionLost": lambda: ConnectionLost("mine", close_code=1006),
    "ConnectionLost by the server": lambda: ConnectionLost("mine", close_code=1000),
    "ConnectError": lambda: ConnectError("mine"),
    "AuthenticationError": lambda: AuthenticationError("mine", status=401),
    "TooManyConnections": lambda: TooManyConnections("mine"),
    "HookError": lambda: HookError("mine", status=307),
    "ProtocolError": lambda: ProtocolError("mine"),
    "ConfigurationError": lambda: ConfigurationError("mine"),
    "MisuseError": lambda: MisuseError("mine"),
    "InputError": lambda: InputError("mine"),
    "RequestError": lambda: RequestError("mine", code="I0100"),
    "ValueError": lambda: ValueError("mine"),
    "RuntimeError": lambda: RuntimeError("mine"),
    "KeyboardInterrupt": KeyboardInterrupt,
}
"""What handlers raise, by name: all that the library might take for an error of its own, and some more."""


def await_rest(thread: int, ready: Callable[[], object]) -> None:
    """Wait until something is so, and the thread then stands at one place for a while: it waits."""
    until = time.monotonic() + 10
    while not ready():
        assert time.monotonic() < until
        time.sleep(0.001)
    since, place = time.monotonic(), None
    while time.monotonic() - since < 0.03:
        assert time.monotonic() < until
        frame = sys._current_frames()[thread]
        if (now := (frame.f_code, frame.f_lasti)) != place:
            since, place = time.monotonic(), now
        time.sleep(0.001)


def struck(call: Callable[[], object], exc: BaseException, ready: Callable[[], object] = lambda: True) -> None:
    """Have a signal's handler raise an exception while the call waits; that very object must come out, and soon."""
    main = threading.main_thread().ident
    assert main is not None
    assert main == threading.get_ident()
    began = threading.Event()
    failures: list[BaseException] = []
    at = [0.0]

    def handler(_number: int, _frame: FrameType | None) -> None:
        raise exc

    def send() -> None:
        try:
            began.wait()
            await_rest(main, ready)
        except BaseException as failure:
            failures.append(failure)
        at[0] = time.monotonic()
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    sender = threading.Thread(target=send)
    sender.start()
    came: BaseException | None = None
    try:
        began.set()
        call()
    except BaseException as caught:
        came = caught
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    assert not failures, failures
    assert came is exc, repr(came)
    assert time.monotonic() - at[0] < 2


def thrown(call: Callable[[], object], kind: type[BaseException], ready: Callable[[], object] = lambda: True) -> None:
    """Have this thread raise an exception in another one while the call waits there; it must come out, and soon."""
    came: list[Any] = []

    def run() -> None:
        try:
            came.append(call())
        except BaseException as exc:
            came.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    assert thread.ident is not None
    await_rest(thread.ident, ready)
    at = time.monotonic()
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(kind))
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - at < 2
    assert type(came[0]) is kind, came[0]
    assert not any(came[0].args)


class Silent:
    """A server that answers nothing, from a certain point on.

    Args:
        tls: its own settings; None: it uses no TLS, for any client.
        answer: what it says once it has read the head of a request; "upgrade": the answer to an upgrade.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, answer: bytes | str = b"") -> None:
        self._tls = tls
        self._answer = answer
        self._socks: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.received = 0
        """Connections from which data was received."""

    def __enter__(self) -> Silent:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _begin(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._socks.append(sock)
                self._begin(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            spoken = self._tls.wrap_socket(sock, server_side=True) if self._tls else sock
            with spoken, spoken.makefile("rb") as file:
                file.peek(1)
                self.received += 1
                if self._answer:
                    lines = list(head(file))
                    answer = upgrade_answer(lines) if isinstance(self._answer, str) else self._answer
                    spoken.sendall(answer)
                while file.read(1):
                    pass


@contextlib.contextmanager
def unanswering() -> Iterator[int]:
    """A port where connections are neither made nor refused: the queue of those that wait is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield address[1]
