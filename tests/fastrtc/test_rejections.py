from __future__ import annotations

import pickle
import re
import socket
import threading
from typing import Any

import orjson
import pytest

from hume_sync import AuthenticationError, ConnectError, HandshakeRejected
from hume_sync.fastrtc import ConnectionAlreadyExists, FastRTCClient, TooManyConnections
from hume_sync.fastrtc.rejections import rejection_from_message, rejection_from_response
from hume_sync.net.body import Body, body_reader
from tests.faultproxy import Peer
from tests.net.support import Script, frame, server
from tests.net.support import says as frames

from .webtalk import KEY, answer, elapsed, request, says, stays

LIMIT = '{"status": "failed", "meta": {"error": "concurrency_limit_reached", "limit": 7}}'
EXISTS = '{"status": "failed", "meta": {"error": "connection_already_exists"}}'


def failed(**meta: Any) -> dict[str, Any]:
    return {"status": "failed", "meta": meta}


def reported(error: ConnectError | None) -> tuple[object, ...]:
    """What a caller can act on, as it is behind a pickle."""
    error = pickle.loads(pickle.dumps(error))
    return type(error), getattr(error, "limit", None), error.status if error else None


def refused_connect(script: Script, **more: Any) -> ConnectError:
    """What connecting to such a server ends in."""
    with server(script) as port, pytest.raises(ConnectError) as caught:
        FastRTCClient(f"http://127.0.0.1:{port}", proxy=False, timeout=5.0, **more).connect()
    return caught.value


# --- messages


@pytest.mark.parametrize(
    ("message", "error", "limit"),
    [
        (failed(error="concurrency_limit_reached", limit=7), TooManyConnections, 7),
        (failed(error="concurrency_limit_reached", limit=0), TooManyConnections, 0),
        (failed(error="concurrency_limit_reached"), TooManyConnections, None),
        (failed(error="full", limit=7), TooManyConnections, 7),
        (failed(error="connection_already_exists"), ConnectionAlreadyExists, None),
        (failed(error="out_of_order"), HandshakeRejected, None),
        (failed(error=["no", "text"]), HandshakeRejected, None),
        (failed(), HandshakeRejected, None),
        ({"status": "failed"}, HandshakeRejected, None),
        ({"status": "failed", "meta": None}, HandshakeRejected, None),
        ({"status": "failed", "meta": [1]}, HandshakeRejected, None),
    ],
)
def test_a_message_that_refuses_is_the_error_it_means(
    message: object, error: type[ConnectError], limit: int | None
) -> None:
    assert reported(rejection_from_message(message)) == (error, limit, None)


@pytest.mark.parametrize("limit", [True, False, None, "7", -1, 7.0, [7], {}])
def test_a_limit_that_is_no_count_is_not_passed_on(limit: object) -> None:
    assert reported(rejection_from_message(failed(error="concurrency_limit_reached", limit=limit))) == (
        TooManyConnections,
        None,
        None,
    )


@pytest.mark.parametrize(
    "message",
    [None, True, 7, "failed", [], ["failed"], {}, {"status": "ok"}, {"status": None}, {"status": ["failed"]},
     {"meta": {"error": "concurrency_limit_reached", "limit": 7}}, {"type": "log", "data": "failed"}],
)  # fmt: skip
def test_any_other_message_refuses_nothing(message: object) -> None:
    assert rejection_from_message(message) is None


def test_an_unknown_reason_is_named_shortly_and_on_one_line() -> None:
    assert "'out_of_order'" in str(rejection_from_message(failed(error="out_of_order")))
    long = str(rejection_from_message(failed(error="\x1b[31m\n" + "x" * 10_000)))
    assert long.isprintable()
    assert len(long) < 300


def test_a_reason_is_shown_without_private_headers() -> None:
    def redact(text: str) -> str:
        return text.replace("hush", "***")

    assert "'no *** here'" in str(rejection_from_message(failed(error="no hush here"), redact))
    assert "'no *** here'" in str(rejection_from_response(200, failed(error="no hush here"), redact))


