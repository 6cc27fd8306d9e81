"""Ctrl-C at every moment: the same piece of work again and again, each time struck by a signal at another instruction.

    python -W error -m tests.strikes SCENARIO [URL]

Python runs signal handlers between instructions: where a function begins, where a loop jumps back, and behind each call
of C code, above all between a call that makes something and the store that keeps it. Here a signal is made pending
right before one instruction, and the interpreter raises KeyboardInterrupt where it really does. All instructions of
this package that a run of the work executes have their turn, each the first time it is executed.

After every strike the next call must be right, and nothing be left: no descriptor, no thread, no lock that is held, no
lease. What the interpreter complains of, such as a socket that only the garbage collector closed, is a failure as well.

Three places are beyond what a Python package can do. A handler may run at the very beginning of an `__exit__`, before
its first instruction: the block is then left, and nothing is done. What a handler raises inside a finaliser is shown by
the interpreter, and forgotten. And `threading` does in Python code what has to be done in one step (Condition, Event,
the start of a thread): a handler that raises inside it may leave a lock held, or come out as a RuntimeError about one.
"""

from __future__ import annotations

import contextlib
import ctypes
import dis
import functools
import gc
import os
import re
import signal
import ssl
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NoReturn

import hume_sync
from hume_sync import HumeStreamClient, LanguageConfig, RetryPolicy, StreamSocket
from hume_sync.emulator import Emulator
from hume_sync.emulator.script import Script
from hume_sync.fastrtc import FastRTCClient

PACKAGE = str(Path(hume_sync.__file__).parent) + os.sep

STANDARD = tuple(f"{os.sep}{name}.py" for name in ("socket", "ssl"))
"""Of the standard library, what makes and keeps the resources that this package uses."""

STRIKING = re.compile(r"CALL(?!_INTRINSIC)|BEFORE_WITH|LOAD_SPECIAL|RESUME|JUMP_BACKWARD|FOR_ITER|SEND")
"""How the instructions begin behind which, or in the Python code called by which, handlers run."""

PATIENCE = 2.0
"""Seconds in which threads and their descriptors are gone."""

Point = tuple[CodeType, int]
"""An instruction."""


class Ctrl:
    """Makes a SIGINT pending without giving its handler a chance to run here: reading an attribute runs no handler."""

    c = property(
        functools.partial(
            ctypes.PYFUNCTYPE(None, ctypes.c_int, ctypes.py_object)(("PyErr_SetInterruptEx", ctypes.pythonapi)),
            signal.SIGINT,
        )
    )


CTRL = Ctrl()


def points(work: Callable[[], object]) -> list[Point]:
    """Run the work; return the instructions before which a strike can make a difference."""
    seen: dict[Point, None] = {}

    def note(code: CodeType, at: int) -> None:
        seen[code, at] = None

    with watched(lambda code: code.co_filename.startswith(PACKAGE) or code.co_filename.endswith(STANDARD), note):
        work()
    return [(code, at) for code, at in seen if STRIKING.match(dis.opname[code.co_code[at]])]


def strike(work: Callable[[], object], point: Point) -> traceback.FrameSummary | None:
    """Run the work and strike before an instruction; return where that took effect."""
    todo = [point]

    def look(code: CodeType, at: int) -> None:
        if todo and todo[0] == (code, at):
            todo.clear()
            look_away()
            CTRL.c  # noqa: B018 - reading it is what it is for; no call may follow, or the strike is here

    try:
        with watched(lambda code: code is point[0], look):
            work()
            for _ in range(2):
                len("")  # where a signal that came with the last instruction is looked for
    except KeyboardInterrupt as exc:
        return traceback.extract_tb(exc.__traceback__)[-1]
    except RuntimeError as exc:
        if isinstance(exc.__context__, KeyboardInterrupt):
            return traceback.extract_tb(exc.__context__.__traceback__)[-1]
        raise
    return None


