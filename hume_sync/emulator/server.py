"""The local server: an object that owns a thread with an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
import threading
import time
from collections.abc import Collection
from functools import partial
from http import HTTPStatus
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from attrs import fields
from websockets.asyncio.server import Server

from ..locks import make_lock
from ..reprs import safe_repr
from .acceptor import Acceptor
from .journal import Journal
from .knobs import Knobs, is_close_code
from .scripted_faults import Rejection, ScriptedFaults

_CLOSE_TIMEOUT = 0.5  # seconds for clients to answer the close frame when the server stops
_CALL_TIMEOUT = 5.0  # seconds for the event loop to run a call from another thread


@safe_repr
class Emulator:
    """A local server of Hume's v0 streaming protocol, with invented scores. It is a context manager.

    The response to every handshake carries ``X-Hume-Emulator: 1``. All methods may be called from any thread.

    Args:
        host: The address to listen on.
        port: The port to listen on; 0 picks a free one.
        api_keys: The accepted keys. None accepts any key that is not empty, and with ``anonymous=True`` also
            clients without a key.
        ssl_context: The TLS settings; None serves without TLS.
        **knobs: The fields of `Knobs`.

    Raises:
        TypeError: An argument is unknown or has the wrong type.
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        api_keys: Collection[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        **knobs: Any,
    ) -> None:
        known = {field.name for field in fields(Knobs)}
        if unknown := sorted(set(knobs) - known):
            raise TypeError(
                f"unknown settings of Emulator: {', '.join(unknown)}; known are: {', '.join(sorted(known))}"
            )
        self._host = _validate_host(host)
        self._asked_port = _validate_port(port)
        self._keys = _validate_keys(api_keys)
        self._ssl_context = ssl_context
        self._knobs = Knobs(**knobs)
        self._journal = Journal(self._knobs.journal_size, self._knobs.journal_data)
        self._faults = ScriptedFaults()
        self._lifecycle = make_lock()
        self._running: _ServerThread | None = None

    @property
    def knobs(self) -> Knobs:
        """Return the settings."""
        return self._knobs

    @property
    def journal(self) -> Journal:
        """Return the journal of what has arrived; it is kept when the emulator is closed and started again."""
        return self._journal

    @property
    def port(self) -> int:
        """Return the port that the emulator listens on.

        Raises:
            RuntimeError: The emulator is not started.
        """
        return self._require_started().port

    @property
    def url(self) -> str:
        """Return the base URL, "ws://127.0.0.1:PORT".

        Raises:
            RuntimeError: The emulator is not started.
        """
        running = self._require_started()
        host = f"[{running.host}]" if ":" in running.host else running.host
        return f"{'ws' if self._ssl_context is None else 'wss'}://{host}:{running.port}"

    def start(self) -> Self:
        """Start listening and return the emulator. It may be started again after ``close``.

        Raises:
            RuntimeError: The emulator is already started.
            OSError: The address cannot be bound.
        """
        running = None
        try:
            with self._lifecycle:
                if self._running is not None:
                    raise RuntimeError("The emulator is already started")
                running = self._running = _ServerThread(self)
            running.start()
        except BaseException:  # including Ctrl-C while the thread starts
            if running is not None:
                self.close()
            raise
        return self

    def close(self, timeout: float = 5.0) -> None:
        """Close every connection (1001), stop listening and end the thread. Closing twice does nothing.

        Connections of clients that do not answer the close frame are aborted after half a second.

        Args:
            timeout: The longest wait in seconds.
        """
        with self._lifecycle:
            if self._running is not None and self._running.stop(timeout):
                self._running = None

    def refuse(self, status: int, *, times: int = 1, retry_after: float | None = None) -> None:
        """Reject the next handshakes with an HTTP status.

        Args:
            status: The HTTP status, from 300 to 599.
            times: How many handshakes to reject.
            retry_after: The seconds of a Retry-After header; None sends no such header.

        Raises:
            ValueError: An argument is out of range.
        """
        if isinstance(status, bool) or status not in {known.value for known in HTTPStatus} or status < 300:
            raise ValueError(f"status must be an HTTP status from 300 to 599, not {status!r}")
        self._faults.add_rejection(Rejection(status, retry_after), _validate_times(times))

    def fail_next(self, code: str, text: str, *, times: int = 1) -> None:
        """Answer the next requests with an error. These requests change nothing else.

        Args:
            code: The error code, such as "I0100".
            text: The message.
            times: How many requests to answer so.

        Raises:
            TypeError: The code or the text is not a string.
            ValueError: ``times`` is not a whole number from 1.
        """
        if not isinstance(code, str) or not isinstance(text, str) or not code:
            raise TypeError(f"code and text must be strings, not {code!r} and {text!r}")
        self._faults.add_error(code, text, _validate_times(times))

    def drop_connections(self, code: int | None = None) -> None:
        """Abort every open connection without a close frame, or close each with ``code``.

        Args:
            code: The code of the close frame, or None.

        Raises:
            ValueError: A close frame cannot carry the code.
            RuntimeError: The emulator is not started.
            TimeoutError: The emulator's thread did not respond in time.
        """
        if code is not None and not is_close_code(code):
            raise ValueError(f"code must be a close code that may be sent, not {code!r}")
        self._require_started().drop(code)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except BaseException:
            self.close()  # a signal handler raised inside the first call
            raise

    def __repr__(self) -> str:
        running = self._running
        return f"<Emulator {'not started' if running is None else f'on port {running.port}'}>"

    def _require_started(self) -> _ServerThread:
        running = self._running
        if running is None or not running.listening:
            raise RuntimeError("The emulator is not started: use 'with Emulator() as server', or start()")
        return running

    async def _listen(self) -> tuple[Acceptor, Server]:
        acceptor = Acceptor(self._knobs, self._keys, faults=self._faults, journal=self._journal)
        return acceptor, await acceptor.listen(self._host, self._asked_port, self._ssl_context)