# --- answers to a handshake or an offer


@pytest.mark.parametrize(
    ("status", "body", "error", "limit"),
    [
        (429, LIMIT, TooManyConnections, 7),
        (429, orjson.loads(LIMIT), TooManyConnections, 7),
        (429, "Too Many Requests", TooManyConnections, None),
        (429, "", TooManyConnections, None),
        (429, None, TooManyConnections, None),
        (429, '{"detail": "later"}', TooManyConnections, None),
        (429, EXISTS, ConnectionAlreadyExists, None),
        (200, LIMIT, TooManyConnections, 7),
        (200, EXISTS, ConnectionAlreadyExists, None),
        (200, '{"status": "failed"}', HandshakeRejected, None),
        (503, LIMIT, TooManyConnections, 7),
        (401, "", AuthenticationError, None),
        (401, '{"detail": "who?"}', AuthenticationError, None),
        (307, "", HandshakeRejected, None),
        (403, "", HandshakeRejected, None),
        (503, "Service Unavailable", HandshakeRejected, None),
        (500, {"detail": "oops"}, HandshakeRejected, None),
        (0, "", HandshakeRejected, None),
    ],
)
def test_an_answer_that_refuses_is_the_error_it_means(
    status: int, body: Any, error: type[ConnectError], limit: int | None
) -> None:
    assert reported(rejection_from_response(status, body)) == (error, limit, status)


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (301, "", r"HTTP 301\): it redirects, .* give the final address as url"),
        (401, "", r"HTTP 401\): it requires other headers"),
        (503, "Service Unavailable", r"\(HTTP 503\): Service Unavailable$"),
        (503, "", r"\(HTTP 503\)$"),
        (404, {"detail": "Not Found"}, r"\(HTTP 404\)$"),
    ],
)
def test_an_answer_without_a_message_is_reported_by_its_status_and_its_words(status: int, body: Any, text: str) -> None:
    with pytest.raises(ConnectError, match=text):
        raise rejection_from_response(status, body)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (200, "a web page, and no FastRTC stream, is at this path"),
        (403, r"no stream is mounted at this path \(see url and path of FastRTCClient\)"),
        (404, "nothing is mounted at this path, or a proxy has made a plain GET of the WebSocket handshake"),
        (426, "a proxy has taken the upgrade to WebSocket out"),
        (500, "the stream has no audio, or a plain function as its handler"),
        (502, "a gateway answers, and cannot reach the application"),
        (504, "a gateway answers, and cannot reach the application"),
    ],
)
def test_a_refused_handshake_names_its_url_and_what_servers_of_this_kind_mean(status: int, meaning: str) -> None:
    error = refused_connect(stays(answer(b"so", f"{status} Reason")), path="/echo?token=hush-hush")
    assert error.url
    assert re.fullmatch(r"ws://127.0.0.1:\d+/echo/websocket/offer", error.url)
    assert re.search(rf"\(HTTP {status} from {error.url}\): so: {meaning}", str(error))
    assert pickle.loads(pickle.dumps(error)).url == error.url
    assert "hush" not in str(error)


def test_of_a_url_of_any_length_the_error_shows_the_beginning() -> None:
    error = refused_connect(stays(answer(b"", "403 Forbidden")), path="/" + "x" * 5000)
    assert len(str(error)) < 500


def test_of_a_long_answer_the_text_shows_a_sentence_and_the_error_keeps_the_beginning() -> None:
    error = rejection_from_response(500, "x" * 10_000)
    assert len(str(error)) < 300
    assert isinstance(error, HandshakeRejected)
    assert error.body == "x" * 512


# --- handshakes


