"""From an endpoint to a connected `Wire`: addresses, proxy tunnel, the plaintext rule, TLS."""

from __future__ import annotations

import ipaddress
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
from .endpoint import Endpoint, Proxy
from .http1 import read_head
from .interrupts import from_outside
from .pending import Sockets, Watch, unwatched
from .wire import Wire

__all__ = ["Watch", "dial"]

_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),  # a request is one write, and its reply is waited for
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),  # so that the system notices a peer that vanished
]


def dial(endpoint: Endpoint, deadline: Deadline, watch: Watch = unwatched) -> Wire:
    """Connect to an endpoint, through its proxy and TLS where it has them.

    Nothing blocks past the deadline but the operating system's name look-up, which knows no time-out.

    Raises:
        ConfigurationError: a key would go over plain ``ws`` to an address that is not this machine.
        ConnectError: no address answered, the tunnel was refused, or TLS failed.
        Timeout: the deadline passed (``phase="connect"``).
    """
    via = endpoint.proxy
    sockets = Sockets()
    watch(sockets)
    try:
        sock = _connect(via.host if via else endpoint.host, via.port if via else endpoint.port, deadline, sockets)
        if via:
            _open_tunnel(sock, via, endpoint, deadline)
        if not endpoint.tls:
            _check_plaintext(sock, endpoint)
            return Wire(sock, deadline)
        sock.settimeout(deadline.for_socket())
        encrypted = sockets.encrypt(sock, endpoint.tls, endpoint.host)
        encrypted.do_handshake()
        return Wire(encrypted, deadline)
    except BaseException as exc:
        sockets.release()
        if isinstance(exc, OSError) and not isinstance(exc, HumeClientException) and not from_outside(exc):
            raise _explain(exc, endpoint) from exc
        raise


def _connect(host: str, port: int, deadline: Deadline, sockets: Sockets) -> socket.socket:
    """The first address that answers. Each gets its share of the time left, so a dead one costs no more."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise ConnectError(f"cannot look up the host {host!r}: {exc}", phase="connect") from exc
    failures: list[str] = []
    for left, (family, kind, protocol, _, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        try:
            sock = sockets.new(family, kind, protocol)
        except OSError as exc:  # a family this machine does not speak
            failures.append(f"{address[0]}: {exc}")
            continue
        try:
            for option in _OPTIONS:
                sock.setsockopt(*option)
            sock.settimeout(deadline.within(deadline.remaining() / left).for_socket())
            sock.connect(address)
        except OSError as exc:
            sock.close()
            failures.append(f"{address[0]}: {exc.strerror or exc}")
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    if deadline.expired():
        raise Timeout(f"no connection to {host}:{port} in time ({'; '.join(failures)})", phase="connect")
    raise ConnectError(f"cannot connect to {host}:{port} ({'; '.join(failures)})", phase="connect")


def _open_tunnel(sock: socket.socket, proxy: Proxy, endpoint: Endpoint, deadline: Deadline) -> None:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    request = f"CONNECT {host}:{endpoint.port} HTTP/1.1\r\nHost: {host}:{endpoint.port}\r\n"
    if proxy.authorization:
        credentials = b64encode(proxy.authorization.reveal().encode()).decode()
        request += f"Proxy-Authorization: Basic {credentials}\r\n"
    wire = Wire(sock, deadline)
    wire.send(f"{request}\r\n".encode())
    try:
        head = read_head(wire)
    except EOFError as exc:
        raise ConnectError(f"the proxy {proxy.host}:{proxy.port} ended the connection", phase="connect") from exc
    if head.status != 200:
        raise ConnectError(
            f"the proxy {proxy.host}:{proxy.port} refused the tunnel with HTTP {head.status}",
            phase="connect",
            status=head.status,
        )
    if wire.surplus:  # neither a TLS nor a WebSocket server speaks first
        raise ProtocolError("bytes before the tunnel was used", phase="connect")


def _check_plaintext(sock: socket.socket, endpoint: Endpoint) -> None:
    """Refuse to send credentials in the clear, by the address really connected to, not by its name."""
    if not endpoint.has_credentials:
        return
    if not endpoint.proxy and ipaddress.ip_address(sock.getpeername()[0].partition("%")[0]).is_loopback:
        return
    if not endpoint.allow_plaintext:
        raise ConfigurationError(
            f"a key would be sent unencrypted to {endpoint.authority}: use wss://, or pass allow_plaintext=True"
        )
    warnings.warn(f"a key is sent unencrypted to {endpoint.authority}", UserWarning, stacklevel=2)


def _explain(exc: OSError, endpoint: Endpoint) -> ConnectError | Timeout:
    if isinstance(exc, TimeoutError):
        return Timeout(f"no connection to {endpoint.authority} in time", phase="connect")
    if isinstance(exc, ssl.SSLCertVerificationError):
        return CertificateRejected(
            f"cannot connect to {endpoint.authority}: its certificate was not accepted: {exc.verify_message}",
            phase="connect",
        )
    if isinstance(exc, ssl.SSLError):
        reason = f"TLS failed: {exc.reason or exc}"
    else:
        reason = str(exc.strerror or exc)
    return ConnectError(f"cannot connect to {endpoint.authority}: {reason}", phase="connect")
