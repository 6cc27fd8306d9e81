"""Sessions with the fake: events, the end, misuse. (Replies: test_session_replies.py; inputs: test_server.py.)"""

from __future__ import annotations

import gc
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync import InputError, MisuseError, ReplyTimeout, Timeout
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import (
    AudioChunk,
    Custom,
    EndStream,
    ErrorMessage,
    FetchOutput,
    LogMessage,
    Session,
    StopWord,
    TooManyConnections,
    UpdateConnection,
    WarningMessage,
)
from tests.net.support import in_child

from .fake import FakeFastRTC
from .sounds import wav
from .talk import SPEECH, TURN, client, heard, say, took

# --- events


def test_events_are_typed_and_come_in_order(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        session.send_audio(SPEECH, end=True)
        events = iter(session)
        assert [next(events) for _ in range(3)] == TURN
        chunk = next(events)
        assert isinstance(chunk, AudioChunk)
        assert heard(SPEECH) in chunk.samples
        assert chunk.seconds == len(chunk.samples) / 2 / 16000


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/page/warning", [WarningMessage("careful")]),
        ("/message/warning", [WarningMessage("careful")]),
        ("/page/error", [ErrorMessage("boom")]),
        ("/message/error", [ErrorMessage("boom")]),
        ("/channel", [FetchOutput(), EndStream("bye now"), UpdateConnection("closed")]),
        ("/stopword", [StopWord("")]),
    ],
)
def test_what_servers_say_is_known_in_either_spelling(fake: FakeFastRTC, path: str, expected: list[object]) -> None:
    with client(fake, path).connect() as session:
        session.send_audio(SPEECH)  # (of which a handler with a stop word takes the first part for that)
        session.send_audio(SPEECH, end=True)
        messages = session.reply(idle=0.05).messages
    assert [event for event in messages if not isinstance(event, LogMessage)] == expected


def test_an_unknown_message_passes_through_and_breaks_nothing(fake: FakeFastRTC) -> None:
    with client(fake, "/garbage").connect() as session:
        reply = session.ask(SPEECH, idle=0.05)
    assert reply.audio
    assert [event for event in reply.messages if isinstance(event, Custom)] == [
        Custom(None, "{not json"),
        Custom(None, "hi"),
        Custom(None, [1, 2]),
        Custom(None, None),
        Custom(None, b"\x00\x01\x02"),
        Custom("media", {"payload": "#"}),
        Custom("media", {}),
        Custom("media", 7),
        Custom("mark", {"event": "mark", "mark": {"name": "x"}}),
        Custom("custom", {"x": 1}),
        Custom("log", {"type": "log"}),
        Custom(None, {"type": 7, "data": []}),
    ]


# --- the end


@pytest.mark.parametrize(
    ("path", "code"), [("/ended", 1000), ("/restart", 1012), ("/dropped", 1006)], ids=["1000", "1012", "1006"]
)
def test_the_servers_end_is_raised_once_what_came_before_was_received(fake: FakeFastRTC, path: str, code: int) -> None:
    with client(fake, path).connect() as session:
        session.send_audio(SPEECH, end=True)
        got = []
        with pytest.raises(ConnectionLost) as caught:
            for event in session:
                got.append(event)
    assert caught.value.close_code == code
    assert any(isinstance(event, AudioChunk) for event in got)


# --- misuse


@pytest.mark.parametrize(
    "options",
    [{"idle": 0}, {"idle": "1"}, {"idle": None}, {"timeout": -1}, {"silence": -1}, {"silence": 61}],
)
def test_ask_refuses_bad_arguments_before_anything_is_sent(fake: FakeFastRTC, options: dict[str, Any]) -> None:
    with client(fake, "/echo").connect() as session:
        with pytest.raises(InputError, match="idle|timeout|silence"):
            session.ask(SPEECH, **options)
        with pytest.raises(ReplyTimeout, match="nothing was asked"):
            session.reply(timeout=0.05)


