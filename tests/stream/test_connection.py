from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from hume_sync import ConnectionLost, ProtocolError, ReplyMismatch, Timeout, TransportError
from hume_sync.net.clock import boottime
from hume_sync.net.deadline import Deadline
from hume_sync.net.endpoint import Endpoint
from hume_sync.net.route import Route
from hume_sync.stream import connection as module
from hume_sync.stream.connection import Connection
from tests.faultproxy import CLOSE, CONTINUATION, PING, PONG, TEXT, Peer, frame, read_frame
from tests.internals import byte_stream

from ..net.support import Script, server, upgraded

Request = dict[str, Any]


def answers(*make: Callable[[Request], object], greeting: bytes = b"") -> Script:
    """A server that sends a greeting (frames), then answers each request with what is made of it (a tuple: several)."""

    def script(peer: Peer) -> None:
        peer.send(greeting)
        for reply in make:
            opcode, raw, payload = read_frame(peer.file)
            while opcode != TEXT:  # the answer to a ping
                opcode, raw, payload = read_frame(peer.file)
            key = raw[-len(payload) - 4 : -len(payload)]
            request = json.loads(bytes(byte ^ key[i % 4] for i, byte in enumerate(payload)))
            made = reply(request)
            for message in made if isinstance(made, tuple) else (made,):
                peer.send_frame(json.dumps(message).encode())
        peer.wait_gone()

    return upgraded(script)


def echo(request: Request) -> Request:
    return {"payload_id": request["payload_id"], "asked": request}


def opened(port: int) -> Connection:
    return Connection.open(Endpoint("127.0.0.1", port, "/"), Deadline(5))


def test_members_are_sent_as_one_object_with_an_id_of_their_own() -> None:
    with server(answers(echo, echo)) as port:
        connection = opened(port)
        first = connection.request([b'"data":"', b"eA==", b'"'], Deadline(5))["asked"]
        second = connection.request([b'"job_details":true'], Deadline(5))["asked"]
        connection.discard()
    assert first == {"data": "eA==", "payload_id": first["payload_id"]}
    assert first["payload_id"] != second["payload_id"]


def test_epochs_number_connections() -> None:
    with server(answers(), answers()) as port:
        first, second = opened(port), None
        first.discard()
        second = opened(port)
        second.discard()
    assert second.epoch > first.epoch


def test_a_server_that_never_echoes_is_taken_in_order() -> None:
    first, second = {"language": {"n": 1}}, {"language": {"n": 2}}
    with server(answers(lambda r: first, lambda r: second)) as port:
        connection = opened(port)
        assert connection.request([b'"a":1'], Deadline(5)) == first
        assert connection.request([b'"a":1'], Deadline(5)) == second
        connection.discard()


def test_a_server_that_has_echoed_must_go_on() -> None:
    with server(answers(echo, lambda r: {"language": {"n": 2}})) as port:
        connection = opened(port)
        connection.request([b'"a":1'], Deadline(5))
        with pytest.raises(ReplyMismatch, match="it has no payload_id"):
            connection.request([b'"a":1'], Deadline(5))
        assert not connection.usable


def test_the_reply_to_a_request_that_could_not_be_read_need_not_name_it() -> None:
    with server(answers(echo, lambda r: {"error": "?", "code": "E0100"})) as port:
        connection = opened(port)
        connection.request([b'"a":1'], Deadline(5))
        assert connection.request([b'"a":1'], Deadline(5))["code"] == "E0100"
        assert connection.usable
        connection.discard()


@pytest.mark.parametrize("reply", [[1], "text", 7, None, True])
def test_a_reply_that_is_no_object_discards(reply: object) -> None:
    with server(answers(lambda r: reply)) as port:
        connection = opened(port)
        with pytest.raises(ProtocolError, match="^Unexpected error when fetching streaming API predictions"):
            connection.request([b'"a":1'], Deadline(5))
        assert not connection.usable


def test_any_interruption_discards_ctrl_c_included() -> None:
    with server(answers(echo)) as port:
        connection = opened(port)

        def interrupted(deadline: Deadline) -> bytes:
            raise KeyboardInterrupt

        connection._transport.receive = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            connection.request([b'"a":1'], Deadline(5))
        assert not connection.usable