@safe_repr
class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose timers keep running while a test freezes or patches ``time.monotonic``."""

    _clock = staticmethod(partial(time.clock_gettime, time.CLOCK_MONOTONIC))

    def time(self) -> float:
        return self._clock()


class _ServerThread:
    """The thread of a started emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self.host = emulator._host
        self.port = 0
        self._emulator = emulator
        self._state: tuple[asyncio.AbstractEventLoop, asyncio.Event, Acceptor] | None = None  # set once it listens
        self._started: SimpleQueue[BaseException | None] = SimpleQueue()  # None once it listens, else the error
        self._stop_requested = False
        self._dropping: asyncio.Task[None] | None = None
        # A daemon thread, so that a program which does not close the emulator can still exit.
        self._thread = threading.Thread(target=self._run, name="hume-emulator", daemon=True)

    @property
    def listening(self) -> bool:
        return self._state is not None

    def start(self) -> None:
        self._thread.start()
        if (error := self._started.get()) is not None:
            raise error

    def stop(self, timeout: float) -> bool:
        self._stop_requested = True  # set before `_state` is read, so a thread that starts listening now sees it
        if self._state is not None:
            loop, stop, _ = self._state
            with contextlib.suppress(RuntimeError):  # the loop is already closed
                loop.call_soon_threadsafe(stop.set)
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def drop(self, code: int | None) -> None:
        assert self._state is not None
        loop, _, acceptor = self._state
        done: SimpleQueue[BaseException | None] = SimpleQueue()

        async def drop() -> None:
            try:
                await acceptor.drop(code)
            finally:
                done.put(sys.exception())

        def begin() -> None:
            self._dropping = loop.create_task(drop())  # keep a reference: the loop only holds a weak one

        loop.call_soon_threadsafe(begin)
        try:
            error = done.get(timeout=_CALL_TIMEOUT)
        except Empty:
            raise TimeoutError("timed out waiting for the emulator's thread") from None
        if error is not None:
            raise error

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_Loop) as runner:
                runner.run(self._main())
        except BaseException as error:
            if self._state is not None:
                raise
            self._started.put(error)

    async def _main(self) -> None:
        stop = asyncio.Event()
        acceptor, server = await self._emulator._listen()
        self.host, self.port = _address(self.host, server)
        self._state = asyncio.get_running_loop(), stop, acceptor
        self._started.put(None)
        if not self._stop_requested:
            await stop.wait()
        server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await server.wait_closed()
        await acceptor.abort_all()  # remaining tasks are cancelled with the loop


def _address(host: str, server: Server) -> tuple[str, int]:
    """Return the host and port for the URL. A name may resolve to several addresses, each with its own port."""
    sockets = tuple(server.sockets)
    name = sockets[0].getsockname()
    return (host if len(sockets) == 1 else name[0]), name[1]


def _validate_host(host: str) -> str:
    if not isinstance(host, str) or not host:
        raise TypeError(f"host must be a name or an address, not {host!r}")
    return host


def _validate_port(port: int) -> int:
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65_535:
        raise ValueError(f"port must be a whole number from 0 to 65535, not {port!r}")
    return port


def _validate_keys(keys: Collection[str] | None) -> frozenset[str] | None:
    if keys is None:
        return None
    if isinstance(keys, str) or not all(isinstance(key, str) and key for key in keys):
        raise TypeError("api_keys must be a collection of strings that are not empty")
    if not keys:
        raise ValueError("api_keys is empty, so no client could connect; None accepts any key")
    return frozenset(keys)


def _validate_times(times: int) -> int:
    if not isinstance(times, int) or isinstance(times, bool) or times < 1:
        raise ValueError(f"times must be a whole number from 1, not {times!r}")
    return times
