"""This library, by its public interface: leases of a pool, or sockets of one's own."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.cases import Case, url_of
from benchmarks.checks import Checker, WrongReply, settle
from benchmarks.hosts import Host, proportional_size
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

__all__ = ["pooled", "single"]

_TIMEOUT = 30.0
_LEASES = 64
_SHARED = 8
_USES = 2
_THINK = 0.05  # seconds


def pooled(directory: Path) -> Host:
    """Every connection is a lease that is held."""
    return _PooledHost(_Pools(), directory)


def single(directory: Path) -> Host:
    """Every connection is a socket of its own; one client for each address."""
    return Host(_Sockets(), directory)


def _configs(model: str) -> list[ModelConfigBase]:
    return [{"language": LanguageConfig, "facemesh": FacemeshConfig, "face": FaceConfig}[model]()]


class _Connection:
    """A socket, and what ends it."""

    def __init__(self, socket: StreamSocket, end: Callable[[], object]) -> None:
        self._socket = socket
        self._end = end

    def caller(self, case: Case) -> Callable[[], StreamResponse]:
        if case.model == "language":
            return partial(self._socket.send_text, case.value)
        if case.model == "facemesh":
            return partial(self._socket.send_facemesh, case.value)
        return partial(self._socket.send_file, case.value)

    def close(self) -> None:
        self._end()


class _Pools:
    """A pool for each address and model, closed with its last lease."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str, str], StreamPool] = {}
        self._leases: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def connect(self, url: str, model: str) -> _Connection:
        with self._lock:
            if not self._leases[url, model]:
                client = HumeStreamClient(base_url=url, proxy=False, timeout=_TIMEOUT)
                self._pools[url, model] = client.pool(_configs(model), max_size=_LEASES)
            self._leases[url, model] += 1
            pool = self._pools[url, model]
        leases = contextlib.ExitStack()
        leases.callback(self._leave, url, model)
        return _Connection(leases.enter_context(pool.socket()), leases.close)

    def _leave(self, url: str, model: str) -> None:
        with self._lock:
            self._leases[url, model] -= 1
            pool = None if self._leases[url, model] else self._pools.pop((url, model))
        if pool is not None:
            pool.close()


class _Sockets:
    """Sockets of one client for each address: its TLS settings are read once."""

    def __init__(self) -> None:
        self._clients: dict[str, HumeStreamClient] = {}

    def connect(self, url: str, model: str) -> _Connection:
        if url not in self._clients:
            self._clients[url] = HumeStreamClient(base_url=url, proxy=False, timeout=_TIMEOUT)
        socket = self._clients[url].connect(_configs(model))
        return _Connection(socket, socket.close)


class _PooledHost(Host):
    """Idle connections lie in their pool, not in leases."""

    def hold(self, base: str, case: str, count: int) -> float:
        """Bytes per idle pooled connection.

        A thread has one lease of a pool, so a few threads fill one pool after another: their stacks are few, and a
        pool's own size is spread over its connections.
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
        """A pool of connections that were used. The server thinks for a while, so that every lease needs its own."""
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
