"""The local server: a thread with an event loop, owned by one object."""

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
from .journal import Journal
from .knobs import Knobs, is_close_code
from .script import Refusal, Script
from .wire import Front

_GRACE = 0.5  # seconds that clients have to answer the close frame when the server ends
_ANSWER = 5.0  # seconds that the loop may take to do what another thread asked of it


@safe_repr
class Emulator:
    """A server of Hume's v0 streaming protocol on this machine, with invented scores; a context manager.

    ``host`` and ``port`` (0: any free one) say where it listens. ``api_keys`` are the keys let in; None
    lets any key in that is not empty, and with ``anonymous=True`` clients without one too. With
    ``ssl_context`` it speaks TLS. All other arguments are the fields of :class:`Knobs`.

    Every answer to a handshake carries ``X-Hume-Emulator: 1``. All methods may be called from any thread.
    Raises TypeError or ValueError for arguments that make no sense.
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
            raise TypeError(f"Emulator has no knob {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
        self._host = _checked_host(host)
        self._asked_port = _checked_port(port)
        self._keys = _checked_keys(api_keys)
        self._ssl_context = ssl_context
        self._knobs = Knobs(**knobs)
        self._journal = Journal(self._knobs.journal_size, self._knobs.journal_data)
        self._script = Script()
        self._lifecycle = make_lock()
        self._running: _Running | None = None

    @property
    def knobs(self) -> Knobs:
        """The settings."""
        return self._knobs

    @property
    def journal(self) -> Journal:
        """What has arrived, also before an earlier ``close``."""
        return self._journal

    @property
    def port(self) -> int:
        """The port it listens on; RuntimeError when it is not started."""
        return self._require_running().port

    @property
    def url(self) -> str:
        """The base URL, "ws://127.0.0.1:PORT"; RuntimeError when it is not started."""
        running = self._require_running()
        host = f"[{running.host}]" if ":" in running.host else running.host
        return f"{'ws' if self._ssl_context is None else 'wss'}://{host}:{running.port}"

    def start(self) -> Self:
        """Listen, and return the emulator itself; after ``close`` it may be started again.

        Raises RuntimeError if it is started already, OSError if the address cannot be bound.
        """
        running = None
        try:
            with self._lifecycle:
                if self._running is not None:
                    raise RuntimeError("The emulator is already started")
                running = self._running = _Running(self)
            running.begin()
        except BaseException:  # Ctrl-C too, which may come while the thread starts
            if running is not None:
                self.close()
            raise
        return self

    def close(self, timeout: float = 5.0) -> None:
        """Close every connection (1001), stop listening and end the thread; again it does nothing.

        Clients that do not answer the close frame are cut after half a second. ``timeout`` seconds is the
        longest this takes.
        """
        with self._lifecycle:
            if self._running is not None and self._running.end(timeout):
                self._running = None

    def refuse(self, status: int, *, times: int = 1, retry_after: float | None = None) -> None:
        """Answer the next ``times`` handshakes by an HTTP status from 300 to 599.

        ``retry_after`` is the number of seconds in a Retry-After header.
        """
        if isinstance(status, bool) or status not in {known.value for known in HTTPStatus} or status < 300:
            raise ValueError(f"status must be an HTTP status from 300 to 599, not {status!r}")
        self._script.refuse(Refusal(status, retry_after), _checked_times(times))

    def fail_next(self, code: str, text: str, *, times: int = 1) -> None:
        """Answer the next ``times`` requests by an error, such as "I0100"; they change nothing else."""
        if not isinstance(code, str) or not isinstance(text, str) or not code:
            raise TypeError(f"code and text must be strings, not {code!r} and {text!r}")
        self._script.fail(code, text, _checked_times(times))

    def drop_connections(self, code: int | None = None) -> None:
        """Cut every open connection without a close frame, or close it with ``code``.

        Raises ValueError for a code that a close frame cannot carry, RuntimeError when not started.
        """
        if code is not None and not is_close_code(code):
            raise ValueError(f"code must be a close code that may be sent, not {code!r}")
        self._require_running().drop(code)

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
            self.close()  # a signal's handler has raised in the middle of it
            raise

    def __repr__(self) -> str:
        running = self._running
        return f"<Emulator {'not started' if running is None else f'on port {running.port}'}>"

    def _require_running(self) -> _Running:
        running = self._running
        if running is None or not running.listens:
            raise RuntimeError("The emulator is not started: use 'with Emulator() as server', or start()")
        return running

    async def _open(self) -> tuple[Front, Server]:
        front = Front(self._knobs, self._keys, script=self._script, journal=self._journal)
        return front, await front.listen(self._host, self._asked_port, self._ssl_context)


@safe_repr
class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose timers run on where a test has frozen or patched ``time.monotonic``."""

    _clock = staticmethod(partial(time.clock_gettime, time.CLOCK_MONOTONIC))

    def time(self) -> float:
        return self._clock()


