from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from hume_sync.emulator import Emulator, Journal, Knobs
from hume_sync.emulator.acceptor import Acceptor
from hume_sync.emulator.scripted_faults import ScriptedFaults

from .support import request, tone, wav

PATH = "/v0/stream/models"
DETAILS = request(job_details=True)


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


def _dial(server: Emulator, path: str = PATH, key: str | None = "k", **options: Any) -> ClientConnection:
    headers = {} if key is None else {"X-Hume-Api-Key": key}
    client: ClientConnection = connect(server.url + path, additional_headers=headers, max_size=None, **options)
    return client


def _visit(server: Emulator, path: str = PATH, key: str | None = "k") -> None:
    with _dial(server, path, key) as client:
        assert "job_details" in _ask(client)


def _refused(server: Emulator, path: str = PATH, key: str | None = "k") -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught, _dial(server, path, key):
        pass
    return caught.value


def _ask(client: ClientConnection, raw: str | bytes = DETAILS) -> Any:
    client.send(raw)
    return orjson.loads(client.recv(timeout=10))


def _closed_with(client: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as caught:
        client.recv(timeout=10)
    return 1006 if caught.value.rcvd is None else caught.value.rcvd.code


# --- handshakes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATH, "/some/prefix" + PATH, PATH + "?apikey=k&other=1"])
def test_the_path_is_accepted_behind_any_prefix(server: Emulator, path: str) -> None:
    with _dial(server, path) as client:
        assert "job_details" in _ask(client)
        assert client.response is not None
        assert client.response.headers["X-Hume-Emulator"] == "1"


@pytest.mark.parametrize("path", ["/", "/v0/stream", "/v0/stream/models/", "/v0/stream/models/x"])
def test_any_other_path_is_answered_by_404(server: Emulator, path: str) -> None:
    response = _refused(server, path).response
    assert (response.status_code, response.headers["X-Hume-Emulator"]) == (404, "1")


@pytest.mark.parametrize("name", ["X-Hume-Api-Key", "x-hume-api-key", "X-HUME-API-KEY"])
def test_a_known_key_in_the_header_is_let_in(name: str) -> None:
    keys = ["right", "other"]
    with Emulator(api_keys=keys) as server, connect(server.url + PATH, additional_headers={name: "right"}) as client:
        assert "job_details" in _ask(client)


@pytest.mark.parametrize("name", ["apikey", "api_key", "apiKey"])
def test_a_known_key_in_the_query_is_let_in(name: str) -> None:
    with Emulator(api_keys=["right"]) as server:
        _visit(server, f"{PATH}?{name}=right", key=None)


@pytest.mark.parametrize(
    ("path", "key"),
    [(PATH, "wrong"), (PATH, None), (PATH, ""), (PATH + "?apikey=wrong", None), (PATH + "?token=right", None)],
)
def test_an_unknown_or_missing_key_is_refused_with_401(path: str, key: str | None) -> None:
    with Emulator(api_keys=["right"]) as server:
        response = _refused(server, path, key).response
        assert (response.status_code, response.headers["X-Hume-Emulator"]) == (401, "1")


def test_without_a_list_any_key_is_let_in_that_is_not_empty(server: Emulator) -> None:
    _visit(server, key="anything")
    _visit(server, PATH + "?apikey=anything", key=None)
    assert _refused(server, key=None).response.status_code == 401
    assert _refused(server, key="").response.status_code == 401
    assert _refused(server, PATH + "?apikey=", key=None).response.status_code == 401


def test_clients_without_a_key_can_be_let_in() -> None:
    with Emulator(anonymous=True) as server:
        _visit(server, key=None)
        assert _refused(server, key="").response.status_code == 401


@pytest.mark.parametrize("status", [302, 401, 403, 429, 500, 503])
def test_a_refusal_asked_for_is_the_answer_to_so_many_handshakes(server: Emulator, status: int) -> None:
    server.refuse(status, times=2, retry_after=1.5)
    for _ in range(2):
        response = _refused(server).response
        assert (response.status_code, response.headers["Retry-After"]) == (status, "1.5")
    _visit(server)


def test_a_connection_beyond_the_cap_is_refused_with_429_until_another_ends() -> None:
    with Emulator(max_connections=1, retry_after=7) as server:
        with _dial(server):
            response = _refused(server).response
            assert (response.status_code, response.headers["Retry-After"]) == (429, "7")
        assert server.journal.wait_for(lambda journal: not journal.counts["open"])
        _visit(server)


def test_handshakes_beyond_the_rate_are_refused_with_429() -> None:
    with Emulator(handshakes_per_second=0.0001, retry_after=None) as server:
        _visit(server)
        response = _refused(server).response
        assert response.status_code == 429
        assert "Retry-After" not in response.headers


@pytest.mark.parametrize("allowed", [False, True])
def test_compression_is_accepted_only_if_so_set(allowed: bool) -> None:
    with Emulator(compression=allowed) as server, _dial(server, compression="deflate") as client:
        assert client.response is not None
        assert ("Sec-WebSocket-Extensions" in client.response.headers) is allowed
        assert "job_details" in _ask(client)


# --- requests --------------------------------------------------------------------------------------------


def test_requests_sent_at_once_are_answered_in_order(server: Emulator) -> None:
    with _dial(server) as client:
        for number in range(20):
            client.send(request(job_details=True, payload_id=str(number)))
        found = [orjson.loads(client.recv(timeout=10))["payload_id"] for _ in range(20)]
    assert found == [str(number) for number in range(20)]


def test_a_binary_message_is_answered_by_e0100(server: Emulator) -> None:
    with _dial(server) as client:
        assert _ask(client, b"{}")["code"] == "E0100"
        assert "job_details" in _ask(client)


def test_a_reply_is_a_text_message_of_any_length(server: Emulator) -> None:
    with _dial(server) as client:
        client.send(request("a word " * 1428, "language", raw_text=True))
        reply = client.recv(timeout=10)
    assert isinstance(reply, str)
    assert len(reply) > 2**20


def test_every_connection_has_a_window_and_a_job_of_its_own(server: Emulator) -> None:
    audio = request(wav(tone(1)), "prosody", job_details=True)
    with _dial(server) as one, _dial(server) as two:
        first, second, other = _ask(one, audio), _ask(one, audio), _ask(two, audio)
    assert first["prosody"] == other["prosody"] != second["prosody"]
    assert first["job_details"] == second["job_details"] != other["job_details"]


def test_ten_identical_errors_are_answered_and_then_close_with_1008(server: Emulator) -> None:
    with _dial(server) as client:
        assert [_ask(client, "junk")["code"] for _ in range(10)] == ["E0100"] * 10
        assert _closed_with(client) == 1008


def test_a_failure_asked_for_is_the_answer_to_so_many_requests(server: Emulator) -> None:
    server.fail_next("I0100", "Fault of the service", times=2)
    with _dial(server) as client:
        for _ in range(2):
            reply = _ask(client, request(reset_stream=True, payload_id="a"))
            assert reply == {"error": "Fault of the service", "code": "I0100", "payload_id": "a"}
        assert _ask(client, request(reset_stream=True)) == {}


def test_a_fault_of_the_emulator_itself_is_answered_by_i0100(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hume_sync.emulator.handler.predict", lambda inputs: 1 / 0)
    with _dial(server) as client:
        assert _ask(client, request("hi", "language", raw_text=True))["code"] == "I0100"


def test_a_message_beyond_the_limit_closes_with_1009() -> None:
    with Emulator(max_message_size=100) as server, _dial(server) as client:
        assert "job_details" in _ask(client)
        client.send(request("x" * 200, "language", raw_text=True))
        assert _closed_with(client) == 1009


# --- time and cuts ---------------------------------------------------------------------------------------


def test_an_idle_connection_is_closed_with_the_configured_code() -> None:
    with Emulator(idle_timeout=0.05, idle_close_code=4001) as server, _dial(server) as client:
        assert _closed_with(client) == 4001


def test_a_connection_is_closed_at_the_end_of_its_lifetime() -> None:
    knobs: dict[str, Any] = {"max_lifetime": 0.05, "lifetime_close_code": 4002, "pings_count_as_activity": True}
    with Emulator(**knobs) as server, _dial(server) as client:
        assert _closed_with(client) == 4002


def test_without_time_outs_a_connection_stays_open() -> None:
    with Emulator(idle_timeout=None) as server, _dial(server) as client:
        assert "job_details" in _ask(client)


@pytest.mark.parametrize("counts", [False, True])
def test_a_client_that_pings_and_asks_nothing_is_closed_as_idle_in_the_end(counts: bool) -> None:
    with Emulator(idle_timeout=0.1, pings_count_as_activity=counts) as server, _dial(server) as client:
        assert client.ping().wait(10)
        assert _closed_with(client) == 1000


class _Silent:
    """A connection with a ping after the last request, and a request at the second call of `recv`."""

    closed_with = 0

    def __init__(self, now: float) -> None:
        self.last_ping_at = now + 60
        self._asked = False

    async def recv(self) -> str:
        if not self._asked:
            self._asked = True
            await asyncio.sleep(60)
        return "late"

    async def close(self, code: int, reason: str) -> None:
        self.closed_with = code


@pytest.mark.parametrize(("counts", "received", "code"), [(False, None, 1000), (True, "late", 0)])
def test_a_ping_puts_off_the_idle_close_only_if_it_counts(counts: bool, received: str | None, code: int) -> None:
    async def wait() -> tuple[Any, int]:
        knobs = Knobs(idle_timeout=1, pings_count_as_activity=counts)
        acceptor = Acceptor(knobs, None, faults=ScriptedFaults(), journal=Journal())
        now = asyncio.get_running_loop().time()
        silent = _Silent(now)
        found = await acceptor._receive(silent, now, now - 60)  # type: ignore[arg-type]
        return found, silent.closed_with

    assert asyncio.run(wait()) == (received, code)


def test_replies_wait_for_the_latency() -> None:
    with Emulator(latency=0.01) as server, _dial(server) as client:
        assert "job_details" in _ask(client)


def test_a_client_that_leaves_during_the_latency_is_noticed() -> None:
    with Emulator(latency=600) as server, _dial(server) as client:
        client.send(DETAILS)
        assert server.journal.wait_for(lambda journal: bool(journal.requests))
        client.close()
        assert server.journal.wait_for(lambda journal: bool(journal.ends))


@pytest.mark.parametrize("replies", [0, 1, 3])
def test_a_connection_is_aborted_without_a_close_frame_after_so_many_replies(replies: int) -> None:
    with Emulator(drop_after=replies) as server, _dial(server) as client:
        for _ in range(replies):
            assert "job_details" in _ask(client)
        assert _closed_with(client) == 1006


@pytest.mark.parametrize(("code", "seen"), [(None, 1006), (1001, 1001), (4000, 4000)])
def test_drop_connections_aborts_or_closes_open_connections(server: Emulator, code: int | None, seen: int) -> None:
    with _dial(server) as one, _dial(server) as two:
        server.drop_connections(code)
        assert [_closed_with(client) for client in (one, two)] == [seen, seen]


# --- journal ---------------------------------------------------------------------------------------------


def test_the_journal_records_clients_and_requests_but_never_the_key(server: Emulator) -> None:
    headers = {
        "X-Hume-Api-Key": "secret", "X-Hume-Client-Name": "python_sdk", "X-Hume-Client-Version": "0.6.0",
    }  # fmt: skip
    url = f"{server.url}/p{PATH}?apikey=secret"
    with connect(url, additional_headers=headers, user_agent_header="agent/1") as client:
        _ask(client, request(wav(tone(1)), "prosody"))
        _ask(client, "junk")
    journal = server.journal
    assert journal.wait_for(lambda seen: bool(seen.ends))
    [shake] = journal.handshakes
    assert (shake.path, shake.status) == ("/p" + PATH, 101)
    assert (shake.client_name, shake.client_version, shake.user_agent) == ("python_sdk", "0.6.0", "agent/1")
    assert [(seen.code, seen.audio) for seen in journal.requests] == [(None, (0.0, 1.0)), ("E0100", None)]
    assert journal.ends[0].code == 1000
    assert "secret" not in repr((journal.handshakes, journal.requests, journal.ends))


def test_no_log_holds_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    own = logging.Logger("of the client, which would hold it")
    with Emulator() as server, _dial(server, key="very-secret", logger=own) as client:
        _ask(client)
    assert "very-secret" not in caplog.text
