"""What a session asks of its application: inputs by a hook, outputs by events and by question."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hume_sync import ConfigurationError, InputError, MisuseError
from hume_sync.errors import ConnectionLost
from hume_sync.fastrtc import HookError, LogMessage, SendInput
from tests.faultproxy import Peer, head
from tests.net.support import server

from .fake import FakeFastRTC
from .real.turns import level, media, message
from .talk import SPEECH, TURN, answers, client, say
from .webtalk import EVENTS, request


def test_inputs_are_posted_in_the_pages_form(fake: FakeFastRTC) -> None:
    with client(fake, "/args").connect() as session:
        session.set_input(scale=3, label="x")
        assert say(session)
        assert fake.hooks == [{"webrtc_id": session.webrtc_id, "scale": 3, "label": "x"}]


def test_a_handler_that_asks_is_answered_in_the_callers_thread(fake: FakeFastRTC) -> None:
    threads: list[int] = []

    def inputs() -> dict[str, int]:
        threads.append(threading.get_ident())
        return {"scale": len(threads)}

    with client(fake, "/args").connect(inputs=inputs) as session, session.outputs() as outputs:
        for _ in range(2):
            session.send_audio(SPEECH, end=True)
            assert SendInput() in session.reply(idle=0.05).messages
        assert [next(outputs)["scale"], next(outputs)["scale"]] == [1, 2]
    assert threads == [threading.get_ident()] * 2


def test_an_answer_to_a_handler_that_is_no_mapping_of_fields_is_refused(fake: FakeFastRTC) -> None:
    with client(fake, "/args").connect(inputs=lambda: [("scale", 1)]) as session:  # type: ignore[arg-type,return-value]
        session.send_audio(SPEECH, end=True)
        with pytest.raises(InputError, match="inputs must return a mapping"):
            session.reply()
    assert fake.hooks == []


def test_an_input_may_have_any_name(fake: FakeFastRTC) -> None:
    with client(fake, "/args").connect() as session:
        session.set_input(self=1, fields=2)
        assert fake.hooks == [{"webrtc_id": session.webrtc_id, "self": 1, "fields": 2}]


def test_inputs_cannot_be_given_from_inside_the_function_that_shapes_them(fake: FakeFastRTC) -> None:
    def shape(_: str, fields: Mapping[str, Any]) -> Any:
        session.set_input(**fields)

    with client(fake, "/args", shape=shape).connect() as session:
        with pytest.raises(MisuseError, match="inside its own call"):
            session.set_input(scale=1)
    assert fake.hooks == []


def test_a_hook_that_fails_is_an_error_with_its_status(fake: FakeFastRTC) -> None:
    fake.knobs.hook_status = 500
    with client(fake, "/args").connect() as session:
        with pytest.raises(HookError) as caught:
            session.set_input(scale=1)
        assert caught.value.status == 500


def test_outputs_come_as_json_where_they_are_and_end_with_the_session(fake: FakeFastRTC) -> None:
    with client(fake, "/addl").connect() as session:
        outputs = session.outputs()
        say(session)
        first = next(outputs)
        rest = [next(outputs), next(outputs)]
    assert first["rate"] == 16000
    assert rest == ["with audio", "zwei Zeilen:\nÄußerung"]
    assert list(outputs) == []


def test_outputs_that_are_being_opened_end_when_the_connection_is_replaced(fake: FakeFastRTC) -> None:
    asked: list[str] = []

    def outputs(peer: Peer) -> None:
        first, *_ = head(peer.file)
        asked.append(first.decode())
        if len(asked) == 1:
            fake.drop()
        else:
            peer.send(EVENTS + b"data: 1\n\n")
        peer.wait_gone()

    with server(outputs, outputs) as port, ThreadPoolExecutor(1) as threads:
        with client(fake, "/echo", outputs=f"http://127.0.0.1:{port}/").connect(reconnect=True) as session:
            first = session.webrtc_id
            losing = threads.submit(session.reply)
            assert list(session.outputs()) == []
            assert isinstance(losing.exception(5), ConnectionLost)
            with session.outputs() as stream:
                assert next(stream) == 1
            assert first in asked[0]
            assert session.webrtc_id != first
            assert session.webrtc_id in asked[1]


@pytest.mark.parametrize("fault", [LookupError("nothing there"), KeyboardInterrupt(), None], ids=repr)
def test_a_turn_whose_inputs_failed_waits_for_the_next_call(fake: FakeFastRTC, fault: BaseException | None) -> None:
    inputs = answers(fault or {"scale": 3}, {"scale": 3})
    fake.knobs.hook_status = 200 if fault else 500
    with client(fake, "/args").connect(inputs=inputs) as session:
        session.send_audio(SPEECH, end=True)
        with pytest.raises((LookupError, KeyboardInterrupt, HookError)):
            session.reply()
        fake.knobs.hook_status = 200
        reply = session.reply(idle=0.05)
    assert reply.audio
    assert reply.complete
    assert [*reply.messages][:2] == TURN[:2]
    assert SendInput() in reply.messages


def test_an_event_whose_inputs_failed_comes_again(fake: FakeFastRTC) -> None:
    inputs = answers(LookupError("nothing there"), {"scale": 3})
    with client(fake, "/args").connect(inputs=inputs) as session:
        session.send_audio(SPEECH, end=True)
        with pytest.raises(LookupError):
            list(session)
        assert next(iter(session)) == SendInput()
    assert [hook["scale"] for hook in fake.hooks] == [3]


def test_the_time_the_caller_takes_for_inputs_is_none_of_the_replys(fake: FakeFastRTC) -> None:
    def inputs() -> dict[str, int]:
        assert not threading.Event().wait(1.6)
        return {"scale": 3}

    with client(fake, "/args").connect(inputs=inputs) as session:
        session.send_audio(SPEECH, end=True)
        assert session.reply(timeout=1.5, idle=0.05).complete


@pytest.mark.parametrize("reconnect", [False, True])
def test_inputs_for_a_connection_that_has_ended_are_refused(fake: FakeFastRTC, reconnect: bool) -> None:
    with client(fake, "/args").connect(reconnect=reconnect) as session:
        fake.end(1000)
        with pytest.raises(ConnectionLost):
            session.reply()
        with pytest.raises(ConnectionLost):
            session.set_input(scale=3)
    assert fake.hooks == []


def test_of_many_requests_for_inputs_only_those_that_got_none_are_answered_again(fake: FakeFastRTC) -> None:
    inputs = answers({"number": 1}, LookupError(2), LookupError(3), {"number": 4}, {"number": 5})
    with client(fake, "/silent").connect(inputs=inputs) as session:
        ask = message("send_input", "")
        fake.say(message("log", "pause_detected"), ask, ask, ask, media(level(1000, 800)))
        for _ in range(2):
            with pytest.raises(LookupError):
                session.reply()
        reply = session.reply(idle=0.05)
    assert reply.audio
    assert [*reply.messages] == [LogMessage("pause_detected"), *[SendInput()] * 3]
    assert [hook["number"] for hook in fake.hooks] == [1, 4, 5]


def test_a_caller_may_have_no_inputs_for_a_handler(fake: FakeFastRTC) -> None:
    with client(fake, "/silent").connect(inputs=lambda: None) as session:
        fake.say(message("send_input", ""))
        assert next(iter(session)) == SendInput()
    assert fake.hooks == []


def test_inputs_without_a_hook_are_refused_before_there_is_a_session(fake: FakeFastRTC) -> None:
    with pytest.raises(ConfigurationError, match="inputs need input_hook"):
        client(fake, "/args", input_hook=None).connect(inputs=lambda: {"a": 1})
    assert fake.requests == []


def test_an_application_that_gives_no_answer_is_no_loss_of_the_session(fake: FakeFastRTC) -> None:
    def cut(peer: Peer) -> None:
        request(peer)

    with server(cut, cut, cut) as port:
        url = f"http://127.0.0.1:{port}/"
        with client(fake, "/echo", input_hook=url, outputs=url, latest=url).connect() as session:
            calls: dict[str, Callable[[], object]] = {
                "input_hook": lambda: session.set_input(a=1),
                "outputs": lambda: session.outputs().receive(timeout=5),
                "latest": session.latest_output,
            }
            for name, call in calls.items():
                with pytest.raises(
                    HookError, match=f"the application's {name} URL gives no answer: no answer from {url}: "
                ):
                    call()
            assert say(session)
