from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hume_sync import ConnectionLost, ProtocolError, ReplyMismatch, Timeout
from hume_sync.net.connection import Connection
from hume_sync.net.deadline import Deadline
from hume_sync.net.endpoint import Endpoint
from tests.faultproxy import Peer, read_frame

from .support import server, upgraded

Request = dict[str, Any]


def answers(*make: Callable[[Request], object]) -> Any:
    """A server that answers each request with what is made of it."""

    def script(peer: Peer) -> None:
        for reply in make:
            _, raw, payload = read_frame(peer.file)
            key = raw[-len(payload) - 4 : -len(payload)]
            request = json.loads(bytes(byte ^ key[i % 4] for i, byte in enumerate(payload)))
            peer.send_frame(json.dumps(reply(request)).encode())
        peer.wait_gone()

    return upgraded(script)


def echo(request: Request) -> Request:
    return {"payload_id": request["payload_id"], "asked": request}


def opened(port: int) -> Connection:
    return Connection.open(Endpoint("127.0.0.1", port, "/"), Deadline(5))


def test_members_are_sent_as_one_object_with_an_id_of_their_own() -> None:
    with server(answers(echo, echo)) as port:
        connection = opened(port)
        first = connection.exchange([b'"data":"', b"eA==", b'"'], Deadline(5))["asked"]
        second = connection.exchange([b'"job_details":true'], Deadline(5))["asked"]
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
    with server(answers(lambda r: {"n": 1}, lambda r: {"n": 2})) as port:
        connection = opened(port)
        assert connection.exchange([b'"a":1'], Deadline(5)) == {"n": 1}
        assert connection.exchange([b'"a":1'], Deadline(5)) == {"n": 2}
        connection.discard()


def test_a_server_that_has_echoed_must_go_on() -> None:
    with server(answers(echo, lambda r: {"n": 2})) as port:
        connection = opened(port)
        connection.exchange([b'"a":1'], Deadline(5))
        with pytest.raises(ReplyMismatch, match="names none"):
            connection.exchange([b'"a":1'], Deadline(5))
        assert not connection.sound


def test_the_reply_to_a_request_that_could_not_be_read_need_not_name_it() -> None:
    with server(answers(echo, lambda r: {"error": "?", "code": "E0100"})) as port:
        connection = opened(port)
        connection.exchange([b'"a":1'], Deadline(5))
        assert connection.exchange([b'"a":1'], Deadline(5))["code"] == "E0100"
        assert connection.sound
        connection.discard()


@pytest.mark.parametrize("reply", [[1], "text", 7, None, True])
def test_a_reply_that_is_no_object_discards(reply: object) -> None:
    with server(answers(lambda r: reply)) as port:
        connection = opened(port)
        with pytest.raises(ProtocolError, match="^Unexpected error when fetching streaming API predictions"):
            connection.exchange([b'"a":1'], Deadline(5))
        assert not connection.sound


def test_any_interruption_discards_ctrl_c_included() -> None:
    with server(answers(echo)) as port:
        connection = opened(port)

        def interrupted(deadline: Deadline) -> bytes:
            raise KeyboardInterrupt

        connection._transport.receive = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            connection.exchange([b'"a":1'], Deadline(5))
        assert not connection.sound


def test_a_deadline_that_has_passed_discards_before_anything_is_processed() -> None:
    with server(answers(echo)) as port:
        connection = opened(port)
        with pytest.raises(Timeout) as caught:
            connection.exchange([b'"a":1'], Deadline(0.0))
        assert (caught.value.phase, caught.value.maybe_processed) == ("send", False)
        assert not connection.sound


def test_a_discarded_connection_has_nothing_left_to_close() -> None:
    with server(answers()) as port:
        connection = opened(port)
        connection.discard()
        connection.close(5)
        connection.discard()
        assert not connection.sound


def test_a_server_that_left_while_idle_is_noticed_by_a_look_before_anything_is_sent() -> None:
    with server(upgraded(lambda peer: None)) as port:
        connection = opened(port)
    with pytest.raises(ConnectionLost) as caught:
        connection.poll()
    assert not connection.sound
    assert (caught.value.phase, caught.value.maybe_processed) == ("idle", False)
