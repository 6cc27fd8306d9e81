"""The pool as a whole: after any events in any order, every reply is right and nothing is lost."""

from __future__ import annotations

import base64
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, TypeVar, cast

import attrs
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hume_sync import (
    FaceConfig,
    HumeStreamClient,
    LanguageConfig,
    PoolClosed,
    PoolTimeout,
    ProsodyConfig,
    RetryPolicy,
    StreamResponse,
    StreamSocket,
)
from hume_sync.emulator import Emulator
from hume_sync.emulator.journal import Journal, RequestSeen, data_digest_of
from tests.clocks import Later
from tests.emulator.support import tone, wav

from .support import FACE

_T = TypeVar("_T")

MAX_SIZE = 2
THREADS = 3
WINDOW = Fraction(2)
KEYS = ("a", "b", None)
LENGTHS = (Fraction(1, 2), Fraction(1), Fraction(3))


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(monkeypatch)


@attrs.define(eq=False)
class Model:
    """A stream, as the protocol has it: how much audio since it began or was emptied."""

    history: Fraction = Fraction(0)
    clock: Fraction = Fraction(0)
    used: float = 0.0

    def heard(self, seconds: Fraction) -> Fraction:
        """Length of what the audio models see of the next payload and what came before."""
        context = min(self.history, max(Fraction(0), WINDOW - seconds))
        self.history += seconds
        self.clock += seconds
        return seconds + context


@attrs.define(eq=False)
class ForkAware:
    """A lease, as the test sees it."""

    socket: StreamSocket
    key: Hashable | None
    model: Model


