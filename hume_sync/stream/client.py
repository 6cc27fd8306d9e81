"""The client: one server, one key, and the sockets made for them."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, NoReturn, Self

from .._version import __version__
from ..errors import ConfigurationError, InputError, short_repr
from ..net.deadline import Deadline, seconds
from ..net.endpoint import API_KEY, Endpoint, check_key, default_context, private_headers, size
from ..net.extras import NeedsExtra
from ..net.pending import Watch
from ..net.preload import preload
from ..net.proxies import choose_proxy
from ..net.retry import RetryPolicy
from ..net.tracebacks import hides_locals
from ..reprs import safe_repr
from .configs import ModelConfigBase
from .connection import Connection
from .dedicated import DedicatedProvider
from .executor import Stream
from .limits import Limits
from .pool import StreamPool
from .pool_settings import PoolSettings
from .requests import RequestBuilder
from .stream_socket import StreamSocket

__all__ = ["HumeStreamClient"]

_PATH = "/v0/stream/models"

_GREETING = (
    ("User-Agent", f"hume_sync/{__version__}"),
    ("X-Hume-Client-Name", "hume_sync"),
    ("X-Hume-Client-Version", __version__),
)

_NO_SERVER = (
    "no server is named. Hume's hosted v0 service ended on 2026-06-14, so there is no default: pass base_url or"
    " set HUME_BASE_URL to a server that speaks v0; use HumeStreamClient.emulated() for a local one; or try"
    " `hume-sync demo`"
)


@safe_repr
class HumeStreamClient:
    """Makes blocking connections to a server of Hume's v0 streaming protocol.

    It holds no connection and may be shared by threads. It is immutable, and not pickled: build it where it is used.

    Args:
        api_key: sent in ``X-Hume-Api-Key``; default ``HUME_API_KEY``, unless that is empty. Without one none is sent.
        base_url: the server, ws(s):// or http(s)://, a path prefix allowed; default ``HUME_BASE_URL``.
        timeout: seconds a call may take, connecting included, unless the call says otherwise.
        open_timeout: seconds connecting may take of that.
        close_timeout: seconds closing may take.
        check_after: seconds of silence after which a connection is pinged before a request goes out on it, and replaced
            where no pong comes within 2 seconds: networks forget connections, and tell neither side. Sleep of the
            machine counts. Where one was found dead, others that were as quiet are pinged at once. 0: before each
            request; math.inf: never, for servers that answer no ping.
        max_message_size: bytes of the largest reply taken.
        max_payload_size: bytes of the largest media, before encoding, text or landmarks sent.
        ssl_context: your own TLS settings; default: the system's certificates, verified. There is no switch that
            turns verification off.
        proxy: "http://[user:password@]host[:port]", for every host; False: none; None: what the environment says. That
            is, for wss, the first of ``wss_proxy``, ``https_proxy`` and ``all_proxy`` that is set, and for ws, of
            ``ws_proxy``, ``http_proxy`` and ``all_proxy``, each in lower case or else in upper case; ``no_proxy`` lists
            hosts, domains, networks (10.0.0.0/8, fd00::/8), patterns (*.example.com) or all (*), each with a port or
            without. It never counts for this machine itself. SOCKS proxies, and those spoken to over TLS, are refused.
        headers: sent on connecting besides; kept secret like the key.
        retry: how often and how patiently requests are tried again; ``RetryPolicy.none()``: never.
        allow_plaintext: let the key go over unencrypted ``ws://`` to another machine, with a warning.

    Raises:
        ConfigurationError: no server named, or a URL, key, header or proxy that cannot be used.
        InputError: a time or size that is not a number above zero.
    """

    # The one count kept for the whole process: names of pools are unique in it. `next` on it is a single step.
    _pools: ClassVar[itertools.count[int]] = itertools.count(1)

    @hides_locals
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
        private = private_headers(headers)
        if api_key is not None:
            private = ((API_KEY, check_key(api_key)), *private)
        elif key := os.environ.get("HUME_API_KEY"):  # an empty one is none
            private = ((API_KEY, check_key(key, name="HUME_API_KEY")), *private)
        own = {name.lower() for name, _ in private}
        encrypted, host, port, prefix = Endpoint.split(url, name="HUME_BASE_URL" if base_url is None else "base_url")
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
            headers=tuple((name, value) for name, value in _GREETING if name.lower() not in own),
            private=private,
            proxy=choose_proxy(proxy, "wss" if encrypted else "ws", host, port),
            allow_plaintext=allow_plaintext,
            max_message_size=size("max_message_size", max_message_size),
        )
        self._max_payload_size = size("max_payload_size", max_payload_size)
        self._open_timeout = seconds("open_timeout", open_timeout)
        self._timeout = seconds("timeout", timeout)
        self._close_timeout = seconds("close_timeout", close_timeout)
        self._check_after = seconds("check_after", check_after, zero=True)
        self._retry = retry

    def connect(
        self,
        configs: Iterable[ModelConfigBase],
        stream_window_ms: float | None = None,
        *,
        preserve_window: bool = True,
        max_idle: float = 50.0,
        check_after: float | None = None,
    ) -> StreamSocket:
        """A socket for these models. It is not connected yet: that is done on ``with``, or by its first call.

        Args:
            configs: one configuration a model; of two for one model the last counts.
            stream_window_ms: length of the server's sliding audio window, 500 to 10000 ms; None: the server's
                default, 5000.
            preserve_window: keep the payloads inside that window, at most 8 MiB, and replay them when a connection
                was lost, so that the server hears the same as if nothing had happened. (They are sent, and may be
                billed, again.) False: the window starts empty then, and replies say "cold".
            max_idle: seconds without use after which the connection is replaced by the next call. (v0 servers close
                after 60.) Sleep of the machine counts.
            check_after: None: the client's.

        Raises:
            InputError: no configurations, something else among them, or a number out of range.
        """
        models = RequestBuilder.create(configs, stream_window_ms, self._max_payload_size)
        stream = Stream(models.stream_window_ms, preserve=_flag("preserve_window", preserve_window))
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
        name: str | None = None,
    ) -> StreamPool:
        """A pool of connections for any number of threads. Nothing is dialled before the first request.

        Args:
            configs: as for `connect`.
            stream_window_ms: as for `connect`.
            preserve_window: as for `connect`.
            max_size: the most connections, and the most leases at one time.
            max_waiting: how many callers may wait for a lease; None: any number.
            timeout: seconds a caller waits for a lease.
            max_idle: seconds without use after which a connection is closed. (v0 servers close after 60.) Sleep of
                the machine counts, for ``max_lifetime`` too.
            max_lifetime: seconds after which a connection is closed; None: never.
            max_stream_idle: seconds without use after which a named stream is forgotten.
            max_streams: the most named streams. When there are more, the one that has been idle longest is dropped.
                Should it come again, times go on, but its context is gone: its next audio reply says "cold". None: no
                limit. A stream in use is never dropped, here and below.
            max_stream_bytes: the most memory for the windows of all named streams together. When they take more, the
                stream that has been idle longest loses its window, and its next audio reply says "cold". None: no
                limit.
            check_after: None: the client's.
            fail_fast: while the server is known to be away, let calls fail at once with the cause rather than wait for
                it to come back: for web views. One call at a time still tries, with back-off.
            name: of the pool in the log; None: "pool-1" and so on.

        Raises:
            InputError: a number out of range, a name that is no str, or as for `connect`.
        """
        models = RequestBuilder.create(configs, stream_window_ms, self._max_payload_size)
        if name is not None and not isinstance(name, str):
            raise InputError(f"name must be a str or None, got {short_repr(name)}")
        settings = PoolSettings(
            name=f"{name or f'pool-{next(self._pools)}'} to {self._endpoint.authority}",
            fail_fast=_flag("fail_fast", fail_fast),
            connect=self._connect,
            policy=self._retry,
            call_timeout=self._timeout,
            max_size=_count("max_size", max_size, 1),
            max_waiting=None if max_waiting is None else _count("max_waiting", max_waiting, 0),
            timeout=seconds("timeout", timeout),
            limits=self._limits(max_idle, max_lifetime, check_after),
            max_stream_idle=seconds("max_stream_idle", max_stream_idle),
            max_streams=math.inf if max_streams is None else _count("max_streams", max_streams, 1),
            max_stream_bytes=math.inf if max_stream_bytes is None else _count("max_stream_bytes", max_stream_bytes, 0),
            preserve_window=_flag("preserve_window", preserve_window),
            window_ms=models.stream_window_ms,
        )
        return StreamPool(settings, models)

    @classmethod
    @contextlib.contextmanager
    def emulated(cls, **emulator_options: Any) -> Iterator[Self]:
        """A client on a local server of its own, which ends with the ``with`` block. Its scores are invented.

        Args:
            **emulator_options: as for `hume_sync.emulator.Emulator`, but for ``ssl_context``; of ``api_keys`` the
                client takes the first.

        Raises:
            ConfigurationError: the local server is not installed (the extra "emulator").
        """
        if emulator_options.get("ssl_context") is not None:
            raise ConfigurationError("emulated() speaks plain ws://; for TLS make an Emulator and a client of your own")
        with NeedsExtra("emulator", "the local server"):
            from ..emulator import Emulator  # noqa: PLC0415 - an extra, and the one arrow that points up (see design)
        with Emulator(**emulator_options) as server:
            key = next(iter(emulator_options.get("api_keys") or ["emulated"]))
            yield cls(key, base_url=server.url, proxy=False)

    def __repr__(self) -> str:
        return f"<HumeStreamClient {self._endpoint.url}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a HumeStreamClient is never pickled: build it in the process that uses it")

    def _limits(self, max_idle: float, max_lifetime: float | None, check_after: float | None) -> Limits:
        return Limits(
            check_after=self._check_after if check_after is None else seconds("check_after", check_after, zero=True),
            max_idle=seconds("max_idle", max_idle),
            max_lifetime=math.inf if max_lifetime is None else seconds("max_lifetime", max_lifetime),
        )

    def _connect(self, deadline: Deadline, watch: Watch) -> Connection:
        return Connection.open(self._endpoint, deadline.capped_at(self._open_timeout), watch)


def _count(name: str, value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number from {least}, got {short_repr(value)}")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, got {short_repr(value)}")
    return value