def test_a_limit_that_comes_late_and_in_pieces_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = threading.Semaphore(0)  # released when the client has the head, and with each piece of the body

    def noted(*head: Any) -> Body:
        body = body_reader(*head)
        feed = body.feed

        def noted_feed(data: bytes) -> bytes:
            looking.release()
            return feed(data)

        monkeypatch.setattr(body, "feed", noted_feed)
        looking.release()
        return body

    monkeypatch.setattr("hume_sync.net.handshake.body_reader", noted)

    def late(peer: Peer) -> None:
        request(peer)
        peer.send(f"HTTP/1.1 429 Too Many Requests\r\nContent-Length: {len(LIMIT)}\r\n\r\n".encode())
        for piece in (LIMIT[:40], LIMIT[40:]):
            assert looking.acquire(timeout=5)
            peer.send(piece.encode())
        peer.wait_gone()

    assert reported(refused_connect(late)) == (TooManyConnections, 7, 429)


@pytest.mark.parametrize(
    "body",
    [
        '{"status":"failed","meta":{"error":"concurrency_limit_reached","limit":7}}',
        '{ "status" : "failed" , "meta" : { "limit" : 7 , "error" : "concurrency_limit_reached" } }',
        '\r\n{\n\t"status":\n\t"failed",\n\t"meta": {"error": "concurrency_limit_reached", "limit"\t:\n7 }\n}\n',
    ],
)
def test_a_limit_is_found_however_the_answer_is_spaced(body: str) -> None:
    error = refused_connect(stays(answer(body.encode(), "429 Too Many Requests")))
    assert reported(error) == (TooManyConnections, 7, 429)


@pytest.mark.parametrize(
    ("status", "error"),
    [("429 Slow Down", TooManyConnections), ("401 Who", AuthenticationError), ("503 Later", HandshakeRejected)],
)
def test_a_refusal_tells_its_status_and_when_to_try_again(status: str, error: type[ConnectError]) -> None:
    caught = refused_connect(stays(answer(b"", status, "Retry-After: 3")))
    assert reported(caught) == (error, None, int(status[:3]))
    assert caught.retry_after == 3


@pytest.mark.parametrize(
    "body",
    [
        b'{"detail": "open-sesame-7 is not known"}',
        b"Bearer open-sesame-7? open-sesame-7!",
        b'{"status": "failed", "meta": {"error": "no open-sesame-7 here"}}',
    ],
)
def test_a_refusal_that_repeats_a_header_does_not_show_it(body: bytes) -> None:
    error = refused_connect(stays(answer(body, "403 Forbidden")), headers={"Authorization": KEY})
    assert "***" in str(error)
    assert b"sesame" not in pickle.dumps(error)


def test_a_refusal_by_message_that_repeats_a_header_does_not_show_it() -> None:
    said = b'{"status": "failed", "meta": {"error": "no open-sesame-7 here"}}'
    error = refused_connect(frames(frame(said)), headers={"Authorization": KEY})
    assert str(error) == "the server refuses the connection ('no *** here')"
    assert b"sesame" not in pickle.dumps(error)


def test_a_redirect_is_not_followed_and_the_argument_to_change_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        location = f"Location: http://127.0.0.1:{target.getsockname()[1]}/"
        error = refused_connect(says(answer(b"", "307 Elsewhere", location)), headers={"Authorization": KEY})
        assert "give the final address as url" in str(error)
        target.setblocking(False)
        with pytest.raises(BlockingIOError):
            target.accept()


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 429 Slow Down\r\nContent-Length: 76\r\n\r\n",
        b"HTTP/1.1 429 Slow Down\r\nTransfer-Encoding: chunked\r\n\r\n4",
        b"HTTP/1.1 429 Slow Down\r\n\r\n",
    ],
)
def test_a_body_that_never_comes_costs_half_a_second(head: bytes) -> None:
    def connect() -> None:
        assert reported(refused_connect(stays(head))) == (TooManyConnections, None, 429)

    assert elapsed(connect) < 4