class Actor:
    """A thread that runs the calls it is passed, one at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.holder: ForkAware | None = None

    def do(self, work: Callable[..., _T], *args: Any) -> _T:
        return self._thread.submit(work, *args).result(10)

    def end(self) -> None:
        """End the thread."""
        self._thread.shutdown()
        self.__init__()  # type: ignore[misc]


class PoolMachine(RuleBasedStateMachine):
    def __init__(self, server: Emulator, later: Later) -> None:
        super().__init__()
        self.server, self.later = server, later
        retry = RetryPolicy(initial=0.001, maximum=0.001)
        self.client = HumeStreamClient("k", base_url=server.url, proxy=False, timeout=10.0, retry=retry)
        self.actors = [Actor() for _ in range(THREADS)]
        self.start = 0
        self.faults = 0
        self.faulted = False

    @initialize()
    def begin(self) -> None:
        self.kept: dict[Hashable, Model] = {}
        self.faces: dict[int, ForkAware] = {}  # by connection
        self.pool = self.client.pool(
            [ProsodyConfig()], float(WINDOW * 1000), max_size=MAX_SIZE, max_stream_idle=600.0, timeout=0.005
        )

    def holders(self) -> list[ForkAware]:
        return [actor.holder for actor in self.actors if actor.holder]

    def holding(self, data: st.DataObject) -> Actor:
        """One of the threads that have a lease."""
        return data.draw(st.sampled_from([actor for actor in self.actors if actor.holder]))

    # --- leases

    @rule(actor=st.integers(0, THREADS - 1), key=st.sampled_from(KEYS))
    def lease(self, actor: int, key: str | None) -> None:
        thread = self.actors[actor]

        def enter() -> StreamSocket:
            return self.pool.socket(stream=key).__enter__()

        if thread.holder:
            return  # several in one thread have a test of their own
        in_use = key is not None and key in [holder.key for holder in self.holders()]
        if in_use or len(self.holders()) == MAX_SIZE:
            with pytest.raises(PoolTimeout):
                thread.do(enter)
            return
        for name, model in list(self.kept.items()):
            held = name in [holder.key for holder in self.holders()]
            if not held and self.later.offset - model.used > 600:
                del self.kept[name]
        model = Model() if key is None else self.kept.setdefault(key, Model())
        thread.holder = ForkAware(thread.do(enter), key, model)

    @precondition(lambda self: bool(self.holders()))
    @rule(data=st.data(), how=st.sampled_from(["close", "elsewhere", "thread"]))
    def give_back(self, data: st.DataObject, how: str) -> None:
        thread = self.holding(data)
        holder, thread.holder = thread.holder, None
        assert holder
        if holder.key is not None and (kept := self.kept.get(holder.key)):
            kept.used = self.later.offset
        if how == "close":
            thread.do(holder.socket.close)
        elif how == "elsewhere":
            holder.socket.close()
        else:  # the thread ends, and nothing refers to the socket any more
            thread.end()
            del holder.socket

    # --- requests

    @precondition(lambda self: bool(self.holders()))
    @rule(data=st.data(), lengths=st.lists(st.sampled_from(LENGTHS), min_size=1, max_size=3))
    def send(self, data: st.DataObject, lengths: list[Fraction]) -> None:
        thread = self.holding(data)
        for seconds in lengths:
            self.send_one(thread, seconds)

    def send_one(self, thread: Actor, seconds: Fraction) -> None:
        holder = thread.holder
        assert holder
        media = wav(tone(float(seconds), start=self.start, rate=8000), rate=8000)
        self.start += 31
        reply = thread.do(holder.socket.send_media, media)
        seen = self.seen(reply, holder)
        if reply.window_state == "cold":
            assert self.faults, "context was lost without a reason"
            holder.model.history = Fraction(0)
        if reply.window_state == "cold" or reply.attempts > 1:
            self.faults = 0
        assert seen.data_digest == data_digest_of(base64.b64encode(media).decode())
        assert seen.audio
        assert Fraction(seen.audio[1]) - Fraction(seen.audio[0]) == holder.model.heard(seconds)
        if reply.clock_offset is None:
            assert self.faulted, "nothing has made the server's count unknown"  # its own fault on a replayed payload
        else:
            assert reply.clock_offset == float(holder.model.clock) - seen.audio[1]

    @precondition(lambda self: bool(self.holders()))
    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        thread = self.holding(data)
        assert thread.holder
        self.seen(thread.do(thread.holder.socket.reset_stream), thread.holder)
        thread.holder.model.history = Fraction(0)

    @precondition(lambda self: bool(self.holders()))
    @rule(data=st.data())
    def send_text(self, data: st.DataObject) -> None:
        thread = self.holding(data)
        assert thread.holder
        reply = thread.do(thread.holder.socket.send_text, "hello", [LanguageConfig()])
        assert self.seen(reply, thread.holder).fields["raw_text"] is True
        assert reply["language"]["predictions"]

    @precondition(lambda self: len(self.holders()) == MAX_SIZE)
    @rule(data=st.data())
    def identify_faces(self, data: st.DataObject) -> None:
        thread = self.holding(data)
        assert thread.holder
        reply = thread.do(thread.holder.socket.send_media, FACE, [FaceConfig(identify_faces=True)])
        assert reply["face"]["predictions"]
        self.faces[self.seen(reply, thread.holder).connection] = thread.holder

    def seen(self, reply: StreamResponse, holder: ForkAware) -> RequestSeen:
        """The request that was answered by this reply, by its number."""
        number = reply["payload_id"]
        seen = next(r for r in reversed(self.server.journal.requests) if r.fields.get("payload_id") == number)
        assert self.faces.get(seen.connection, holder) is holder, "the server knows faces of another lease"
        return seen

    # --- what befalls it

    @rule(data=st.data(), event=st.sampled_from(["drop", "fault", "forget", "pause", "oblivion", "close"]))
    def befall(self, data: st.DataObject, event: str) -> None:
        if event == "drop":
            self.server.drop_connections()
        elif event == "fault" and self.holders():
            # On the request, or on the first payload that is replayed for it.
            self.server.fail_next("I0100", "try again")
            self.faults = 1
            self.faulted = True
            self.send_one(self.holding(data), Fraction(1))
        elif event == "forget":
            self.forget(data.draw(st.sampled_from(KEYS[:2])))
        elif event in ("pause", "oblivion"):
            self.later.offset += 60 if event == "pause" else 700
        elif event == "close":
            self.close()

    def forget(self, key: str | None) -> None:
        self.pool.forget(key)
        if self.kept.pop(key, None) and key in [holder.key for holder in self.holders()]:
            self.kept[key] = Model(used=self.later.offset)

    def close(self) -> None:
        self.pool.close()
        for actor in self.actors:
            holder, actor.holder = actor.holder, None
            if holder:
                with pytest.raises(PoolClosed):
                    actor.do(holder.socket.send_text, "x", [LanguageConfig()])
                holder.socket.close()
        stats = self.pool.stats()
        assert (stats["leases"], stats["busy"], stats["idle"], stats["waiting"]) == (0, 0, 0, 0)
        self.begin()

    # --- what always holds

    @invariant()
    def nothing_is_lost_and_nothing_too_many(self) -> None:
        stats = self.pool.stats()
        assert stats["leases"] == len(self.holders()) <= MAX_SIZE
        assert stats["idle"] <= MAX_SIZE
        assert (stats["busy"], stats["waiting"], stats["errors"]) == (0, 0, 0)
        closed = sum(count for name, count in stats.items() if name.startswith("closed_"))
        assert stats["created"] == closed + stats["idle"]

    def teardown(self) -> None:
        self.close()
        self.pool.close()
        for actor in self.actors:
            actor.end()


@pytest.mark.parametrize("examples", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_after_any_events_every_reply_is_right_and_nothing_is_lost(later: Later, examples: int) -> None:
    with Emulator() as server:
        run_state_machine_as_test(
            cast("type[PoolMachine]", lambda: PoolMachine(server, later)),
            settings=settings(
                max_examples=examples,
                stateful_step_count=30,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )


def _has_served(count: int) -> Callable[[Journal], bool]:
    return lambda journal: journal.counts["requests"] >= count


def test_connections_cut_at_any_time_cost_many_threads_no_reply(hume_emulator: Emulator) -> None:
    retry = RetryPolicy(max_attempts=50, initial=0.001, maximum=0.01)
    client = HumeStreamClient("k", base_url=hume_emulator.url, proxy=False, timeout=20.0, retry=retry)

    def work(number: int) -> None:
        for i in range(20):
            with pool.socket() as socket:
                reply = socket.send_text(f"w{number}x{i}")
            assert reply["language"]["predictions"][0]["text"] == f"w{number}x{i}"

    def cut() -> None:
        for count in range(10, 160, 10):
            assert hume_emulator.journal.wait_for(_has_served(count))
            hume_emulator.drop_connections()

    with client.pool([LanguageConfig()], max_size=3) as pool, ThreadPoolExecutor(9) as threads:
        for finished in [threads.submit(cut), *(threads.submit(work, number) for number in range(8))]:
            finished.result()
        stats = pool.stats()
    assert (stats["errors"], stats["busy"], stats["leases"], stats["waiting"]) == (0, 0, 0, 0)
    closed = sum(count for name, count in stats.items() if name.startswith("closed_"))
    assert stats["created"] == closed + stats["idle"] > 3
    assert hume_emulator.journal.counts["requests"] >= 160
