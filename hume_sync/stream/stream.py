"""A stream: the caller's state, which outlives the connections that serve it."""

from __future__ import annotations

from fractions import Fraction

from .connection import Connection
from .window import StreamWindow

__all__ = ["Stream"]

_ZERO = Fraction(0)


class Stream:
    """One continuous recording: its window and its audio clock. Guarded by the lock of its socket.

    Args:
        window_ms: The length of the server's window; None for its default.
        preserve: Whether to keep the window, so that it can be replayed.
    """

    __slots__ = (
        "__weakref__", "_window", "_window_ms", "audio_clock", "connection", "context_lost", "preserves", "sent",
        "token",
    )  # fmt: skip

    def __init__(self, window_ms: float | None = None, *, preserve: bool = True) -> None:
        self._window_ms = window_ms
        self.preserves = preserve
        """Whether the window is kept, so that it can be replayed."""
        self._window: StreamWindow | None = None  # created on first use: text and landmarks need none
        self.context_lost = False
        """Whether the window was dropped while idle; the next audio is then measured without context."""
        self.audio_clock: Fraction | None = _ZERO
        """Seconds of audio accepted; None after audio of unknown length."""
        self.token = object()
        """The name by which connections know this stream."""
        self.connection: Connection | None = None
        """The connection used last; None if no server knows the stream."""
        self.sent = 0
        """Requests sent on the current lease; added to the statistics at its release, without replays."""

    @property
    def window(self) -> StreamWindow:
        """The audio to replay on a new connection."""
        if self._window is None:
            self._window = StreamWindow(self._window_ms, preserve=self.preserves)
            if self.context_lost:
                self._window.mark_lost()  # so that the next reply to audio says "cold"
                self.context_lost = False
        return self._window

    @property
    def memory(self) -> int:
        """Approximate bytes of memory that the window takes."""
        return 0 if self._window is None else self._window.memory

    def drop_window(self) -> None:
        """Free the window and forget the connections; the audio clock continues."""
        if self._window is not None:
            self.context_lost = self._window.has_context
            self._window = None
        self.token = object()
        self.connection = None

    def restart(self) -> None:
        """Begin a new stream, unknown to all connections."""
        self._window = None
        self.context_lost = False
        self.audio_clock = _ZERO
        self.token = object()

    @property
    def epoch(self) -> int | None:
        """The number of the connection used last; None if it is no longer usable."""
        connection = self.connection
        return connection.epoch if connection is not None and connection.usable else None

    def needs_replay_on(self, connection: Connection) -> bool:
        """Return whether the stream has context that this connection's server does not know."""
        return bool(self._window) and not connection.server_state.holds(self.token)
