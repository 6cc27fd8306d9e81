"""For tests of the transport: raw servers, one connection scripted on its own thread; and a forked child."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator

import trustme

from tests.faultproxy import Peer, frame, head, upgrade

Script = Callable[[Peer], object]


@contextlib.contextmanager
def server(*scripts: Script) -> Iterator[int]:
    """Listen on loopback and run one script a connection, in order; yields the port.

    A script's failed assertion is raised when the block ends.
    """
    failures: list[BaseException] = []
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.02)

        def run() -> None:
            for script in scripts:
                while True:  # a connection that waits is served even when the block has ended
                    try:
                        sock, _ = listener.accept()
                        break
                    except TimeoutError:
                        if stop.is_set():
                            return
                sock.settimeout(None)
                peer = Peer(sock, stop)
                try:
                    script(peer)
                except (OSError, ValueError):
                    pass  # the client has gone: what it did until then is what a test looks at
                except BaseException as exc:
                    failures.append(exc)
                finally:
                    peer.close()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            thread.join(10)
            assert not thread.is_alive()
    if failures:
        raise failures[0]


def upgraded(script: Script) -> Script:
    """Answer the upgrade, then go on with the script."""

    def run(peer: Peer) -> None:
        peer.send(upgrade(peer))
        script(peer)

    return run


def says(*frames: bytes) -> Script:
    """Send these bytes after the upgrade and wait for the client to go."""

    def run(peer: Peer) -> None:
        peer.send(b"".join(frames))
        peer.wait_gone()

    return upgraded(run)


@contextlib.contextmanager
def forking() -> Iterator[None]:
    """Expect the warning that Python 3.12 and later give in the parent where a process with threads is forked."""
    parent, warns = os.getpid(), sys.version_info >= (3, 12) and threading.active_count() > 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        warnings.filterwarnings("always", "This process .* is multi-threaded, use of fork", DeprecationWarning)
        yield
    if os.getpid() == parent:
        assert bool(caught) is warns


def in_child(work: Callable[[], object]) -> None:
    """Fork, do something in the child, and fail where it fails or hangs."""
    with forking():
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(10)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def tunnel(answer: bytes, seen: list[bytes], target: int | None = None) -> Script:
    """A proxy that answers a CONNECT with this, notes its head, and always leads to that port."""

    def script(peer: Peer) -> None:
        seen.extend(head(peer.file))
        peer.send(answer)
        if target is None:
            peer.wait_gone()
            return
        with socket.create_connection(("127.0.0.1", target)) as upstream:
            there = threading.Thread(target=_pump, args=(peer.sock, upstream))
            there.start()
            _pump(upstream, peer.sock)
            there.join()

    return script


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def tls_contexts(name: str, authority: trustme.CA | None = None) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Server and client contexts for a certificate made out to ``name``."""
    authority = authority or trustme.CA()
    serving, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(serving)
    authority.configure_trust(trusting)
    return serving, trusting


@contextlib.contextmanager
def deaf(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """An address that drops what is sent to it: its queue of connections is full. Yields the port."""
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


__all__ = ["Script", "deaf", "forking", "frame", "in_child", "says", "server", "tls_contexts", "tunnel", "upgraded"]
