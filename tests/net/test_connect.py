from __future__ import annotations

import base64
import socket
import ssl
from typing import Any

import pytest
import trustme

from hume_sync import ConfigurationError, ConnectError, HumeStreamClient, LanguageConfig, ProtocolError, Timeout
from hume_sync.emulator import Emulator
from hume_sync.net.connect import open_stream
from hume_sync.net.deadline import Deadline
from hume_sync.net.endpoint import Endpoint
from hume_sync.net.proxies import Proxy
from hume_sync.reprs import Secret
from tests.faultproxy import head

from .support import server, tls_contexts, tunnel

CREDENTIALS = (("X-Hume-Api-Key", Secret("hush")),)


def endpoint(port: int, **more: Any) -> Endpoint:
    return Endpoint(host=more.pop("host", "127.0.0.1"), port=port, path="/", **more)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_a_connection_sends_small_requests_at_once_and_notices_a_vanished_peer() -> None:
    with server(lambda peer: peer.wait_gone()) as port:
        wire = open_stream(endpoint(port), Deadline(5))
        assert wire._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert wire._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        wire.close()


def test_the_next_address_is_tried_where_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(lambda peer: peer.wait_gone()) as port, socket.create_server(("127.0.0.1", 0)) as gone:
        dead = gone.getsockname()[1]
        gone.close()
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        addresses = [
            (99, socket.SOCK_STREAM, 6, "", ("an address family of another world",)),
            (*kind, ("127.0.0.1", dead)),
            (*kind, ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        open_stream(endpoint(port, host="many.example"), Deadline(5)).close()


def test_many_dead_addresses_cost_no_more_than_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as deaf:  # bound, never listening to more than its queue holds
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        held = []
        for _ in range(4):  # fill the queue: further connections are not answered
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            held.append(filler)
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [kind] * 20)
        with pytest.raises(Timeout) as caught:
            open_stream(endpoint(address[1], host="many.example"), Deadline(0.4))
        assert caught.value.phase == "connect"
        for filler in held:
            filler.close()


def test_an_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConnectError, match=r"'nowhere\.example'"):
        open_stream(endpoint(1, host="nowhere.example"), Deadline(1))


