from __future__ import annotations

import threading

import pytest

from hume_sync import MisuseError
from hume_sync.net.call_lock import CallLock
from hume_sync.net.deadline import Deadline


def test_one_thread_holds_it_and_another_waits_until_its_deadline() -> None:
    lock = CallLock()
    assert lock.acquire(Deadline(5))
    got: list[bool] = []
    thread = threading.Thread(target=lambda: got.append(lock.acquire(Deadline(0.05))))
    thread.start()
    thread.join()
    assert got == [False]
    lock.release()
    thread = threading.Thread(target=lambda: got.append(lock.acquire(Deadline(5))))
    thread.start()
    thread.join()
    assert got == [False, True]


def test_releasing_a_lock_that_the_caller_does_not_hold_does_nothing() -> None:
    lock = CallLock()
    lock.release()
    assert lock.acquire(Deadline(0.0))
    other = threading.Thread(target=lock.release)
    other.start()
    other.join()
    got: list[bool] = []
    other = threading.Thread(target=lambda: got.append(lock.acquire(Deadline(0.0))))
    other.start()
    other.join()
    assert got == [False]


def test_what_a_signal_left_held_is_released_with_the_next_call() -> None:
    lock = CallLock()
    lock.acquire(Deadline(5))  # left so by a signal
    lock.acquire(Deadline(5))
    lock.release()
    got: list[bool] = []
    other = threading.Thread(target=lambda: got.append(lock.acquire(Deadline(0.0))))
    other.start()
    other.join()
    assert got == [True]


def test_a_call_from_inside_the_call_that_holds_it_is_refused() -> None:
    lock = CallLock()

    def callback() -> None:
        lock.raise_if_reentrant()

    lock.raise_if_reentrant()
    assert lock.acquire(Deadline(5))
    with pytest.raises(MisuseError, match="inside its own call"):
        callback()
    thread = threading.Thread(target=callback)  # another thread just waits its turn
    thread.start()
    thread.join()
    lock.release()
    callback()


def test_what_a_signal_left_behind_is_not_taken_for_a_call_under_way() -> None:
    lock = CallLock()

    def interrupted() -> None:
        lock.acquire(Deadline(5))

    interrupted()
    lock.raise_if_reentrant()
