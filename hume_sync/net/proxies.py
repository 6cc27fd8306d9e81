"""Which proxy leads to a host: the caller's, or the environment's, by the rules that curl has.

==============  ===============================================================================
address          the first of these variables that is set decides; an empty one means: no proxy
==============  ===============================================================================
wss              ``wss_proxy``, ``https_proxy``, ``all_proxy``
ws               ``ws_proxy``, ``http_proxy``, ``all_proxy``
https, http      the same without the first (FastRTC's hooks, outputs and offers)
==============  ===============================================================================

Each is looked for in lower case, then in upper case; but ``HTTP_PROXY`` counts for nothing in a CGI script, where any
client can set it (CVE-2016-5385). ``no_proxy`` (then ``NO_PROXY``) lists hosts that are reached without, separated by
commas or blanks:

==============================================  ==============================================================
``*``                                            every host
``example.com``, ``.example.com``                the host and all below it
``*.example.com``, ``10.1.*``                    what fits the pattern
``10.0.0.0/8``, ``fd00::/8``, ``[fd00::]/8``     addresses of that network (names are not looked up for it)
``::1``, ``[::1]``, ``fe80::1%eth0``             an address, however it is spelt
any of them with ``:8080`` behind                that port alone
==============================================  ==============================================================

This machine itself (localhost, 127.0.0.0/8, ::1) is never reached through a proxy of the environment.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import os
import re
import socket
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import unquote

import attrs

from ..errors import ConfigurationError
from ..reprs import Secret, safe_repr
from .interrupts import from_handler, from_outside, handlers_own
from .urls import split_url

__all__ = ["Proxy", "choose_proxy", "environment_proxy", "parse_ip"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_VARIABLES = {
    "ws": ("ws_proxy", "http_proxy", "all_proxy"),
    "wss": ("wss_proxy", "https_proxy", "all_proxy"),
    "http": ("http_proxy", "all_proxy"),
    "https": ("https_proxy", "all_proxy"),
}

_ACCEPTED = "http://[user:password@]host[:port], user and password percent-encoded"

_PORT = re.compile(r"(?P<host>\[[^]]*\](?:/[0-9]+)?|[^:]*):(?P<port>[0-9]{1,5})")
"""A port behind a name, an IPv4 address, or an IPv6 one in brackets: without them a colon says nothing."""


@safe_repr
@attrs.frozen
class Proxy:
    """An HTTP proxy that is asked for a tunnel (CONNECT)."""

    host: str
    port: int
    authorization: Secret | None = attrs.field(default=None, repr=False)
    """ "user:password", as the URL gave it."""

    @classmethod
    def from_url(cls, url: str, *, name: str = "proxy") -> Proxy:
        """Read ``http://[user:password@]host[:port]`` (port 80 by default; a missing scheme is http).

        Raises:
            ConfigurationError: Another scheme or no host; the text never repeats the URL, which may hold a password.
        """
        url = url.strip()
        parts = split_url(url if "://" in url else f"http://{url}")
        if parts is None:
            raise ConfigurationError(f"{name} cannot be read as a URL; accepted: {_ACCEPTED}")
        host, port = parts.hostname or "", parts.port
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if parts.scheme.startswith("socks"):
            raise ConfigurationError(
                f"{name} names a SOCKS proxy, and those are not supported; accepted: {_ACCEPTED}."
                " Pass proxy=False to connect without one, or list the host in no_proxy"
            )
        if parts.scheme == "https":
            raise ConfigurationError(
                f"{name} names a proxy that is itself spoken to over TLS (https://), and those are not supported;"
                f" accepted: {_ACCEPTED}. What goes through the tunnel is encrypted end to end all the same"
            )
        if parts.scheme != "http" or not host or port == 0 or re.search(r"[\s\x00-\x1f]", host):
            raise ConfigurationError(f"{name} must be a proxy's URL; accepted: {_ACCEPTED}")
        return cls(host, 80 if port is None else port, Secret(f"{user}:{password}") if user or password else None)

    @property
    def authority(self) -> str:
        """Host and port as an error shows them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def choose_proxy(proxy: object, scheme: str, host: str, port: int) -> Proxy | None:
    """Return what a client's ``proxy`` argument means for an address.

    Args:
        proxy: A URL, which counts for every host; False: no proxy; None: the environment's.
        scheme: One of ws, wss, http or https.
        host: Where to.
        port: Likewise.

    Raises:
        ConfigurationError: It is none of these, or a proxy that is not supported; the argument or variable is named.
    """
    if proxy is None:
        return environment_proxy(scheme, host, port)
    if proxy is False:
        return None
    if not isinstance(proxy, str):
        raise ConfigurationError(f"proxy must be a URL, False (none) or None (environment), got {type(proxy).__name__}")
    return Proxy.from_url(proxy)


