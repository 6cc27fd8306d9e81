from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hume_sync.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    ConnectionAlreadyExists,
    ConnectionLost,
    HandshakeRejected,
    HumeClientException,
    InboxOverflow,
    MisuseError,
    ProtocolError,
    Timeout,
    TooManyConnections,
)
from hume_sync.fastrtc.events import AudioChunk, Custom, EndStream, ErrorMessage, Event, FetchOutput, LogMessage
from hume_sync.fastrtc.webrtc import WebRTCLink
from hume_sync.net.deadline import Deadline

from .rtcfake import FRAME, RTCFake, hertz, loudness, tone, voiced

pytest.importorskip("aiortc", reason="needs the extra webrtc")


def _has_address() -> bool:
    from aioice.ice import get_host_addresses

    return bool(get_host_addresses(use_ipv4=True, use_ipv6=True))


pytestmark = [
    pytest.mark.fastrtc,  # where aiortc is
    pytest.mark.skipif(
        not _has_address(), reason="WebRTC needs an address that is not loopback (ip address add 10.99.0.1/32 dev lo)"
    ),
    # A forked child has none of this process's threads, of which Python 3.12 warns.
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
    # aiortc 1.10 with a newer pyOpenSSL.
    pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning"),
]

HELD_BACK = 5 * FRAME
"""Samples that wait in aiortc for more to come behind them."""

Open = Callable[..., WebRTCLink]


def soon() -> Deadline:
    return Deadline(10)


def settings() -> dict[str, Any]:
    return {
        "input_sample_rate": 16000,
        "output_sample_rate": 48000,
        "deadline": soon(),
        "watch": lambda interrupt: None,
    }


@pytest.fixture
def fake() -> Iterator[RTCFake]:
    with RTCFake() as fake:
        yield fake


@pytest.fixture(name="open_link")
def _open_link() -> Iterator[Open]:
    links = []

    def open_link(fake: RTCFake, **options: Any) -> WebRTCLink:
        links.append(WebRTCLink.open(fake.offer, **settings() | options))
        return links[-1]

    yield open_link
    for link in links:
        link.close(1)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread


def event_of(link: WebRTCLink) -> Event:
    event = link.receive(soon())
    assert event is not None
    return event


def audio_of(link: WebRTCLink, seconds: float, rate: int) -> bytes:
    """The next audio, so long."""
    samples = b""
    while len(samples) < 2 * round(seconds * rate):
        event = event_of(link)
        if isinstance(event, AudioChunk):
            assert event.sample_rate == rate
            samples += event.samples
    return samples


def end_of(link: WebRTCLink) -> HumeClientException:
    with pytest.raises(HumeClientException) as caught:
        while True:
            event_of(link)
    return caught.value


# --- messages ------------------------------------------------------------------------------------------------


def test_messages_of_the_data_channel_come_as_events_in_their_order(open_link: Open) -> None:
    greeting = (
        '{"type": "log", "data": "started_talking"}',
        '{"type": "error", "message": "boom"}',
        '{"type": "fetch_output", "data": []}',
        '{"type": "end_stream", "data": "bye now"}',
        '{"type": "mine", "data": {"x": 1}}',
        "[1, 2]",
        "no JSON at all",
        b"\xff\x00",
    )
    with RTCFake(greeting=greeting) as fake:
        link = open_link(fake)
        assert [event_of(link) for _ in greeting] == [
            LogMessage("started_talking"),
            ErrorMessage("boom"),
            FetchOutput(),
            EndStream("bye now"),
            Custom("mine", {"x": 1}),
            Custom(None, [1, 2]),
            Custom(None, "no JSON at all"),
            Custom(None, b"\xff\x00"),
        ]


def test_where_nothing_comes_receive_returns_none_at_the_deadline(fake: RTCFake, open_link: Open) -> None:
    assert open_link(fake).receive(Deadline(0.05)) is None


