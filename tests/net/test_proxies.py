from __future__ import annotations

import pytest

from hume_sync import ConfigurationError, HumeStreamClient, LanguageConfig
from hume_sync.emulator import Emulator
from hume_sync.fastrtc import FastRTCClient
from hume_sync.net.proxies import Proxy, choose_proxy, environment_proxy

from .support import server, tunnel

PORT = 8765


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy:3128", ("proxy", 3128, None)),
        ("HTTP://proxy:3128/", ("proxy", 3128, None)),
        ("proxy.example", ("proxy.example", 80, None)),
        ("proxy.example:8080", ("proxy.example", 8080, None)),
        (" http://proxy:1 ", ("proxy", 1, None)),
        ("http://[::1]:1", ("::1", 1, None)),
        ("http://me:p%40ss@proxy:1", ("proxy", 1, "me:p@ss")),
        ("me:p%40ss@proxy:1", ("proxy", 1, "me:p@ss")),
        ("http://me@proxy:1", ("proxy", 1, "me:")),
        ("http://:p%40ss@proxy:1", ("proxy", 1, ":p@ss")),
    ],
)
def test_a_proxy_is_read_from_its_url(url: str, proxy: tuple[str, int, str | None]) -> None:
    read = Proxy.from_url(url)
    assert (read.host, read.port, read.authorization and read.authorization.reveal()) == proxy
    assert "p@ss" not in repr(read)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://me:hush@proxy", "spoken to over TLS"),
        ("socks5://me:hush@proxy:1", "SOCKS proxy"),
        ("SOCKS5h://me:hush@proxy:1", "SOCKS proxy"),
        ("socks4a://proxy:1", "SOCKS proxy"),
        ("ftp://me:hush@proxy", "must be a proxy's URL"),
        ("", "must be a proxy's URL"),
        ("http://", "must be a proxy's URL"),
        ("http://me:hush@", "must be a proxy's URL"),
        ("http://p:0", "must be a proxy's URL"),
        ("http://p:hush", "cannot be read"),
        ("http://me:hu/sh@proxy:1", "cannot be read"),
        ("http://[::1", "cannot be read"),
        ("http://p:99999", "cannot be read"),
    ],
)
def test_a_proxy_of_another_kind_is_refused_without_repeating_its_password(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^all_proxy .*{why}") as caught:
        Proxy.from_url(url, name="all_proxy")
    assert "hush" not in str(caught.value)
    assert caught.value.__context__ is None


WEB = {"http_proxy": "http://http:1", "https_proxy": "http://https:2"}
ALL = {"all_proxy": "http://all:3"}
WS = {"ws_proxy": "http://ws:4", "wss_proxy": "http://wss:5"}


@pytest.mark.parametrize(
    ("scheme", "environment", "found"),
    [
        ("ws", {}, None),
        ("ws", WEB, "http"),
        ("wss", WEB, "https"),
        ("http", WEB, "http"),
        ("https", WEB, "https"),
        ("ws", ALL, "all"),
        ("https", ALL, "all"),
        ("ws", WEB | ALL | WS, "ws"),
        ("wss", WEB | ALL | WS, "wss"),
        ("http", WEB | ALL | WS, "http"),
        ("https", ALL | WS, "all"),
        ("ws", {"http_proxy": "http://lower", "HTTP_PROXY": "http://upper"}, "lower"),
        ("wss", {"HTTPS_PROXY": "http://upper"}, "upper"),
        ("wss", {"ALL_PROXY": "http://upper"}, "upper"),
        ("wss", {"WSS_PROXY": "http://upper"}, "upper"),
        ("wss", {"https_proxy": "", "HTTPS_PROXY": "http://upper"}, None),
        ("wss", {"wss_proxy": "  "} | WEB, None),
        ("ws", {"HTTP_PROXY": "http://upper", "REQUEST_METHOD": "GET"}, None),
        ("ws", {"HTTP_PROXY": "http://upper", "REQUEST_METHOD": "GET"} | ALL, "all"),
        ("ws", {"http_proxy": "http://lower", "REQUEST_METHOD": "GET"}, "lower"),
        ("wss", {"HTTPS_PROXY": "http://upper", "REQUEST_METHOD": "GET"}, "upper"),
    ],
)
def test_the_first_variable_that_is_set_decides(
    monkeypatch: pytest.MonkeyPatch, scheme: str, environment: dict[str, str], found: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    proxy = environment_proxy(scheme, "host.example", 443)
    assert (proxy and proxy.host) == found


@pytest.mark.parametrize("argument", ["http://mine:9", False])
def test_the_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, argument: str | bool) -> None:
    monkeypatch.setenv("http_proxy", "socks5://never:1")
    monkeypatch.setenv("no_proxy", "*")
    proxy = choose_proxy(argument, "ws", "127.0.0.1", PORT)
    assert (proxy and proxy.host) == ("mine" if argument else None)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.8.9.10", "127.1", "0x7f000001", "::1", "0:0::1",
     "::ffff:127.0.0.1", "0.0.0.0", "::"],
)  # fmt: skip
def test_this_machine_is_never_reached_through_a_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("all_proxy", "socks5://never:1")
    assert environment_proxy("ws", host, PORT) is None


