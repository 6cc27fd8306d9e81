"""How a WebRTC connection ends, and the thread it lives in."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import cast

import pytest

from hume_sync.errors import ConnectionLost, HumeClientException, InboxOverflow, MisuseError
from hume_sync.fastrtc.events import Custom
from hume_sync.fastrtc.rtc_loop import WebRTCLoop
from hume_sync.fastrtc.rtc_media import IsolatedEventLoop
from hume_sync.fastrtc.transport_rtc import WebRTCTransport
from hume_sync.net.deadline import Deadline
from tests.net.support import in_child

from .rtcfake import RTCFake, tone
from .rtctalk import MARKS, Open, end_of, event_of, settings, soon

pytestmark = MARKS


def test_what_came_before_the_server_ended_it_is_received_first(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)
    rtc.say("one", "two")
    rtc.hang_up()
    assert [event_of(transport), event_of(transport)] == [Custom(None, "one"), Custom(None, "two")]
    for _ in range(2):
        error = end_of(transport)
        assert isinstance(error, ConnectionLost)
        assert error.close_code == 1000
    with pytest.raises(ConnectionLost):
        transport.send_audio(bytes(2), soon())


def test_a_server_that_falls_silent_is_lost_and_has_not_ended_it(
    rtc: RTCFake, open_transport: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.1)  # instead of 5 seconds, six times
    monkeypatch.setattr("aioice.ice.CONSENT_FAILURES", 1)
    transport = open_transport(rtc)
    with rtc.frozen():
        error = end_of(transport)
    assert isinstance(error, ConnectionLost)
    assert error.close_code == 1006


def test_a_closed_data_channel_is_the_end(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)
    rtc.close_channels()
    assert isinstance(end_of(transport), ConnectionLost)


@pytest.mark.parametrize("message", ["x" * 900, b"x" * 900], ids=["text", "binary"])
def test_more_than_the_inbox_holds_ends_the_link_and_none_of_it_is_lost_in_silence(
    rtc: RTCFake, open_transport: Open, message: str | bytes
) -> None:
    transport = open_transport(rtc, inbox_bytes=20_000)
    rtc.say(*[message] * 30)
    rtc.wait(lambda: rtc.closed)
    received = 0
    with pytest.raises(InboxOverflow, match="20000 bytes"):
        while True:
            assert event_of(transport) == Custom(None, message)
            received += 1
    assert received >= 20


def test_a_caller_that_does_not_receive_blocks_no_other(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)
    rtc.say(*["x" * 10_000] * 100)
    transport.send_audio(tone(0.2, 16000), soon())
    rtc.wait(lambda: len(rtc.heard) > 2 * 0.2 * 48000)
    for _ in range(100):
        assert event_of(transport) == Custom(None, "x" * 10_000)


def test_closing_ends_both_sides_at_once_and_may_be_repeated(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)
    transport.send_audio(tone(5, 16000), soon())  # what is queued is not waited for
    deadline = Deadline(1)
    transport.close(1)
    assert not deadline.expired()
    assert not [thread for thread in threading.enumerate() if thread.name == "hume_sync webrtc"]
    rtc.wait(lambda: rtc.closed == 1)
    transport.close(1)
    transport.abort()
    with pytest.raises(MisuseError, match="closed"):
        transport.receive(soon())
    with pytest.raises(MisuseError, match="closed"):
        transport.send_audio(bytes(2), soon())


@pytest.mark.parametrize(
    ("end", "error"),
    [(lambda transport: transport.close(1), MisuseError), (lambda transport: transport.abort(), ConnectionLost)],
)
def test_who_waits_is_woken_by_the_end(
    rtc: RTCFake, open_transport: Open, end: Callable[[WebRTCTransport], None], error: type[HumeClientException]
) -> None:
    transport = open_transport(rtc)
    transport.send_audio(bytes(2 * 16000 * 10), soon())
    caught: list[type[BaseException]] = []

    def until_it_ends(call: Callable[[], object]) -> None:
        try:
            while True:
                call()
        except HumeClientException as exc:
            caught.append(type(exc))

    calls = [lambda: transport.receive(Deadline(60)), lambda: transport.send_audio(bytes(2 * 16000), Deadline(60))]
    threads = [threading.Thread(target=until_it_ends, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    end(transport)
    for thread in threads:
        thread.join(5)
    assert caught == [error, error]


def test_links_live_side_by_side(rtc: RTCFake, open_transport: Open) -> None:
    transports = [open_transport(rtc) for _ in range(3)]
    transports[1].close(1)
    rtc.wait(lambda: rtc.closed == 1)
    for transport in (transports[0], transports[2]):
        transport.send_audio(tone(0.1, 16000), soon())
        assert transport.receive(Deadline(0.01)) is None


def test_a_link_that_was_forgotten_warns_and_is_released(rtc: RTCFake) -> None:
    transports = [WebRTCTransport.open(rtc.offer, **settings())]
    with pytest.warns(ResourceWarning, match="not closed"):
        transports.clear()
    rtc.wait(lambda: rtc.closed == 1)


def test_a_forked_child_gets_misuse_errors_and_the_parent_goes_on(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)

    def child() -> None:
        with pytest.raises(MisuseError, match="forked"):
            transport.receive(soon())
        with pytest.raises(MisuseError, match="forked"):
            transport.send_audio(bytes(2), soon())
        transport.close(1)
        transport.abort()

    in_child(child)
    rtc.say("still there")
    assert event_of(transport) == Custom(None, "still there")


def test_an_interpreter_that_ends_with_an_open_link_neither_hangs_nor_complains() -> None:
    code = (
        "import logging, threading\n"
        "logging.basicConfig()\n"
        "from hume_sync.fastrtc.transport_rtc import WebRTCTransport\n"
        "from hume_sync.net.deadline import Deadline\n"
        "from tests.fastrtc.rtcfake import RTCFake, tone\n"
        "fake = RTCFake().__enter__()\n"
        "transport = WebRTCTransport.open(\n"
        "    fake.offer, input_sample_rate=16000, output_sample_rate=16000, deadline=Deadline(10), watch=id\n"
        ")\n"
        "transport.send_audio(tone(0.1, 16000), Deadline(10))\n"
        "fake.wait(lambda: fake.heard)\n"
        "print('open')\n"
        "def end():\n"
        "    threading.main_thread().join()\n"
        "    threading.Event().wait(0.1)  # time for five more frames, which the interpreter would refuse\n"
        "    fake.__exit__(None, None, None)\n"
        "threading.Thread(target=end).start()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "open\n", "")


def test_messages_wait_as_they_came(rtc: RTCFake, open_transport: Open) -> None:
    """As Python's values they would take twenty times the memory that the inbox counts."""
    transport = open_transport(rtc)
    rtc.say(f"[{','.join('0' * 9000)}]", b"\xff\x00")
    loop = transport._loop
    assert loop._changed.wait_for(lambda: len(loop._inbox) == 2 or None, soon())
    assert [type(came) for came, _ in loop._inbox] == [str, bytes]
    assert loop._inbox_bytes > 18_000
    assert event_of(transport) == Custom(None, [0] * 9000)
    assert event_of(transport) == Custom(None, b"\xff\x00")
    assert loop._inbox_bytes == 0


def test_a_signals_handler_may_use_the_link_its_own_thread_is_using(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)
    used = threading.Event()

    def interrupted() -> None:
        with transport._loop._lock:  # as in the middle of a call
            transport.send_audio(bytes(640), soon())
            transport.receive(Deadline(0.01))
            used.set()

    threading.Thread(target=interrupted, daemon=True).start()  # one that hangs is to hang alone
    assert used.wait(5)


def test_a_thread_that_cannot_be_started_leaves_nothing_open(rtc: RTCFake, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError, match="can't start"):
        WebRTCTransport.open(rtc.offer, **settings())
    gc.collect()  # a loop that is not closed is a warning


def test_the_first_frame_is_due_at_once_even_where_the_clock_has_just_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = WebRTCLoop(None, input_rate=16000, output_rate=16000, inbox=1000)
    with asyncio.Runner(loop_factory=IsolatedEventLoop) as runner:
        loop._loop = cast("IsolatedEventLoop", runner.get_loop())
        monkeypatch.setattr(loop._loop, "time", lambda: 0.1)
        runner.run(loop._next_frame())
    assert loop._next_frame_at == pytest.approx(0.12)  # a frame later, and not the five that the clock has seen before
