from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hume_sync.net.condition import Condition
from hume_sync.net.deadline import Deadline
from tests.fastrtc.striking import struck, thrown

SOON = 10.0


class Box:
    """What waits to be taken."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.filled = Condition(self.lock)
        self.values: list[str] = []

    def take(self, timeout: float = SOON) -> str | None:
        return self.filled.wait_for(lambda: self.values.pop(0) if self.values else None, Deadline(timeout))

    def put(self, *values: str) -> None:
        with self.lock:
            self.values += values
            self.filled.notify_all()

    def is_free(self) -> bool:
        """Whether another thread gets the lock."""
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(self.lock.acquire, timeout=1).result(SOON)


def test_what_is_there_is_taken_at_once_and_nothing_is_waited_for_beyond_the_deadline() -> None:
    box = Box()
    box.put("a")
    assert box.take(0) == "a"
    assert box.take(0) is None
    assert box.take(0.01) is None


def test_each_change_wakes_all_that_wait() -> None:
    box = Box()
    with ThreadPoolExecutor(4) as threads:
        taking = [threads.submit(box.take) for _ in range(4)]
        for value in "abcd":
            box.put(value)
        assert sorted(str(each.result(SOON)) for each in taking) == ["a", "b", "c", "d"]
    assert not box.filled._waiters


def test_an_exception_of_the_attempt_is_raised_and_leaves_the_lock() -> None:
    box = Box()

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        box.filled.wait_for(fail, Deadline(SOON))
    assert box.is_free()


def test_a_signals_handler_that_raises_releases_the_lock_and_leaves_the_queue_empty() -> None:
    box = Box()
    struck(box.take, TimeoutError("mine"), lambda: box.filled._waiters)
    assert not box.filled._waiters
    assert box.is_free()


def test_another_threads_exception_comes_out_though_nothing_changes() -> None:
    box = Box()
    thrown(lambda: box.take(600), TimeoutError, lambda: box.filled._waiters)
    assert box.is_free()


def test_a_handler_may_use_what_its_thread_waits_for() -> None:
    box = Box()

    class Used(Exception):
        def __init__(self) -> None:
            super().__init__("used")

    exc = Used()
    with box.lock:  # reentrant
        box.put("a")
        assert box.take() == "a"
    struck(box.take, exc, lambda: box.filled._waiters)
    box.put("b")
    assert box.take() == "b"