def test_a_deadline_that_has_passed_discards_before_anything_is_processed() -> None:
    with server(answers(echo)) as port:
        connection = opened(port)
        with pytest.raises(Timeout) as caught:
            connection.request([b'"a":1'], Deadline(0.0))
        assert (caught.value.phase, caught.value.maybe_processed) == ("send", False)
        assert not connection.usable


def test_a_discarded_connection_has_nothing_left_to_close() -> None:
    with server(answers()) as port:
        connection = opened(port)
        connection.discard()
        connection.close(5)
        connection.discard()
        assert not connection.usable


def test_a_server_that_left_while_idle_is_noticed_by_a_look_before_anything_is_sent() -> None:
    with server(upgraded(lambda peer: None)) as port:
        connection = opened(port)
    with pytest.raises(ConnectionLost) as caught:
        connection.drain_idle_messages()
    assert not connection.usable
    assert (caught.value.phase, caught.value.maybe_processed) == ("idle", False)


# --- connections that may be dead


def aged(connection: Connection, **times: float) -> Connection:
    for name, value in times.items():
        setattr(connection, name, value)
    return connection


@pytest.mark.parametrize(
    ("now", "check_after", "suspect_before", "wanted"),
    [
        (114.0, 15.0, -math.inf, False),
        (115.0, 15.0, -math.inf, True),
        (100.0, 0.0, -math.inf, True),
        (1e9, math.inf, -math.inf, False),
        (101.0, 15.0, 99.9, False),
        (101.0, 15.0, 100.0, True),
        (101.0, math.inf, 100.5, False),
    ],
)
def test_a_connection_may_be_dead_when_it_was_silent_for_long_or_since_another_one_was_found_dead(
    now: float, check_after: float, suspect_before: float, wanted: bool
) -> None:
    with server(answers()) as port:
        connection = aged(opened(port), last_received_at=100.0)
        connection.route.maybe_dead_since = suspect_before
        assert connection.needs_ping(now, check_after) is wanted
        connection.discard()


def test_a_pong_is_a_sign_of_life_but_no_use() -> None:
    def script(peer: Peer) -> None:
        _, raw, payload = read_frame(peer.file)
        key = raw[2:6]
        peer.send_frame(bytes(byte ^ key[i % 4] for i, byte in enumerate(payload)), PONG)
        peer.wait_gone()

    with server(upgraded(script)) as port:
        connection = aged(opened(port), last_received_at=-1.0, last_used_at=-1.0)
        connection.ping(Deadline(5))
        assert connection.last_received_at > 0
        assert connection.last_used_at == -1.0
        connection.discard()


