"""A WebRTC connection while it is made, interrupted at every stage."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync.errors import ConnectionLost, Timeout
from hume_sync.fastrtc import FastRTCClient
from hume_sync.fastrtc.rtc_loop import WebRTCLoop
from hume_sync.fastrtc.rtc_media import IsolatedEventLoop
from hume_sync.fastrtc.transport_rtc import WebRTCTransport
from hume_sync.net.deadline import Deadline
from hume_sync.net.pending import Pending
from tests.net.support import server

from .rtcfake import RTCFake
from .rtctalk import MARKS, Open, settings, soon
from .talk import took

pytestmark = MARKS


def address() -> str:
    from aioice.ice import get_host_addresses

    return str(get_host_addresses(use_ipv4=True, use_ipv6=True)[0])


class Hole:
    """A UDP port that never answers."""

    def __init__(self) -> None:
        self.host = address()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((self.host, 0))
        self.socket.settimeout(5)
        self.port = self.socket.getsockname()[1]

    def hear(self) -> None:
        self.socket.recv(2000)

    def only_address(self, sdp: str) -> str:
        return re.sub(r"(a=candidate:\S+ \d udp \d+) \S+ \d+", rf"\1 {self.host} {self.port}", sdp)


@pytest.fixture
def hole() -> Iterator[Hole]:
    hole = Hole()
    with contextlib.closing(hole.socket):
        yield hole


def interrupted(rtc: RTCFake, until: Callable[[], object], **options: Any) -> None:
    """Connect, and have another thread end that once it has come so far: nothing is left of it within a second."""
    pending: list[Pending] = []
    with ThreadPoolExecutor(1) as threads:
        opening = threads.submit(WebRTCTransport.open, rtc.offer, **settings() | {"watch": pending.append} | options)
        until()
        for one in pending:
            one.abort()
        assert isinstance(opening.exception(1), ConnectionLost)
    for thread in threading.enumerate():
        if thread.name == "hume_sync webrtc":
            thread.join(1)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    "relay", ["stun:{}", {"urls": "turn:{}", "username": "me", "credential": "open-sesame"}], ids=["stun", "turn"]
)
def test_it_can_be_interrupted_while_another_server_is_asked(rtc: RTCFake, hole: Hole, relay: Any) -> None:
    if ":" in hole.host:
        pytest.skip("aiortc knows such servers by IPv4 only")
    where = f"{hole.host}:{hole.port}"
    servers = [relay.format(where) if isinstance(relay, str) else {**relay, "urls": relay["urls"].format(where)}]
    interrupted(rtc, hole.hear, ice_servers=servers)
    assert rtc.offers == []


def test_it_can_be_interrupted_while_a_relay_is_silent_at_encryption(rtc: RTCFake) -> None:
    host = address()
    if ":" in host:
        pytest.skip("aiortc knows such servers by IPv4 only")
    callers: list[socket.socket] = []
    with socket.create_server((host, 0)) as listener:
        url = f"turns:{host}:{listener.getsockname()[1]}"
        servers = [{"urls": url, "username": "me", "credential": "open-sesame"}]
        listener.settimeout(5)
        interrupted(rtc, lambda: callers.append(listener.accept()[0]), ice_servers=servers)
        for caller in callers:
            caller.close()


def test_a_clients_servers_are_asked_before_anything_is_posted(hole: Hole) -> None:
    if ":" in hole.host:
        pytest.skip("aiortc knows such servers by IPv4 only")
    with server() as port:  # which would hear of nothing in time
        client = FastRTCClient(
            f"http://127.0.0.1:{port}", proxy=False, timeout=0.5, ice_servers=[f"stun:{hole.host}:{hole.port}"]
        )
        with pytest.raises(Timeout) as caught:
            client.connect("webrtc")
    hole.hear()
    assert caught.value.phase == "connect"


def test_it_can_be_interrupted_while_the_server_makes_up_its_answer(rtc: RTCFake) -> None:
    asked, stopped = threading.Event(), threading.Event()

    def stop() -> None:
        asked.wait(5)
        stopped.set()

    def wait(answer: dict[str, Any]) -> tuple[int, Any]:
        asked.set()
        assert stopped.wait(5)
        return 200, answer

    rtc.edit = wait
    interrupted(rtc, stop)


def test_it_can_be_interrupted_while_the_answer_is_taken_in(rtc: RTCFake, monkeypatch: pytest.MonkeyPatch) -> None:
    from aiortc.sdp import SessionDescription

    pending: list[Pending] = []
    parse = SessionDescription.parse

    def interrupt(text: str) -> Any:
        if rtc.offers and threading.current_thread().name == "hume_sync webrtc":
            pending[0].abort()  # before sockets that the answer makes needless are closed
        return parse(text)

    monkeypatch.setattr(SessionDescription, "parse", interrupt)
    with pytest.raises(ConnectionLost):
        WebRTCTransport.open(rtc.offer, **settings() | {"watch": pending.append})


def test_what_fails_because_of_the_end_is_the_end(rtc: RTCFake, monkeypatch: pytest.MonkeyPatch) -> None:
    async def accept(loop: WebRTCLoop, _: object) -> None:
        loop.stop()
        await loop._stop.wait()
        raise ValueError("it is closed")  # as aiortc does, in ways of its own

    monkeypatch.setattr(WebRTCLoop, "_accept", accept)
    with pytest.raises(ConnectionLost):
        WebRTCTransport.open(rtc.offer, **settings())


def test_what_is_cancelled_for_any_reason_is_the_end(rtc: RTCFake, monkeypatch: pytest.MonkeyPatch) -> None:
    async def accept(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(WebRTCLoop, "_accept", accept)
    with pytest.raises(ConnectionLost):
        WebRTCTransport.open(rtc.offer, **settings())


def test_where_aiortc_does_not_come_to_an_end_no_socket_is_left(
    rtc: RTCFake, open_transport: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiortc import RTCIceTransport

    link = open_transport(rtc)
    stop = RTCIceTransport.stop

    async def wait(transport: Any) -> None:
        """As for a relay that does not answer."""
        if threading.current_thread() is link._loop.thread:
            await asyncio.Event().wait()
        await stop(transport)

    monkeypatch.setattr(RTCIceTransport, "stop", wait)
    sockets = [made.get_extra_info("socket") for made in link._loop._loop._opened]
    assert sockets
    assert took(lambda: link.close(5)) < 1
    assert not link._loop.thread.is_alive()
    assert {one.fileno() for one in sockets} == {-1}


def test_it_can_be_interrupted_while_the_servers_addresses_are_tried(rtc: RTCFake, hole: Hole) -> None:
    def leave(answer: dict[str, Any]) -> tuple[int, Any]:
        rtc.hang_up()
        return 200, {**answer, "sdp": hole.only_address(answer["sdp"])}

    rtc.edit = leave
    interrupted(rtc, hole.hear)


def test_it_can_be_interrupted_while_the_server_says_nothing_more(rtc: RTCFake) -> None:
    with contextlib.ExitStack() as freeze:
        frozen = threading.Event()

        def fall_silent(answer: dict[str, Any]) -> tuple[int, Any]:
            freeze.enter_context(rtc.frozen())
            frozen.set()
            return 200, answer

        rtc.edit = fall_silent
        interrupted(rtc, lambda: frozen.wait(5))


def test_it_can_be_interrupted_before_it_has_begun(rtc: RTCFake) -> None:
    def open_it() -> None:
        with pytest.raises(ConnectionLost):
            WebRTCTransport.open(rtc.offer, **settings() | {"watch": lambda pending: pending.abort()})

    assert took(open_it) < 1
    assert rtc.offers == []


def test_what_is_asked_of_a_thread_that_is_ending_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from aiortc import RTCConfiguration

    ending, over = threading.Event(), threading.Event()

    async def look_up_names(loop: IsolatedEventLoop, *_: object) -> None:
        ending.set()
        over.wait(5)

    monkeypatch.setattr(IsolatedEventLoop, "shutdown_default_executor", look_up_names)
    loop = WebRTCLoop(RTCConfiguration(iceServers=[]), input_rate=16000, output_rate=16000, inbox=2**20)
    loop.thread.start()
    loop.stop()
    assert ending.wait(5)
    try:
        for call in (lambda: loop.offer(Deadline(5)), lambda: loop.wait_open(Deadline(5)), lambda: loop.recv(soon())):
            with pytest.raises(ConnectionLost):
                call()
    finally:
        over.set()
