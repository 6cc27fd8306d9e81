"""From an endpoint to a connected `SocketStream`: proxy tunnel, the plaintext rule, TLS."""

from __future__ import annotations

import socket
import ssl
import warnings
from base64 import b64encode

from ..errors import (
    CertificateRejected,
    ConfigurationError,
    ConnectError,
    HumeClientException,
    ProtocolError,
    Timeout,
)
from .deadline import Deadline
from .endpoint import Endpoint
from .http1 import read_head
from .interrupts import from_outside
from .pending import DialSockets, Watch, unwatched
from .proxies import Proxy, parse_ip
from .readiness import check_green_threads
from .sockets import SocketStream
from .tcp import connect
from .tracebacks import clears_locals

__all__ = ["Watch", "open_stream"]


def open_stream(endpoint: Endpoint, deadline: Deadline, watch: Watch = unwatched) -> SocketStream:
    """Connect to an endpoint, through its proxy and TLS where it has them.

    Nothing blocks past the deadline but the operating system's name look-up, which knows no time-out.

    Raises:
        ConfigurationError: A key would go over plain ``ws`` to an address that is not this machine; or sockets are
            those of green threads, and threads are not.
        ConnectError: No address answered, the tunnel was refused, or TLS failed.
        Timeout: The deadline passed (``phase="connect"``).
    """
    check_green_threads()
    via, route = endpoint.proxy, endpoint.route
    sockets = DialSockets()
    watch(sockets)
    host, port = (via.host, via.port) if via else (endpoint.host, endpoint.port)
    try:
        sock = connect(host, port, deadline, sockets, route)
        if via:
            _open_tunnel(sock, via, endpoint, deadline)
        if not endpoint.tls:
            _check_plaintext(sock, endpoint)
            return SocketStream(sock)
        sock.settimeout(deadline.socket_timeout())
        encrypted = sockets.encrypt(sock, endpoint.tls, endpoint.host)
        encrypted.do_handshake()
        return SocketStream(encrypted)
    except BaseException as exc:
        sockets.release()
        route.address = None  # it answered, and was no good all the same
        if isinstance(exc, OSError) and not isinstance(exc, HumeClientException) and not from_outside(exc):
            raise _connect_error(exc, endpoint) from exc
        raise


@clears_locals
def _open_tunnel(sock: socket.socket, proxy: Proxy, endpoint: Endpoint, deadline: Deadline) -> None:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    request = f"CONNECT {host}:{endpoint.port} HTTP/1.1\r\nHost: {host}:{endpoint.port}\r\n"
    if proxy.authorization:
        credentials = b64encode(proxy.authorization.reveal().encode()).decode()
        request += f"Proxy-Authorization: Basic {credentials}\r\n"
    stream = SocketStream(sock)
    stream.send(f"{request}\r\n".encode(), deadline)
    try:
        head = read_head(stream, deadline)
    except EOFError as exc:
        if from_outside(exc):
            raise
        raise ConnectError(f"the proxy {proxy.authority} ended the connection", phase="connect") from exc
    if head.status != 200:
        raise ConnectError(
            f"the proxy {proxy.authority} refused the tunnel with HTTP {head.status}",
            phase="connect",
            status=head.status,
        )
    if stream.buffered:  # neither a TLS nor a WebSocket server speaks first
        raise ProtocolError("the proxy sent data before the tunnel was used", phase="connect")


def _check_plaintext(sock: socket.socket, endpoint: Endpoint) -> None:
    """Refuse to send credentials in the clear, by the address really connected to, not by its name."""
    if not endpoint.has_credentials:
        return
    address = None if endpoint.proxy else parse_ip(sock.getpeername()[0].partition("%")[0])
    if address is not None and address.is_loopback:
        return
    if not endpoint.allow_plaintext:
        raise ConfigurationError(
            f"a key would be sent unencrypted to {endpoint.authority}: use wss://, or pass allow_plaintext=True"
        )
    warnings.warn(f"a key is sent unencrypted to {endpoint.authority}", UserWarning, stacklevel=2)


def _connect_error(exc: OSError, endpoint: Endpoint) -> ConnectError | Timeout:
    if isinstance(exc, TimeoutError):
        return Timeout(f"timed out connecting to {endpoint.authority}", phase="connect")
    if isinstance(exc, ssl.SSLCertVerificationError):
        return CertificateRejected(
            f"cannot connect to {endpoint.authority}: its certificate was not accepted: {exc.verify_message}",
            phase="connect",
        )
    reason = f"TLS failed: {exc.reason or exc}" if isinstance(exc, ssl.SSLError) else str(exc.strerror or exc)
    return ConnectError(f"cannot connect to {endpoint.authority}: {reason}", phase="connect")
