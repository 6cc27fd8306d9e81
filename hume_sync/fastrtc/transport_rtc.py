"""A FastRTC connection over WebRTC: audio in real time, and control messages on a data channel."""

from __future__ import annotations

import os
import re
import uuid
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

from ..errors import ConfigurationError, HumeClientException, MisuseError, ProtocolError
from ..net import fork
from ..net.deadline import Deadline
from ..net.extras import NeedsExtra
from ..net.pending import Watch
from ..net.preload import import_whole
from .app_http import Response
from .events import Event
from .rejections import rejection_from_message, rejection_from_response
from .rtc_loop import WebRTCLoop
from .transport import Mark

__all__ = ["IceServer", "Offer", "WebRTCTransport", "check_ice_servers"]

Offer = Callable[[dict[str, Any], Deadline], Response]
"""POSTs an offer's JSON."""

IceServer = str | Mapping[str, Any]
"""A STUN server's URL ("stun:host:3478"), or ``urls``, ``username`` and ``credential`` of a TURN server."""

_INBOX: Final = 64 * 2**20

_MAX_SDP: Final = 2**16
"""Characters of an answer; real ones have some 3000. Parsing takes time that grows with the square of the length, since
each address is compared with all others, and the thread does nothing else meanwhile."""

_ICE_URL: Final = re.compile(
    r"(?P<scheme>stun|turn|turns):[A-Za-z0-9._-]+"  # no IPv6 address: aiortc accepts none here
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?"
)
_ICE_TRANSPORTS: Final[dict[str, set[str | None]]] = {
    "stun": {None},
    "turn": {None, "udp", "tcp"},
    "turns": {None, "tcp"},
}
_ICE_KEYS: Final = frozenset({"urls", "username", "credential"})
_ICE_ACCEPTED: Final = (
    'must be "stun:host[:port]", or a mapping of urls ("turn:host[:port][?transport=udp or tcp]" and "turns:..." '
    "likewise), username and credential"
)


