"""The client: one FastRTC handler, and the sessions made with it."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import attrs

from .._version import __version__
from ..errors import ConfigurationError, HookError, InputError, short_repr
from ..net.deadline import Deadline, seconds
from ..net.endpoint import Endpoint, default_context, private_headers, size
from ..net.interrupts import from_outside
from ..net.pending import Watch
from ..net.preload import preload
from ..net.proxies import choose_proxy
from ..net.retry import RetryPolicy
from ..net.secret import Secret
from ..net.tracebacks import hides_locals
from ..reprs import safe_repr
from .app import AppConfig, Shape
from .app_http import Answer, AppClient
from .audio import check_rate
from .call_with_retry import connect_with_retry
from .fields import OwnFields
from .ice import IceServer, check_ice_servers
from .origin import AppEndpoint
from .route import application, telephone
from .session import Inputs, Session
from .transport import Sleep, Transport
from .transport_ws import WebSocketTransport

__all__ = ["FastRTCClient"]

_TRANSPORTS = ("websocket", "webrtc", "telephone")
_PATH = re.compile(r"(?:/[!\"$->@-~]*)?")  # visible ASCII without # and ?
_QUERY = re.compile(r"[!\"$-~]*")  # likewise without #


@safe_repr
class FastRTCClient:
    """Makes blocking sessions with one handler of a FastRTC application.

    It holds no connection and may be shared by threads.

    Args:
        url: the application, http(s):// or ws(s)://. A query (``?token=...``) goes along with each handshake and each
            offer of the stream, and nowhere else. It never shows, as the values of ``headers`` do not; but it may go
            unencrypted.
        path: where the stream is mounted: ``/echo`` for ``/echo/websocket/offer``. It may have a query, likewise.
        input_hook: where additional inputs are posted: a URL, which is used as it is; or a path, which is looked for
            below that of the stream, below each of its parents, and at the root of the origin. (The first that does not
            answer with 404 or 405 is the right one, and is remembered.) None: nowhere.
        outputs: where additional outputs come as server-sent events, likewise; None: nowhere.
        latest: where one additional output can be asked for, likewise; None: nowhere.
        input_sample_rate: of the handler, samples a second. It is not negotiated: audio at another rate is heard at
            the wrong speed, and nobody says so.
        output_sample_rate: of the audio the handler sends; likewise.
        headers: sent with every request to the application's origin, and nowhere else; kept secret, but that values of
            less than 4 characters may show in an error that repeats the server's words.
        timeout: seconds a call may take, unless it says otherwise.
        shape: makes the hook's JSON of a connection's id and the fields; None: ``{"webrtc_id": id, **fields}``.
        ssl_context: your own TLS settings; default: the system's certificates, verified.
        proxy: as for `HumeStreamClient`; what goes over http(s) (hooks, outputs, offers) looks for ``https_proxy`` or
            ``http_proxy``, then ``all_proxy``. WebRTC itself goes through none.
        ice_servers: for WebRTC with a server that cannot be reached directly, as through NAT: STUN servers
            ("stun:host:3478"), which tell this machine its public address, and TURN servers, which relay
            (``{"urls": "turn:host:3478", "username": ..., "credential": ...}``). Of each kind the first is used; one
            that does not answer delays a connection by 5 s. Default: none.
        patience: seconds without a word of the server, which is asked every 5 s, or four times in this, after which a
            WebSocket counts as lost. (WebRTC's own are 27 to 39, of six unanswered checks.)
        max_message_size: bytes of the largest message taken over WebSocket, and sent by `Session.send`. The default, 16
            MiB, which is also the most that servers take unless they are told otherwise, holds four minutes of audio at
            48 kHz; what is not audio may take twenty times its size once it is read.
        max_output_size: bytes of the largest additional output that is taken. A larger one is an `OutputTooLarge` in
            its place, and the next ones come. The same holds for memory as above.
        allow_plaintext: let the headers go over unencrypted http:// and ws:// to another machine.

    Raises:
        ConfigurationError, InputError: an argument that cannot be used; it is named.
    """

    @hides_locals
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
        shape: Shape | None = None,
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
        encrypted, host, port, prefix = Endpoint.split(address, name="url")
        mounted, second = _without_query(path, "path")
        if not isinstance(mounted, str) or not _PATH.fullmatch(mounted):
            # What follows a # is not repeated: it may be a token.
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
            private=private_headers(headers),
            proxy=choose_proxy(proxy, "wss" if encrypted else "ws", host, port),
            allow_plaintext=allow_plaintext,
            max_message_size=size("max_message_size", max_message_size),
        )
        self._patience = seconds("patience", patience)
        self._ice_servers = check_ice_servers(ice_servers)
        self._offer = f"{prefix}{mounted.rstrip('/')}/webrtc/offer"
        self._telephone = attrs.evolve(self._endpoint, path=f"{prefix}{mounted.rstrip('/')}/telephone/handler")
        http = AppClient(self._endpoint, ssl_context=ssl_context, proxy=proxy)
        for name, given in (("input_hook", input_hook), ("outputs", outputs), ("latest", latest)):
            if given is not None:
                http.resolve(given, name=name)  # a bad URL is refused here, not in the middle of a turn
        self._server = AppConfig(
            http=http,
            input_hook=input_hook,
            outputs_url=outputs,
            latest_url=latest,
            shape=shape,
            input_sample_rate=check_rate("input_sample_rate", input_sample_rate),
            output_sample_rate=check_rate("output_sample_rate", output_sample_rate),
            timeout=seconds("timeout", timeout),
            max_output_size=size("max_output_size", max_output_size),
        )

    @hides_locals
    def connect(
        self,
        transport: str = "websocket",
        *,
        inputs: Inputs | None = None,
        fields: Mapping[str, Any] | None = None,
        reconnect: bool = False,
        retry: RetryPolicy | None = None,
    ) -> Session:
        """Connect, and be registered with the handler.

        Args:
            transport: "websocket", "webrtc" or "telephone". Over WebRTC (the extra ``webrtc``) audio goes as it
                sounds, both ways: a minute takes a minute, of which the last 10 s wait in a queue behind
                `Session.send_audio`; and the last 100 ms of a reply come with the next (see `AudioChunk.delayed`), or
                not at all. "telephone" is the WebSocket at ``/telephone/handler``, spoken to as Twilio does for a call:
                both rates are 8000 there, whatever the client's; the handler gets no inputs and its outputs go
                nowhere; `Session.webrtc_id` is the ``streamSid``.
            inputs: makes the fields that answer a handler which waits for additional inputs, or None where there are
                none; called in the thread that waits for a reply or iterates, which raises what it raises.
            fields: the application's own, sent with the first message over WebSocket and with the offer over WebRTC,
                beside those of the protocol, whose names are refused. They never show. (By telephone ``start``, an
                object, takes the place of that which tells of the call.)
            reconnect: whether a connection that is cut (lost, or ended by a server that goes away or fails: codes 1001,
                1006, 1011, 1012, 1013) is made anew: under another id, with the last inputs given again. What was on
                its way is gone, and a `Reconnected` event says so. It is tried once, at once, by the call that notices,
                and by the next should that fail, or the hook refuse those inputs. ``retry`` makes it more patient, as a
                server that restarts needs: its defaults wait less than a second in all.
            retry: how often and how patiently to try again, here and at reconnects, where there are too many
                connections, or the server is not there or fails (HTTP 5xx); None: never.

        Raises:
            InputError: an argument that cannot be used; it is named.
            TooManyConnections: the handler's ``concurrency_limit`` is reached.
            AuthenticationError, ConnectionAlreadyExists, HandshakeRejected: the server refuses otherwise.
            ConnectError, ConnectionLost, InboxOverflow, ProtocolError, Timeout: there is no connection.
            ConfigurationError: ``inputs`` without a hook, or by telephone; headers would go unencrypted to another
                machine; over WebRTC, the extra is missing, or this machine has no address but loopback.
        """
        if transport not in _TRANSPORTS:
            raise InputError(f"transport must be one of {_TRANSPORTS}, got {short_repr(transport)}")
        if inputs is not None and not callable(inputs):
            raise InputError(f"inputs must be callable, or None; got {short_repr(inputs)}")
        if inputs is not None and transport == "telephone":
            raise ConfigurationError("inputs cannot be used by telephone: handlers do not ask for them there")
        if inputs is not None and self._server.input_hook is None:
            raise ConfigurationError("inputs need input_hook, the application's URL, which the client was made without")
        if not isinstance(reconnect, bool):
            raise InputError(f"reconnect must be True or False, got {short_repr(reconnect)}")
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise InputError(f"retry must be a RetryPolicy, or None; got {short_repr(retry)}")
        policy = RetryPolicy.none() if retry is None else retry

        make = self._webrtc if transport == "webrtc" else self._websocket
        server = self._server.by_telephone() if transport == "telephone" else self._server
        own = OwnFields(fields)

        def connect(deadline: Deadline, watch: Watch, sleep: Sleep) -> Transport:
            return connect_with_retry(lambda: make(server, own, deadline, watch), policy, deadline, sleep)

        return Session(server, connect, inputs=inputs, reconnect=reconnect)

    def _websocket(self, server: AppConfig, fields: OwnFields, deadline: Deadline, watch: Watch) -> Transport:
        return WebSocketTransport.open(
            self._telephone if server.is_telephone else self._endpoint,
            sample_rate=server.output_sample_rate,
            deadline=deadline,
            watch=watch,
            patience=self._patience,
            fields=fields,
            route=telephone if server.is_telephone else application,
        )

    @hides_locals
    def _webrtc(self, server: AppConfig, fields: OwnFields, deadline: Deadline, watch: Watch) -> Transport:
        from .transport_rtc import WebRTCTransport  # noqa: PLC0415 - an extra

        def offer(body: dict[str, Any], until: Deadline) -> Answer:
            try:
                post = server.http.post_json
                return post(self._offer, fields.beside(body), until, watch=watch, query=self._query)
            except HookError as exc:  # a redirect
                if from_outside(exc):
                    raise
                return Answer(exc.status or 0, "", url=exc.url or "")

        return WebRTCTransport.open(
            offer,
            input_sample_rate=server.input_sample_rate,
            output_sample_rate=server.output_sample_rate,
            deadline=deadline,
            watch=watch,
            ice_servers=self._ice_servers,
            redact=server.http.redact,
        )

    def __repr__(self) -> str:
        return f"<FastRTCClient {self._endpoint.url}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FastRTCClient is never pickled: build it in the process that uses it")


def _without_query(text: Any, name: str) -> tuple[Any, str]:
    """Split off a query. What is no str, or has a fragment, is for the check of the rest."""
    if not isinstance(text, str):
        return text, ""
    address, _, query = text.partition("?")
    if "#" in query:
        return f"{address}#", ""
    if not _QUERY.fullmatch(query):
        raise ConfigurationError(f"{name} has a query with blanks, control or non-ASCII characters: percent-encode it")
    return address, query
