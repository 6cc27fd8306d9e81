"""What a session needs of its connection, be it a WebSocket or WebRTC."""

from __future__ import annotations

from typing import Protocol

from ..net.deadline import Deadline
from .events import Event

__all__ = ["Link"]


class Link(Protocol):
    """A connection that the server has registered. All but `abort` and `receive` are for one thread at a time."""

    webrtc_id: str
    """The name under which hooks and outputs know this connection: a uuid4 for each connection."""

    def send_audio(self, samples: bytes, deadline: Deadline) -> None:
        """Send audio (s16le, mono, at the handler's input rate), waiting for room where that is to be waited for.

        Raises:
            Timeout, ConnectionLost: it may have been sent in part.
        """

    def receive(self, deadline: Deadline) -> Event | None:
        """The next event; None once the deadline has passed.

        Raises:
            ConnectionLost: the connection has ended, and all that came before has been received. ``close_code`` 1000:
                the server has ended it.
            InboxOverflow: more came than was fetched.
        """

    def close(self, timeout: float) -> None:
        """End the connection in order where the server plays along, at most so many seconds long. Idempotent."""

    def abort(self) -> None:
        """From any thread: end it at once."""
