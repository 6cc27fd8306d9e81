"""The client: connects sessions with one FastRTC handler."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from .._version import __version__
from ..errors import ConfigurationError, HookError, InputError, short_repr
from ..net.deadline import Deadline
from ..net.endpoint import Endpoint, check_headers, default_context
from ..net.interrupts import from_outside
from ..net.pending import Watch
from ..net.preload import preload
from ..net.proxies import choose_proxy
from ..net.retry import RetryPolicy
from ..net.tracebacks import clears_locals
from ..net.validation import to_byte_limit, to_seconds
from ..reprs import Secret, safe_repr
from .app import AppConfig, BuildPayload
from .app_http import AppClient, AppEndpoint, Response
from .audio import check_rate
from .events import ConnectFields
from .session import Inputs, Session
from .transport import Sleep, Transport, connect_with_retry
from .transport_ws import WebSocketTransport, application_route, telephone_route

if TYPE_CHECKING:
    from .transport_rtc import IceServer

__all__ = ["FastRTCClient"]

_TRANSPORTS = ("websocket", "webrtc", "telephone")
_PATH = re.compile(r"(?:/[!\"$->@-~]*)?")  # visible ASCII without # and ?
_QUERY = re.compile(r"[!\"$-~]*")  # likewise without #


@safe_repr
class FastRTCClient:
    """Connects blocking sessions with one handler of a FastRTC application.

    It holds no connection and may be shared by threads.

    Args:
        url: The application, http(s):// or ws(s)://. A query (``?token=...``) is sent with each handshake and each
            offer of the stream, and not elsewhere. It is never shown, as the values of ``headers`` are not; but it may
            be sent unencrypted.
        path: Where the stream is mounted: ``/echo`` for ``/echo/websocket/offer``. It may have a query, likewise.
        input_hook: Where additional inputs are posted: a URL, which is used as it is; or a path, which is looked for
            below that of the stream, below each of its parents, and at the root of the origin. (The first that does not
            respond with 404 or 405 is used, and remembered.) None: nowhere.
        outputs: Where additional outputs come as server-sent events, likewise; None: nowhere.
        latest: Where one additional output can be fetched, likewise; None: nowhere.
        input_sample_rate: The handler's rate, samples a second. It is not negotiated: audio at another rate plays at
            the wrong speed, without an error.
        output_sample_rate: The rate of the audio that the handler sends; likewise.
        headers: Sent with every request to the application's origin, and not elsewhere. They are kept secret, except
            that values of less than 4 characters may show in an error that repeats the server's text.
        timeout: Default timeout of a call in seconds.
        shape: Builds the hook's JSON from a connection's id and the fields. Default: ``{"webrtc_id": id, **fields}``.
        ssl_context: TLS settings. Default: the system's certificates, verified.
        proxy: As for `HumeStreamClient`. Requests over http(s) (hooks, outputs, offers) use ``https_proxy`` or
            ``http_proxy``, then ``all_proxy``. WebRTC itself uses no proxy.
        ice_servers: For WebRTC with a server that cannot be reached directly, as through NAT: STUN servers
            ("stun:host:3478"), which return this machine's public address, and TURN servers, which relay
            (``{"urls": "turn:host:3478", "username": ..., "credential": ...}``). Of each kind the first is used; one
            that does not respond delays a connection by 5 s. Default: none.
        patience: Seconds without data from the server after which a WebSocket counts as lost. The server is pinged
            every 5 s, or at least four times in this period. (WebRTC's own limit is 27 to 39 s, six unanswered checks.)
        max_message_size: Largest message, in bytes, that is received over WebSocket, and sent by `Session.send`. The
            default, 16 MiB, is also the default limit of servers, and holds four minutes of audio at 48 kHz. A message
            that is not audio may take twenty times its size in memory once it is parsed.
        max_output_size: Largest additional output in bytes. A larger one raises `OutputTooLarge` in its place, and the
            next ones come. The same holds for memory as above.
        allow_plaintext: Allow the headers to be sent over unencrypted http:// and ws:// to another machine.

    Raises:
        ConfigurationError: An argument that cannot be used; it is named.
        InputError: Likewise.
    """

    @clears_locals
    def __init__(
        self,
        url: str,
        *,
        path: str = "",
        input_hook: str | None = "/input_hook",
        outputs: str | None = "/updates",
        latest: str | None = None,
        input_sample_rate: int = 48000,
        output_sample_rate: int = 24000,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        shape: BuildPayload | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | bool | None = None,
        ice_servers: Sequence[IceServer] = (),
        patience: float = 20.0,
        max_message_size: int = 16 * 2**20,
        max_output_size: int = 16 * 2**20,
        allow_plaintext: bool = False,
    ) -> None:
        address, first = _without_query(url, "url")
        preload()
        encrypted, host, port, prefix = Endpoint.parse_url(address, name="url")
        mounted, second = _without_query(path, "path")
        if not isinstance(mounted, str) or not _PATH.fullmatch(mounted):
            # Do not repeat what follows a #: it may be a token.
            got = short_repr(mounted.partition("#")[0] if isinstance(mounted, str) else mounted)
            raise ConfigurationError(
                f"path must be empty, or /path[?query] of visible ASCII characters without #; got {got}"
            )
        query = "&".join(filter(None, (first, second)))
        self._query = Secret(query) if query else None
        if shape is not None and not callable(shape):
            raise ConfigurationError(f"shape must be callable, or None; got {short_repr(shape)}")
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise ConfigurationError(f"ssl_context must be an ssl.SSLContext, or None; got {short_repr(ssl_context)}")
        tls = (ssl_context or default_context()) if encrypted else None
        self._endpoint = AppEndpoint(
            host=host,
            port=port,
            path=f"{prefix}{mounted.rstrip('/')}/websocket/offer",
            query=self._query,
            tls=tls,
            headers=(("User-Agent", f"hume_sync/{__version__}"),),
            secret_headers=check_headers(headers),
            proxy=choose_proxy(proxy, "wss" if encrypted else "ws", host, port),
            allow_plaintext=allow_plaintext,
            max_message_size=to_byte_limit("max_message_size", max_message_size),
        )
        self._patience = to_seconds("patience", patience)
        self._ice_servers = _check_ice_servers(ice_servers)
        self._offer = f"{prefix}{mounted.rstrip('/')}/webrtc/offer"
        self._telephone = attrs.evolve(self._endpoint, path=f"{prefix}{mounted.rstrip('/')}/telephone/handler")
        http = AppClient(self._endpoint, ssl_context=ssl_context, proxy=proxy)
        for name, given in (("input_hook", input_hook), ("outputs", outputs), ("latest", latest)):
            if given is not None:
                http.resolve(given, name=name)  # raise for a bad URL here, not in the middle of a turn
        self._config = AppConfig(
            http=http,
            input_hook=input_hook,
            outputs_url=outputs,
            latest_url=latest,
            shape=shape,
            input_sample_rate=check_rate("input_sample_rate", input_sample_rate),
            output_sample_rate=check_rate("output_sample_rate", output_sample_rate),
            timeout=to_seconds("timeout", timeout),
            max_output_size=to_byte_limit("max_output_size", max_output_size),
        )

    @clears_locals
    def connect(
        self,
        transport: str = "websocket",
        *,
        inputs: Inputs | None = None,
        fields: Mapping[str, Any] | None = None,
        reconnect: bool = False,
        retry: RetryPolicy | None = None,
    ) -> Session:
        """Connect, and register with the handler.

        Args:
            transport: "websocket", "webrtc" or "telephone". Over WebRTC (the extra ``webrtc``) audio is sent and
                received in real time: a minute takes a minute, of which the last 10 s wait in a queue after
                `Session.send_audio`; and the last 100 ms of a reply come with the next (see `AudioChunk.delayed`), or
                not at all. "telephone" is the WebSocket at ``/telephone/handler``, used as Twilio does for a call: both
                rates are 8000 there, for any client; the handler gets no inputs and its outputs cannot be
                received; `Session.webrtc_id` is the ``streamSid``.
            inputs: Returns the fields for a handler that waits for additional inputs, or None if there are none. Called
                in the thread that waits for a reply or iterates, which raises what it raises.
            fields: Additional fields of the first message over WebSocket and of the offer over WebRTC. Names of the
                protocol's own are refused. The values are never shown. (By telephone ``start``, an object, replaces the
                one that describes the call.)
            reconnect: Whether to reconnect when the connection is cut (lost, or ended by a server that goes away or
                fails: codes 1001, 1006, 1011, 1012, 1013). The new connection has another id and gets the last inputs
                again. What was under way is lost, and a `Reconnected` event says so. The call that notices reconnects
                once, immediately; if that fails, or the hook refuses the inputs, the next call tries again. ``retry``
                retries for longer, as a server that restarts needs: its defaults wait less than a second in all.
            retry: How often and how long to retry, here and when reconnecting, if there are too many connections, or
                the server cannot be reached or fails (HTTP 5xx). Default: never.

        Raises:
            InputError: An argument that cannot be used; it is named.
            TooManyConnections: The handler's ``concurrency_limit`` is reached.
            AuthenticationError: The server rejects the credentials.
            ConnectionAlreadyExists: The server has a connection of this id.
            HandshakeRejected: The server rejects the connection otherwise.
            ConnectError: The server cannot be reached.
            ConnectionLost: The connection was lost while connecting.
            InboxOverflow: The server sent too much before it registered the connection.
            ProtocolError: The server does not follow the protocol.
            Timeout: There is no connection within the client's ``timeout``.
            ConfigurationError: ``inputs`` without a hook, or by telephone; headers would go unencrypted to another
                machine; over WebRTC, the extra is missing, or this machine has no address but loopback.
        """
        if transport not in _TRANSPORTS:
            raise InputError(f"transport must be one of {_TRANSPORTS}, got {short_repr(transport)}")
        if inputs is not None and not callable(inputs):
            raise InputError(f"inputs must be callable, or None; got {short_repr(inputs)}")
        if inputs is not None and transport == "telephone":
            raise ConfigurationError("inputs cannot be used by telephone: handlers do not ask for them there")
        if inputs is not None and self._config.input_hook is None:
            raise ConfigurationError("inputs need input_hook, the application's URL, which the client was made without")
        if not isinstance(reconnect, bool):
            raise InputError(f"reconnect must be True or False, got {short_repr(reconnect)}")
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise InputError(f"retry must be a RetryPolicy, or None; got {short_repr(retry)}")
        policy = RetryPolicy.none() if retry is None else retry

        open_transport = self._webrtc if transport == "webrtc" else self._websocket
        config = self._config.for_telephone() if transport == "telephone" else self._config
        own_fields = ConnectFields(fields)

        def connect(deadline: Deadline, watch: Watch, sleep: Sleep) -> Transport:
            return connect_with_retry(
                lambda: open_transport(config, own_fields, deadline, watch), policy, deadline, sleep
            )

        return Session(config, connect, inputs=inputs, reconnect=reconnect)

    def _websocket(self, config: AppConfig, fields: ConnectFields, deadline: Deadline, watch: Watch) -> Transport:
        return WebSocketTransport.open(
            self._telephone if config.is_telephone else self._endpoint,
            sample_rate=config.output_sample_rate,
            deadline=deadline,
            watch=watch,
            patience=self._patience,
            fields=fields,
            route=telephone_route if config.is_telephone else application_route,
        )

    @clears_locals
    def _webrtc(self, config: AppConfig, fields: ConnectFields, deadline: Deadline, watch: Watch) -> Transport:
        from .transport_rtc import WebRTCTransport  # noqa: PLC0415 - an extra

        def offer(body: dict[str, Any], until: Deadline) -> Response:
            try:
                post = config.http.post_json
                return post(self._offer, fields.merged_into(body), until, watch=watch, query=self._query)
            except HookError as exc:  # a redirect
                if from_outside(exc):
                    raise
                return Response(exc.status or 0, "", url=exc.url or "")

        return WebRTCTransport.open(
            offer,
            input_sample_rate=config.input_sample_rate,
            output_sample_rate=config.output_sample_rate,
            deadline=deadline,
            watch=watch,
            ice_servers=self._ice_servers,
            redact=config.http.redact,
        )

    def __repr__(self) -> str:
        return f"<FastRTCClient {self._endpoint.url}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FastRTCClient is never pickled: build it in the process that uses it")


def _without_query(text: Any, name: str) -> tuple[Any, str]:
    """Split off the query. The caller checks the rest, also for a wrong type or a fragment."""
    if not isinstance(text, str):
        return text, ""
    address, _, query = text.partition("?")
    if "#" in query:
        return f"{address}#", ""
    if not _QUERY.fullmatch(query):
        raise ConfigurationError(f"{name} has a query with blanks, control or non-ASCII characters: percent-encode it")
    return address, query


def _check_ice_servers(servers: Sequence[IceServer]) -> tuple[dict[str, Any], ...]:
    if servers == ():
        return ()
    from .transport_rtc import check_ice_servers  # noqa: PLC0415 - loads asyncio, which only WebRTC needs

    return check_ice_servers(servers)
