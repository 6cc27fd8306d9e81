"""What a session needs of its connection, be it a WebSocket or WebRTC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from ..errors import HumeClientException
from ..net.deadline import Deadline
from ..net.pending import Watch
from ..reprs import safe_repr
from .events import Event

__all__ = ["Connect", "Sleep", "Spoken", "Transport"]

Sleep = Callable[[float], None]
"""Waits that many seconds, or raises where waiting has become pointless."""


@safe_repr
@attrs.frozen
class Spoken:
    """A place in what was sent, which the server has got to: it is received among the events, in order with them."""

    number: int
    """Of the audio, counted by `Session`."""
    begins: bool = False
    """Whether this is the place before it, where a new question begins; else the one behind it."""
    quiet: bool = False
    """Whether this is the place in it behind which all is quiet. (Told over WebRTC alone.)"""


class Transport(Protocol):
    """A connection that the server has registered. One thread sends and one receives; the rest is for any."""

    webrtc_id: str
    """The name under which hooks and outputs know this connection: a uuid4 for each connection."""

    @property
    def real_time(self) -> bool:
        """How audio goes. False: as fast as it can, in the pieces that the handler yields, each of them announced.
        True: as it sounds, in frames, of which the announcements tell nothing; and there a handler's error is told.
        """

    @property
    def backlog(self) -> float:
        """Seconds of audio that was sent and is still to be spoken. (0 where it goes as fast as it can.)"""

    @property
    def ended(self) -> HumeClientException | None:
        """What has ended the connection; None while it lives. What came before may still wait to be received."""

    def send_audio(self, samples: bytes, deadline: Deadline) -> None:
        """Send audio (s16le, mono, at the handler's input rate), waiting for room where that is to be waited for.

        Raises:
            Timeout, ConnectionLost: it may have been sent in part.
        """

    def send(self, message: str | bytes, deadline: Deadline) -> None:
        """Send a message of the application's own: a str as text, bytes as a binary message. From any thread.

        Raises:
            InputError: it is larger than the server takes.
            Timeout: no room in time; nothing of it is sent.
            ConnectionLost: the connection has ended.
        """

    def mark(self, place: Spoken, deadline: Deadline, *, before: int = 0) -> None:
        """Have `receive` give this once the server has got as far as what was sent until now.

        Over WebSocket that is proven by an answer of the server's. Over WebRTC it has been spoken, and the server hears
        it a moment later.

        Args:
            place: see there.
            deadline: of sending it.
            before: bytes of samples, as they were sent, that the place is in front of. Only where it goes in real time.

        Raises:
            Timeout, ConnectionLost: as `send_audio`.
        """

    def receive(self, deadline: Deadline) -> Event | Spoken | None:
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


class Connect(Protocol):
    """Makes a `Transport`."""

    def __call__(self, deadline: Deadline, watch: Watch, sleep: Sleep) -> Transport:
        """Make one before the deadline.

        Args:
            deadline: of all of it.
            watch: told how to interrupt it from another thread.
            sleep: waits between two attempts.
        """
