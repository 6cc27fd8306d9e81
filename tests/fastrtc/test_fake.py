"""The fake keeps to what real servers were seen to do, and has the faults that they have on bad days."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.net.support import tls_contexts

from .fake import FakeFastRTC
from .real import turns
from .real.scenarios import TURN, Scenario, each_scenario
from .real.turns import GARBAGE, Heard, Output, Say, Step, Stream
from .real.wire import SocketStream, Updates, ask, kind, payload

pytestmark = pytest.mark.fastrtc  # beside the real ones, which do the same

FULL = {"error": "concurrency_limit_reached", "limit": 10}
EXISTS = {"error": "connection_already_exists"}


@pytest.fixture(autouse=True)
def _quiet_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no thinking here that would take a while."""
    monkeypatch.setattr(f"{SocketStream.__module__}.QUIET", 0.25)


def registered(fake: FakeFastRTC, path: str, **options: Any) -> SocketStream:
    """A connection that the server knows."""
    wire = SocketStream(fake.url, path, **options).start()
    wire.ping()
    return wire


@each_scenario
def test_the_fake_does_as_real_servers_do(fake: FakeFastRTC, play: Scenario) -> None:
    play(fake.url)


# --- what real servers say over WebRTC only, or only the published page knows ----------------------------------


@pytest.mark.parametrize("spelling", ["page", "message"])
@pytest.mark.parametrize(("name", "text"), [("error", "boom"), ("warning", "careful")])
def test_errors_and_warnings_come_in_both_spellings(fake: FakeFastRTC, spelling: str, name: str, text: str) -> None:
    with registered(fake, f"/{spelling}/{name}") as wire:
        wire.speak()
        reported = next(message for message in wire.until("media") if message.get("type") == name)
        assert reported == {"type": name, "data" if spelling == "page" else "message": text}


def test_what_the_data_channel_carries_comes_over_the_websocket_too(fake: FakeFastRTC) -> None:
    with registered(fake, "/channel") as wire:
        wire.speak()
        kinds = [kind(message) for message in wire.until("media")]
        assert kinds == [*TURN, "fetch_output", "end_stream", "update_connection", "response_starting", "media"]


def test_garbage_comes_before_the_audio(fake: FakeFastRTC) -> None:
    with registered(fake, "/garbage") as wire:
        wire.speak()
        wire.until("pause_detected")
        assert [wire.socket.recv(5) for _ in GARBAGE] == list(GARBAGE.values())
        assert kind(wire.until("media")[-1]) == "media"


def test_a_chunk_may_be_announced_and_lost(fake: FakeFastRTC) -> None:
    with registered(fake, "/lost") as lost, registered(fake, "/silent") as silent:
        lost.speak()
        assert [kind(message) for message in lost.rest()] == [*TURN, "response_starting", "response_starting", "media"]
        silent.speak()
        assert [kind(message) for message in silent.rest()] == [*TURN, "response_starting"]


# --- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "meta"), [("concurrency_limit_reached", FULL), ("connection_already_exists", EXISTS)]
)
def test_the_first_connections_may_be_refused(reason: str, meta: object) -> None:
    with FakeFastRTC(refuse_first=2, reason=reason) as fake:
        for _ in range(2):
            with SocketStream(fake.url, "/echo").start() as wire:
                assert wire.next() == {"status": "failed", "meta": meta}
                assert wire.closed() == 1000
        with registered(fake, "/echo"):
            assert [seen.id is not None for seen in fake.connections] == [True] * 3


def test_a_refusal_may_come_before_the_start() -> None:
    with FakeFastRTC(refuse_first=1, refusal="connect") as fake, SocketStream(fake.url, "/echo") as wire:
        assert wire.next() == {"status": "failed", "meta": FULL}
        assert wire.closed() == 1000


def test_a_refusal_may_be_a_status_of_http() -> None:
    with FakeFastRTC(refuse_first=2, refusal="http") as fake:
        with pytest.raises(InvalidStatus) as caught, SocketStream(fake.url, "/echo"):
            pass
        assert caught.value.response.status_code == 429
        assert json.loads(caught.value.response.body or b"") == {"status": "failed", "meta": FULL}
        offer = {"sdp": "", "type": "offer", "webrtc_id": "x"}
        assert ask(fake.url, "POST", "/echo/webrtc/offer", offer) == (429, {"status": "failed", "meta": FULL})


def test_offers_are_answered_as_configured_and_then_with_500() -> None:
    with FakeFastRTC(offers=[(200, '{"status":"failed","meta":{}}'), (418, "a teapot")]) as fake:
        offer = {"sdp": "", "type": "offer", "webrtc_id": "x"}
        answers = [ask(fake.url, "POST", "/echo/webrtc/offer", offer) for _ in range(3)]
        assert answers == [
            (200, {"status": "failed", "meta": {}}),
            (418, "a teapot"),
            (500, "Internal Server Error"),
        ]


# --- ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "code"), [("/ended", 1000), ("/restart", 1012), ("/dropped", None)])
def test_a_connection_ends_after_a_turn(fake: FakeFastRTC, path: str, code: int | None) -> None:
    with registered(fake, path) as wire:
        wire.speak()
        wire.until("media")
        assert wire.closed() == code


def test_connections_end_on_command(fake: FakeFastRTC) -> None:
    with registered(fake, "/echo") as wire:
        fake.end(1012)
        assert wire.closed() == 1012
        fake.wait(lambda: fake.connections[-1].close_code == 1012)
    for reset in (False, True):
        with registered(fake, "/echo") as wire:
            fake.drop(reset=reset)
            assert wire.closed() is None


