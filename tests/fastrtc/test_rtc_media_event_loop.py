from __future__ import annotations

import asyncio
import gc
import logging
import threading

import pytest

from hume_sync.fastrtc.rtc_media import IsolatedEventLoop

from .talk import took


def run(work: object) -> None:
    with asyncio.Runner(loop_factory=IsolatedEventLoop) as runner:
        runner.run(work)  # type: ignore[arg-type]


def test_sockets_that_were_lost_sight_of_are_closed() -> None:
    transports: list[asyncio.DatagramTransport] = []

    async def lose_some() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, IsolatedEventLoop)
        for _ in range(2):
            made, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
            transports.append(made)
        transports[0].close()  # one that was not
        await loop.cancel_all()

    run(lose_some())
    assert [transport.get_extra_info("socket").fileno() for transport in transports] == [-1, -1]


def test_tasks_have_ended_before_the_sockets_they_use_are_closed() -> None:
    ends: list[int] = []

    async def use(begun: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        made, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ends.append(made.get_extra_info("socket").fileno())

    async def live() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, IsolatedEventLoop)
        begun = asyncio.Event()
        task = loop.create_task(use(begun))
        await begun.wait()
        await loop.cancel_all()
        assert task.cancelled()

    run(live())
    assert len(ends) == 1
    assert ends[0] > 0


@pytest.mark.timeout(10)
def test_a_task_that_does_not_end_is_not_waited_for() -> None:
    async def refuse(over: asyncio.Event) -> None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                pass

    async def live() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, IsolatedEventLoop)
        over = asyncio.Event()
        task = loop.create_task(refuse(over))
        await asyncio.sleep(0)
        await loop.cancel_all()
        assert not task.done()
        over.set()

    run(live())


def test_work_that_goes_on_in_a_thread_is_not_waited_for() -> None:
    over, begun = threading.Event(), threading.Event()

    def look_up() -> None:
        begun.set()
        assert over.wait(5)

    async def live() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, IsolatedEventLoop)
        loop.run_in_executor(None, look_up)
        assert begun.wait(5)
        await loop.cancel_all()

    try:
        assert took(lambda: run(live())) < 1
    finally:
        over.set()


def test_unseen_failures_go_to_our_log_alone_and_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("nonsense")

    async def live() -> None:
        task = asyncio.get_running_loop().create_task(fail())
        await asyncio.wait([task])

    with caplog.at_level(logging.DEBUG):
        run(live())
        gc.collect()
    records = [record for record in caplog.records if "nonsense" in record.getMessage()]
    assert [(record.name, record.levelno) for record in records] == [("hume_sync", logging.DEBUG)]
