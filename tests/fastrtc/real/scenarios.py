"""What real servers do, as the protocol page says: functions of a server's URL, which the fake is to pass, too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from websockets.exceptions import InvalidStatus

from .sound import DECODED
from .wire import SocketStream, Updates, ask, kind, payload

TURN = ["started_talking", "pause_detected"]
REFUSED = {"status": "failed", "meta": {"error": "concurrency_limit_reached", "limit": 1}}

Scenario = Callable[[str], None]
SCENARIOS: list[Scenario] = []


def scenario(function: Scenario) -> Scenario:
    SCENARIOS.append(function)
    return function


each_scenario = pytest.mark.parametrize("play", SCENARIOS, ids=lambda play: play.__name__)


@scenario
def an_echo_is_announced_and_comes_back_sample_by_sample(url: str) -> None:
    with SocketStream(url, "/echo").start() as wire:
        said = wire.speak()
        messages = wire.until("media")
        assert [kind(message) for message in messages] == [*TURN, "response_starting", "media"]
        assert payload(messages[-1]) == said


@scenario
def a_connection_has_turn_after_turn(url: str) -> None:
    with SocketStream(url, "/echo").start() as wire:
        for _ in range(3):
            said = wire.speak()
            assert payload(wire.until("media")[-1]) == said


@scenario
def each_of_ten_chunks_is_announced_and_they_come_in_order(url: str) -> None:
    with SocketStream(url, "/multi").start() as wire:
        wire.speak()
        messages = wire.until("media", 10)
        kinds = [kind(message) for message in messages]
        assert kinds[:2] == TURN
        assert kinds.count("response_starting") == 10
        chunks = [payload(message) for message in messages if kind(message) == "media"]
        assert {len(chunk) for chunk in chunks} == {1600}
        assert [round(DECODED[chunk[800]], -3) for chunk in chunks] == [1000 * number for number in range(1, 11)]


@scenario
def the_rate_of_a_handler_is_that_of_its_audio(url: str) -> None:
    for rate in (8000, 16000, 48000):
        with SocketStream(url, f"/echo{rate // 1000}", rate=rate).start() as wire:
            said = wire.speak()
            assert payload(wire.until("media")[-1]) == said


@scenario
def audio_comes_back_block_by_block_from_a_handler_without_turns(url: str) -> None:
    with SocketStream(url, "/raw").start() as wire:
        for number in range(5):
            wire.media(bytes([number]) * 320)
            assert payload(wire.next()) == bytes([number]) * 320


@scenario
def outputs_come_by_events_and_never_over_the_websocket(url: str) -> None:
    with SocketStream(url, "/addl").start() as wire:
        wire.ping()
        with Updates(url, wire.id) as updates:
            said = wire.speak()
            assert updates.next() == {"samples": len(said), "rate": 16000}
            assert updates.next() == "with audio"
            assert updates.next() == "zwei Zeilen:\nÄußerung"
            kinds = [kind(message) for message in wire.until("media", 2)]
            assert sorted(kinds) == sorted([*TURN, "response_starting", "media", "response_starting", "media"])
            wire.send("stop")
            assert wire.closed() == 1000
            assert updates.line() == ""


@scenario
def outputs_wait_for_a_reader_and_go_to_one_only(url: str) -> None:
    with SocketStream(url, "/addl").start() as wire:
        wire.speak()
        wire.until("media", 2)
        assert ask(url, "GET", f"/latest?webrtc_id={wire.id}")[1] == {"output": {"samples": 41600, "rate": 16000}}
        with Updates(url, wire.id) as updates:
            assert updates.next() == "with audio"
            assert updates.next() == "zwei Zeilen:\nÄußerung"


@scenario
def each_turn_asks_for_inputs_and_waits_for_them(url: str) -> None:
    with SocketStream(url, "/args").start() as wire:
        wire.ping()
        with Updates(url, wire.id) as updates:
            for scale in (1, 2):
                wire.speak()
                assert [kind(message) for message in wire.until("send_input")] == [*TURN, "send_input"]
                assert wire.rest() == []
                inputs = {"scale": scale, "label": "here"}
                assert ask(url, "POST", "/input_hook", {"webrtc_id": wire.id, **inputs}) == (200, {"status": "ok"})
                assert updates.next() == inputs
                assert [kind(message) for message in wire.until("media")] == ["response_starting", "media"]


@scenario
def inputs_given_before_a_turn_are_taken_by_it(url: str) -> None:
    with SocketStream(url, "/args").start() as wire:
        wire.ping()
        ask(url, "POST", "/input_hook", {"webrtc_id": wire.id, "scale": 3, "label": "early"})
        wire.speak()
        wire.until("media")
        assert ask(url, "GET", f"/latest?webrtc_id={wire.id}")[1] == {"output": {"scale": 3, "label": "early"}}


@scenario
def a_hook_does_not_mind_an_unknown_id_but_a_missing_one(url: str) -> None:
    inputs = {"scale": 1, "label": ""}
    assert ask(url, "POST", "/input_hook", {"webrtc_id": "unknown", **inputs}) == (200, {"status": "ok"})
    assert ask(url, "POST", "/input_hook", inputs)[0] == 422


@scenario
def one_more_than_the_limit_is_refused_after_its_start_until_a_place_is_free(url: str) -> None:
    with SocketStream(url, "/limit").start() as first:
        first.ping()
        with SocketStream(url, "/limit") as second:
            second.ping()
            second.start()
            assert second.next() == REFUSED
            assert second.closed() == 1000
        first.send("stop")
        assert first.closed() == 1000
    with SocketStream(url, "/limit").start() as third:
        third.ping()


@scenario
def an_offer_with_the_id_of_a_connection_is_refused_with_status_200(url: str) -> None:
    with SocketStream(url, "/echo").start() as wire:
        wire.ping()
        offer = {"sdp": "", "type": "offer", "webrtc_id": wire.id}
        exists = {"status": "failed", "meta": {"error": "connection_already_exists"}}
        assert ask(url, "POST", "/echo/webrtc/offer", offer) == (200, exists)


@scenario
def an_offer_that_lacks_something_is_unprocessable(url: str) -> None:
    status, answer = ask(url, "POST", "/echo/webrtc/offer", {"sdp": "", "type": "offer"})
    assert status == 422
    assert isinstance(answer["detail"], list)
    assert ask(url, "POST", "/echo/webrtc/offer", b"{no json")[0] == 422


@scenario
def a_handler_that_raises_is_silent_for_good(url: str) -> None:
    for path in ("/exc", "/err"):
        with SocketStream(url, path).start() as wire:
            wire.speak()
            assert [kind(message) for message in wire.until("media")] == [*TURN, "response_starting", "media"]
            assert wire.rest() == []
            wire.speak()
            assert [kind(message) for message in wire.rest()] == ["started_talking"]
            wire.ping()


@scenario
def a_warning_is_not_sent_over_the_websocket(url: str) -> None:
    with SocketStream(url, "/warn").start() as wire:
        wire.speak()
        assert [kind(message) for message in wire.until("media")] == [*TURN, "response_starting", "media"]


@scenario
def a_handler_may_send_messages_of_its_own(url: str) -> None:
    with SocketStream(url, "/custom").start() as wire:
        assert wire.next() == {"type": "log", "data": "hello"}
        assert wire.next() == {"type": "custom", "data": {"x": 1}}


@scenario
def what_follows_the_stop_word_makes_the_turn(url: str) -> None:
    with SocketStream(url, "/stopword").start() as wire:
        wire.media(wire.words())
        assert wire.next() == {"type": "stopword", "data": ""}
        said = wire.speak()
        messages = wire.until("media")
        assert [kind(message) for message in messages] == ["pause_detected", "response_starting", "media"]
        assert payload(messages[-1]) == said


@scenario
def a_stream_closed_by_its_handler_ends_when_the_client_speaks(url: str) -> None:
    with SocketStream(url, "/close").start() as wire:
        wire.speak()
        wire.until("media")
        assert wire.rest() == []
        assert wire.closed(lambda: wire.send("ping")) == 1000


def call(url: str, path: str) -> SocketStream:
    """As Twilio makes one."""
    wire = SocketStream(url, path, rate=8000, route="telephone/handler")
    wire.send("connected", protocol="Call", version="1.0.0")
    wire.send("start", sequenceNumber="1", streamSid=wire.id, start={"streamSid": wire.id, "tracks": ["inbound"]})
    return wire


@scenario
def a_telephone_gets_the_name_of_its_stream_at_any_rate_of_the_handler(url: str) -> None:
    for path in ("/echo8", "/echo16"):
        with call(url, path) as wire:
            said = wire.speak()
            messages = wire.until("media")
            assert [kind(message) for message in messages] == [*TURN, "response_starting", "media"]
            assert messages[-1]["streamSid"] == wire.id
            heard = payload(messages[-1])
            assert heard == said if path == "/echo8" else abs(len(heard) - len(said)) < 10
            wire.send("mark", streamSid=wire.id, mark={"name": "x"})
            wire.ping()
            wire.send("stop", streamSid=wire.id)
            assert wire.closed() == 1000


@scenario
def a_handler_that_needs_inputs_fails_by_telephone_and_does_not_ask(url: str) -> None:
    with call(url, "/args") as wire:
        wire.speak()
        assert [kind(message) for message in wire.rest()] == TURN
        wire.ping()


@scenario
def a_telephone_is_refused_where_others_have_all_places_and_takes_none_itself(url: str) -> None:
    with call(url, "/limit") as first:
        first.ping()
        with call(url, "/limit") as second:
            second.ping()
            with SocketStream(url, "/limit").start() as third:
                third.ping()
                with call(url, "/limit") as fourth:
                    assert fourth.next() == REFUSED
                    assert fourth.closed() == 1000


@scenario
def a_stop_is_answered_by_the_end(url: str) -> None:
    with SocketStream(url, "/echo").start() as wire:
        wire.send("stop")
        assert wire.closed() == 1000


@scenario
def a_ping_is_answered_before_the_start_and_after_what_is_unknown(url: str) -> None:
    with SocketStream(url, "/echo") as wire:
        wire.ping()
        wire.start()
        wire.send("mark", x=1)
        wire.ping()


@scenario
def what_cannot_be_read_ends_the_connection_and_before_the_start_without_a_close_frame(url: str) -> None:
    for bad in ("{no json", '{"foo": 1}', "[1, 2]", b'{"event": "ping"}', '{"event": "media", "media": {}}'):
        with SocketStream(url, "/echo").start() as wire:
            wire.ping()
            wire.socket.send(bad)
            assert wire.closed() == 1000
    for bad in ("{no json", '{"event": "start"}', '{"event": "stop"}'):
        with SocketStream(url, "/echo") as wire:
            wire.socket.send(bad)
            assert wire.closed() is None


@scenario
def a_message_of_more_than_16_mebibytes_ends_the_connection(url: str) -> None:
    with SocketStream(url, "/echo").start() as wire:
        wire.ping()
        assert wire.closed(lambda: wire.media(bytes(13 * 2**20))) in {None, 1009}


@scenario
def an_unknown_path_is_forbidden_for_a_websocket_and_not_found_otherwise(url: str) -> None:
    with pytest.raises(InvalidStatus) as caught, SocketStream(url, "/nowhere"):
        pass
    assert caught.value.response.status_code == 403
    assert ask(url, "GET", "/echo/websocket/offer")[0] == 404
