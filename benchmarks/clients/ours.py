"""This library through its public interface: held leases, a lease for each request, or sockets without a pool."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import methodcaller
from pathlib import Path

from benchmarks.cases import Case, url_of
from benchmarks.checks import Checker, WrongReply, settle
from benchmarks.hosts import Connection, Host, proportional_size
from hume_sync import (
    FaceConfig,
    FacemeshConfig,
    HumeStreamClient,
    LanguageConfig,
    ModelConfigBase,
    StreamPool,
    StreamResponse,
    StreamSocket,
)

__all__ = ["leasing", "pooled", "single"]

_TIMEOUT = 30.0
_LEASES = 64
_SHARED = 8
_USES = 2
_THINK = 0.05  # seconds

_CONFIGS = {"language": LanguageConfig, "facemesh": FacemeshConfig, "face": FaceConfig}
_METHODS = {"language": "send_text", "facemesh": "send_facemesh", "face": "send_file"}


def pooled(directory: Path) -> Host:
    """Measure held leases: each connection of the host is one lease of a pool."""
    return _PooledHost(_Pools(_held_lease), directory)


def leasing(directory: Path) -> Host:
    """Measure a lease for each request, as in the views of a web server or the tasks of a batch."""
    return Host(_Pools(_LeasePerRequest), directory)


def single(directory: Path) -> Host:
    """Measure sockets without a pool, with one client for each address."""
    return Host(_Sockets(), directory)


def _configs(model: str) -> list[ModelConfigBase]:
    return [_CONFIGS[model]()]


class _Connection:
    """A socket and the function that closes it."""

    def __init__(self, socket: StreamSocket, close: Callable[[], None]) -> None:
        self._socket = socket
        self.close = close

    def caller(self, case: Case) -> Callable[[], StreamResponse]:
        return partial(getattr(self._socket, _METHODS[case.model]), case.value)


class _LeasePerRequest:
    """A caller that acquires a lease for each request.

    It holds its first lease until its second request. `Host.drive` lets all threads make their first request before it
    measures, so the pool then has a connection for each thread.
    """

    def __init__(self, pool: StreamPool) -> None:
        self._pool = pool
        self._requests = 0
        self._first = contextlib.ExitStack()

    def caller(self, case: Case) -> Callable[[], StreamResponse]:
        return partial(self._call, methodcaller(_METHODS[case.model], case.value))

    def close(self) -> None:
        self._first.close()

    def _call(self, send: Callable[[StreamSocket], StreamResponse]) -> StreamResponse:
        self._requests += 1
        if self._requests == 1:
            return send(self._first.enter_context(self._pool.socket()))
        if self._requests == 2:
            self._first.close()
        with self._pool.socket() as socket:
            return send(socket)


def _held_lease(pool: StreamPool) -> Connection:
    lease = contextlib.ExitStack()
    return _Connection(lease.enter_context(pool.socket()), lease.close)


class _Pools:
    """A pool for each address and model, closed when its last user has left.

    Args:
        kind: Makes the adapter of a thread that uses the pool.
    """

    def __init__(self, kind: Callable[[StreamPool], Connection]) -> None:
        self._kind = kind
        self._pools: dict[tuple[str, str], StreamPool] = {}
        self._users: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def connect(self, url: str, model: str) -> Connection:
        with self._lock:
            if not self._users[url, model]:
                client = HumeStreamClient(base_url=url, proxy=False, timeout=_TIMEOUT)
                self._pools[url, model] = client.pool(_configs(model), max_size=_LEASES)
            self._users[url, model] += 1
            pool = self._pools[url, model]
        return _PoolUser(self._kind(pool), partial(self._leave, url, model))

    def _leave(self, url: str, model: str) -> None:
        with self._lock:
            self._users[url, model] -= 1
            pool = None if self._users[url, model] else self._pools.pop((url, model))
        if pool is not None:
            pool.close()


class _PoolUser:
    """An adapter that leaves its pool when it is closed."""

    def __init__(self, connection: Connection, leave: Callable[[], None]) -> None:
        self.caller = connection.caller
        self._close = connection.close
        self._leave = leave

    def close(self) -> None:
        self._close()
        self._leave()


class _Sockets:
    """Sockets of one client for each address, so TLS settings are loaded once."""

    def __init__(self) -> None:
        self._clients: dict[str, HumeStreamClient] = {}

    def connect(self, url: str, model: str) -> Connection:
        if url not in self._clients:
            self._clients[url] = HumeStreamClient(base_url=url, proxy=False, timeout=_TIMEOUT)
        socket = self._clients[url].connect(_configs(model))
        return _Connection(socket, socket.close)


class _PooledHost(Host):
    """A host that measures the memory of idle connections in their pool, not in leases."""

    def hold(self, base: str, case: str, count: int) -> float:
        """Return the bytes per idle pooled connection.

        A thread holds one lease of a pool, so a few threads fill one pool after another. That needs few stacks, and
        includes the size of a pool in that of its connections.
        """
        wanted = self._cases[case]
        client = HumeStreamClient(base_url=url_of(base, case, think=_THINK), proxy=False, timeout=_TIMEOUT)
        pools = [self._filled(client, wanted)]
        before = proportional_size()
        pools += [self._filled(client, wanted) for _ in range(count // _SHARED)]
        size = (proportional_size() - before) / (count // _SHARED * _SHARED)
        for pool in pools:
            pool.close()
        return size

    def _filled(self, client: HumeStreamClient, case: Case) -> StreamPool:
        """Return a pool of used connections. The server's think time makes each lease open a connection."""
        pool = client.pool(_configs(case.model), max_size=_SHARED)
        together = threading.Barrier(_SHARED)
        checkers = [Checker(case, self._lengths[case.name]) for _ in range(_SHARED)]

        def fill(checker: Checker) -> None:
            with pool.socket() as socket:
                call = _Connection(socket, socket.close).caller(case)
                for _ in range(_USES):
                    together.wait(_TIMEOUT)
                    checker.check(call())

        with ThreadPoolExecutor(_SHARED) as threads:
            for filled in [threads.submit(fill, checker) for checker in checkers]:
                filled.result()
        if list(settle(checkers).values()) != [_USES] * _SHARED or pool.stats()["idle"] != _SHARED:
            raise WrongReply(f"the leases have shared connections: {pool.stats()}")
        return pool