if sys.version_info >= (3, 12):

    @contextlib.contextmanager
    def watched(choose: Callable[[CodeType], bool], look: Callable[[CodeType, int], None]) -> Iterator[None]:
        """Have a function look at each instruction of the code that is chosen, before it is executed."""
        monitoring, tool, event = sys.monitoring, sys.monitoring.DEBUGGER_ID, sys.monitoring.events.INSTRUCTION

        def callback(code: CodeType, at: int) -> Any:
            if not choose(code):
                return monitoring.DISABLE
            look(code, at)
            return None

        monitoring.use_tool_id(tool, __name__)
        monitoring.register_callback(tool, event, callback)
        monitoring.set_events(tool, event)
        try:
            yield
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)

    def look_away() -> None:
        """End it at once."""
        sys.monitoring.register_callback(sys.monitoring.DEBUGGER_ID, sys.monitoring.events.INSTRUCTION, None)

else:

    @contextlib.contextmanager
    def watched(choose: Callable[[CodeType], bool], look: Callable[[CodeType, int], None]) -> Iterator[None]:
        """Have a function look at each instruction of the code that is chosen, before it is executed."""

        def each(frame: FrameType, event: str, _: object) -> Any:
            if event == "opcode":
                look(frame.f_code, frame.f_lasti)
            return each

        def trace(frame: FrameType, _: str, __: object) -> Any:
            frame.f_trace_opcodes = choose(frame.f_code)
            return each if frame.f_trace_opcodes else None

        before = sys.gettrace()  # that of a coverage run: without it, the rest of this process would not be counted
        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(before)

    def look_away() -> None:
        """End it at once."""
        sys.settrace(None)


def is_beyond(where: traceback.FrameSummary | None) -> bool:
    """Whether it was the beginning of an ``__exit__``."""
    return where is not None and where.name == "__exit__" and (where.line or "").startswith(("def ", "self, kind"))


# --- what is struck


class Scenario:
    """A piece of work, what goes before, and what must be right behind it."""

    def __init__(self, url: str) -> None:
        context = ssl.create_default_context(cafile=os.environ["AUTHORITY"]) if url.startswith("wss") else None
        policy = RetryPolicy(initial=0.001)
        self.client = HumeStreamClient("key", base_url=url, proxy=False, timeout=5, retry=policy, ssl_context=context)

    def before(self) -> None: ...

    def work(self) -> None:
        raise NotImplementedError

    def after(self) -> None: ...


def asks(socket: StreamSocket, text: str) -> None:
    reply = socket.send_text(text)
    assert reply["language"]["predictions"][0]["text"] == text


class Socket(Scenario):
    """Connect, ask, close."""

    def before(self) -> None:
        self.socket = self.client.connect([LanguageConfig()])

    def work(self) -> None:
        with self.socket as socket:
            asks(socket, "one")

    def after(self) -> None:
        with self.client.connect([LanguageConfig()]) as socket:
            asks(socket, "two")


class Request(Socket):
    """A call on a socket, which must be usable behind it: connecting first."""

    def work(self) -> None:
        asks(self.socket, "one")

    def after(self) -> None:
        asks(self.socket, "two")
        self.socket.close()


class Reconnect(Request):
    """A call that finds its connection gone."""

    def before(self) -> None:
        super().before()
        asks(self.socket, "zero")
        self.socket._source.abort()


class File(Request):
    """A file is opened and read."""

    def before(self) -> None:
        super().before()
        asks(self.socket, "zero")
        self.file = Path(tempfile.gettempdir(), f"strikes-{os.getpid()}.txt")
        self.file.write_bytes(b"one")

    def work(self) -> None:
        self.socket.send_file(self.file)

    def after(self) -> None:
        self.file.unlink()
        super().after()


class Lease(Scenario):
    """A lease of a pool, on a new connection."""

    def before(self) -> None:
        self.pool = self.client.pool([LanguageConfig()], max_size=1, timeout=1)

    def work(self) -> None:
        with self.pool.socket() as self.socket:
            asks(self.socket, "one")

    def after(self) -> None:
        with self.pool.socket() as socket:
            asks(socket, "two")
        now = self.pool.stats()
        assert (now["leases"], now["busy"], now["idle"]) == (0, 0, 1), now
        self.pool.close()


