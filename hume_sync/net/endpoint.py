"""Where to connect and what to say there: the checked, immutable facts of one server address."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Final

import attrs

from ..errors import ConfigurationError
from ..reprs import Secret, safe_repr
from .proxies import Proxy
from .route import Route
from .urls import host_of, split_url

__all__ = [
    "API_KEY",
    "Endpoint",
    "check_headers",
    "check_key",
    "default_context",
]

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")  # no control characters, no outer blanks
API_KEY: Final = "X-Hume-Api-Key"
"""The header that carries the key."""

_ACCEPTED = "accepted: ws://host[:port][/prefix], and wss, http, https likewise"
_RESERVED = frozenset({"host", "upgrade", "connection", "content-length", "transfer-encoding", "x-hume-api-key"})
_CREDENTIAL = re.compile(r"auth|cookie|key|token|secret", re.IGNORECASE)


@safe_repr
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
    secret_headers: tuple[tuple[str, Secret], ...] = attrs.field(default=(), repr=False)
    """Sent on the upgrade, written by this library alone: websocket-client and its trace never see them."""
    query: Secret | None = attrs.field(default=None, repr=False)
    """Sent with the path, likewise; None: there is none."""
    proxy: Proxy | None = None
    allow_plaintext: bool = False
    max_message_size: int = 64 * 2**20
    """Bytes of one incoming message, all its fragments together."""
    route: Route = attrs.field(factory=Route, eq=False, repr=False)
    """What is learned on the way there; the one part of an endpoint that changes."""

    @classmethod
    def parse_url(cls, url: str, *, name: str = "base_url") -> tuple[bool, str, int, str]:
        """Take a URL apart: (encrypted, host, port, path prefix without a trailing slash).

        Raises:
            ConfigurationError: Not ws, wss, http or https; no host; a bad port; user, query or fragment given.
        """
        if not isinstance(url, str):
            raise ConfigurationError(f"{name} must be a str, got {type(url).__name__}; {_ACCEPTED}")
        parts = split_url(url)
        # Nothing of the URL is repeated: it may hold a password or a key, or be one that was put in the wrong place.
        if parts is None:
            raise ConfigurationError(f"{name} has a host or port that cannot be read; {_ACCEPTED}")
        held = {"user:password": "@" in parts.netloc, "a query": "?" in url, "a fragment": "#" in url}
        if any(held.values()):
            raise ConfigurationError(f"{name} must not hold {' or '.join(filter(held.get, held))}; {_ACCEPTED}")
        host, port = host_of(parts), parts.port
        if fault := _fault(url, parts.scheme, host, port):
            raise ConfigurationError(f"{name} {fault} (it has {len(url)} characters); {_ACCEPTED}")
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
    def has_key(self) -> bool:
        """Whether an API key is sent."""
        return any(name == API_KEY for name, _ in self.secret_headers)

    @property
    def has_credentials(self) -> bool:
        """Whether a private header carries a key, a token or the like."""
        return any(_CREDENTIAL.search(name) for name, _ in self.secret_headers)

    def redact(self, text: str) -> str:
        """``text`` without any private value in it."""
        for _, secret in self.secret_headers:
            text = secret.redact(text)
        return text


def _fault(url: str, scheme: str, host: str, port: int | None) -> str | None:
    """Return what is wrong with a server's URL, without repeating any of it; None: nothing."""
    if not _VISIBLE.fullmatch(url) or " " in url:
        return "is empty, or holds blanks, control or non-ASCII characters"
    if "://" not in url:
        return "has no scheme"
    if scheme not in _SCHEMES:
        return "has an unsupported scheme"
    if not host:
        return "has no host"
    return "has the port 0" if port == 0 else None


def check_key(value: object, *, name: str = "api_key") -> Secret:
    """Return an API key as a `Secret`; its value is in no error text.

    Args:
        value: The key.
        name: Of the argument or variable that holds it.

    Raises:
        ConfigurationError: Not a str, empty, or with blanks at its ends, control or non-ASCII characters.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a str, got {type(value).__name__}")
    if not _VISIBLE.fullmatch(value) or " " in value:
        raise ConfigurationError(
            f"{name} must be visible ASCII characters without blanks or line ends"
            f" (got {len(value)} characters; a key read from a file often ends in a newline)"
        )
    return Secret(value)


def check_headers(headers: Mapping[str, str] | None) -> tuple[tuple[str, Secret], ...]:
    """Check a caller's extra upgrade headers; all their values are treated as secrets.

    Raises:
        ConfigurationError: A name that is no token or belongs to the handshake, a value with control characters.
    """
    if headers is not None and not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers must be a mapping of names to values, got {type(headers).__name__}")
    checked: list[tuple[str, Secret]] = []
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            # It is not repeated: it may be a whole line, value and all.
            raise ConfigurationError(f"headers has a name that is no HTTP token (number {len(checked) + 1})")
        if name.lower() in _RESERVED or name.lower().startswith("sec-websocket-"):
            hint = "; give the key as api_key" if name.lower() == "x-hume-api-key" else ""
            raise ConfigurationError(f"headers must not set {name}: the handshake sets it{hint}")
        if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
            raise ConfigurationError(f"headers[{name!r}] must be visible ASCII text without control characters")
        if name.lower() in {other.lower() for other, _ in checked}:
            raise ConfigurationError(f"headers names {name} twice")
        checked.append((name, Secret(value)))
    return tuple(checked)


def default_context() -> ssl.SSLContext:
    """One context a client: making it reads the system's certificates, which costs more than a handshake."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
