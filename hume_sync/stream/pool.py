"""The connection pool: sockets for any number of threads over a bounded number of connections."""

from __future__ import annotations

import os
import sys
import warnings
import weakref
from collections.abc import Hashable
from types import TracebackType
from typing import NoReturn, Self

from ..errors import InputError, MisuseError
from ..net.deadline import Deadline
from ..net.validation import to_seconds
from ..reprs import safe_repr
from .connection import Connection
from .leases import Lease
from .pool_settings import PoolSettings
from .pool_state import PoolState
from .provider import ConnectionProvider
from .requests import RequestBuilder
from .stream_socket import StreamSocket

__all__ = ["StreamPool"]


@safe_repr
class StreamPool:
    """A pool that lends sockets, over at most ``max_size`` connections. Built by ``client.pool(...)``.

    ::

        with client.pool([ProsodyConfig()]) as pool:
            with pool.socket() as socket:                 # in any number of threads
                socket.send_file("clip.wav")

    A lease is the use of one socket for a ``with`` block. It does not belong to a thread: any thread may use the
    socket, one call at a time, and any may leave the block. A thread may hold several leases. A lease whose socket is
    dropped without leaving the block is returned once the socket is garbage-collected.

    No connection is opened before the first request, and no thread is started. After a fork, parent and child use
    separate connections.
    """

    def __init__(self, settings: PoolSettings, models: RequestBuilder) -> None:
        self._settings = settings
        self._models = models
        self._states: dict[
            int, PoolState
        ] = {}  # by process id, so that a child never uses a lock or connection of its parent

    def socket(self, *, stream: Hashable | None = None, timeout: float | None = None) -> LeaseContext:
        """Return a context manager that leases a socket for its ``with`` block.

        The block is entered as soon as there is a free slot, and the stream is not in use.

        Args:
            stream: None for a new stream that ends with the block. A hashable key, such as a call's or user's id,
                continues the stream of that name, from any thread; a second user waits its turn.
            timeout: Seconds to wait for the lease; None for the pool's ``timeout``.

        Raises:
            PoolTimeout: On entering, no lease was released in time; ``holders`` and the text name the current holders.
                Raised at once if this thread itself holds all the blocking leases.
            PoolFull: On entering, ``max_waiting`` callers are waiting already.
            PoolClosed: On entering, the pool is closed.
            InputError: ``timeout`` is invalid, or the key is not hashable.
        """
        if stream is not None:
            _check_stream_name(stream)
        return LeaseContext(self, stream, self._settings.timeout if timeout is None else to_seconds("timeout", timeout))

    def forget(self, key: Hashable) -> None:
        """Forget the stream of that name; its next user begins a new one. Unknown keys are ignored."""
        _check_stream_name(key)
        self._state().forget(key)

    def stats(self) -> dict[str, float]:
        """Return statistics: counts since the pool was made, and current values.

        Counts: ``requests`` (sent attempts), ``errors`` (calls that raised an error of this library after they had
        begun), ``timeouts`` and ``rejected`` (leases not granted: timed out, or too many callers waiting), ``created``
        (connections), ``closed_error``, ``closed_idle``, ``closed_lifetime``, ``closed_stale`` (closed while idle, or
        did not answer a ping), ``closed_evicted``, ``closed_faces`` and ``closed_clock`` (not usable for another
        stream), ``closed_pool``, ``reconnects`` (requests whose stream moved to another connection), ``replays`` and
        ``replayed_bytes``, ``skipped`` (unsolicited messages, such as heartbeats), ``evicted_streams`` (named streams
        that lost their window to a limit).
        Current values: ``busy``, ``idle``, ``waiting``, ``leases``, ``streams``, ``stream_bytes`` (memory of the named
        streams' windows). ``wait_seconds`` is the sum of all waits for a lease.
        """
        return self._state().stats()

    @property
    def closed(self) -> bool:
        """Whether the pool is closed in this process."""
        return self._state().closing

    def close(self, timeout: float = 5.0) -> None:
        """Close the pool: refuse new calls, fail waiting callers, and abort calls that run longer than ``timeout``.

        Args:
            timeout: Seconds.

        Raises:
            InputError: ``timeout`` is invalid.
        """
        self._state().close(to_seconds("timeout", timeout))

    def abort(self) -> None:
        """Close the pool at once, without close frames: running calls fail with `PoolClosed` or `ConnectionLost`.

        May be called from any thread, and by a signal handler. Idempotent. Leaving the ``with`` block by Ctrl-C, or
        another exception that is not an ``Exception``, calls this.
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
            self._state().close(0.0)  # interrupted by a signal: do not wait
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
            # setdefault is atomic: two threads that come here at once get the same state.
            fresh = PoolState(self._settings)
            state = self._states.setdefault(pid, fresh)
            if state is fresh:
                for other in [other for other in self._states if other != pid]:
                    self._states.pop(other).release_after_fork(hooked=False)
                weakref.finalize(self, _on_garbage_collected, state)
        return state


class LeaseContext:
    """The context manager of a lease: entering acquires it, leaving releases it."""

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
            frame = frame.f_back  # errors should name the caller of an ExitStack, not the ExitStack
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
                self._socket.close()  # interrupted by a signal: repeat
                raise


class PooledProvider(ConnectionProvider):
    """The provider of a leased socket. When it is garbage-collected with its socket, the lease is released."""

    __slots__ = ("_lease", "_pool", "_state")

    def __init__(self, pool: StreamPool, state: PoolState, lease: Lease) -> None:
        self._pool = pool  # kept alive while one of its sockets is in use
        self._state = state
        self._lease = lease
        self.lock = lease.lock
        self.breaker = state.breaker

    def __del__(self) -> None:
        lease = getattr(self, "_lease", None)  # none if a signal interrupted __init__
        if lease is not None and lease.active:  # a finaliser may run anywhere, so it takes no lock
            lease.abandoned = True
            self._state.abandoned.append(lease)

    @property
    def closing(self) -> bool:
        """Whether the pool no longer opens connections, so that nothing is retried."""
        return not self._state.accepts_connects

    def before_call(self) -> None:
        """Raise `MisuseError` or `PoolClosed` if no call may begin."""
        state = self._state
        if state.pid != os.getpid():
            raise MisuseError("this lease was taken before the process was forked: take one in the child")
        if self._lease.has_pending:
            state.check_lease(self._lease)

    def after_call(self) -> None:
        """Process what became pending during the call."""
        if self._lease.has_pending:
            self._state.process_pending(self._lease)

    def acquire(self, deadline: Deadline) -> Connection:
        """Return the lease's own connection if it is as it was left, else one from the pool."""
        lease = self._lease
        connection = lease.connection
        if (
            connection is not None
            and connection.usable
            and connection.is_quiet()
            and self._state.settings.limits.is_fresh(connection)
        ):
            return connection  # fast path
        return self._state.connection_for(lease, self, deadline)

    def wait(self, delay: float) -> None:
        """Wait before a retry; raise `PoolClosed` as soon as the pool is closed."""
        self._state.wait(delay)

    def add_stats(self, **changes: float) -> None:
        """Add to the pool's statistics."""
        self._state.add_stats(**changes)

    def close(self, timeout: float) -> None:
        """Release the lease, from any thread."""
        if self._state.pid == os.getpid():
            self._state.release(self._lease)


def _check_stream_name(key: object) -> None:
    try:
        hash(key)
    except TypeError:
        raise InputError(f"stream must be a hashable key, got {type(key).__name__}") from None


def _on_garbage_collected(state: PoolState) -> None:
    """Warn about a pool that was not closed, and close its connections without waiting."""
    dropped = state.drop()
    if dropped:  # last, since a filter may turn the warning into an error
        warnings.warn("a StreamPool was not closed", ResourceWarning, stacklevel=1)
