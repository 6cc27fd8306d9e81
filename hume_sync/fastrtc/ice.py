"""Servers that help two machines behind NAT to find each other: STUN and TURN."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigurationError

__all__ = ["IceServer", "check_ice_servers"]

IceServer = str | Mapping[str, Any]
"""A STUN server's URL ("stun:host:3478"), or ``urls``, ``username`` and ``credential`` of a TURN server."""

_URL = re.compile(
    r"(?P<scheme>stun|turn|turns):[A-Za-z0-9._-]+"  # (no IPv6 address: aiortc takes none here)
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?"
)
_TRANSPORTS: dict[str, set[str | None]] = {"stun": {None}, "turn": {None, "udp", "tcp"}, "turns": {None, "tcp"}}
_KEYS = frozenset({"urls", "username", "credential"})
_ACCEPTED = (
    'must be "stun:host[:port]", or a mapping of urls ("turn:host[:port][?transport=udp or tcp]" and "turns:..." '
    "likewise), username and credential"
)


def check_ice_servers(servers: object) -> tuple[dict[str, Any], ...]:
    """The servers, each as the arguments of aiortc's RTCIceServer, which leaves out in silence what it cannot use.

    Raises:
        ConfigurationError: one cannot be used. Nothing of it is repeated: it may hold a password.
    """
    if not isinstance(servers, list | tuple):
        raise ConfigurationError(f"ice_servers must be a list or tuple of servers, got {type(servers).__name__}")
    names = [f"ice_servers[{number}]" for number in range(len(servers))]
    return tuple(map(_checked, servers, names))


def _checked(server: object, name: str) -> dict[str, Any]:
    given: object = {"urls": server} if isinstance(server, str) else server
    if not isinstance(given, Mapping) or not _KEYS.issuperset(given):
        raise ConfigurationError(f"{name} {_ACCEPTED}")
    urls = given.get("urls")
    urls = [urls] if isinstance(urls, str) else urls
    if not isinstance(urls, list | tuple) or not urls or not all(map(_is_usable, urls)):
        raise ConfigurationError(f"{name} {_ACCEPTED}")
    secrets = [given.get("username"), given.get("credential")]
    if any(url.startswith("turn") for url in urls) and not all(isinstance(one, str) for one in secrets):
        raise ConfigurationError(f"{name} is a TURN server: username and credential must both be given, as text")
    return {**given, "urls": [*urls]}


def _is_usable(url: object) -> bool:
    match = _URL.fullmatch(url) if isinstance(url, str) else None
    if match is None:
        return False
    return 0 < int(match["port"] or 3478) < 2**16 and match["transport"] in _TRANSPORTS[match["scheme"]]
