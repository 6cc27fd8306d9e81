"""Where to connect and what to say there: the checked, immutable facts of one server address."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import attrs

from ..errors import ConfigurationError, InputError, described
from .route import Route
from .secret import Secret

__all__ = [
    "Endpoint",
    "Proxy",
    "check_key",
    "choose_proxy",
    "default_context",
    "environment_proxy",
    "private_headers",
    "size",
]

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")  # no control characters, no outer blanks
_RESERVED = frozenset({"host", "upgrade", "connection", "content-length", "transfer-encoding", "x-hume-api-key"})
_CREDENTIAL = re.compile(r"auth|cookie|key|token|secret", re.IGNORECASE)


@attrs.frozen
class Proxy:
    """An HTTP proxy that is asked for a tunnel (CONNECT)."""

    host: str
    port: int
    authorization: Secret | None = attrs.field(default=None, repr=False)
    """ "user:password", as the URL gave it."""

    @classmethod
    def from_url(cls, url: str, *, name: str = "proxy") -> Proxy:
        """Read ``http://[user:password@]host[:port]`` (port 80 by default).

        Raises:
            ConfigurationError: another scheme or no host; the text never repeats the URL, which may hold a password.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        if parts.scheme != "http" or not host:
            raise ConfigurationError(
                f"{name} must be http://[user:password@]host[:port]: only plain HTTP proxies are spoken to"
            )
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(host, port or 80, Secret(f"{user}:{password}") if user else None)


@attrs.frozen
class Endpoint:
    """One WebSocket address with everything a connection to it needs."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None = attrs.field(default=None, repr=False)
    """None: plain ``ws``."""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent on the upgrade; nothing secret."""
    private: tuple[tuple[str, Secret], ...] = attrs.field(default=(), repr=False)
    """Sent on the upgrade, written by this library alone: websocket-client and its trace never see them."""
    proxy: Proxy | None = None
    allow_plaintext: bool = False
    max_message_size: int = 64 * 2**20
    """Bytes of one incoming message, all its fragments together."""
    route: Route = attrs.field(factory=Route, eq=False, repr=False)
    """What is learned on the way there; the one part of an endpoint that changes."""

    @classmethod
    def split(cls, url: str, *, name: str = "base_url") -> tuple[bool, str, int, str]:
        """Take a URL apart: (encrypted, host, port, path prefix without a trailing slash).

        Raises:
            ConfigurationError: not ws, wss, http or https; no host; a bad port; user, query or fragment given.
        """
        accepted = "accepted: ws://host[:port][/prefix], and wss, http, https likewise"
        if not isinstance(url, str):
            raise ConfigurationError(f"{name} must be a str, got {type(url).__name__}; {accepted}")
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").replace("%25", "%"), parts.port  # RFC 6874: a zone's mark
            host.partition("%")[0].encode("idna")
        except (ValueError, UnicodeError):
            raise ConfigurationError(f"{name} has a host or port that cannot be read; {accepted}") from None
        if parts.username is not None or parts.password is not None or "?" in url or "#" in url:
            # The URL is not repeated: a key may well be in these very parts.
            raise ConfigurationError(f"{name} must not hold user:password, query or fragment; {accepted}")
        if parts.scheme not in _SCHEMES or not host or not _VISIBLE.fullmatch(url) or " " in url or port == 0:
            raise ConfigurationError(f"{name} is {described(url)}; {accepted}")
        encrypted = _SCHEMES[parts.scheme] == "wss"
        return encrypted, host, port or (443 if encrypted else 80), parts.path.rstrip("/")

    @property
    def authority(self) -> str:
        """Host and port as a URL and the Host header show them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL dialled; it holds nothing secret."""
        return f"{'wss' if self.tls else 'ws'}://{self.authority}{self.path}"

    @property
    def has_credentials(self) -> bool:
        """Whether a private header carries a key, a token or the like."""
        return any(_CREDENTIAL.search(name) for name, _ in self.private)

    def scrub(self, text: str) -> str:
        """``text`` without any private value in it."""
        for _, secret in self.private:
            text = secret.scrub(text)
        return text


def check_key(value: object) -> Secret:
    """Return an API key as a `Secret`; its value is in no error text.

    Raises:
        ConfigurationError: not a str, empty, or with blanks at its ends, control or non-ASCII characters.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"api_key must be a str, got {type(value).__name__}")
    if not _VISIBLE.fullmatch(value) or " " in value:
        raise ConfigurationError(
            "api_key must be visible ASCII characters without blanks or line ends"
            f" (got {len(value)} characters; a key read from a file often ends in a newline)"
        )
    return Secret(value)


def private_headers(headers: Mapping[str, str] | None) -> tuple[tuple[str, Secret], ...]:
    """Check a caller's extra upgrade headers; their values are kept secret, whatever they are.

    Raises:
        ConfigurationError: a name that is no token or belongs to the handshake, a value with control characters.
    """
    if headers is not None and not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers must be a mapping of names to values, got {type(headers).__name__}")
    checked: list[tuple[str, Secret]] = []
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise ConfigurationError(f"headers has a name that is no HTTP token: {name!r}")
        if name.lower() in _RESERVED or name.lower().startswith("sec-websocket-"):
            hint = "; give the key as api_key" if name.lower() == "x-hume-api-key" else ""
            raise ConfigurationError(f"headers must not set {name}: the handshake sets it{hint}")
        if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
            raise ConfigurationError(f"headers[{name!r}] must be visible ASCII text without control characters")
        if name.lower() in {other.lower() for other, _ in checked}:
            raise ConfigurationError(f"headers names {name} twice")
        checked.append((name, Secret(value)))
    return tuple(checked)


def is_loopback_name(host: str) -> bool:
    """Whether a host is spelt as this machine: no proxy of the environment is asked for it."""
    return host == "localhost" or host.startswith("127.") or host == "::1"


def environment_proxy(host: str, port: int, *, encrypted: bool) -> Proxy | None:
    """The proxy that ``https_proxy`` or ``http_proxy`` names for this host, ``no_proxy`` respected."""
    if is_loopback_name(host):
        return None
    import urllib.request  # noqa: PLC0415 - 14 ms, for those alone whose proxy is looked for

    if urllib.request.proxy_bypass(f"{host}:{port}"):
        return None
    variable = "https" if encrypted else "http"
    url = urllib.request.getproxies().get(variable)
    return Proxy.from_url(url, name=f"{variable}_proxy") if url else None


def default_context() -> ssl.SSLContext:
    """One context a client: making it reads the system's certificates, which costs more than a handshake."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def choose_proxy(proxy: object, host: str, port: int, *, encrypted: bool) -> Proxy | None:
    """What a client's ``proxy`` argument means: None, the environment's; False, none; else a URL."""
    if proxy is None:
        return environment_proxy(host, port, encrypted=encrypted)
    if proxy is False:
        return None
    if not isinstance(proxy, str):
        raise ConfigurationError(f"proxy must be a URL, False (none) or None (environment), got {type(proxy).__name__}")
    return Proxy.from_url(proxy)


def size(name: str, value: object) -> int:
    """Return ``value`` as a number of bytes, an int above zero, or raise `InputError` naming the argument."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be a number of bytes above zero, got {described(value)}")
    return value
