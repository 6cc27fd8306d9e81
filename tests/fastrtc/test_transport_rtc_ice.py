from __future__ import annotations

from typing import Any

import pytest

from hume_sync import ConfigurationError
from hume_sync.fastrtc import FastRTCClient
from hume_sync.fastrtc.transport_rtc import check_ice_servers

TURN = {"username": "me", "credential": "open-sesame-7"}


@pytest.mark.parametrize(
    "server",
    [
        "stun:stun.example.com",
        "stun:127.0.0.1:3478",
        {"urls": "stun:stun.example.com"},
        {"urls": ["stun:stun.example.com", "turn:turn.example.com"], **TURN},
        {"urls": ("turn:turn.example.com:443?transport=tcp",), **TURN},
        {"urls": "turn:turn.example.com?transport=udp", **TURN},
        {"urls": "turns:turn.example.com:5349?transport=tcp", **TURN},
    ],
    ids=str,
)
def test_servers_are_given_on_with_lists_of_urls(server: Any) -> None:
    given = {"urls": server} if isinstance(server, str) else server
    urls = [given["urls"]] if isinstance(given["urls"], str) else [*given["urls"]]
    assert check_ice_servers([server]) == ({**given, "urls": urls},)
    FastRTCClient("http://127.0.0.1", proxy=False, ice_servers=[server])


@pytest.mark.parametrize(
    "server",
    [
        "",
        "open-sesame-7",
        "http://open-sesame-7.example.com",
        "stun:",
        "stun:a b",
        "stun:x:0",
        "stun:x:65536",
        "stun:x:y",
        "stun:[::1]:3478",
        "stun:me:open-sesame-7@x",
        "stun:x?transport=udp",
        "stuns:x",  # aiortc would leave out this and the next two
        {"urls": "turns:x?transport=udp", **TURN},
        {"urls": "turn:x?transport=sctp", **TURN},
        {"urls": [], **TURN},
        {"urls": ["stun:x", 7]},
        {"urls": 7},
        {"url": "stun:x"},
        {"urls": "stun:x", "password": "open-sesame-7"},
        {7: "stun:x"},
        {},
        None,
        7,
        b"stun:x",
    ],
    ids=str,
)
def test_a_server_that_cannot_be_used_is_refused_with_what_can_and_without_its_password(server: Any) -> None:
    with pytest.raises(ConfigurationError, match=r'^ice_servers\[1\] must be "stun:host') as caught:
        FastRTCClient("http://127.0.0.1", proxy=False, ice_servers=["stun:x", server])
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("given", [{}, {"username": "me"}, {"credential": "open-sesame-7"}, {**TURN, "credential": 7}])
def test_a_relay_without_credentials_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"^ice_servers\[0\] is a TURN server: username and credential"):
        FastRTCClient("http://127.0.0.1", proxy=False, ice_servers=[{"urls": "turn:x", **given}])


def test_a_url_alone_is_no_list_of_servers() -> None:
    with pytest.raises(ConfigurationError, match="^ice_servers must be a list or tuple of servers, got str$"):
        FastRTCClient("http://127.0.0.1", proxy=False, ice_servers="stun:x")


def test_a_clients_password_shows_nowhere() -> None:
    client = FastRTCClient("http://127.0.0.1", proxy=False, ice_servers=[{"urls": "turn:x", **TURN}])
    assert "sesame" not in repr(client)