class LeaseAgain(Lease):
    """... on a connection that waits there."""

    def before(self) -> None:
        super().before()
        with self.pool.socket() as socket:
            asks(socket, "zero")


class PoolClose(LeaseAgain):
    """A pool is closed."""

    def work(self) -> None:
        self.pool.close()

    def after(self) -> None:
        self.pool.close()


class Session(Scenario):
    """A FastRTC session is opened, says something, and is closed."""

    def __init__(self, url: str) -> None:
        self.sessions = FastRTCClient(url, path="/echo", proxy=False, timeout=5, latest="/latest")

    def work(self) -> None:
        with self.sessions.connect() as session:
            session.send_audio(bytes(2000))

    def after(self) -> None:
        with self.sessions.connect() as session:
            session.send_audio(bytes(2000))


class Hooks(Session):
    """The application around a FastRTC session is asked."""

    def before(self) -> None:
        self.session = self.sessions.connect()

    def work(self) -> None:
        self.session.set_input(a=1)
        with self.session.outputs() as outputs:
            outputs.receive(timeout=0.001)

    def after(self) -> None:
        self.session.set_input(a=2)
        with self.session.outputs() as outputs:
            outputs.receive(timeout=0.001)
        self.session.close()


class Server(Scenario):
    """The local server starts, cuts its connections, and ends."""

    def before(self) -> None:
        self.server = Emulator()

    def work(self) -> None:
        with self.server:
            self.server.drop_connections()

    def after(self) -> None:
        with self.server:
            self.server.drop_connections()


class Locked(Scenario):
    """Enter a ``with`` statement of a lock."""

    def before(self) -> None:
        self.faults = Script()

    def work(self) -> None:
        self.faults.fail("I0100", "text", 1)

    def after(self) -> None:
        other = threading.Thread(target=self.work, daemon=True)
        other.start()
        other.join(PATIENCE)
        assert not other.is_alive(), "the lock is still held"


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (Socket, Request, Reconnect, File, Lease, LeaseAgain, PoolClose, Session, Hooks, Server, Locked)
}


# --- what may be left


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Left:
    """What there is now, and what there was before."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self._descriptors = descriptors()
        self._threads = threading.active_count()
        sys.unraisablehook = self._complain
        threading.excepthook = lambda failed: self.complaints.append(f"in a thread: {failed.exc_value!r}")

    def _complain(self, what: Any) -> None:
        # A handler that raises inside a finaliser is shown and forgotten: there is no way to raise it.
        if not (isinstance(what.exc_value, KeyboardInterrupt) and "__del__" in repr(what.object)):
            self.complaints.append(f"{what.exc_value!r}")

    def look(self) -> list[str]:
        """Wait for what ends by itself, and return what does not."""
        until = time.monotonic() + PATIENCE
        while (descriptors(), threading.active_count()) != (self._descriptors, self._threads):
            gc.collect()
            if time.monotonic() > until:
                now = descriptors(), threading.active_count()
                self.complaints.append(f"{now} descriptors and threads, {self._descriptors, self._threads} before")
                self._descriptors, self._threads = now
            time.sleep(0.001)
        found, self.complaints = self.complaints, []
        return found


def main(name: str, url: str = "ws://127.0.0.1:1") -> NoReturn:
    """Strike at every instruction of a scenario; exit with what was wrong."""

    def begin() -> Scenario:
        scenario = SCENARIOS[name](url)
        scenario.before()
        return scenario

    for _ in range(2):  # the first run imports, compiles and caches
        scenario = begin()
        found = points(scenario.work)
        scenario.after()
    left = Left()
    struck, wrong = 0, []
    for code, at in found:
        scenario = begin()
        where = strike(scenario.work, (code, at))
        struck += where is not None
        try:
            scenario.after()
        except Exception as exc:
            left.complaints.append(f"afterwards: {exc!r}")
        del scenario
        problems = left.look()
        if problems and not is_beyond(where):
            wrong.append(f"before {dis.opname[code.co_code[at]]} of {code.co_qualname}: {where}: {problems}")
    gc.collect()
    wrong += left.look()
    sys.stdout.write(f"{len(found)} instructions, {struck} strikes\n")
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
