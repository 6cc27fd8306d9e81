"""The state that a server keeps for one connection: the audio window, the audio clock and the known faces."""

from __future__ import annotations

from fractions import Fraction

from .duration import Length

__all__ = ["ServerState", "add_length"]


class ServerState:
    """What the server remembers for one connection, as far as its replies tell.

    Streams are named by their tokens, so that a connection does not keep a stream's media alive.
    """

    __slots__ = ("_position", "_window_token", "audio_clock", "faces_token", "has_audio")

    def __init__(self) -> None:
        self._window_token: object | None = None  # the stream whose audio fills the window; None: unknown, or none
        self._position = 0  # of that stream's last payload in the window
        self.has_audio = False
        """Whether audio was ever sent; without it the server's window is known to be empty."""
        self.audio_clock: Fraction | None = Fraction(0)
        """Seconds of audio that the server has counted; None after audio of unknown length."""
        self.faces_token: object | None = None
        """The stream whose faces the server identifies; no reset clears them."""

    def holds(self, token: object) -> bool:
        """Return whether the window is known to hold audio of this stream alone."""
        return self._window_token is token

    def position(self, token: object) -> int | None:
        """Return the position in this stream that the window has reached; None if it does not hold the stream."""
        return self._position if self._window_token is token else None

    def set_position(self, token: object, position: int) -> None:
        """Record that the window holds the stream up to this position."""
        self._position = position
        self._window_token = token

    def mark_window_unknown(self) -> None:
        """Record that the content of the window is no longer known."""
        self._window_token = None

    def record_audio(self, token: object, position: int, length: Length | None) -> None:
        """Record that the server has accepted a payload of audio."""
        self.audio_clock = add_length(self.audio_clock, length)
        self.has_audio = True
        self.set_position(token, position)


def add_length(clock: Fraction | None, length: Length | None) -> Fraction | None:
    """Advance an audio clock; None if the clock or the length is unknown."""
    return None if clock is None or length is None else clock + length.seconds
