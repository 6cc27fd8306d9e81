"""Messages of the application's own over WebRTC, both ways, and the times of its audio."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync import InputError, MisuseError, Timeout
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import AudioChunk, Custom, LogMessage, with_pauses
from hume_sync.fastrtc.transport_rtc import WebRTCTransport
from hume_sync.net.clock import monotonic
from hume_sync.net.deadline import Deadline

from .rtcfake import FRAME, RTCFake, tone
from .rtctalk import HELD_BACK, MARKS, Begin, Open, event_of, has_arrived, soon, transport_of
from .talk import took

pytestmark = MARKS

# --- the server's


@pytest.mark.parametrize("data", [b"", b"\xff\x00", b'{"type": "log", "data": "pause_detected"}', bytes(100_000)])
def test_a_binary_message_is_data_with_any_content(rtc: RTCFake, begin: Begin, data: bytes) -> None:
    session = begin()
    rtc.say(data, "{}")
    assert session.receive(timeout=10) == Custom(None, data)
    assert session.receive(timeout=10) == Custom(None, {})


# --- one's own


def test_messages_go_over_the_data_channel_in_their_form_and_order(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    for message in ("", "wörld", {"event": "mark", "n": 1}, [1], b"", b"\xff", "x" * 999):
        session.send(message)
    reported = ["", "wörld", '{"event":"mark","n":1}', "[1]", b"", b"\xff", "x" * 999]
    assert [session.receive(timeout=10) for _ in reported] == [
        LogMessage(f"Server received: {message!s}") for message in reported
    ]
    assert rtc.reported == reported


def sized(line: str) -> Callable[[dict[str, Any]], tuple[int, Any]]:
    """A server that says this of how large messages may be."""
    return lambda answer: (200, {**answer, "sdp": re.sub(r"a=max-message-size:.*\r\n", line, answer["sdp"])})


@pytest.mark.parametrize(
    ("line", "limit"),
    [("a=max-message-size:1000\r\n", 1000), ("", 65536), ("a=max-message-size:0\r\n", None)],
    ids=["reported", "not reported", "any"],
)
@pytest.mark.parametrize("kind", [str, bytes])
def test_a_message_may_be_as_large_as_the_server_says(
    begin: Begin, rtc: RTCFake, line: str, limit: int | None, kind: type[str | bytes]
) -> None:
    rtc.edit = sized(line)
    session = begin()

    def message(size: int) -> str | bytes:
        return "é" * (size // 2) + "x" * (size % 2) if kind is str else bytes(size)

    if limit is not None:
        with pytest.raises(InputError, match=f"at most {limit} bytes, .* over WebRTC; got {limit + 1}$"):
            session.send(message(limit + 1))
    session.send(message(limit or 300_000))
    rtc.wait(lambda: rtc.reported == [message(limit or 300_000)])


def test_a_server_that_takes_nothing_is_a_time_out_and_what_was_sent_before_comes(rtc: RTCFake, begin: Begin) -> None:
    session, count = begin(), 0
    with rtc.frozen():
        with pytest.raises(Timeout) as caught:
            while True:
                session.send(b"%05d" % count + bytes(50_000), timeout=0.3)
                count += 1
        assert caught.value.phase == "send"
    assert count >= 2**20 // 50_000
    session.send("and on", timeout=10)
    rtc.wait(lambda: rtc.reported[-1:] == ["and on"])
    assert [message[:5] for message in rtc.reported[:-1]] == [b"%05d" % number for number in range(count)]


def note(rtc: RTCFake, message: str | bytes) -> None:
    with rtc._changed:
        rtc.reported.append(message)
        rtc._changed.notify_all()


def test_who_waits_to_send_goes_on_as_soon_as_there_is_room(
    rtc: RTCFake, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hume_sync.net.condition.MAX_WAIT", 60.0)  # else it would look by itself, now and then
    monkeypatch.setattr(RTCFake, "_answer_message", lambda rtc, _, message: note(rtc, message))  # and at each answer
    session = begin()
    waited = [took(lambda: session.send(bytes(50_000), timeout=20)) for _ in range(60)]
    assert max(waited) < 10
    rtc.wait(lambda: len(rtc.reported) == 60)


def test_who_waits_to_send_learns_at_once_that_the_session_is_closed(rtc: RTCFake, begin: Begin) -> None:
    session = begin(timeout=60)

    def flood() -> None:
        while True:
            session.send(bytes(50_000))

    with rtc.frozen(), ThreadPoolExecutor(1) as threads:
        flooding = threads.submit(flood)
        condition = transport_of(session)._loop._changed
        assert condition.wait_for(lambda: bool(condition._waiters) or None, soon())
        session.close(0.1)
        assert isinstance(flooding.exception(10), MisuseError)
    with pytest.raises(MisuseError, match="closed"):
        session.send("late")


def test_a_message_before_the_end_is_sent(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    session.send("last")
    session.close()
    rtc.wait(lambda: rtc.reported == ["last"])


def test_a_message_behind_the_servers_end_is_a_loss(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)
    rtc.hang_up()
    with pytest.raises(ConnectionLost) as caught:
        while True:
            transport.send("x", soon())
    assert caught.value.close_code == 1000


# --- when audio came, and where it stands


def chunks_of(transport: WebRTCTransport, count: int) -> list[AudioChunk]:
    """So many, which have come before any is fetched."""
    loop = transport._loop
    assert loop._changed.wait_for(lambda: len(loop._inbox) >= count or None, Deadline(10))
    events = [event_of(transport) for _ in range(count)]
    chunks = [event for event in events if isinstance(event, AudioChunk)]
    assert len(chunks) == count
    return chunks


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_audio_has_the_time_it_came_and_its_place_on_the_servers_time_line(
    rtc: RTCFake, open_transport: Open, rate: int
) -> None:
    transport = open_transport(rtc, output_sample_rate=rate)
    before = monotonic()
    rtc.play(tone(0.5, 48000) + bytes(2 * HELD_BACK))
    chunks = chunks_of(transport, 25)
    behind = monotonic()
    times = [chunk.arrived for chunk in chunks]
    assert times == sorted(times)
    assert before < times[0] <= times[-1] < behind
    assert chunks[0].media_time == 0.0
    played = 0.0
    for chunk in chunks:
        assert chunk.media_time == pytest.approx(played, abs=0.002)
        played += chunk.seconds


def test_a_pause_that_the_server_counts_is_a_gap_on_its_time_line(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)
    rtc.play(tone(0.2, 48000) + bytes(2 * HELD_BACK))
    first = chunks_of(transport, 10)
    rtc.skip(3.0)
    rtc.play(tone(0.2, 48000) + bytes(2 * HELD_BACK))
    second = chunks_of(transport, 10)
    assert second[-1].media_time == pytest.approx(19 * 0.02 + 3.0, abs=0.002)
    joined = with_pauses(first + second)
    assert len(joined) / 2 / 48000 == pytest.approx(20 * 0.02 + 3.0, abs=0.002)


def test_silence_that_was_left_out_can_be_put_back(rtc: RTCFake, open_transport: Open) -> None:
    transport = open_transport(rtc)
    speech = tone(0.2, 48000)
    rtc.play(speech + bytes(2 * 48000 * 5) + speech + bytes(2 * HELD_BACK))
    chunks = []
    while (event := transport.receive(Deadline(2.0))) is not None:
        assert isinstance(event, AudioChunk)
        chunks.append(event)
    assert sum(chunk.seconds for chunk in chunks) == pytest.approx(0.2 + 2 + 0.2, abs=0.1)
    assert len(with_pauses(chunks)) / 2 / 48000 == pytest.approx(0.2 + 5 + 0.2, abs=0.1)


def test_times_are_those_of_the_session(rtc: RTCFake, begin: Begin) -> None:
    session = begin()
    rtc.play(b"\x00\x10" * (10 * FRAME + HELD_BACK))
    has_arrived(session, 10)
    chunk = session.receive(timeout=10)
    assert isinstance(chunk, AudioChunk)
    assert 0 < chunk.arrived < monotonic()
    assert chunk.media_time == 0.0
