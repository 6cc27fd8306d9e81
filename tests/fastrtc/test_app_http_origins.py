from __future__ import annotations

import re
import socket
from typing import Any

import pytest

from hume_sync import ConfigurationError, ConnectError, ProtocolError
from hume_sync.fastrtc import HookError
from hume_sync.fastrtc.app_http import AppEndpoint
from hume_sync.net.deadline import Deadline
from hume_sync.net.proxies import Proxy
from hume_sync.reprs import Secret
from tests.faultproxy import Peer, head
from tests.net.support import server, tls_contexts

from .webtalk import KEY, PRIVATE, answer, get, http, request, says, stream


def test_private_headers_go_to_the_servers_own_origin_and_nowhere_else() -> None:
    seen = []

    def view(peer: Peer) -> None:
        seen.append(request(peer)[1])
        peer.send(answer())

    with server(view, view, view) as own, server(view) as foreign:
        client = http(own, secret_headers=PRIVATE, headers=(("User-Agent", "me"),))
        client.get("/", None, Deadline(5))
        client.get(f"http://127.0.0.1:{own}/", None, Deadline(5))
        client.post_json(f"http://localhost:{own}/", {}, Deadline(5))  # the same machine, but who knows that
        client.get(f"http://127.0.0.1:{foreign}/", None, Deadline(5))
    assert [fields.get("authorization") for fields in seen] == [KEY, KEY, None, None]
    assert [fields.get("x-pin") for fields in seen] == ["4711", "4711", None, None]
    assert {fields["user-agent"] for fields in seen} == {"me"}


# --- what may go unencrypted


class Elsewhere(socket.socket):
    """A socket that says it is connected to another machine."""

    def getpeername(self) -> Any:
        return "192.0.2.7", 80


@pytest.mark.parametrize("private", [PRIVATE, (("X-Tenant", Secret("a")),)])
def test_headers_never_go_unencrypted_to_another_machine(
    monkeypatch: pytest.MonkeyPatch, private: tuple[tuple[str, Secret], ...]
) -> None:
    seen = []
    with server(lambda peer: seen.append(peer.sock.recv(100))) as port:
        monkeypatch.setattr(socket, "socket", Elsewhere)  # by its address: its name is localhost
        with pytest.raises(ConfigurationError, match="unencrypted"):
            get(port, host="localhost", secret_headers=private)
    assert seen == [b""]


def test_headers_go_unencrypted_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(says(answer())) as port:
        monkeypatch.setattr(socket, "socket", Elsewhere)
        with pytest.warns(UserWarning, match="unencrypted"):
            assert get(port, secret_headers=PRIVATE, allow_plaintext=True).status == 200


def test_without_headers_any_machine_may_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(says(answer())) as port:
        monkeypatch.setattr(socket, "socket", Elsewhere)
        assert get(port).status == 200


def test_requests_are_encrypted_and_the_certificate_is_checked() -> None:
    serving, trusting = tls_contexts("localhost")

    def secure(peer: Peer) -> None:
        with serving.wrap_socket(peer.sock.dup(), server_side=True) as sock:
            inner = Peer(sock, peer.stop)
            says(answer(b"[1]"))(inner)
            inner.file.close()

    with server(secure, secure) as port:
        assert get(port, host="localhost", tls=trusting, secret_headers=PRIVATE).json == [1]
        with pytest.raises(ConnectError, match="certificate"):
            http(1).get(f"https://localhost:{port}/", None, Deadline(5))  # another origin: the system's certificates


def test_a_proxy_of_the_environment_is_looked_for_by_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def tunnel(peer: Peer) -> None:
        asked.append(next(iter(head(peer.file))).decode())
        peer.send(answer(b"", "403 No"))

    with server(tunnel, tunnel) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "inner.example")
        with pytest.raises(ConnectError, match="refused the tunnel") as caught:
            http(1).get("http://outer.example/", None, Deadline(5))
        assert caught.value.status == 403
        given = http(1, proxied="http://127.0.0.1", proxy=Proxy("127.0.0.1", port))
        with pytest.raises(ConnectError, match="refused the tunnel"):
            given.get("http://inner.example/", None, Deadline(5))
    assert [line.split()[1] for line in asked] == ["outer.example:80", "inner.example:80"]

    def nowhere(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    for client, url in [(http(1, proxied=False), "http://outer.example/"), (http(1), "http://inner.example/")]:
        with pytest.raises(ConnectError):
            client.get(url, None, Deadline(5))
    assert asked[2:] == ["outer.example", "inner.example"]


# --- what shows


def test_no_error_shows_a_header_that_the_server_repeats() -> None:
    body = b'{"detail": "open-sesame-7 is not known, nor is Bearer open-sesame-7 or 4711"}'
    with server(says(answer(body, "403 Forbidden"))) as port:
        reply = get(port, secret_headers=PRIVATE)
    assert reply.error_excerpt == '{"detail": "*** is not known, nor is *** or ***"}'
    assert "sesame" not in repr(reply)


def test_no_error_shows_a_header_that_the_server_calls_a_type_of_content() -> None:
    odd = b"HTTP/1.1 200 OK\r\nContent-Type: text/Open-Sesame-7\r\n\r\n"
    with server(says(odd)) as port, pytest.raises(HookError, match=re.escape("/updates answered with 'text/***'")):
        stream(http(port, secret_headers=PRIVATE)).receive()


@pytest.mark.parametrize(
    ("values", "text", "shown"),
    [
        ([KEY], "no Bearer open-sesame-7, no open-sesame-7", "no ***, no ***"),
        ([KEY], "a Bearer, open or not", "a Bearer, open or not"),  # what is short tells nothing
        ([KEY], "no OPEN-SESAME-7", "no ***"),
        (["4711"], "pin 4711 is wrong", "pin *** is wrong"),
        (["4711", "Bearer 4711-open-sesame"], "no 4711-open-sesame here", "no *** here"),
        (["session=abcdefgh; user=me"], "unknown session: abcdefgh", "unknown session: ***"),
        (['Digest response="abcdefgh"'], '{"detail": "abcdefgh?"}', '{"detail": "***?"}'),
        (["Token ab=cd=ef=gh"], "no ab=cd=ef=gh", "no ***"),
        (["a+b(c)d.e"], "a+b(c)d.e, not aab(c)d-e", "***, not aab(c)d-e"),
        (["****"], "**** is no token", "*** is no token"),
        (["abcd", "cd**"], "abcd** is no token", "***** is no token"),  # what was taken out is not examined again
        (["a"], "a tenant may have three", "a tenant may have three"),
        ([], "nothing is private", "nothing is private"),
    ],
)
def test_private_values_and_their_telling_parts_are_taken_out(values: list[str], text: str, shown: str) -> None:
    private = tuple((f"X-{number}", Secret(value)) for number, value in enumerate(values))
    assert AppEndpoint(host="x", port=80, path="", secret_headers=private).redact(text) == shown


def test_a_malformed_head_that_repeats_a_header_shows_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    with server(says(answer(b"", "200 OK", "what is open-sesame-7?"))) as port:
        with pytest.raises(ProtocolError) as caught:
            get(port, secret_headers=PRIVATE)
    assert "sesame" not in caplog.text + str(caught.value)


def test_nothing_shows_headers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("http.client.HTTPConnection.debuglevel", 9)
    with server(says(answer())) as port:
        client = http(port, secret_headers=PRIVATE)
        client.get("/", None, Deadline(5))
        assert repr(client) == f"<AppClient http://127.0.0.1:{port}/>"
    assert capsys.readouterr() == ("", "")
