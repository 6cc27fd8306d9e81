"""The client: creates sockets and pools for one server and API key."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, NoReturn, Self

import attrs

from .._version import __version__
from ..errors import ConfigurationError, InputError, short_repr
from ..net.deadline import Deadline
from ..net.endpoint import API_KEY, Endpoint, check_headers, check_key, default_context
from ..net.extras import NeedsExtra
from ..net.pending import Watch
from ..net.preload import preload
from ..net.proxies import choose_proxy
from ..net.retry import RetryPolicy
from ..net.tracebacks import clears_locals
from ..net.validation import to_bool, to_byte_limit, to_count, to_seconds
from ..reprs import safe_repr
from .client_spec import ClientSpec
from .configs import ModelConfigBase
from .connection import Connection
from .dedicated import DedicatedProvider
from .limits import Limits
from .pool import StreamPool
from .pool_settings import PoolSettings
from .requests import RequestBuilder
from .stream import Stream
from .stream_socket import StreamSocket

__all__ = ["HumeStreamClient"]

_PATH = "/v0/stream/models"

_CLIENT_HEADERS = (
    ("User-Agent", f"hume_sync/{__version__}"),
    ("X-Hume-Client-Name", "hume_sync"),
    ("X-Hume-Client-Version", __version__),
)

_NO_SERVER = (
    "no server given. Hume's hosted v0 service ended on 2026-06-14, so there is no default: pass base_url or"
    " set HUME_BASE_URL to a v0 server; use HumeStreamClient.emulated() for a local one; or try"
    " `hume-sync demo`"
)


@safe_repr
class HumeStreamClient:
    """A client that creates blocking sockets and pools for a server of Hume's v0 streaming protocol.

    It holds no connection and may be shared by threads. It is immutable and cannot be pickled.

    Args:
        api_key: The key sent in ``X-Hume-Api-Key``; default ``HUME_API_KEY``, unless that is empty. It is optional.
        base_url: The server, ws(s):// or http(s)://, a path prefix allowed; default ``HUME_BASE_URL``.
        timeout: Seconds a call may take, connecting included, unless the call has its own ``timeout``.
        open_timeout: Seconds that connecting may take of that.
        close_timeout: Seconds that closing may take.
        check_after: Seconds of silence after which a connection is pinged before the next request, and replaced if no
            pong comes within 2 seconds: networks may drop idle connections without a close frame. Time in which the
            machine is suspended counts. When one is found dead, those that were idle as long are pinged before their
            next use. 0 pings before each request; math.inf never pings, for servers that do not answer pings.
        max_message_size: Bytes of the largest reply accepted.
        max_payload_size: Bytes of the largest payload sent: media before encoding, text or landmarks.
        ssl_context: Custom TLS settings; default: the system's certificates, verified. No option disables
            verification.
        proxy: "http://[user:password@]host[:port]", for every host; False for none; None for the environment's:
            for wss, the first of ``wss_proxy``, ``https_proxy`` and ``all_proxy`` that is set, and for ws, of
            ``ws_proxy``, ``http_proxy`` and ``all_proxy``, each in lower case or else in upper case; ``no_proxy`` lists
            hosts, domains, networks (10.0.0.0/8, fd00::/8), patterns (*.example.com) or all (*), each with a port or
            without. Loopback addresses never use a proxy. SOCKS proxies and proxies over TLS are refused.
        headers: Additional headers of the handshake; kept secret like the key.
        retry: The policy for retries; ``RetryPolicy.none()`` for none.
        allow_plaintext: Whether the key may be sent over unencrypted ``ws://`` to another machine, with a warning.

    Raises:
        ConfigurationError: There is no server, or a URL, key, header or proxy is not usable.
        InputError: A time or size is not a number above zero.
    """

    # Shared by the whole process, so that names of pools are unique. (`next` on a count is atomic.)
    _pools: ClassVar[itertools.count[int]] = itertools.count(1)

    @clears_locals
    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float = 60.0,
        open_timeout: float = 10.0,
        close_timeout: float = 5.0,
        check_after: float = 15.0,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - immutable
        max_message_size: int = 64 * 2**20,
        max_payload_size: int = 64 * 2**20,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | bool | None = None,
        headers: Mapping[str, str] | None = None,
        allow_plaintext: bool = False,
    ) -> None:
        preload()
        url = base_url if base_url is not None else os.environ.get("HUME_BASE_URL")
        if not url:
            raise ConfigurationError(_NO_SERVER)
        private = check_headers(headers)
        if api_key is not None:
            private = ((API_KEY, check_key(api_key)), *private)
        elif key := os.environ.get("HUME_API_KEY"):  # an empty one counts as unset
            private = ((API_KEY, check_key(key, name="HUME_API_KEY")), *private)
        own = {name.lower() for name, _ in private}
        encrypted, host, port, prefix = Endpoint.parse_url(
            url, name="HUME_BASE_URL" if base_url is None else "base_url"
        )
        if not isinstance(allow_plaintext, bool):
            raise ConfigurationError(f"allow_plaintext must be True or False, got {short_repr(allow_plaintext)}")
        if not isinstance(retry, RetryPolicy):
            raise ConfigurationError(f"retry must be a RetryPolicy, got {short_repr(retry)}")
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise ConfigurationError(f"ssl_context must be an ssl.SSLContext, got {type(ssl_context).__name__}")
        self._endpoint = Endpoint(
            host=host,
            port=port,
            path=prefix if prefix.endswith(_PATH) else prefix + _PATH,
            tls=(ssl_context or default_context()) if encrypted else None,
            headers=tuple((name, value) for name, value in _CLIENT_HEADERS if name.lower() not in own),
            secret_headers=private,
            proxy=choose_proxy(proxy, "wss" if encrypted else "ws", host, port),
            allow_plaintext=allow_plaintext,
            max_message_size=to_byte_limit("max_message_size", max_message_size),
        )
        self._max_payload_size = to_byte_limit("max_payload_size", max_payload_size)
        self._open_timeout = to_seconds("open_timeout", open_timeout)
        self._timeout = to_seconds("timeout", timeout)
        self._close_timeout = to_seconds("close_timeout", close_timeout)
        self._check_after = to_seconds("check_after", check_after, zero=True)
        self._retry = retry
        self._url = url
        self._proxy = proxy
        self._takes_any_key = False
        # What another process cannot get, with the way on.
        self._not_shared = {
            "api_key": api_key is not None and "set HUME_API_KEY instead, or pass key_variable to spec()",
            "headers": bool(headers) and "they may be secret",
            "ssl_context": ssl_context is not None and "set SSL_CERT_FILE instead",
            "proxy": isinstance(proxy, str) and "@" in proxy and "its password is secret: set https_proxy instead",
        }

    @classmethod
    def from_spec(cls, spec: ClientSpec) -> Self:
        """Build a client in this process.

        Args:
            spec: What `spec` of another client has returned, perhaps in another process.

        Raises:
            ConfigurationError: The variable with the key is not set in this process, or as for the constructor.
        """
        key = os.environ.get(spec.key_variable) if spec.key_variable else None
        if spec.key_variable and not key:
            raise ConfigurationError(f"the environment variable {spec.key_variable} is not set in this process")
        options = {field.name: getattr(spec, field.name) for field in attrs.fields(ClientSpec)}
        del options["key_variable"], options["emulated"]
        client = cls("emulated" if spec.emulated else key, **options)
        if spec.emulated or spec.key_variable == "HUME_API_KEY":
            client._not_shared.pop("api_key")
        client._takes_any_key = spec.emulated
        return client

    def spec(self, *, key_variable: str | None = None) -> ClientSpec:
        """Return the address and settings of this client, for other processes.

        Args:
            key_variable: The environment variable that holds the key there; None for ``HUME_API_KEY`` if this client
                has its key from that, or for none if it has no key.

        Raises:
            ConfigurationError: The client has something that other processes cannot get: a key that was passed as
                an argument, headers, TLS settings, a proxy with a password.
        """
        for name, why in self._not_shared.items():
            if why and not (name == "api_key" and (key_variable or self._takes_any_key)):
                raise ConfigurationError(f"other processes cannot get the {name} of this client: {why}")
        return ClientSpec(
            base_url=self._url,
            key_variable=key_variable
            or ("HUME_API_KEY" if self._endpoint.has_key and not self._takes_any_key else None),
            timeout=self._timeout,
            open_timeout=self._open_timeout,
            close_timeout=self._close_timeout,
            check_after=self._check_after,
            max_message_size=self._endpoint.max_message_size,
            max_payload_size=self._max_payload_size,
            proxy=self._proxy,
            retry=self._retry,
            allow_plaintext=self._endpoint.allow_plaintext,
            emulated=self._takes_any_key,
        )

    def connect(
        self,
        configs: Iterable[ModelConfigBase],
        stream_window_ms: float | None = None,
        *,
        preserve_window: bool = True,
        max_idle: float = 50.0,
        check_after: float | None = None,
    ) -> StreamSocket:
        """Return a socket for these models. It connects on entering ``with``, or at the first call.

        Args:
            configs: One configuration per model; if a model occurs twice, the last one is used.
            stream_window_ms: The length of the server's sliding audio window, 500 to 10000 ms; None for the server's
                default, 5000.
            preserve_window: Whether to keep the payloads inside that window, at most 8 MiB, and replay them after a
                connection was lost, so that the context is the same. (They are sent, and may be billed, again.)
                If False, the window then starts empty, and replies say "cold".
            max_idle: Seconds without use after which the next call replaces the connection. (v0 servers close after
                60.) Time in which the machine is suspended counts.
            check_after: Seconds; None for the client's.

        Raises:
            InputError: There is no configuration, one is of another type, or a number is out of range.
        """
        models = RequestBuilder.create(configs, stream_window_ms, self._max_payload_size)
        stream = Stream(models.stream_window_ms, preserve=to_bool("preserve_window", preserve_window))
        limits = self._limits(max_idle, None, check_after)
        source = DedicatedProvider(self._connect, self._retry, limits, f"socket to {self._endpoint.authority}")
        return StreamSocket(source, models, stream, timeout=self._timeout, close_timeout=self._close_timeout)

    def pool(
        self,
        configs: Iterable[ModelConfigBase],
        stream_window_ms: float | None = None,
        *,
        preserve_window: bool = True,
        max_size: int = 10,
        max_waiting: int | None = None,
        timeout: float = 30.0,
        max_idle: float = 50.0,
        max_lifetime: float | None = None,
        max_stream_idle: float = 600.0,
        max_streams: int | None = 10_000,
        max_stream_bytes: int | None = 64 * 2**20,
        check_after: float | None = None,
        fail_fast: bool = False,
        retry: RetryPolicy | None = None,
        name: str | None = None,
    ) -> StreamPool:
        """Return a connection pool for any number of threads. It connects at the first request.

        Args:
            configs: As for `connect`.
            stream_window_ms: As for `connect`.
            preserve_window: As for `connect`.
            max_size: The maximum number of connections, and of leases at one time.
            max_waiting: How many callers may wait for a lease; None for no limit.
            timeout: Seconds a caller waits for a lease.
            max_idle: Seconds without use after which a connection is closed. (v0 servers close after 60.) Time in
                which the machine is suspended counts, for ``max_lifetime`` too.
            max_lifetime: Seconds after which a connection is closed; None for never.
            max_stream_idle: Seconds without use after which a named stream is forgotten.
            max_streams: The maximum number of named streams; None for no limit. Beyond it the one that has been idle
                longest is dropped. If it is used again, times go on, but its context is lost: its next audio reply says
                "cold". A stream in use is never dropped, here and below.
            max_stream_bytes: The most memory for the windows of all named streams; None for no limit. Beyond it the
                stream that has been idle longest loses its window, and its next audio reply says "cold".
            check_after: Seconds; None for the client's.
            fail_fast: Whether calls fail at once with the cause while the server is known to be unavailable, rather
                than wait, as web request handlers need. One call at a time still tries, with back-off.
            retry: The policy for retries; None for the client's.
            name: The name of the pool in the log; None for "pool-1" and so on.

        Raises:
            InputError: A number is out of range, the name is not a str, or as for `connect`.
        """
        models = RequestBuilder.create(configs, stream_window_ms, self._max_payload_size)
        if name is not None and not isinstance(name, str):
            raise InputError(f"name must be a str or None, got {short_repr(name)}")
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise InputError(f"retry must be a RetryPolicy or None, got {short_repr(retry)}")
        settings = PoolSettings(
            name=f"{name or f'pool-{next(self._pools)}'} to {self._endpoint.authority}",
            fail_fast=to_bool("fail_fast", fail_fast),
            connect=self._connect,
            policy=retry or self._retry,
            call_timeout=self._timeout,
            max_size=to_count("max_size", max_size, 1),
            max_waiting=None if max_waiting is None else to_count("max_waiting", max_waiting, 0),
            timeout=to_seconds("timeout", timeout),
            limits=self._limits(max_idle, max_lifetime, check_after),
            max_stream_idle=to_seconds("max_stream_idle", max_stream_idle),
            max_streams=math.inf if max_streams is None else to_count("max_streams", max_streams, 1),
            max_stream_bytes=math.inf
            if max_stream_bytes is None
            else to_count("max_stream_bytes", max_stream_bytes, 0),
            preserve_window=to_bool("preserve_window", preserve_window),
            window_ms=models.stream_window_ms,
        )
        return StreamPool(settings, models)

    @classmethod
    @contextlib.contextmanager
    def emulated(cls, **emulator_options: Any) -> Iterator[Self]:
        """Start a local server for a ``with`` block and yield a client for it. Its scores are invented.

        Args:
            **emulator_options: As for `hume_sync.emulator.Emulator`, without ``ssl_context``; the client uses the first
                of ``api_keys``.

        Raises:
            ConfigurationError: ``ssl_context`` was given, or the extra "emulator" is not installed.
        """
        if emulator_options.get("ssl_context") is not None:
            raise ConfigurationError("emulated() uses plain ws://; for TLS create an Emulator and a client yourself")
        with NeedsExtra("emulator", "the local server"):
            from ..emulator import Emulator  # noqa: PLC0415 - an extra; the one import of a higher layer
        with Emulator(**emulator_options) as server:
            key = next(iter(emulator_options.get("api_keys") or ["emulated"]))
            client = cls(key, base_url=server.url, proxy=False)
            client._takes_any_key = not emulator_options.get("api_keys")
            yield client

    @property
    def url(self) -> str:
        """The URL of the server; it holds nothing secret."""
        return self._endpoint.url

    @property
    def has_key(self) -> bool:
        """Whether a key is sent."""
        return self._endpoint.has_key

    def __repr__(self) -> str:
        return f"<HumeStreamClient {self._endpoint.url}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a HumeStreamClient is never pickled: build it in the process that uses it")

    def _limits(self, max_idle: float, max_lifetime: float | None, check_after: float | None) -> Limits:
        return Limits(
            check_after=self._check_after if check_after is None else to_seconds("check_after", check_after, zero=True),
            max_idle=to_seconds("max_idle", max_idle),
            max_lifetime=math.inf if max_lifetime is None else to_seconds("max_lifetime", max_lifetime),
        )

    def _connect(self, deadline: Deadline, watch: Watch) -> Connection:
        return Connection.open(self._endpoint, deadline.capped_at(self._open_timeout), watch)
