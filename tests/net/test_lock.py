from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from hume_sync import HumeStreamClient, LanguageConfig, MisuseError
from hume_sync.net.deadline import Deadline
from hume_sync.net.lock import CallLock


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


def test_releasing_what_one_does_not_hold_does_nothing() -> None:
    lock = CallLock()
    lock.release()
    assert lock.acquire(Deadline(0.0))
    stranger = threading.Thread(target=lock.release)
    stranger.start()
    stranger.join()
    got: list[bool] = []
    stranger = threading.Thread(target=lambda: got.append(lock.acquire(Deadline(0.0))))
    stranger.start()
    stranger.join()
    assert got == [False]


def test_what_a_signal_left_held_is_let_go_with_the_next_call() -> None:
    lock = CallLock()
    lock.acquire(Deadline(5))  # left so by a signal
    lock.acquire(Deadline(5))
    lock.release()
    got: list[bool] = []
    other = threading.Thread(target=lambda: got.append(lock.acquire(Deadline(0.0))))
    other.start()
    other.join()
    assert got == [True]


def test_a_callback_of_the_call_that_holds_it_is_refused_once_for_each_misuse() -> None:
    lock = CallLock()
    assert lock.acquire(Deadline(5))
    lock.calling_back = True
    with pytest.raises(MisuseError, match="callback of its own call"):
        lock.acquire(Deadline(5))


@pytest.fixture
def interruptions() -> Iterator[None]:
    """SIGALRM raises KeyboardInterrupt, as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.timeout(60)
def test_ctrl_c_at_any_moment_leaves_the_socket_usable_and_the_next_reply_right(
    hume_client: HumeStreamClient, interruptions: None
) -> None:
    with hume_client.connect([LanguageConfig()]) as socket:
        for number in range(400):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + number * 2e-6)  # from the first instruction to the reply
                socket.send_text(f"interrupted-{number}")
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                pass
            reply = socket.send_text(f"next-{number}", timeout=5)
            assert reply["language"]["predictions"][0]["text"] == f"next-{number}"
