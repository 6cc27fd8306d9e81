"""Test Ctrl-C at every instruction: repeat a scenario, and interrupt it at another instruction each time.

    python -W error -m tests.strikes SCENARIO [URL]

Python runs signal handlers between instructions: at the start of a function, at the backward jump of a loop, and after
each call of C code, in particular between a call that creates something and the store that keeps it. A strike makes a
signal pending right before an instruction, and the interpreter raises KeyboardInterrupt where it really does. Each
instruction of this package that the scenario executes is struck once, at its first execution.

After every strike the next call must succeed, and nothing may be left: no descriptor, no thread, no held lock, no
lease. A warning of the interpreter, such as one for a socket closed by the garbage collector, is a failure as well.

A Python package cannot handle three cases. A handler may run at the very start of an `__exit__`, before its first
instruction, which then does nothing. The interpreter prints and drops what a handler raises inside a finaliser. And
`threading` runs Python code for operations that should be atomic (Condition, Event, starting a thread): a handler that
raises inside it may leave a lock held, or cause a RuntimeError about one.
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
from hume_sync.batch import Batch, Item, read_results, texts
from hume_sync.emulator import Emulator
from hume_sync.emulator.scripted_faults import ScriptedFaults
from hume_sync.fastrtc import FastRTCClient

PACKAGE = str(Path(hume_sync.__file__).parent) + os.sep

STANDARD = tuple(f"{os.sep}{name}.py" for name in ("socket", "ssl"))
"""The modules of the standard library that create the resources of this package."""

STRIKING = re.compile(r"CALL(?!_INTRINSIC)|BEFORE_WITH|LOAD_SPECIAL|RESUME|JUMP_BACKWARD|FOR_ITER|SEND")
"""Names of the instructions after which handlers run, or in the Python code called by them."""

PATIENCE = 2.0
"""Seconds for threads and their descriptors to end."""

Point = tuple[CodeType, int]
"""An instruction."""


class Ctrl:
    """An object whose attribute `c` makes a SIGINT pending when read; reading an attribute runs no signal handler."""

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
            CTRL.c  # noqa: B018 - reading it sets the signal; a call after it would run the handler here

    try:
        with watched(lambda code: code is point[0], look):
            work()
            for _ in range(2):
                len("")  # a call, after which a signal of the last instruction is handled
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
    """Return whether it was the start of an ``__exit__``."""
    return where is not None and where.name == "__exit__" and (where.line or "").startswith(("def ", "self, kind"))


# --- scenarios


class Scenario:
    """Some work to interrupt, with its preparation and the check afterwards."""

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
    """Connect and call on a socket, which must be usable afterwards."""

    def work(self) -> None:
        asks(self.socket, "one")

    def after(self) -> None:
        asks(self.socket, "two")
        self.socket.close()


class Reconnect(Request):
    """Call on a socket whose connection has ended."""

    def before(self) -> None:
        super().before()
        asks(self.socket, "zero")
        self.socket._provider.abort()


class File(Request):
    """Open, read and send a file."""

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
    """Use a lease of a pool on a new connection."""

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
    """Use a lease of a pool on an idle connection."""

    def before(self) -> None:
        super().before()
        with self.pool.socket() as socket:
            asks(socket, "zero")


class PoolClose(LeaseAgain):
    """Close a pool."""

    def work(self) -> None:
        self.pool.close()

    def after(self) -> None:
        self.pool.close()


class BatchRun(Scenario):
    """Run a batch on threads, and resume it."""

    def before(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="strikes-")
        self.out = Path(self.folder.name, "out.jsonl")
        self.items = [Item.of(str(number), f"text {number}") for number in range(3)]

    def work(self) -> None:
        Batch(self.client, [LanguageConfig()], workers=2).run(self.items, out=self.out)

    def after(self) -> None:
        self.work()
        lines = self.out.read_bytes().splitlines()
        assert len(lines) == 3, f"{len(lines)} lines"
        assert {result.key for result in read_results(self.out) if result.ok} == {"0", "1", "2"}
        assert os.listdir(self.folder.name) == ["out.jsonl"]
        self.folder.cleanup()


class BatchStream(Scenario):
    """Take results of a batch, and leave the loop."""

    def work(self) -> None:
        results = Batch(self.client, [LanguageConfig()], workers=2).stream(texts(["one"] * 4))
        try:
            assert next(results).ok
        finally:
            results.close()  # type: ignore[attr-defined]  # a generator

    def after(self) -> None:
        assert len(list(Batch(self.client, [LanguageConfig()]).stream(texts(["one"] * 4)))) == 4


class Session(Scenario):
    """Open a FastRTC session, send audio, and close it."""

    def __init__(self, url: str) -> None:
        self.sessions = FastRTCClient(url, path="/echo", proxy=False, timeout=5, latest="/latest")

    def work(self) -> None:
        with self.sessions.connect() as session:
            session.send_audio(bytes(2000))

    def after(self) -> None:
        with self.sessions.connect() as session:
            session.send_audio(bytes(2000))


class Hooks(Session):
    """Set inputs and read outputs of the application around a FastRTC session."""

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
    """Start the local server, drop its connections, and close it."""

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
        self.faults = ScriptedFaults()

    def work(self) -> None:
        self.faults.add_error("I0100", "text", 1)

    def after(self) -> None:
        other = threading.Thread(target=self.work, daemon=True)
        other.start()
        other.join(PATIENCE)
        assert not other.is_alive(), "the lock is still held"


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        Socket,
        Request,
        Reconnect,
        File,
        Lease,
        LeaseAgain,
        PoolClose,
        BatchRun,
        BatchStream,
        Session,
        Hooks,
        Server,
        Locked,
    )
}


# --- what may be left


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Left:
    """A check for descriptors and threads that are left, and for unraisable errors."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self._descriptors = descriptors()
        self._threads = threading.active_count()
        sys.unraisablehook = self._complain
        threading.excepthook = lambda failed: self.complaints.append(f"in a thread: {failed.exc_value!r}")

    def _complain(self, what: Any) -> None:
        # An error raised by a handler inside a finaliser cannot propagate.
        names = {frame.name for frame in traceback.extract_tb(what.exc_traceback)}
        finaliser = "__del__" in repr(what.object) or "_on_garbage_collected" in names
        if not (isinstance(what.exc_value, KeyboardInterrupt) and finaliser):
            self.complaints.append(f"{what.exc_value!r}")

    def look(self) -> list[str]:
        """Wait for threads and descriptors to end; return what is wrong."""
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
    """Strike every instruction of a scenario; exit with the failures."""

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
