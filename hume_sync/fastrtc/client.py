"""The client: one FastRTC handler, and the sessions made with it."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from .._version import __version__
from ..errors import ConfigurationError, HookError, InputError, described
from ..net.deadline import Deadline, seconds
from ..net.endpoint import Endpoint, default_context, private_headers, size
from ..net.interrupts import from_outside
from ..net.pending import Watch
from ..net.proxies import choose_proxy
from ..net.retry import RetryPolicy
from ..net.tracebacks import hides_locals
from ..reprs import safe_repr
from .audio import check_rate
from .connecting import connect_patiently
from .http import Answer, Http
from .ice import IceServer, check_ice_servers
from .link import Link, Sleep
from .origin import Origin
from .server import Server, Shape
from .session import Inputs, Session
from .websocket import WebSocketLink

__all__ = ["FastRTCClient"]

_TRANSPORTS = ("websocket", "webrtc")
_PATH = re.compile(r"(?:/[!\"$->@-~]*)?")  # visible ASCII without # and ?


@safe_repr
class FastRTCClient:
    """Makes blocking sessions with one handler of a FastRTC application.

    It holds no connection and may be shared by threads.

    Args:
        url: the application, http(s):// or ws(s)://.
        path: where the stream is mounted: ``/echo`` for ``/echo/websocket/offer``.
        input_hook: where additional inputs are posted, below the application's origin or as a URL; None: nowhere.
        outputs: where additional outputs come as server-sent events; None: nowhere.
        latest: where one additional output can be asked for; None: nowhere.
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
        max_message_size: bytes of the largest message taken over WebSocket. The default, 16 MiB, holds four minutes of
            audio at 48 kHz; what is not audio may take twenty times its size once it is read.
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
        allow_plaintext: bool = False,
    ) -> None:
        encrypted, host, port, prefix = Endpoint.split(url, name="url")
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            # What follows a ? or # is not repeated: it may be a token.
            got = described(re.split("[?#]", path)[0] if isinstance(path, str) else path)
            raise ConfigurationError(
                f"path must be empty, or /path of visible ASCII characters without ? and #; got {got}"
            )
        if shape is not None and not callable(shape):
            raise ConfigurationError(f"shape must be callable, or None; got {described(shape)}")
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise ConfigurationError(f"ssl_context must be an ssl.SSLContext, or None; got {described(ssl_context)}")
        tls = (ssl_context or default_context()) if encrypted else None
        self._endpoint = Origin(
            host=host,
            port=port,
            path=f"{prefix}{path.rstrip('/')}/websocket/offer",
            tls=tls,
            headers=(("User-Agent", f"hume_sync/{__version__}"),),
            private=private_headers(headers),
            proxy=choose_proxy(proxy, "wss" if encrypted else "ws", host, port),
            allow_plaintext=allow_plaintext,
            max_message_size=size("max_message_size", max_message_size),
        )
        self._patience = seconds("patience", patience)
        self._ice_servers = check_ice_servers(ice_servers)
        self._offer = f"{prefix}{path.rstrip('/')}/webrtc/offer"
        http = Http(self._endpoint, ssl_context=ssl_context, proxy=proxy)
        for name, given in (("input_hook", input_hook), ("outputs", outputs), ("latest", latest)):
            if given is not None:
                http.resolve(given, name=name)  # a bad URL is refused here, not in the middle of a turn
        self._server = Server(
            http=http,
            input_hook=input_hook,
            outputs_url=outputs,
            latest_url=latest,
            shape=shape,
            input_sample_rate=check_rate("input_sample_rate", input_sample_rate),
            output_sample_rate=check_rate("output_sample_rate", output_sample_rate),
            timeout=seconds("timeout", timeout),
        )

    @hides_locals
    def connect(
        self,
        transport: str = "websocket",
        *,
        inputs: Inputs | None = None,
        reconnect: bool = False,
        retry: RetryPolicy | None = None,
    ) -> Session:
        """Connect, and be registered with the handler.

        Args:
            transport: "websocket" or "webrtc" (the extra ``webrtc``). Over WebRTC audio goes as it sounds, both ways: a
                minute takes a minute, of which the last 10 s wait in a queue behind `Session.send_audio`; and the last
                100 ms of a reply come with the next (see `AudioChunk.delayed`), or not at all.
            inputs: makes the fields that answer a handler which waits for additional inputs, or None where there are
                none; called in the thread that waits for a reply or iterates, which raises what it raises.
            reconnect: whether a connection that is cut (lost, or ended by a server that goes away or fails: codes 1001,
                1006, 1011, 1012, 1013) is made anew: under another id, with the last inputs given again. What was on
                its way is gone, and a `Reconnected` event says so. It is tried once, at once, by the call that notices,
                and by the next should that fail, or the hook refuse those inputs. ``retry`` makes it more patient, as a
                server that restarts needs: its defaults wait less than a second in all.
            retry: how often and how patiently to try again, here and at reconnects, where there are too many
                connections, or the server is not there or fails (HTTP 5xx); None: never.

        Raises:
            TooManyConnections: the handler's ``concurrency_limit`` is reached.
            AuthenticationError, ConnectionAlreadyExists, HandshakeRejected: the server refuses otherwise.
            ConnectError, ConnectionLost, InboxOverflow, ProtocolError, Timeout: there is no connection.
            ConfigurationError: ``inputs`` without a hook; headers would go unencrypted to another machine; over WebRTC,
                the extra is missing, or this machine has no address but loopback.
        """
        if transport not in _TRANSPORTS:
            raise InputError(f"transport must be one of {_TRANSPORTS}, got {described(transport)}")
        if inputs is not None and not callable(inputs):
            raise InputError(f"inputs must be callable, or None; got {described(inputs)}")
        if inputs is not None and self._server.input_hook is None:
            raise ConfigurationError("inputs need input_hook, the application's URL, which the client was made without")
        if not isinstance(reconnect, bool):
            raise InputError(f"reconnect must be True or False, got {described(reconnect)}")
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise InputError(f"retry must be a RetryPolicy, or None; got {described(retry)}")
        policy = RetryPolicy.none() if retry is None else retry

        make = self._websocket if transport == "websocket" else self._webrtc

        def connect(deadline: Deadline, watch: Watch, sleep: Sleep) -> Link:
            return connect_patiently(lambda: make(deadline, watch), policy, deadline, sleep)

        return Session(self._server, connect, inputs=inputs, reconnect=reconnect)

    def _websocket(self, deadline: Deadline, watch: Watch) -> Link:
        return WebSocketLink.open(
            self._endpoint,
            sample_rate=self._server.output_sample_rate,
            deadline=deadline,
            watch=watch,
            patience=self._patience,
        )

    @hides_locals
    def _webrtc(self, deadline: Deadline, watch: Watch) -> Link:
        from .webrtc import WebRTCLink  # noqa: PLC0415 - an extra

        def offer(body: dict[str, Any], until: Deadline) -> Answer:
            try:
                return self._server.http.post_json(self._offer, body, until, watch=watch)
            except HookError as exc:  # a redirect
                if from_outside(exc):
                    raise
                return Answer(exc.status or 0, "")

        return WebRTCLink.open(
            offer,
            input_sample_rate=self._server.input_sample_rate,
            output_sample_rate=self._server.output_sample_rate,
            deadline=deadline,
            watch=watch,
            ice_servers=self._ice_servers,
            scrub=self._server.http.scrub,
        )

    def __repr__(self) -> str:
        return f"<FastRTCClient {self._endpoint.url}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FastRTCClient is never pickled: build it in the process that uses it")