# --- audio ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_the_server_hears_what_was_sent_at_its_pitch_and_as_loud(fake: RTCFake, open_link: Open, rate: int) -> None:
    link = open_link(fake, input_sample_rate=rate)
    sent = tone(0.3, rate)
    link.send_audio(sent[: rate // 10 * 2], soon())
    link.send_audio(sent[rate // 10 * 2 :], soon())
    fake.wait(lambda: len(fake.heard) > 2 * 0.4 * 48000)
    heard = voiced(bytes(fake.heard))
    assert hertz(heard, 48000) == pytest.approx(440, rel=0.02)
    assert loudness(heard) == pytest.approx(loudness(sent), rel=0.05)
    assert len(heard) / 2 / 48000 == pytest.approx(0.3 - 2000 / 48000, abs=0.03)


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
def test_what_the_handler_says_comes_at_the_rate_asked_for(fake: RTCFake, open_link: Open, rate: int) -> None:
    link = open_link(fake, output_sample_rate=rate)
    fake.play(tone(0.6, 48000))
    heard = audio_of(link, 0.45, rate)[: 2 * round(0.45 * rate)]
    steady = heard[2 * rate // 10 :]  # a codec begins softly
    assert hertz(steady, rate) == pytest.approx(440, rel=0.05)
    assert loudness(steady) == pytest.approx(loudness(tone(0.3, 48000)), rel=0.05)


def test_the_end_of_a_reply_is_held_back_until_more_comes_behind_it(fake: RTCFake, open_link: Open) -> None:
    link = open_link(fake)
    fake.play(tone(0.02 * 25, 48000))
    audio_of(link, 0.02 * 19, 48000)
    while (event := link.receive(Deadline(0.3))) is not None:
        assert isinstance(event, AudioChunk)
    fake.play(bytes(2 * HELD_BACK))
    late = audio_of(link, 0.08, 48000)
    assert loudness(late) == pytest.approx(loudness(tone(0.1, 48000)), rel=0.1)


def test_a_pause_inside_a_reply_keeps_its_length_and_endless_silence_is_left_out(
    fake: RTCFake, open_link: Open
) -> None:
    link = open_link(fake)
    speech = tone(0.2, 48000)
    fake.play(speech + bytes(2 * 48000) + speech + bytes(2 * 48000 * 5) + speech + bytes(2 * HELD_BACK))
    heard = b""
    while (event := link.receive(Deadline(0.5))) is not None:
        assert isinstance(event, AudioChunk)
        heard += event.samples
    assert len(heard) / 2 / 48000 == pytest.approx(0.2 + 1 + 0.2 + 2 + 0.2, abs=0.1)
    for _ in range(2):  # after a while without a frame it is a pause in something new
        fake.play(bytes(2 * 48000 * 3 // 2))
        audio_of(link, 1.4, 48000)
        while link.receive(Deadline(0.3)) is not None:
            pass


def test_what_was_said_comes_back_from_a_handler_that_hands_on_what_it_hears(open_link: Open) -> None:
    with RTCFake(echoes=True) as fake:
        link = open_link(fake, output_sample_rate=16000)
        link.send_audio(tone(0.3, 16000), soon())
        heard = b""
        while len(voiced(heard)) < 2 * 0.15 * 16000:
            heard += audio_of(link, 0.02, 16000)
        assert hertz(voiced(heard), 16000) == pytest.approx(440, rel=0.02)


def test_sending_waits_while_ten_seconds_are_queued(fake: RTCFake, open_link: Open) -> None:
    link = open_link(fake)
    link.send_audio(bytes(2 * 16000 * 10), Deadline(0.5))
    with pytest.raises(Timeout) as caught:
        link.send_audio(bytes(2 * 16000), Deadline(0.2))
    assert caught.value.phase == "send"
    link.send_audio(bytes(2 * 1600), soon())  # room comes as it is spoken


# --- the offer -----------------------------------------------------------------------------------------------


FAILED = {"status": "failed", "meta": {"error": "concurrency_limit_reached", "limit": 3}}
REFUSALS: list[tuple[int, Any, type[HumeClientException]]] = [
    (200, FAILED, TooManyConnections),
    (429, FAILED, TooManyConnections),
    (429, "slow down", TooManyConnections),
    (200, {"status": "failed", "meta": {"error": "connection_already_exists"}}, ConnectionAlreadyExists),
    (200, {"status": "failed", "meta": {"error": "on holiday"}}, HandshakeRejected),
    (200, {"status": "failed"}, HandshakeRejected),
    (401, "", AuthenticationError),
    (404, {"detail": "Not Found"}, HandshakeRejected),
    (422, {"detail": [{"msg": "Field required"}]}, HandshakeRejected),
    (500, "Internal Server Error", HandshakeRejected),
    (200, {"sdp": "", "type": "answer"}, ProtocolError),
    (200, {"sdp": 7, "type": "answer"}, ProtocolError),
    (200, {"sdp": "garbage", "type": "answer"}, ProtocolError),
    (200, {"sdp": "v=0\r\nm=audio\r\n", "type": "answer"}, ProtocolError),
    (200, ["no", "object"], ProtocolError),
    (200, "<html>", ProtocolError),
    (200, None, ProtocolError),
]


@pytest.mark.parametrize(("status", "body", "error"), REFUSALS)
def test_whatever_answers_the_offer_badly_is_an_error_of_its_own(
    open_link: Open, status: int, body: Any, error: type[HumeClientException]
) -> None:
    with RTCFake(edit=lambda _: (status, body)) as fake, pytest.raises(HumeClientException) as caught:
        open_link(fake)
    assert type(caught.value) is error
    assert caught.value.phase == "connect"
    assert caught.value.status in {status, None}
    if isinstance(caught.value, TooManyConnections):
        assert caught.value.limit == (3 if body is FAILED else None)


def test_an_error_of_the_function_that_posts_the_offer_is_the_callers(open_link: Open) -> None:
    def fail(_: Any) -> Any:
        raise ConnectError("no server there")

    with RTCFake(edit=fail) as fake, pytest.raises(ConnectError, match="no server there"):
        open_link(fake)


def test_the_offer_is_posted_in_the_callers_thread_with_a_new_uuid(fake: RTCFake, open_link: Open) -> None:
    ids = {open_link(fake).webrtc_id, open_link(fake).webrtc_id}
    assert {offer["webrtc_id"] for offer in fake.offers} == ids
    assert len(ids) == 2
    assert {offer["type"] for offer in fake.offers} == {"offer"}
    assert set(fake.offering_threads) == {threading.current_thread()}


def test_no_server_but_the_one_asked_for_hears_of_it(fake: RTCFake, open_link: Open) -> None:
    open_link(fake)
    assert "typ host" in fake.offers[0]["sdp"]
    assert "typ srflx" not in fake.offers[0]["sdp"]


def test_a_machine_with_loopback_alone_is_told_so_before_anything_is_posted(
    fake: RTCFake, open_link: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: [])
    with pytest.raises(ConfigurationError, match="other than loopback"):
        open_link(fake)
    assert fake.offers == []


def test_a_server_that_cannot_be_reached_is_a_time_out_of_connecting(open_link: Open) -> None:
    with RTCFake() as fake:

        def leave(answer: dict[str, Any]) -> tuple[int, Any]:
            fake.hang_up()
            return 200, answer

        fake.edit = leave
        with pytest.raises(Timeout) as caught:
            open_link(fake, deadline=Deadline(0.6))
    assert caught.value.phase == "connect"


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, open_link: Open) -> None:
    with RTCFake() as fake:
        monkeypatch.setitem(sys.modules, "aiortc", None)
        with pytest.raises(ConfigurationError, match=re.escape('pip install "hume_sync[webrtc]"')):
            open_link(fake)


@pytest.mark.parametrize("server", ["nonsense", "http://example.com", {"url": "stun:127.0.0.1"}, 7])
def test_an_ice_server_that_cannot_be_used_is_refused_before_anything_is_posted(
    fake: RTCFake, open_link: Open, server: Any
) -> None:
    with pytest.raises(ConfigurationError, match="ice_servers"):
        open_link(fake, ice_servers=[server])
    assert fake.offers == []


# --- the end -------------------------------------------------------------------------------------------------


def test_what_came_before_the_server_ended_it_is_received_first(fake: RTCFake, open_link: Open) -> None:
    link = open_link(fake)
    fake.say("one", "two")
    fake.hang_up()
    assert [event_of(link), event_of(link)] == [Custom(None, "one"), Custom(None, "two")]
    for _ in range(2):
        error = end_of(link)
        assert isinstance(error, ConnectionLost)
        assert error.close_code == 1000
    with pytest.raises(ConnectionLost):
        link.send_audio(bytes(2), soon())


def test_a_server_that_is_heard_no_more_is_lost_and_has_not_ended_it(
    fake: RTCFake, open_link: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.1)  # instead of 5 seconds, six times
    monkeypatch.setattr("aioice.ice.CONSENT_FAILURES", 1)
    link = open_link(fake)
    with fake.frozen():
        error = end_of(link)
    assert isinstance(error, ConnectionLost)
    assert error.close_code == 1006


def test_a_closed_data_channel_is_the_end(fake: RTCFake, open_link: Open) -> None:
    link = open_link(fake)
    fake.close_channels()
    assert isinstance(end_of(link), ConnectionLost)


def test_more_than_the_inbox_holds_ends_the_link_and_none_of_it_is_lost_in_silence(
    fake: RTCFake, open_link: Open
) -> None:
    link = open_link(fake, inbox_bytes=20_000)
    fake.say(*["x" * 900] * 30)
    fake.wait(lambda: fake.closed)
    received = 0
    with pytest.raises(InboxOverflow, match="20000 bytes"):
        while True:
            assert event_of(link) == Custom(None, "x" * 900)
            received += 1
    assert received >= 20


def test_a_caller_that_does_not_receive_keeps_nobody_waiting(fake: RTCFake, open_link: Open) -> None:
    link = open_link(fake)
    fake.say(*["x" * 10_000] * 100)
    link.send_audio(tone(0.2, 16000), soon())
    fake.wait(lambda: len(fake.heard) > 2 * 0.2 * 48000)
    for _ in range(100):
        assert event_of(link) == Custom(None, "x" * 10_000)


def test_closing_ends_both_sides_at_once_and_may_be_repeated(fake: RTCFake, open_link: Open) -> None:
    link = open_link(fake)
    link.send_audio(tone(5, 16000), soon())  # what is queued is not waited for
    deadline = Deadline(1)
    link.close(1)
    assert not deadline.expired()
    assert not [thread for thread in threading.enumerate() if thread.name == "hume_sync webrtc"]
    fake.wait(lambda: fake.closed == 1)
    link.close(1)
    link.abort()
    with pytest.raises(MisuseError, match="closed"):
        link.receive(soon())
    with pytest.raises(MisuseError, match="closed"):
        link.send_audio(bytes(2), soon())


@pytest.mark.parametrize(
    ("end", "error"), [(lambda link: link.close(1), MisuseError), (lambda link: link.abort(), ConnectionLost)]
)
def test_who_waits_is_woken_by_the_end(
    fake: RTCFake, open_link: Open, end: Callable[[WebRTCLink], None], error: type[HumeClientException]
) -> None:
    link = open_link(fake)
    link.send_audio(bytes(2 * 16000 * 10), soon())
    caught: list[type[BaseException]] = []

    def until_it_ends(call: Callable[[], object]) -> None:
        try:
            while True:
                call()
        except HumeClientException as exc:
            caught.append(type(exc))

    calls = [lambda: link.receive(Deadline(60)), lambda: link.send_audio(bytes(2 * 16000), Deadline(60))]
    threads = [threading.Thread(target=until_it_ends, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    end(link)
    for thread in threads:
        thread.join(5)
    assert caught == [error, error]


def test_links_live_side_by_side(fake: RTCFake, open_link: Open) -> None:
    links = [open_link(fake) for _ in range(3)]
    links[1].close(1)
    fake.wait(lambda: fake.closed == 1)
    for link in (links[0], links[2]):
        link.send_audio(tone(0.1, 16000), soon())
        assert link.receive(Deadline(0.01)) is None


def test_a_link_that_was_forgotten_warns_and_is_let_go(fake: RTCFake) -> None:
    links = [WebRTCLink.open(fake.offer, **settings())]
    with pytest.warns(ResourceWarning, match="not closed"):
        links.clear()
    fake.wait(lambda: fake.closed == 1)


def test_a_forked_child_gets_misuse_errors_and_the_parent_goes_on(fake: RTCFake, open_link: Open) -> None:
    link = open_link(fake)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(10)
            with pytest.raises(MisuseError, match="forked"):
                link.receive(soon())
            with pytest.raises(MisuseError, match="forked"):
                link.send_audio(bytes(2), soon())
            link.close(1)
            link.abort()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    fake.say("still there")
    assert event_of(link) == Custom(None, "still there")


def test_an_interpreter_that_ends_with_an_open_link_neither_hangs_nor_complains() -> None:
    code = (
        "import logging, threading\n"
        "logging.basicConfig()\n"
        "from hume_sync.fastrtc.webrtc import WebRTCLink\n"
        "from hume_sync.net.deadline import Deadline\n"
        "from tests.fastrtc.rtcfake import RTCFake, tone\n"
        "fake = RTCFake().__enter__()\n"
        "link = WebRTCLink.open(\n"
        "    fake.offer, input_sample_rate=16000, output_sample_rate=16000, deadline=Deadline(10), watch=id\n"
        ")\n"
        "link.send_audio(tone(0.1, 16000), Deadline(10))\n"
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