def test_anything_is_said_on_command(fake: FakeFastRTC) -> None:
    with registered(fake, "/echo") as wire:
        fake.say("one", b"two", turns.media(b"three"))
        assert [wire.socket.recv(5), wire.socket.recv(5)] == ["one", b"two"]
        assert payload(wire.next()) == b"three"


# --- servers that are slow, deaf or greedy ---------------------------------------------------------------------


def test_a_ping_may_go_unanswered(fake: FakeFastRTC) -> None:
    with registered(fake, "/echo") as wire:
        fake.knobs.pong = False
        wire.send("ping")
        fake.wait(lambda: fake.connections[0].events == ["start", "ping", "ping"])
        fake.say('{"type":"custom","data":1}')
        assert wire.next() == {"type": "custom", "data": 1}


def test_a_server_that_has_stopped_reading_still_sends() -> None:
    with FakeFastRTC(reads_most=2, buffers=4096) as fake, registered(fake, "/raw") as wire:
        wire.send("ping")
        fake.say('{"type":"log","data":"there"}')
        assert kind(wire.next()) == "there"
        assert wire.rest() == []
        assert fake.connections[0].events == ["start", "ping"]
        fake.drop(reset=True)


def test_a_flood_comes_back_twentyfold(fake: FakeFastRTC) -> None:
    with registered(fake, "/flood") as wire:
        wire.media(b"\xff" * 1000)
        assert [len(payload(message)) for message in wire.until("media", 20)] == [1000] * 20


# --- HTTP ----------------------------------------------------------------------------------------------------


def test_events_come_in_the_forms_that_applications_give_them(fake: FakeFastRTC) -> None:
    forms = {
        "/named": [": keep alive", "", "event: output", "id: 7", "retry: 1000", "data: {", 'data:  "samples": 41600,'],
        "/text": ["data: {'samples': 41600, 'rate': 16000}", "", "data: with audio", "", "data: zwei Zeilen:"],
    }
    for path, lines in forms.items():
        with registered(fake, "/addl") as wire, Updates(fake.url, wire.id, path) as updates:
            wire.speak()
            assert [updates.line().rstrip("\r\n") for _ in lines] == lines


def test_a_reader_that_goes_is_noticed(fake: FakeFastRTC) -> None:
    for path in ("/updates", "/endless"):
        with Updates(fake.url, "unknown", path):
            request = fake.requests[-1]
            assert (request.path, request.query, request.status, request.open) == (
                path,
                {"webrtc_id": "unknown"},
                200,
                True,
            )
        fake.wait(lambda: not fake.requests[-1].open)


def test_all_readers_come_to_their_end_with_the_connection(fake: FakeFastRTC) -> None:
    with registered(fake, "/echo") as wire:
        with Updates(fake.url, wire.id) as one, Updates(fake.url, wire.id) as other:
            wire.send("stop")
            assert [one.line(), other.line()] == ["", ""]


def test_hooks_and_questions_fail_as_configured() -> None:
    with FakeFastRTC(hook_status=503, latest_wait=0.01, redirect="http://elsewhere.invalid/") as fake:
        assert ask(fake.url, "POST", "/input_hook", {"webrtc_id": "x", "a": 1})[0] == 503
        assert ask(fake.url, "GET", "/latest?webrtc_id=x") == (500, "Internal Server Error")
        assert ask(fake.url, "GET", "/redirect/updates")[0] == 307
        assert ask(fake.url, "GET", "/nowhere")[0] == 404
        assert fake.hooks == [{"webrtc_id": "x", "a": 1}]


# --- its own ---------------------------------------------------------------------------------------------------


def test_the_journal_tells_what_arrived(fake: FakeFastRTC) -> None:
    with registered(fake, "/echo", headers={"X-Key": "k"}) as wire:
        said = wire.speak()
        wire.send("stop")
        wire.closed()
    fake.wait(lambda: not fake.connections[0].open)
    (seen,) = fake.connections
    assert seen.request is fake.requests[0]
    assert (seen.request.method, seen.request.path) == ("GET", "/echo/websocket/offer")
    assert (seen.request.headers["x-key"], seen.request.status) == ("k", 101)
    assert (seen.id, seen.close_code) == (wire.id, 1000)
    assert seen.events == ["start", "ping", "media", "media", "stop"]
    assert (seen.media, bytes(seen.audio)) == ([30400, 11200], said)


def test_a_test_may_bring_streams_of_its_own() -> None:
    def turn(heard: Heard) -> Iterator[Step]:
        yield Say('{"type":"custom"}')
        yield Output(heard.rate)
        yield b"audio"

    with FakeFastRTC(streams={"/own": Stream(turn=turn)}, input_rate=8000, output_rate=24000) as fake:
        with registered(fake, "/own", rate=8000) as wire:
            wire.speak()
            messages = wire.until("media")
            assert {"type": "custom"} in messages
            assert payload(messages[-1]) == b"audio"
            assert ask(fake.url, "GET", f"/latest?webrtc_id={wire.id}") == (200, {"output": 24000})


def test_it_serves_tls() -> None:
    serving, trusting = tls_contexts("127.0.0.1")

    async def visit(url: str) -> int | None:
        # On asyncio: over TLS, the client for threads lets two of them use one connection, and hangs now and then.
        async with asyncio.timeout(10), connect(f"{url}/echo/websocket/offer", ssl=trusting) as socket:
            for event in ({"event": "start", "websocket_id": "one"}, {"event": "ping"}, {"event": "stop"}):
                await socket.send(json.dumps(event))
            assert json.loads(await socket.recv()) == {"event": "pong"}
            await socket.wait_closed()
            return socket.close_code

    with FakeFastRTC(ssl_context=serving) as fake:
        assert fake.url.startswith("https://")
        assert asyncio.run(visit(fake.url.replace("https", "wss"))) == 1000
