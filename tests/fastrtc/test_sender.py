"""What `Session.send_audio` sends, when, and what ends it. (What audio may be: test_audio.py and its neighbours.)"""

from __future__ import annotations

import itertools
import threading
import traceback
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync import InputError, MisuseError, Timeout
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import AudioChunk, Reconnected, Session, sender
from hume_sync.fastrtc.sender import SendSchedule, trailing_quiet
from hume_sync.fastrtc.transport import ReconnectingTransport
from hume_sync.net.deadline import Deadline

from .fake import FakeFastRTC
from .sounds import wav
from .talk import SPEECH, client, heard, say

RATE = 16000


def lengths(fake: FakeFastRTC, connection: int = 0) -> list[int]:
    """Samples of the messages that came."""
    return list(fake.connections[connection].media)


def test_each_chunk_is_sent_as_it_comes(fake: FakeFastRTC) -> None:
    def chunks() -> Iterator[Any]:
        for number in range(1, 4):
            yield (2 * RATE, bytes(4000))
            fake.wait(lambda number=number: len(lengths(fake)) == number)  # type: ignore[misc]

    with client(fake, "/echo").connect() as session:
        session.send_audio(chunks(), end=0.5)
        fake.wait(lambda: len(lengths(fake)) == 5)  # with what the filter has kept, and the silence
    assert sum(lengths(fake)[:4]) == 3000
    assert lengths(fake)[4] == RATE / 2


def test_an_iterable_is_a_question_as_a_file_is(fake: FakeFastRTC) -> None:
    chunks = (SPEECH[begin : begin + 3333] for begin in range(0, len(SPEECH), 3333))
    with client(fake, "/echo").connect() as session:
        assert heard(SPEECH) in session.ask(chunks, idle=0.05).audio
        assert heard(SPEECH) in session.ask(wav(SPEECH), silence=2, idle=0.05).audio