class _Running:
    """The thread of a started emulator, from ``begin`` to ``end``."""

    def __init__(self, emulator: Emulator) -> None:
        self.host = emulator._host
        self.port = 0
        self._emulator = emulator
        self._state: tuple[asyncio.AbstractEventLoop, asyncio.Event, Front] | None = None  # once it listens
        self._told: SimpleQueue[BaseException | None] = SimpleQueue()  # that it does, or why it cannot
        self._given_up = False
        self._dropping: asyncio.Task[None] | None = None
        # A daemon, so that a program that forgets to close the emulator can still end.
        self._thread = threading.Thread(target=self._run, name="hume-emulator", daemon=True)

    @property
    def listens(self) -> bool:
        return self._state is not None

    def begin(self) -> None:
        self._thread.start()
        if (error := self._told.get()) is not None:
            raise error

    def end(self, timeout: float) -> bool:
        self._given_up = True  # before the look: a thread that listens only now sees it
        if self._state is not None:
            loop, stop, _ = self._state
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(stop.set)
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def drop(self, code: int | None) -> None:
        assert self._state is not None
        loop, _, front = self._state
        done: SimpleQueue[BaseException | None] = SimpleQueue()

        async def drop() -> None:
            try:
                await front.drop(code)
            finally:
                done.put(sys.exception())

        def begin() -> None:
            self._dropping = loop.create_task(drop())  # kept: the loop itself may forget a task

        loop.call_soon_threadsafe(begin)
        try:
            error = done.get(timeout=_ANSWER)
        except Empty:
            raise TimeoutError("the emulator's thread does not answer") from None
        if error is not None:
            raise error

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_Loop) as runner:
                runner.run(self._main())
        except BaseException as error:
            if self._state is not None:
                raise
            self._told.put(error)

    async def _main(self) -> None:
        stop = asyncio.Event()
        front, server = await self._emulator._open()
        self.host, self.port = _address(self.host, server)
        self._state = asyncio.get_running_loop(), stop, front
        self._told.put(None)
        if not self._given_up:
            await stop.wait()
        server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await server.wait_closed()
        await front.cut_all()  # what still runs after this is cancelled with the loop


def _address(host: str, server: Server) -> tuple[str, int]:
    """Return host and port for the URL: a name may stand for several addresses, each with its own port."""
    sockets = tuple(server.sockets)
    name = sockets[0].getsockname()
    return (host if len(sockets) == 1 else name[0]), name[1]


def _checked_host(host: str) -> str:
    if not isinstance(host, str) or not host:
        raise TypeError(f"host must be a name or an address, not {host!r}")
    return host


def _checked_port(port: int) -> int:
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65_535:
        raise ValueError(f"port must be a whole number from 0 to 65535, not {port!r}")
    return port


def _checked_keys(keys: Collection[str] | None) -> frozenset[str] | None:
    if keys is None:
        return None
    if isinstance(keys, str) or not all(isinstance(key, str) and key for key in keys):
        raise TypeError("api_keys must be a collection of strings that are not empty")
    if not keys:
        raise ValueError("api_keys is empty, so nobody could connect; None lets any key in")
    return frozenset(keys)


def _checked_times(times: int) -> int:
    if not isinstance(times, int) or isinstance(times, bool) or times < 1:
        raise ValueError(f"times must be a whole number from 1, not {times!r}")
    return times
