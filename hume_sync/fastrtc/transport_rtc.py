"""A FastRTC connection over WebRTC: audio in real time, and control messages on a data channel."""

from __future__ import annotations

import os
import uuid
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from ..errors import ConfigurationError, HumeClientException, MisuseError, ProtocolError
from ..net import fork
from ..net.deadline import Deadline
from ..net.extras import NeedsExtra
from ..net.pending import Watch
from ..net.preload import import_whole
from .app_http import Answer
from .events import Event
from .ice import IceServer, check_ice_servers
from .rejections import refusal, refused
from .rtc_loop import WebRTCLoop
from .transport import Spoken

__all__ = ["Offer", "WebRTCTransport"]

Offer = Callable[[dict[str, Any], Deadline], Answer]
"""POSTs an offer's JSON."""

_INBOX: Final = 64 * 2**20

_MAX_SDP: Final = 2**16
"""Characters an answer may have; real ones have some 3000. To take one in takes a time that grows with the square of
its length (each address is compared with all the others), and the thread does nothing else meanwhile."""


class WebRTCTransport:
    """See `Transport`; needs the extra ``webrtc``. What differs from WebSocket:

    - Audio is spoken, in real time: what is sent goes into a queue of at most 10 seconds, and silence follows it for as
      long as there is nothing else, as from a microphone. A minute takes a minute, of which `send_audio` waits 50 s.
    - Audio comes as it is played, in frames of 20 ms. Servers send none while their handler yields none, so pauses
      inside a reply come with it; but of silence that goes on, as from a handler that hands on what it hears, only
      the first 2 seconds do.
    - The last 5 frames, 100 ms, of a reply wait in aiortc (a buffer against jitter) for more to come behind them: they
      come as the first of the next reply, as `AudioChunk.delayed`, and a reply that is no longer than that seems not to
      come at all. Silence the handler yields behind its reply lets them out.
    - Audio that a handler yields on one channel comes 3 dB quieter than it does over WebSocket: FastRTC puts it on two.
    - ``close_code`` is 1000 where the server ended the connection, and 1006 where it was heard no more; that takes half
      a minute to be noticed. There are no pings: ICE has its own.

    Its event loop and its sockets belong to one thread, which starts in `open` and ends with the connection.
    """

    real_time = True

    def __init__(self, loop: WebRTCLoop, webrtc_id: str) -> None:
        self.webrtc_id = webrtc_id
        self._pid = os.getpid()
        self._loop = loop
        self._forgotten = weakref.finalize(self, _forgotten, loop, self._pid)
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
        """Connect, and be registered: the data channel is open, both ways.

        Args:
            offer: called once, in the calling thread.
            input_sample_rate: of the audio that is sent, Hz. Servers hear it at the rate of their handler.
            output_sample_rate: of the audio in events, Hz; what comes (48000) is resampled.
            deadline: of all of it.
            watch: told how to interrupt it from another thread.
            ice_servers: what tells this machine its public address, or relays; default: none, for servers that can be
                reached without.
            redact: takes private headers out of the server's own words, which an error may show.
            inbox_bytes: of events that may wait to be received; more ends the connection. Default: 64 MiB.

        Raises:
            ConfigurationError: the extra is not installed, ``ice_servers`` cannot be used, or this machine has no
                address but loopback, over which WebRTC does not work; nothing was posted.
            TooManyConnections, ConnectionAlreadyExists, AuthenticationError, HandshakeRejected: the server refuses.
            ProtocolError: a success that holds no usable SDP.
            ConnectError: none of the server's addresses can be reached, or the server ends it while it is made.
            Timeout: no connection before the deadline (``phase="connect"``).
            HumeClientException: whatever ``offer`` raises.
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
            answer = _sdp(offer({"sdp": sdp, "type": "offer", "webrtc_id": webrtc_id}, deadline), redact)
            loop.accept(answer, deadline)
            loop.await_open(deadline)
            return cls(loop, webrtc_id)
        except BaseException:
            loop.abandon()
            raise

    @property
    def backlog(self) -> float:
        """See `Transport`."""
        return self._loop.backlog

    @property
    def ended(self) -> HumeClientException | None:
        """See `Transport`."""
        return self._loop.ended

    def send_audio(self, samples: bytes, deadline: Deadline) -> None:
        """See `Transport`. Returns once all of it is queued; while 10 seconds are, it waits.

        Raises:
            Timeout: part of it is queued, and will be sent (``phase="send"``).
            ConnectionLost, ...: what has ended the connection.
            MisuseError: it was closed on this side, or the process was forked meanwhile.
        """
        self._check_process()
        self._loop.put(samples, deadline)

    def send(self, message: str | bytes, deadline: Deadline) -> None:
        """See `Transport`: over the data channel. Raises `MisuseError` as `send_audio` does."""
        self._check_process()
        self._loop.send(message, deadline)

    def mark(self, place: Spoken, deadline: Deadline, *, before: int = 0) -> None:  # noqa: ARG002 - it waits for nothing
        """See `Transport`."""
        self._check_process()
        self._loop.mark(place, before=before)

    def receive(self, deadline: Deadline) -> Event | Spoken | None:
        """See `Transport`.

        Raises:
            ConnectionLost, InboxOverflow: as `Transport` says.
            MisuseError: it was closed on this side, or the process was forked meanwhile.
        """
        self._check_process()
        return self._loop.get(deadline)

    def close(self, timeout: float) -> None:
        """See `Transport`; from any thread. What is queued is not waited for. In a forked child it does nothing."""
        if self._pid == os.getpid():
            self._forgotten.detach()
            self._loop.close(timeout)

    def abort(self) -> None:
        """See `Transport`: whoever waits gets ConnectionLost. In a forked child it does nothing."""
        if self._pid == os.getpid():
            self._forgotten.detach()
            self._loop.stop()

    def release_after_fork(self, *, hooked: bool) -> None:  # noqa: ARG002 - the protocol's
        """In a forked child: the connection is the parent's, and lives in a thread that is not here.

        Nothing is closed: the loop's selector is one and the same in both processes, and would forget the parent's
        sockets. The descriptors go with the child.
        """
        self._pid = -1  # even should a child of the child's get the number
        self._forgotten.detach()

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise MisuseError("this session was opened before the process was forked: open one in the child")


def _configuration(ice_servers: Sequence[IceServer]) -> Any:
    """aiortc's, of a peer connection."""
    with NeedsExtra("webrtc", "WebRTC"):
        import_whole("aiortc")
        from aiortc import RTCConfiguration, RTCIceServer  # noqa: PLC0415 - an extra
    servers = [RTCIceServer(**server) for server in check_ice_servers(ice_servers)]
    return RTCConfiguration(iceServers=servers)  # (without, aiortc asks a server of Google's)


