"""The pool: any number of threads, a bounded number of connections, and streams that outlive them."""

from __future__ import annotations

import os
import sys
import warnings
import weakref
from collections.abc import Hashable
from types import TracebackType
from typing import NoReturn, Self

from ..errors import InputError, MisuseError
from ..net.deadline import Deadline, seconds
from ..net.retry import RetryPolicy
from ..reprs import safe_repr
from .breaker import CircuitBreaker
from .connection import Connection
from .executor import Stream
from .leases import Lease
from .pool_settings import PoolSettings
from .pool_state import PoolState
from .requests import RequestBuilder
from .stream_socket import StreamSocket

__all__ = ["StreamPool"]

_COUNTS = (
    "requests", "errors", "created", "closed_error", "closed_idle", "closed_lifetime", "closed_stale",
    "closed_evicted", "closed_faces", "closed_clock", "closed_pool", "reconnects", "replays", "replayed_bytes",
    "skipped", "wait_seconds", "timeouts", "rejected",
)  # fmt: skip


@safe_repr
class StreamPool:
    """Lends sockets, over at most ``max_size`` connections, to any number of threads. Built by ``client.pool(...)``.

    ::

        with client.pool([ProsodyConfig()]) as pool:
            with pool.socket() as socket:                 # in any number of threads
                socket.send_file("clip.wav")

    A lease belongs to its ``with`` block, not to a thread: any thread may use its socket, one call at a time, and any
    may end it, as frameworks do that enter and leave a block in different threads. A thread may hold several. A lease
    whose socket is dropped without being ended, with its thread for one, is given back once the socket is garbage.

    Nothing is dialled before the first request, and no thread is started. After a fork, parent and child each have
    connections of their own.
    """

    def __init__(self, settings: PoolSettings, models: RequestBuilder) -> None:
        self._settings = settings
        self._models = models
        self._states: dict[int, PoolState] = {}  # by process id: a child never sees a lock or connection of its parent

    def socket(self, *, stream: Hashable | None = None, timeout: float | None = None) -> PooledSocket:
        """Lease a socket for the length of a ``with`` block.

        Args:
            stream: None: a fresh stream, gone when the block ends. A key (a call's id, a user's): goes on with the
                stream of that name, from any thread; a second holder waits its turn.
            timeout: seconds to wait for a free slot, and for the stream; None: the pool's.

        Raises (on entering):
            PoolTimeout: no lease came free in time; ``holders`` and the text say who has them. At once where this
                thread itself holds all that are in the way.
            PoolFull: ``max_waiting`` callers wait already.
            PoolClosed: the pool is closed.
            InputError: a bad ``timeout``, or a key that is not hashable.
        """
        if stream is not None:
            _check_key(stream)
        return PooledSocket(self, stream, self._settings.timeout if timeout is None else seconds("timeout", timeout))

    def forget(self, key: Hashable) -> None:
        """Forget the stream of that name: its next holder begins a new one. Unknown keys are none of an error."""
        _check_key(key)
        state = self._state()
        with state.lock:
            state.leases.named.forget(key)

    def stats(self) -> dict[str, float]:
        """What has happened so far, and how things are now.

        Counts: ``requests`` (attempts that were sent), ``errors`` (calls on its sockets that raised an error of this
        library after they had begun), ``timeouts`` and ``rejected`` (leases that were not given: too late, or too many
        waiting), ``created`` (connections),
        ``closed_error``, ``closed_idle``, ``closed_lifetime``, ``closed_stale`` (had gone while idle, or
        answered no ping),
        ``closed_evicted``, ``closed_faces``, ``closed_clock`` (nobody else may use them), ``closed_pool``,
        ``reconnects`` (requests that found their stream on another connection), ``replays`` and ``replayed_bytes``,
        ``skipped`` (messages of the server that answer no request, such as heartbeats), ``evicted_streams``
        (named streams that lost their window to a limit).
        Now: ``busy``, ``idle``, ``waiting``, ``leases``, ``streams``, ``stream_bytes`` (memory of the named streams'
        windows). ``wait_seconds``: all waits for a lease together.
        """
        state = self._state()
        with state.lock:
            closed = state.reclaim_abandoned()
        state.close_connections(closed)
        with state.lock:
            now = {
                "busy": state.busy,
                "idle": state.connections.size - state.busy,
                "waiting": state.leases.waiting,
                "leases": len(state.leases.active),
                "streams": len(state.leases.named),
                "stream_bytes": state.leases.named.bytes,
                "evicted_streams": state.leases.named.evicted,
            }
            counts = {**dict.fromkeys(_COUNTS, 0.0), **state.counters}
            counts["requests"] += sum(lease.stream.sent for lease in state.leases.active)
            return {**counts, **now}

    @property
    def closed(self) -> bool:
        """Whether it was closed, in this process."""
        return self._state().closing

    def close(self, timeout: float = 5.0) -> None:
        """Refuse newcomers, wake all who wait, let running calls end; cut them off after ``timeout`` seconds."""
        self._state().close(seconds("timeout", timeout))

    def abort(self) -> None:
        """End the pool at once: calls under way fail with `PoolClosed` or `ConnectionLost`, nobody says goodbye.

        May be called from any thread, and by a signal handler. Idempotent. Leaving the ``with`` block by Ctrl-C, or
        another exception that is not an ``Exception``, does this.
        """
        self._state().abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self.abort()
        try:
            self.close()
        except BaseException:
            self._state().close(0.0)  # a signal struck in the middle of it, or while it waited: nothing is waited for
            raise

    def __repr__(self) -> str:
        stats = self.stats()
        counts = ", ".join(f"{name} {stats[name]:.0f}" for name in ("busy", "idle", "waiting"))
        return f"<StreamPool max_size {self._settings.max_size}, {'closed' if self.closed else counts}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a StreamPool is neither copied nor pickled: make one in the process that uses it")

    def _state(self) -> PoolState:
        pid = os.getpid()
        state = self._states.get(pid)
        if state is None:
            # setdefault is one step: of two threads that come here at once, both get the same.
            fresh = PoolState(self._settings)
            state = self._states.setdefault(pid, fresh)
            if state is fresh:
                for other in [other for other in self._states if other != pid]:
                    self._states.pop(other).release_after_fork(hooked=False)
                weakref.finalize(self, _on_garbage_collected, state)
        return state