@pytest.mark.parametrize("host", ["127.evil.example", "localhost.example", "mylocalhost", "128.0.0.1", "::2"])
def test_what_looks_like_this_machine_is_not(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:1")
    assert environment_proxy("ws", host, PORT)


BYPASSED = [
    ("*", "any.example"),
    ("*", "10.1.2.3"),
    ("*", "2001:db8::1"),
    ("other, *", "any.example"),
    ("10.0.0.0/8", "10.1.2.3"),
    ("10.9.9.9/8", "10.1.2.3"),
    ("10.0.0.0/255.0.0.0", "10.1.2.3"),
    ("10.0.0.0/8", "::ffff:10.1.2.3"),
    ("0.0.0.0/0", "10.1.2.3"),
    ("10.1.2.3", "10.1.2.3"),
    ("10.1.2.3:8765", "10.1.2.3"),
    ("10.0.0.0/8:8765", "10.1.2.3"),
    ("10.1.*", "10.1.2.3"),
    ("2001:db8::/32", "2001:db8::1"),
    ("[2001:db8::]/32", "2001:db8::1"),
    ("[2001:db8::/32]", "2001:db8::1"),
    ("[2001:db8::/32]:8765", "2001:db8::1"),
    ("[2001:db8::]/32:8765", "2001:db8::1"),
    ("2001:db8::1", "2001:DB8:0::1"),
    ("2001:0DB8:0:0:0:0:0:1", "2001:db8::1"),
    ("[2001:db8::1]", "2001:db8::1"),
    ("[2001:db8::1]:8765", "2001:db8::1"),
    ("fe80::/10", "fe80::1%eth0"),
    ("fe80::1", "fe80::1%eth0"),
    ("fe80::1%eth0", "fe80::1%eth0"),
    ("[fe80::1%25eth0]", "fe80::1%eth0"),
    ("example.com", "example.com"),
    ("example.com", "a.b.example.com"),
    ("example.com.", "a.example.com"),
    ("example.com", "example.com."),
    ("EXAMPLE.com", "A.Example.COM"),
    (".example.com", "example.com"),
    (".example.com", "a.example.com"),
    ("*.example.com", "a.example.com"),
    ("*.example.com", "a.b.example.com"),
    ("dev-*.example.com", "dev-7.example.com"),
    ("example.com:8765", "a.example.com"),
    ("*.example.com:8765", "a.example.com"),
    ("a,  b ,example.com", "example.com"),
    ("a b\texample.com", "example.com"),
    ("bücher.example", "xn--bcher-kva.example"),
    ("xn--bcher-kva.example", "bücher.example"),
    ("intranet", "intranet"),
]
PROXIED = [
    ("", "example.com"),
    (",", "example.com"),
    (".", "example.com"),
    ("*:80", "example.com"),
    (":8765", "example.com"),
    ("10.0.0.0/8", "11.1.2.3"),
    ("10.0.0.0/8", "a.example"),
    ("10.0.0.0/99", "10.1.2.3"),
    ("10.0.0.0/8:80", "10.1.2.3"),
    ("10.1.2.3:80", "10.1.2.3"),
    ("2.3", "10.1.2.3"),
    ("10.1.*", "10.2.2.3"),
    ("2001:db8::/32", "2001:db9::1"),
    ("2001:db8::/32", "10.1.2.3"),
    ("[2001:db8::1]:80", "2001:db8::1"),
    ("fe80::1%eth1", "fe80::1%eth0"),
    ("example.com", "notexample.com"),
    ("example.com", "example.com.evil.example"),
    (".example.com", "notexample.com"),
    ("*.example.com", "example.com"),
    ("*.example.com", "notexample.com"),
    ("example.com:80", "example.com"),
]


@pytest.mark.parametrize(
    ("no_proxy", "host", "bypassed"),
    [(*row, True) for row in BYPASSED] + [(*row, False) for row in PROXIED],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_no_proxy_is_read_as_curl_and_requests_read_it(
    monkeypatch: pytest.MonkeyPatch, name: str, no_proxy: str, host: str, bypassed: bool
) -> None:
    monkeypatch.setenv("all_proxy", "http://proxy:1")
    monkeypatch.setenv(name, no_proxy)
    assert (environment_proxy("wss", host, PORT) is None) is bypassed


@pytest.mark.parametrize(("lower", "upper", "bypassed"), [("a", "b", False), ("b", "a", True), ("", "b", False)])
def test_no_proxy_in_lower_case_wins(monkeypatch: pytest.MonkeyPatch, lower: str, upper: str, bypassed: bool) -> None:
    monkeypatch.setenv("all_proxy", "http://proxy:1")
    monkeypatch.setenv("no_proxy", lower)
    monkeypatch.setenv("NO_PROXY", upper)
    assert (environment_proxy("wss", "b", PORT) is None) is bypassed


@pytest.mark.parametrize("name", ["https_proxy", "WSS_PROXY", "all_proxy"])
@pytest.mark.parametrize("scheme", ["socks5", "https"])
def test_clients_name_the_variable_that_holds_an_unsupported_proxy(
    monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
) -> None:
    monkeypatch.setenv(name, f"{scheme}://me:hush@proxy:1")
    with pytest.raises(ConfigurationError, match=f"^{name} names") as caught:
        HumeStreamClient("k", base_url="wss://10.1.1.1")
    assert "hush" not in str(caught.value)
    HumeStreamClient("k", base_url="wss://10.1.1.1", proxy=False)
    monkeypatch.setenv("no_proxy", "10.0.0.0/8")
    HumeStreamClient("k", base_url="wss://10.1.1.1")


def test_a_proxy_of_the_environment_is_used_by_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    with (
        Emulator(anonymous=True) as emulator,
        server(tunnel(b"HTTP/1.1 200 OK\r\n\r\n", seen, emulator.port)) as port,
    ):
        monkeypatch.setenv("ALL_PROXY", f"http://me:p%40ss@127.0.0.1:{port}")
        client = HumeStreamClient(base_url=f"ws://10.1.2.3:{PORT}")
        with client.connect([LanguageConfig()]) as socket:
            assert socket.send_text("x").emulated
    assert seen[0] == f"CONNECT 10.1.2.3:{PORT} HTTP/1.1\r\n".encode()


def test_fastrtc_asks_for_its_websocket_and_its_http_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ws_proxy", "http://sockets:1")
    monkeypatch.setenv("http_proxy", "http://web:2")
    monkeypatch.setenv("https_proxy", "http://secure:3")
    monkeypatch.setenv("no_proxy", "other.example:81")
    client = FastRTCClient("http://app.example", outputs="https://other.example/updates")
    http = client._config.http
    proxies = [
        (found and found.host)
        for found in (
            client._endpoint.proxy,
            http._locate("/hook", "hook")[0].proxy,
            http._locate("https://other.example/updates", "outputs")[0].proxy,
            http._locate("http://other.example:81/updates", "outputs")[0].proxy,
        )
    ]
    assert proxies == ["sockets", "web", "secure", None]
    fixed = FastRTCClient("http://app.example", proxy="http://mine:9")._config.http
    found = fixed._locate("https://other.example/updates", "outputs")[0].proxy
    assert found
    assert found.host == "mine"