@pytest.mark.parametrize("timeout", [0.4, math.inf])
def test_a_check_leaves_half_of_the_time_for_a_new_connection(timeout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PONG_TIMEOUT", 0.3)
    with server(answers()) as port:
        connection, deadline = opened(port), Deadline(timeout)
        with pytest.raises(ConnectionLost, match="no ping"):
            connection.ping(deadline)
        assert not connection.usable
        assert deadline.remaining() >= timeout / 4


def resets(peer: Peer) -> None:
    read_frame(peer.file)
    peer.reset()


def sends_close_frame(peer: Peer) -> None:
    read_frame(peer.file)
    peer.send_close(1011, "overload")
    peer.wait_gone()


@pytest.mark.parametrize(
    ("script", "reused", "suspect"),
    [
        (Peer.wait_gone, True, True),
        (Peer.wait_gone, False, False),
        (resets, True, True),
        (resets, False, False),
        (lambda peer: read_frame(peer.file), True, True),
        (sends_close_frame, True, False),
        (lambda peer: peer.send_frame(b"no JSON"), True, False),
    ],
    ids=["silence", "silence-to-the-first", "reset", "reset-of-the-first", "end", "close", "nonsense"],
)
def test_a_request_that_finds_its_connection_dead_makes_those_suspect_that_were_not_heard_since(
    script: Callable[[Peer], object], reused: bool, suspect: bool
) -> None:
    with server(upgraded(script)) as port:
        connection = opened(port)
        if reused:
            connection.checked_out_at = connection.created_at + 100.0
        with pytest.raises(TransportError):
            connection.request([b'"a":1'], Deadline(0.2))
        assert connection.route.maybe_dead_since == (connection.created_at + 100.0 if suspect else -math.inf)


@pytest.mark.parametrize("by", ["check", "poll"])
@pytest.mark.parametrize(
    ("script", "suspect"),
    [(lambda peer: peer.reset(), True), (lambda peer: None, False), (lambda peer: peer.send_close(1000), False)],
    ids=["reset", "end", "close"],
)
def test_so_does_one_that_the_network_ended_while_it_was_idle(
    script: Callable[[Peer], object], suspect: bool, by: str
) -> None:
    with server(upgraded(script)) as port:
        connection = opened(port)
        connection.checked_out_at = connection.created_at + 100.0
    with pytest.raises(ConnectionLost) as caught:
        connection.ping(Deadline(5)) if by == "check" else connection.drain_idle_messages()
    assert caught.value.phase == "idle"
    assert (connection.route.maybe_dead_since > 0) is suspect


def test_a_report_that_comes_late_makes_nothing_less_suspect() -> None:
    route = Route()
    for before in (5.0, 7.0, 6.0):
        route.mark_maybe_dead(before)
    assert route.maybe_dead_since == 7.0


def test_all_connections_of_an_endpoint_share_what_is_known_of_the_way_there() -> None:
    with server(answers(), answers()) as port:
        endpoint = Endpoint("127.0.0.1", port, "/")
        one = Connection.open(endpoint, Deadline(5))
        one.discard()
        two = Connection.open(endpoint, Deadline(5))
        two.discard()
    assert one.route is two.route is endpoint.route
    assert one.route is not Endpoint("127.0.0.1", port, "/").route


def test_the_clock_goes_on_while_the_machine_sleeps() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= boottime() <= time.clock_gettime(time.CLOCK_BOOTTIME)


# --- messages that answer nothing: greetings, heartbeats

BEAT: Request = {"type": "heartbeat", "payload_id": None, "detail": {"secret": 1}}
BEAT_FRAME = frame(json.dumps(BEAT).encode())
IN_PIECES = frame(b'{"type":', TEXT, final=False) + frame(b"", PING) + frame(b'"hello"}', CONTINUATION)
DATA = [b'"data":"eA=="']
RESET = [b'"reset_stream":true']

NAMELESS: list[Request] = [
    {"language": None},
    {"gesture": {"predictions": []}},  # a model of the server's own
    {"warning": "careful", "code": "W0105"},
    {"error": "no", "code": "E0102"},
    {"job_details": {"job_id": "x"}},
]


def wait_for_message(connection: Connection) -> None:
    """Return once something has come on an idle connection, even if along with the upgrade's answer."""
    wire = byte_stream(connection)
    assert wire.buffered or wire._readable.poll(5000)


@pytest.mark.parametrize("count", [1, 32])
def test_objects_that_answer_nothing_are_skipped_and_counted(count: int) -> None:
    with server(answers(lambda r: (*[BEAT] * count, echo(r)), lambda r: ({}, echo(r)))) as port:
        connection = opened(port)
        assert connection.request(DATA, Deadline(5))["asked"]["data"] == "eA=="
        assert connection.skipped == count
        assert connection.request(DATA, Deadline(5))["asked"]["data"] == "eA=="
        assert connection.skipped == count + 1
        connection.discard()


@pytest.mark.parametrize("reply", NAMELESS, ids=str)
def test_a_reply_that_does_not_name_its_request_is_found_behind_a_heartbeat(reply: Request) -> None:
    with server(answers(lambda r: (BEAT, reply))) as port:
        connection = opened(port)
        assert connection.request(DATA, Deadline(5)) == reply
        connection.discard()


def test_more_than_32_objects_that_answer_nothing_break_the_protocol() -> None:
    with server(answers(lambda r: (*[BEAT] * 33, echo(r)))) as port:
        connection = opened(port)
        with pytest.raises(ProtocolError, match="more than 32 messages and no reply") as caught:
            connection.request(DATA, Deadline(5))
        assert (caught.value.phase, caught.value.maybe_processed) == ("receive", True)
        assert not connection.usable


def test_heartbeats_do_not_put_off_the_deadline() -> None:
    def beat(peer: Peer) -> None:
        while not peer.stop.wait(0.1):
            peer.send(BEAT_FRAME)

    with server(upgraded(beat)) as port:
        connection = opened(port)
        with pytest.raises(Timeout) as caught:
            connection.request(DATA, Deadline(0.5))
        assert (caught.value.phase, caught.value.maybe_processed) == ("receive", True)
        assert 0 < connection.skipped < 32


@pytest.mark.parametrize("echoes", [True, False])
@pytest.mark.parametrize("reply", [{}, {"status": "reset"}], ids=str)
def test_the_reply_to_a_request_without_data_may_be_any_object(reply: Request, echoes: bool) -> None:
    first: Callable[[Request], object] = echo if echoes else lambda r: {"language": None}
    with server(answers(first, lambda r: reply, first)) as port:
        connection = opened(port)
        connection.request(DATA, Deadline(5))
        assert connection.request(RESET, Deadline(5), any_reply=True) == reply
        connection.request(DATA, Deadline(5))
        assert connection.usable
        connection.discard()


def test_the_true_reply_behind_a_heartbeat_that_was_taken_for_it_is_skipped() -> None:
    with server(answers(lambda r: (BEAT, echo(r)), echo, lambda r: (BEAT, echo(r)), echo)) as port:
        connection = opened(port)
        assert connection.request(RESET, Deadline(5), any_reply=True) == BEAT
        assert "data" in connection.request(DATA, Deadline(5))["asked"]  # the true reply came in between
        assert connection.request(RESET, Deadline(5), any_reply=True) == BEAT
        wait_for_message(connection)
        connection.drain_idle_messages()  # or while the connection was idle
        assert "data" in connection.request(DATA, Deadline(5))["asked"]
        assert connection.usable
        connection.discard()


@pytest.mark.parametrize("greeting", [BEAT_FRAME, IN_PIECES, BEAT_FRAME * 32], ids=["whole", "in pieces", "32"])
def test_a_greeting_on_an_idle_connection_is_skipped(greeting: bytes) -> None:
    with server(answers(echo, greeting=greeting)) as port:
        connection = opened(port)
        wait_for_message(connection)
        connection.drain_idle_messages()
        assert connection.is_quiet()
        assert connection.skipped in (1, 32)
        assert connection.request(RESET, Deadline(5), any_reply=True)["asked"]["reset_stream"] is True
        connection.discard()


@pytest.mark.parametrize(
    "unasked",
    [
        *(json.dumps(reply).encode() for reply in NAMELESS),
        b'{"payload_id": "1"}', b"[]", b'"hello"', b"7", b"null", b"hello", b"", b"\xff",
    ],
)  # fmt: skip
def test_any_other_message_ends_an_idle_connection(unasked: bytes) -> None:
    with server(answers(greeting=BEAT_FRAME + frame(unasked))) as port:
        connection = opened(port)
        wait_for_message(connection)
        with pytest.raises(ConnectionLost, match="unexpected message on an idle connection") as caught:
            connection.drain_idle_messages()
        assert (caught.value.phase, caught.value.maybe_processed) == ("idle", False)
        assert not connection.usable


@pytest.mark.parametrize(
    "behind",
    [BEAT_FRAME * 10_000, BEAT_FRAME[:-1], frame(b"{", final=False), frame(b"\x03\xe9", CLOSE), frame(b"", PING) * 33],
    ids=["too many", "half a frame", "half a message", "close", "pings"],
)
def test_what_comes_behind_a_greeting_may_end_an_idle_connection(behind: bytes) -> None:
    with server(answers(greeting=BEAT_FRAME + behind)) as port:
        connection = opened(port)
        wait_for_message(connection)
        with pytest.raises(ConnectionLost) as caught:
            connection.drain_idle_messages()
        assert caught.value.phase == "idle"
        assert not connection.usable


def test_skipped_messages_are_logged_without_their_content(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with server(answers(lambda r: (BEAT, echo(r)), greeting=BEAT_FRAME)) as port:
        connection = opened(port)
        wait_for_message(connection)
        connection.drain_idle_messages()
        connection.request(DATA, Deadline(5))
        connection.discard()
    skipped = [record for record in caplog.records if "skipped" in record.message]
    assert [(record.name, record.levelname) for record in skipped] == [("hume_sync.connection", "DEBUG")] * 2
    assert str(len(json.dumps(BEAT))) in skipped[0].message
    assert "secret" not in caplog.text