@pytest.mark.parametrize(("end", "count"), [(False, None), (0, None), (True, 19200), (0.25, 4000), (2, 32000)])
def test_the_silence_is_a_message_of_its_own(fake: FakeFastRTC, end: float, count: int | None) -> None:
    with client(fake, "/echo").connect() as session:
        session.send_audio(SPEECH, end=end)
        fake.wait(lambda: len(lengths(fake)) == 1 + (count is not None))
    assert lengths(fake) == [len(SPEECH) // 2, *([] if count is None else [count])]


@pytest.mark.parametrize("end", [-1, float("nan"), 61, "yes", None])
@pytest.mark.parametrize("name", ["end", "silence"])
def test_a_silence_that_cannot_be_is_refused_before_anything_is_sent(fake: FakeFastRTC, end: Any, name: str) -> None:
    with client(fake, "/echo").connect() as session:
        with pytest.raises(InputError, match=f"{name} must be a bool, or seconds of silence, 0 to 60; got "):
            session.send_audio(SPEECH, end=end) if name == "end" else session.ask(SPEECH, silence=end)
        assert say(session)
    assert len(fake.connections[0].media) == 2


# --- pace


class Clock:
    """Time that passes where it is slept, or where a source takes it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(sender, "monotonic", lambda: self.now)

    def check(self) -> None:
        """As that of a line."""

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def times(self, messages: Any, deadline: Deadline, *, grows: bool = False) -> list[float]:
        line: Any = self
        paced = SendSchedule(line, RATE, deadline, extend=grows, paced=True)
        return [round(self.now - 1000, 6) for _ in paced.schedule(messages)]


def test_paced_messages_go_when_those_before_have_played(monkeypatch: pytest.MonkeyPatch) -> None:
    tenth = bytes(2 * RATE // 10)
    assert Clock(monkeypatch).times([tenth, tenth, 2 * tenth, tenth], Deadline(9)) == [0, 0.1, 0.2, 0.4]


def test_a_source_that_is_a_little_late_is_caught_up_with_and_a_pause_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def source() -> Iterator[bytes]:
        for late in (0, 0.3, 0, 0, 3, 0):
            clock.now += late
            yield bytes(2 * RATE // 10)

    assert clock.times(source(), Deadline(9)) == [0, 0.3, 0.3, 0.3, 3.3, 3.4]


def test_a_paced_sound_is_sent_as_a_microphone_does(fake: FakeFastRTC, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(ReconnectingTransport, "sleep", lambda _, seconds: slept.append(seconds))
    monkeypatch.setattr(sender, "monotonic", lambda: 0.0)
    with client(fake, "/echo").connect() as session:
        session.send_audio(SPEECH, end=True, pace=True)
        fake.wait(lambda: sum(lengths(fake)) == len(SPEECH) // 2 + 19200)
    assert set(lengths(fake)) == {RATE // 50}
    assert slept[-1] == pytest.approx(len(SPEECH) / 2 / RATE + 1.2 - 0.02)


def test_a_paced_sound_takes_as_long_as_it_plays(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        with ThreadPoolExecutor(1) as threads:
            sending = threads.submit(session.send_audio, itertools.repeat(bytes(320)), pace=True, timeout=0.3)
            fake.wait(lambda: bool(lengths(fake)))
            assert isinstance(sending.exception(10), Timeout)
    assert sum(lengths(fake)) <= 0.5 * RATE  # of a source that has no end: far less than plays meanwhile


# --- the end


def test_the_deadline_holds_between_chunks_and_the_session_goes_on(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        with pytest.raises(Timeout) as caught:
            session.send_audio(itertools.repeat(bytes(320)), timeout=0.2)
        assert caught.value.phase == "send"
        assert heard(SPEECH) in say(session)


def test_without_a_timeout_a_stream_may_take_as_long_as_it_plays(fake: FakeFastRTC) -> None:
    passed = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield bytes(2 * 2 * RATE)
        passed.wait(1.2)  # more than the client's time
        yield SPEECH

    with client(fake, "/echo", timeout=1.0).connect() as session:
        session.send_audio(chunks())
        with pytest.raises(Timeout):
            session.send_audio(chunks(), timeout=1.0)


def failing(error: BaseException) -> Iterator[bytes]:
    yield SPEECH
    raise error


@pytest.mark.parametrize("reconnect", [False, True])
@pytest.mark.parametrize(
    "error",
    [LookupError("exhausted"), ConnectionLost("of another", close_code=1006), Timeout("of another"), OSError(5)],
)
def test_what_an_iterable_raises_is_no_end_of_the_session(fake: FakeFastRTC, error: Exception, reconnect: bool) -> None:
    class Chunks:
        """Whose error has no frame of the caller's behind those of the library: one of another session's, say."""

        def __init__(self) -> None:
            self.left = [SPEECH]

        def __iter__(self) -> Iterator[bytes]:
            return map(self.next, itertools.count())

        def next(self, _: int) -> bytes:
            if self.left:
                return self.left.pop()
            raise error

    with client(fake, "/echo").connect(reconnect=reconnect) as session:
        for chunks in (failing(error), Chunks()):
            first = session.webrtc_id
            with pytest.raises(type(error)) as caught:
                session.send_audio(chunks)
            assert caught.value is error
            assert session.webrtc_id == first
            assert heard(SPEECH) in say(session)
    assert len(fake.connections) == 1


def test_what_another_session_of_the_library_raises_is_no_end_of_this_one(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect(reconnect=True) as session, client(fake, "/ended").connect() as other:
        other.send_audio(SPEECH, end=True)
        sounds = ((event.rate, event.samples) for event in other.events() if isinstance(event, AudioChunk))
        with pytest.raises(ConnectionLost) as caught:
            session.send_audio(sounds)
        assert caught.value.close_code == 1000
        assert session.ask(SPEECH, idle=0.05).audio
    assert len(fake.connections) == 2


def test_what_was_sent_before_an_iterable_failed_is_a_question_all_the_same(fake: FakeFastRTC) -> None:
    def chunks() -> Iterator[bytes]:
        yield SPEECH
        yield bytes(2 * 2 * RATE)
        raise LookupError("exhausted")

    with client(fake, "/echo").connect() as session:
        with pytest.raises(LookupError):
            session.send_audio(chunks())
        assert heard(SPEECH) in session.reply(idle=0.05).audio


def test_a_chunk_that_is_no_audio_ends_the_call_and_not_the_session(fake: FakeFastRTC) -> None:
    with client(fake, "/echo").connect() as session:
        with pytest.raises(InputError, match="chunk 2 of audio must be"):
            session.send_audio(iter([SPEECH, None]))
        assert heard(SPEECH) in say(session)


@pytest.mark.parametrize("pace", [False, True])
def test_closing_from_another_thread_ends_the_sending(fake: FakeFastRTC, pace: bool) -> None:
    session = client(fake, "/echo").connect()
    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(session.send_audio, itertools.repeat(bytes(320)), pace=pace)
        fake.wait(lambda: bool(lengths(fake)))
        session.close()
        assert isinstance(sending.exception(5), MisuseError)


def test_a_sound_begun_on_a_connection_that_was_lost_is_not_ended_on_the_next(fake: FakeFastRTC) -> None:
    session = client(fake, "/echo").connect(reconnect=True)

    def chunks() -> Iterator[bytes]:
        yield SPEECH
        fake.drop(reset=True)
        for event in session:  # as another thread that receives
            if isinstance(event, Reconnected):
                break
        yield SPEECH

    with session:
        with pytest.raises(ConnectionLost):
            session.send_audio(chunks())
        assert heard(SPEECH) in say(session)
    assert len(fake.connections) == 2
    assert len(fake.connections[1].media) == 2  # of the question behind it alone


@pytest.mark.parametrize("make", [lambda: failing(LookupError("exhausted")), lambda: [SPEECH, None], lambda: b"odd"])
def test_no_media_is_left_in_a_traceback(fake: FakeFastRTC, make: Callable[[], Any]) -> None:
    with client(fake, "/echo").connect() as session, pytest.raises((LookupError, InputError)) as caught:
        session.send_audio(make())
    shown = [
        f"{frame.f_code.co_name}: {name}"
        for frame, _ in traceback.walk_tb(caught.value.__traceback__)
        if "hume_sync" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename
        for name, value in frame.f_locals.items()
        if "b'" in repr(value)
    ]
    assert shown == []


def test_a_generator_may_use_its_own_session(fake: FakeFastRTC) -> None:
    def chunks(session: Session) -> Iterator[bytes]:
        yield SPEECH
        session.send_audio(bytes(320))
        yield SPEECH

    with client(fake, "/echo").connect() as session:
        session.send_audio(chunks(session), end=True)
        assert session.reply(idle=0.05).audio


@pytest.mark.parametrize(
    ("values", "quiet"),
    [
        ([], 0),
        ([0] * 100, 100),
        ([9000] + [0] * 320, 320),
        ([9000] + [0] * 321, 320),  # in whole blocks
        ([-9000] * 10 + [499, -500] * 320, 640),
        ([0] * 1000 + [501], 0),
    ],
)
def test_the_quiet_at_the_end_is_known(values: list[int], quiet: int) -> None:
    assert trailing_quiet(array("h", values).tobytes()) == 2 * quiet