def test_a_signal_while_connecting_leaves_no_socket_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    class Interrupted(socket.socket):
        def connect_ex(self, address: Any) -> int:
            made.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(socket, "socket", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_stream(endpoint(1), Deadline(1))
    assert [sock.fileno() for sock in made] == [-1]


# --- the plaintext rule


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_key_may_go_unencrypted_to_this_machine(host: str) -> None:
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    address = "::1" if host == "::1" else "127.0.0.1"
    with socket.create_server((address, 0), family=family) as listener:
        open_stream(endpoint(listener.getsockname()[1], host=host, secret_headers=CREDENTIALS), Deadline(5)).close()


class Elsewhere(socket.socket):
    """A socket that says it is connected to another machine."""

    def getpeername(self) -> Any:
        return ("192.0.2.1", 80)


def test_a_key_never_goes_unencrypted_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[bytes] = []
    monkeypatch.setattr(socket, "socket", Elsewhere)
    with server(lambda peer: received.append(peer.sock.recv(1))) as port:
        with pytest.raises(ConfigurationError, match=r"unencrypted.*allow_plaintext"):
            open_stream(endpoint(port, secret_headers=CREDENTIALS), Deadline(5))
    assert received == [b""]


def test_without_a_key_plain_connections_go_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", Elsewhere)
    with server(lambda peer: peer.wait_gone()) as port:
        open_stream(endpoint(port), Deadline(5)).close()


def test_a_caller_who_allows_it_is_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", Elsewhere)
    with server(lambda peer: peer.wait_gone()) as port:
        with pytest.warns(UserWarning, match="a key is sent unencrypted"):
            open_stream(endpoint(port, secret_headers=CREDENTIALS, allow_plaintext=True), Deadline(5)).close()


# --- TLS


def test_a_connection_over_tls_is_verified_and_works(authority: trustme.CA) -> None:
    serving, trusting = tls_contexts("localhost", authority)
    with Emulator(ssl_context=serving) as emulator:
        url = emulator.url.replace("127.0.0.1", "localhost")
        client = HumeStreamClient("k", base_url=url, ssl_context=trusting)
        with client.connect([LanguageConfig()]) as stream:
            for text in ("one", "two", "x" * 9000):  # session tickets come between: no reply, no reason to reconnect
                assert stream.send_text(text)["language"]["predictions"]
                assert stream.epoch
            assert len({stream.epoch for _ in range(3)}) == 1


@pytest.mark.parametrize("name", ["another.example", None], ids=["wrong-name", "unknown-authority"])
def test_a_certificate_that_does_not_fit_ends_the_connection(authority: trustme.CA, name: str | None) -> None:
    serving, trusting = tls_contexts(name or "localhost", authority)
    client_context = ssl.create_default_context() if name is None else trusting
    with Emulator(ssl_context=serving) as emulator:
        url = emulator.url.replace("127.0.0.1", "localhost")
        client = HumeStreamClient("k", base_url=url, ssl_context=client_context)
        with pytest.raises(ConnectError, match="certificate was not accepted") as caught:
            client.connect([LanguageConfig()]).send_text("hello")
        assert caught.value.phase == "connect"
        assert not emulator.journal.handshakes


def test_a_call_that_waits_over_tls_ends_by_its_deadline(authority: trustme.CA) -> None:
    serving, trusting = tls_contexts("localhost", authority)
    with Emulator(ssl_context=serving, latency=30) as emulator:
        url = emulator.url.replace("127.0.0.1", "localhost")
        client = HumeStreamClient("k", base_url=url, ssl_context=trusting)
        stream = client.connect([LanguageConfig()])
        with pytest.raises(Timeout) as caught:
            stream.send_text("hello", timeout=0.3)
        assert (caught.value.phase, caught.value.maybe_processed) == ("receive", True)
        stream.close()


# --- the proxy


def test_a_proxy_is_asked_for_a_tunnel_with_its_own_credentials() -> None:
    seen: list[bytes] = []
    answer = b"HTTP/1.1 200 OK\r\n\r\n"
    with Emulator(anonymous=True) as emulator, server(tunnel(answer, seen, emulator.port)) as port:
        client = HumeStreamClient(base_url="ws://far.example:81", proxy=f"http://me:p%40ss@127.0.0.1:{port}")
        with client.connect([LanguageConfig()]) as stream:
            assert stream.send_text("hello")["language"]["predictions"]
    assert seen[0] == b"CONNECT far.example:81 HTTP/1.1\r\n"
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:p@ss") + b"\r\n" in seen


def test_a_key_is_not_sent_unencrypted_through_a_tunnel_to_an_unknown_end() -> None:
    with server(tunnel(b"HTTP/1.1 200 OK\r\n\r\n", [])) as port:
        proxied = endpoint(1, host="127.0.0.1", proxy=Proxy("127.0.0.1", port), secret_headers=CREDENTIALS)
        with pytest.raises(ConfigurationError, match="unencrypted"):
            open_stream(proxied, Deadline(5))


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (b"HTTP/1.1 407 Who\r\n\r\n", ConnectError, "refused the tunnel with HTTP 407"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", ProtocolError, "before the tunnel was used"),
        (b"HTTP/1.1 200 OK\r\n", Timeout, "timed out connecting"),
    ],
)
def test_a_tunnel_that_does_not_open_is_explained(answer: bytes, error: type[Exception], text: str) -> None:
    with server(tunnel(answer, [])) as port:
        with pytest.raises(error, match=text):
            open_stream(endpoint(1, host="::1", proxy=Proxy("127.0.0.1", port)), Deadline(0.5))


def test_a_proxy_that_hangs_up_is_named() -> None:
    with server(lambda peer: list(head(peer.file))) as port:
        with pytest.raises(ConnectError, match=f"the proxy 127.0.0.1:{port} ended"):
            open_stream(endpoint(1, proxy=Proxy("127.0.0.1", port)), Deadline(5))