def _local_sdp(loop: WebRTCLoop, deadline: Deadline) -> str:
    sdp = loop.offer(deadline)
    if "a=candidate:" not in sdp:
        raise ConfigurationError(
            "WebRTC needs a network address other than loopback, and this machine has none (on Linux an alias will do:"
            " ip address add 10.99.0.1/32 dev lo)"
        )
    return sdp


def _sdp(answer: Answer, redact: Callable[[str], str]) -> str:
    """The SDP in the answer to an offer, or the error it tells of."""
    if not 200 <= answer.status < 300 or refusal(answer.json) is not None:
        body = answer.json if answer.status < 400 else answer.sentence
        raise refused(answer.status, body, redact, retry_after=answer.retry_after, asked="offer", url=answer.url)
    sdp = answer.json.get("sdp") if isinstance(answer.json, dict) else None
    if not isinstance(sdp, str) or not sdp.strip():
        where = f" from {answer.url}" if answer.url else ""
        raise ProtocolError(f"the server's answer{where} holds no SDP", phase="connect", status=answer.status)
    if len(sdp) > _MAX_SDP:
        raise ProtocolError(f"the server's SDP is longer than {_MAX_SDP} characters", phase="connect")
    return sdp


def _forgotten(loop: WebRTCLoop, pid: int) -> None:
    """A link was dropped, or the interpreter ends, without `close`."""
    if pid == os.getpid() and loop.thread.is_alive() and not loop.stopped:
        loop.stop()
        warnings.warn("a session was not closed", ResourceWarning, stacklevel=1)