@pytest.mark.parametrize("blocked", ["outputs", "latest", "reply", "events"])
def test_closing_from_another_thread_ends_all_waits(fake: FakeFastRTC, blocked: str) -> None:
    calls: dict[str, Callable[[Session], object]] = {
        "outputs": lambda _: list(outputs),
        "latest": Session.latest_output,
        "reply": Session.reply,
        "events": list,
    }
    session = client(fake, "/echo", latest="/latest").connect()
    outputs = session.outputs()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(calls[blocked], session)
        if blocked == "latest":
            fake.wait(lambda: any(request.path == "/latest" for request in fake.requests))
        assert took(session.close) < 1
        if blocked in {"outputs", "events"}:
            assert waiting.result(5) == []
        else:
            assert isinstance(waiting.exception(5), MisuseError)


def test_an_interrupted_program_does_not_wait_for_a_servers_close_frame(fake: FakeFastRTC) -> None:
    with pytest.raises(KeyboardInterrupt), client(fake, "/echo").connect():
        raise KeyboardInterrupt
    fake.wait(lambda: not fake.connections[0].open)
    assert fake.connections[0].events == ["start", "ping"]
    assert fake.connections[0].close_code is None


def test_a_closed_session_says_so(fake: FakeFastRTC) -> None:
    session = client(fake, "/echo").connect()
    session.close()
    session.close()
    for call in (lambda: session.send_audio(SPEECH), session.reply, session.outputs, lambda: session.set_input(a=1)):
        with pytest.raises(MisuseError, match="closed"):
            call()


@pytest.mark.parametrize("audio", [b"", b"odd", "nowhere.txt", 7, None])
def test_bad_audio_is_refused_before_anything_is_sent(fake: FakeFastRTC, audio: Any) -> None:
    with client(fake, "/echo").connect() as session:
        with pytest.raises((InputError, OSError)):
            session.send_audio(audio)
        assert say(session)
    assert all(fake.connections[0].media)


def test_a_forked_child_may_not_use_a_session_and_the_parent_goes_on(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:

        def child() -> None:
            calls: list[Callable[[], object]] = [
                lambda: session.send_audio(SPEECH),
                session.reply,
                lambda: next(iter(session)),
                lambda: session.set_input(a=1),
                session.outputs,
                session.latest_output,
            ]
            for call in calls:
                with pytest.raises(MisuseError, match="before the process was forked"):
                    call()
            session.close()

        in_child(child)
        assert heard(SPEECH) in say(session)


def test_twenty_sessions_in_twenty_threads_each_hear_themselves(fake: FakeFastRTC) -> None:
    twenty = client(fake, "/limit20")
    ready = threading.Barrier(20)

    def work(number: int) -> bool:
        own = bytes(SPEECH[: len(SPEECH) - 2000 * number])
        with twenty.connect() as session:
            ready.wait(10)
            if number == 0:
                with pytest.raises(TooManyConnections):
                    twenty.connect()
            return heard(own) in say(session, samples=own, idle=0.3)

    with ThreadPoolExecutor(20) as threads:
        assert list(threads.map(work, range(20))) == [True] * 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("hume_sync")]


def test_a_file_that_takes_too_long_to_resample_is_a_time_out_and_nothing_is_sent(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        with pytest.raises(Timeout) as caught:
            session.send_audio(io.BytesIO(wav(bytes(2 * 44100 * 20), rate=44100)), timeout=0.001)
        assert caught.value.phase == "send"
        assert not caught.value.maybe_processed
        assert say(session)
    assert len(fake.connections[0].media) == 2  # of the question that was sent, and its silence


def test_closing_ends_the_resampling_of_a_file(fake: FakeFastRTC) -> None:
    class Closing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            session.close()
            return super().read(size)

    session = client(fake, "/echo").connect()
    content = Closing(wav(bytes(2 * 44100 * 20), rate=44100))
    with pytest.raises(MisuseError, match="closed"):
        session.send_audio(content)
    assert content.tell() < len(content.getvalue())  # it was not even read to its end


@pytest.mark.parametrize("reconnect", [False, True])
def test_a_session_that_is_dropped_ends_at_once_and_warns(fake: FakeFastRTC, reconnect: bool) -> None:
    sessions = [client(fake, "/limit").connect(reconnect=reconnect, inputs=lambda: {"a": 1})]
    sessions[0].set_input(a=1)
    outputs = sessions[0].outputs()  # which keep nothing of it
    gc.disable()
    try:
        with pytest.warns(ResourceWarning, match="a session was not closed"):
            sessions.clear()
        fake.wait(lambda: not fake.connections[0].open)
        assert list(outputs) == []
    finally:
        gc.enable()