class WebRTCTransport:
    """A `Transport` over WebRTC; needs the extra ``webrtc``. It differs from WebSocket:

    - Audio is sent in real time. It waits in a queue of at most 10 seconds, and is followed by silence while there is
      nothing else to send, as from a microphone. A minute takes a minute, of which `send_audio` waits 50 s.
    - Audio comes as it plays, in frames of 20 ms. Servers send none while their handler yields none, so pauses inside a
      reply are part of it; but of long silence, as from a handler that returns what it receives, only the first 2
      seconds come.
    - The last 5 frames, 100 ms, of a reply stay in aiortc's jitter buffer until more audio comes: they come as the
      first of the next reply, as `AudioChunk.delayed`, and a reply that is no longer than that seems not to come at
      all. A handler that yields silence after its reply releases them.
    - Audio that a handler yields on one channel comes 3 dB quieter than over WebSocket, since FastRTC puts it on two.
    - ``close_code`` is 1000 if the server ended the connection, and 1006 if it was lost, which takes half a minute to
      be noticed. There are no pings: ICE has its own.

    A thread, which starts in `open` and ends with the connection, owns its event loop and its sockets.
    """

    real_time = True

    def __init__(self, loop: WebRTCLoop, webrtc_id: str) -> None:
        self.webrtc_id = webrtc_id
        self._pid = os.getpid()
        self._loop = loop
        self._finalizer = weakref.finalize(self, _on_garbage_collected, loop, self._pid)
        fork.register(self)

    @classmethod
    def open(
        cls,
        offer: Offer,
        *,
        input_sample_rate: int,
        output_sample_rate: int,
        deadline: Deadline,
        watch: Watch,
        ice_servers: Sequence[IceServer] = (),
        redact: Callable[[str], str] = str,
        inbox_bytes: int = _INBOX,
    ) -> Self:
        """Connect, and wait until the data channel is open.

        Args:
            offer: Posts the offer; called once, in the calling thread.
            input_sample_rate: The rate of the audio that is sent, in Hz. Servers resample it to their handler's rate.
            output_sample_rate: The rate of the audio in events, in Hz; what comes (48000) is resampled.
            deadline: The deadline of the whole call.
            watch: Receives what is opened, so that another thread can abort it.
            ice_servers: STUN and TURN servers. Default: none, for servers that can be reached directly.
            redact: Removes private headers from the server's text.
            inbox_bytes: Bytes of events that may wait to be received; more end the connection. Default: 64 MiB.

        Raises:
            ConfigurationError: The extra is not installed, ``ice_servers`` cannot be used, or this machine has no
                address but loopback, over which WebRTC does not work. Nothing was posted.
            TooManyConnections: The handler's limit is reached.
            ConnectionAlreadyExists: The server has a connection of this id.
            AuthenticationError: The server rejects the credentials.
            HandshakeRejected: The server rejects the offer otherwise.
            ProtocolError: The response holds no usable SDP.
            ConnectError: None of the server's addresses can be reached, or the server ended the connection.
            Timeout: No connection before the deadline (``phase="connect"``).
            HumeClientException: What ``offer`` raises.
        """
        configuration = _configuration(ice_servers)
        webrtc_id = str(uuid.uuid4())
        loop = WebRTCLoop(
            configuration, input_rate=input_sample_rate, output_rate=output_sample_rate, inbox=inbox_bytes
        )
        try:
            watch(loop)
            loop.start()
            sdp = _local_sdp(loop, deadline)
            answer = _remote_sdp(offer({"sdp": sdp, "type": "offer", "webrtc_id": webrtc_id}, deadline), redact)
            loop.accept(answer, deadline)
            loop.wait_open(deadline)
            return cls(loop, webrtc_id)
        except BaseException:
            loop.abandon()
            raise

    @property
    def queued_seconds(self) -> float:
        """Seconds of audio that are queued and not sent yet."""
        return self._loop.queued_seconds

    @property
    def error(self) -> HumeClientException | None:
        """The error that ended the connection; None while it is open."""
        return self._loop.error

    def send_audio(self, samples: bytes, deadline: Deadline) -> None:
        """Queue audio. Return once all of it is queued; wait while the queue holds 10 seconds.

        Raises:
            Timeout: Part of it is queued, and will be sent (``phase="send"``).
            ConnectionLost: The connection has ended.
            MisuseError: It was closed on this side, or the process was forked since.
        """
        self._check_process()
        self._loop.send_audio(samples, deadline)

    def send(self, message: str | bytes, deadline: Deadline) -> None:
        """Send a message of the application's own over the data channel. Raise `MisuseError` as `send_audio` does."""
        self._check_process()
        self._loop.send(message, deadline)

    def send_mark(self, mark: Mark, deadline: Deadline, *, before: int = 0) -> None:  # noqa: ARG002 - never waits
        """Have `receive` return this mark once the queued audio has been sent, except for ``before`` bytes."""
        self._check_process()
        self._loop.send_mark(mark, before=before)

    def receive(self, deadline: Deadline) -> Event | Mark | None:
        """Return the next event or mark; None once the deadline has passed.

        Raises:
            ConnectionLost: The connection has ended, and all earlier events have been received.
            InboxOverflow: More events came than were received.
            MisuseError: It was closed on this side, or the process was forked since.
        """
        self._check_process()
        return self._loop.recv(deadline)

    def close(self, timeout: float) -> None:
        """Close the connection without waiting for queued audio. In a forked child it does nothing."""
        if self._pid == os.getpid():
            self._finalizer.detach()
            self._loop.close(timeout)

    def abort(self) -> None:
        """End the connection at once; waiting calls raise ConnectionLost. In a forked child it does nothing."""
        if self._pid == os.getpid():
            self._finalizer.detach()
            self._loop.stop()

    def release_after_fork(self, *, hooked: bool) -> None:  # noqa: ARG002 - the protocol's
        """Disown the parent's connection in a forked child, whose thread does not exist here.

        Nothing is closed: both processes share the loop's selector, and closing would remove the parent's sockets from
        it. The descriptors are closed when the child exits.
        """
        self._pid = -1  # a grandchild may get the parent's process id
        self._finalizer.detach()

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise MisuseError("this session was opened before the process was forked: open one in the child")