def environment_proxy(scheme: str, host: str, port: int) -> Proxy | None:
    """Return the proxy that the environment names for an address; None: there is none.

    Raises:
        ConfigurationError: One that is not supported; the variable is named.
    """
    target = _normalize_host(host)
    address = _address(target)
    if _is_this_machine(target, address):
        return None
    name = next((name for variable in _VARIABLES[scheme] for name in _spellings(variable) if name in os.environ), None)
    if name is None or not os.environ[name].strip() or _is_excepted(target, address, port):
        return None
    return Proxy.from_url(os.environ[name], name=name)


def _spellings(variable: str) -> Iterator[str]:
    yield variable
    if variable != "http_proxy" or "REQUEST_METHOD" not in os.environ:
        yield variable.upper()


def _is_excepted(target: str, address: _Address | None, port: int) -> bool:
    """Whether ``no_proxy`` lists a host."""
    name = next((name for name in _spellings("no_proxy") if name in os.environ), None)
    return name is not None and any(
        _fits(entry, target, address, port) for entry in re.split(r"[\s,]+", os.environ[name]) if entry
    )


def _fits(entry: str, target: str, address: _Address | None, port: int) -> bool:
    if match := _PORT.fullmatch(entry):
        if int(match["port"]) != port:
            return False
        entry = match["host"]
    entry = _normalize_host(entry.replace("[", "").replace("]", "").replace("%25", "%"))
    if address is not None and (network := _network(entry)) is not None:
        return address.version == network.version and address in network
    if "*" in entry:
        return fnmatch.fnmatchcase(target, entry)
    if (listed := _address(entry)) is not None:
        zone = entry.partition("%")[2]
        return listed == address and zone in {"", target.partition("%")[2]}
    entry = entry.lstrip(".")
    return bool(entry) and address is None and (target == entry or target.endswith(f".{entry}"))


def _normalize_host(host: str) -> str:
    """Return a host in the normal form in which hosts are compared."""
    host = host.lower().rstrip(".")
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except Exception as exc:
        if mine := handlers_own(exc):
            raise mine from None
        if not isinstance(exc, UnicodeError) or from_outside(exc):
            raise
        return host


def _address(host: str) -> _Address | None:
    """Return the IP address a host stands for, without its zone; None for a name."""
    address = parse_ip(host.partition("%")[0])
    if address is None and host[:1].isdigit():  # spellings that the system takes besides: 127.1, 0x7f000001
        address = _read(socket.inet_aton, host)
    return getattr(address, "ipv4_mapped", None) or address


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    host, _, prefix = entry.partition("/")
    address = parse_ip(host) if prefix else None
    if address is None:
        return None
    if (mask := parse_ip(prefix)) is not None and mask.version == address.version:
        ones = int(mask).bit_count()
        if int(mask) >> mask.max_prefixlen - ones != (1 << ones) - 1:
            return None
    elif prefix.isascii() and prefix.isdigit() and int(prefix[:4]) <= address.max_prefixlen:
        ones = int(prefix[:4])
    else:
        return None
    kind = ipaddress.IPv4Network if address.version == 4 else ipaddress.IPv6Network
    return kind((int(address), ones), strict=False)


def parse_ip(text: str) -> _Address | None:
    """Read an address; None for what is none.

    The `ipaddress` module takes any ValueError, a signal handler's too, for an address that it cannot read. So it is
    given what was read by the system.
    """
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return _read(partial(socket.inet_pton, family), text)


def _read(read: Callable[[str], bytes], text: str) -> _Address | None:
    try:
        packed = read(text)
    except (OSError, ValueError) as exc:  # ValueError: it holds NUL, or is not to be written in UTF-8
        if from_handler(exc) or not exc.args:  # (or another thread)
            raise
        return None
    return ipaddress.IPv4Address(packed) if len(packed) == 4 else ipaddress.IPv6Address(packed)


def _is_this_machine(target: str, address: _Address | None) -> bool:
    if address is not None:
        return address.is_loopback or address.is_unspecified
    return target == "localhost" or target.endswith(".localhost")
