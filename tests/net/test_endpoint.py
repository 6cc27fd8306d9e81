from __future__ import annotations

import re

import pytest

from hume_sync import ConfigurationError
from hume_sync.net.endpoint import Endpoint, check_headers, check_key
from hume_sync.reprs import Secret


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("ws://localhost", (False, "localhost", 80, "")),
        ("wss://localhost", (True, "localhost", 443, "")),
        ("http://127.0.0.1:8765/", (False, "127.0.0.1", 8765, "")),
        ("https://host.example/prefix/", (True, "host.example", 443, "/prefix")),
        ("wss://[::1]:9/a/b", (True, "::1", 9, "/a/b")),
        ("ws://[fe80::1%25eth0]:9", (False, "fe80::1%eth0", 9, "")),
    ],
)
def test_urls_of_four_schemes_are_taken_apart(url: str, parts: tuple[object, ...]) -> None:
    assert Endpoint.parse_url(url) == parts


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://localhost",
        "ws://",
        "ws://:80",
        "ws://host:port",
        "ws://host:99999",
        "ws://host:0",
        "ws://ho st",
        "ws://host/a\r\nX: y",
        "ws://" + "a" * 70,
        "ws://[::1",
        "ws://.host",
    ],
)
def test_an_unusable_url_is_refused_with_what_is_accepted(url: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape("ws://host[:port][/prefix]")):
        Endpoint.parse_url(url)


@pytest.mark.parametrize("url", ["ws://user:hush@host", "ws://hush@host", "ws://host?apikey=hush", "ws://host/#hush"])
def test_a_url_with_a_secret_in_it_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="must not hold") as caught:
        Endpoint.parse_url(url)
    assert "hush" not in str(caught.value)


def test_a_url_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="base_url must be a str, got bytes"):
        Endpoint.parse_url(b"ws://host")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["", " ", "a b", "key\n", "k\r\nX: y", "ключ", "k\0", b"bytes", 7])
def test_a_key_that_cannot_go_into_a_header_is_refused_without_repeating_it(key: object) -> None:
    with pytest.raises(ConfigurationError, match="api_key must be") as caught:
        check_key(key)
    assert repr(key) not in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "x"},
        {"upgrade": "x"},
        {"Sec-WebSocket-Key": "x"},
        {"X-Hume-Api-Key": "x"},
        {"bad name": "x"},
        {"": "x"},
        {"X": "a\r\nY: b"},
        {"X": ""},
        {"X": 7},
        {7: "x"},
        {"X-A": "1", "x-a": "2"},
        [("X", "y")],
    ],
)
def test_headers_that_would_change_the_handshake_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="headers"):
        check_headers(headers)


def test_extra_headers_are_kept_secret() -> None:
    ((name, value),) = check_headers({"Authorization": "Bearer hush"})
    assert name == "Authorization"
    assert value.reveal() == "Bearer hush"
    assert "hush" not in repr(Endpoint("h", 80, "/", secret_headers=((name, value),)))


def test_only_headers_that_look_like_credentials_count_as_such() -> None:
    assert Endpoint("h", 80, "/", secret_headers=(("X-Hume-Api-Key", Secret("k")),)).has_credentials
    assert not Endpoint("h", 80, "/", secret_headers=(("X-Request-Id", Secret("k")),)).has_credentials


@pytest.mark.parametrize(
    ("host", "port", "tls", "authority"),
    [("h", 80, False, "h"), ("h", 81, False, "h:81"), ("h", 443, True, "h"), ("::1", 80, True, "[::1]:80")],
)
def test_the_authority_is_spelt_as_browsers_do(host: str, port: int, tls: bool, authority: str) -> None:
    import ssl

    endpoint = Endpoint(host, port, "/x", tls=ssl.create_default_context() if tls else None)
    assert endpoint.authority == authority
    assert endpoint.url == f"{'wss' if tls else 'ws'}://{authority}/x"