def _configuration(ice_servers: Sequence[IceServer]) -> Any:
    """Return aiortc's configuration of a peer connection."""
    with NeedsExtra("webrtc", "WebRTC"):
        import_whole("aiortc")
        from aiortc import RTCConfiguration, RTCIceServer  # noqa: PLC0415 - an extra
    servers = [RTCIceServer(**server) for server in check_ice_servers(ice_servers)]
    return RTCConfiguration(iceServers=servers)  # without a list aiortc asks a server of Google's


def check_ice_servers(servers: object) -> tuple[dict[str, Any], ...]:
    """Return the servers, each as the arguments of aiortc's RTCIceServer, which ignores servers that it cannot use.

    Raises:
        ConfigurationError: A server cannot be used. Nothing of it is repeated: it may hold a password.
    """
    if not isinstance(servers, list | tuple):
        raise ConfigurationError(f"ice_servers must be a list or tuple of servers, got {type(servers).__name__}")
    names = [f"ice_servers[{index}]" for index in range(len(servers))]
    return tuple(map(_check_ice_server, servers, names))


def _check_ice_server(server: object, name: str) -> dict[str, Any]:
    given: object = {"urls": server} if isinstance(server, str) else server
    if not isinstance(given, Mapping) or not _ICE_KEYS.issuperset(given):
        raise ConfigurationError(f"{name} {_ICE_ACCEPTED}")
    urls = given.get("urls")
    urls = [urls] if isinstance(urls, str) else urls
    if not isinstance(urls, list | tuple) or not urls or not all(map(_is_ice_url, urls)):
        raise ConfigurationError(f"{name} {_ICE_ACCEPTED}")
    secrets = [given.get("username"), given.get("credential")]
    if any(url.startswith("turn") for url in urls) and not all(isinstance(secret, str) for secret in secrets):
        raise ConfigurationError(f"{name} is a TURN server: username and credential must both be given, as text")
    return {**given, "urls": [*urls]}


def _is_ice_url(url: object) -> bool:
    match = _ICE_URL.fullmatch(url) if isinstance(url, str) else None
    if match is None:
        return False
    return 0 < int(match["port"] or 3478) < 2**16 and match["transport"] in _ICE_TRANSPORTS[match["scheme"]]


def _local_sdp(loop: WebRTCLoop, deadline: Deadline) -> str:
    sdp = loop.offer(deadline)
    if "a=candidate:" not in sdp:
        raise ConfigurationError(
            "WebRTC needs a network address other than loopback, and this machine has none (on Linux an alias will do:"
            " ip address add 10.99.0.1/32 dev lo)"
        )
    return sdp


def _remote_sdp(response: Response, redact: Callable[[str], str]) -> str:
    """Return the SDP in the response to an offer, or raise the error that it reports."""
    if not 200 <= response.status < 300 or rejection_from_message(response.json) is not None:
        body = response.json if response.status < 400 else response.error_excerpt
        raise rejection_from_response(
            response.status, body, redact, retry_after=response.retry_after, asked="offer", url=response.url
        )
    sdp = response.json.get("sdp") if isinstance(response.json, dict) else None
    if not isinstance(sdp, str) or not sdp.strip():
        where = f" from {response.url}" if response.url else ""
        raise ProtocolError(f"the server's answer{where} holds no SDP", phase="connect", status=response.status)
    if len(sdp) > _MAX_SDP:
        raise ProtocolError(f"the server's SDP is longer than {_MAX_SDP} characters", phase="connect")
    return sdp


def _on_garbage_collected(loop: WebRTCLoop, pid: int) -> None:
    """Stop the loop of a transport that was dropped, or is open when the interpreter exits, and warn."""
    if pid == os.getpid() and loop.thread.is_alive() and not loop.stopping:
        loop.stop()
        warnings.warn("a session was not closed", ResourceWarning, stacklevel=1)