class PooledSocket:
    """The ``with`` block of a lease: entering waits for a slot, leaving gives it back."""

    __slots__ = ("_key", "_pool", "_socket", "_timeout")

    def __init__(self, pool: StreamPool, key: Hashable | None, timeout: float) -> None:
        self._pool = pool
        self._key = key
        self._timeout = timeout
        self._socket: StreamSocket | None = None

    def __enter__(self) -> StreamSocket:
        if self._socket is not None:
            raise MisuseError("this lease was entered already: ask the pool for another one")
        pool, frame = self._pool, sys._getframe(1)
        while frame.f_globals.get("__name__") == "contextlib" and frame.f_back is not None:
            frame = frame.f_back  # an ExitStack's: who called it is what errors are to name
        state = pool._state()
        lease = state.acquire(self._key, self._timeout, frame)
        try:
            source = PooledProvider(pool, state, lease)
            self._socket = StreamSocket(source, pool._models, lease.stream, timeout=pool._settings.call_timeout)
        except BaseException:
            state.release(lease)
            raise
        return self._socket

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._socket is not None:
            try:
                self._socket.close()
            except BaseException:
                self._socket.close()  # a signal struck in the middle of it
                raise


class PooledProvider:
    """A lease, as its socket sees it: where connections come from, and who may ask. It ends with its socket."""

    __slots__ = ("_lease", "_pool", "_state", "lock")

    def __init__(self, pool: StreamPool, state: PoolState, lease: Lease) -> None:
        self._pool = pool  # which is not forgotten while one of its sockets is in use
        self._state = state
        self._lease = lease
        self.lock = lease.lock

    def __del__(self) -> None:
        lease = getattr(self, "_lease", None)  # none: a signal struck while this was made
        if lease is not None and lease.active:  # its socket was just dropped; no lock here, for this may be anywhere
            lease.abandoned = True
            self._state.abandoned.append(lease)

    @property
    def policy(self) -> RetryPolicy:
        """The client's."""
        return self._state.settings.policy

    @property
    def breaker(self) -> CircuitBreaker:
        """The pool's."""
        return self._state.breaker

    @property
    def closing(self) -> bool:
        """Whether the pool has run out of patience: nothing is tried again then."""
        return not self._state.accepts_connects

    def before_call(self) -> None:
        """Raise where a call can never be right."""
        state = self._state
        if state.pid != os.getpid():
            raise MisuseError("this lease was taken before the process was forked: take one in the child")
        if self._lease.has_pending:
            state.check_lease(self._lease)

    def after_call(self) -> None:
        """A call is over."""
        if self._lease.has_pending:
            self._state.process_pending(self._lease)

    def acquire(self, stream: Stream, caller: object, deadline: Deadline) -> Connection:
        """The lease's own connection, or another one: see `PoolState.connection_for`."""
        lease = self._lease
        connection = lease.connection
        if (
            connection is not None
            and connection.usable
            and connection.is_quiet()
            and self._state.settings.limits.is_fresh(connection)
        ):
            return connection  # the usual way: its own, as it was left
        return self._state.connection_for(lease, caller, deadline)

    def wait(self, delay: float) -> None:
        """Wait, unless the pool is closed meanwhile."""
        self._state.wait(delay)

    def add_stats(self, **changes: float) -> None:
        """Add to the pool's statistics."""
        self._state.add_stats(**changes)

    def close(self, timeout: float) -> None:
        """Give the lease back, from any thread."""
        if self._state.pid == os.getpid():
            self._state.release(self._lease)

    def abort(self) -> None:
        """Do nothing: giving back does not wait."""


def _check_key(key: object) -> None:
    try:
        hash(key)
    except TypeError:
        raise InputError(f"stream must be a hashable key, got {type(key).__name__}") from None


def _on_garbage_collected(state: PoolState) -> None:
    """A pool was dropped, or the interpreter ends, without `close`: say so, and let go without waiting."""
    if state.closing or state.pid != os.getpid():
        return
    left = state.connections.pop_idle()
    for connection in left:
        connection.discard()
    for lease in list(state.leases.active):
        if lease.connection is not None:
            left.append(lease.connection)
            if lease.lock.holder is None:
                lease.connection.discard()
            else:
                lease.connection.abort()  # of a daemon thread, at exit
    if left:  # last, for the caller may have made it an error
        warnings.warn("a StreamPool was not closed", ResourceWarning, stacklevel=1)
