"""What an event means to a turn, by what is known of the handler."""

from __future__ import annotations

from typing import Final

from .events import AudioChunk, EndStream, ErrorMessage, Event, LogMessage
from .states import Kind, State

__all__ = ["Kinds"]

_MARKS: Final = {
    "started_talking": Kind.TALKING,
    "pause_detected": Kind.PAUSE,
    "response_starting": Kind.ANNOUNCEMENT,
}

_HELD_BACK: Final = 6
"""Frames of an interrupted answer that come behind the next announcement: the five that aiortc keeps until others push
them out (see `rtcaudio.TrackFilter`), and one that was on its way."""


class Kinds:
    """Tells events apart, and remembers which marks the handler of this connection sets.

    Audio is *stale*, made before the answer, where it comes before the pause, and the handler tells of pauses; where it
    comes before the announcement, and the handler announces; and where it is what aiortc has held back since before the
    pause. (Over WebRTC messages overtake audio.)

    Args:
        real_time: see `Transport`.
    """

    def __init__(self, *, real_time: bool) -> None:
        self._real_time = real_time
        self._marks: set[Kind] = set()
        self._overtaken = 0  # frames to come, at most, that were spoken before the pause

    @property
    def tells_of_turns(self) -> bool:
        """Whether the handler has ever set a mark."""
        return bool(self._marks)

    def of(self, event: Event, state: State, *, has_audio: bool) -> Kind:
        """Return the kind of an event that comes in this state, behind audio of the answer or not."""
        match event:
            case AudioChunk():
                return Kind.STALE if self._is_stale(event, state) else Kind.AUDIO
            case LogMessage(text) if text in _MARKS:
                self._marks.add(_MARKS[text])
                return _MARKS[text]
            case ErrorMessage():
                return Kind.ERROR
            case EndStream() if self._real_time and not has_audio:
                return Kind.END
        return Kind.OTHER

    def answer_announced(self) -> None:
        """The first announcement behind a pause has come: what came since that pause was of an interrupted answer."""
        if self._overtaken:
            self._overtaken = _HELD_BACK

    def answer_cut(self) -> None:
        """An answer was announced, and is over before any of it came: it may be so short that all is held back."""
        if self._real_time:
            self._overtaken = 1

    def _is_stale(self, chunk: AudioChunk, state: State) -> bool:
        match state:
            case State.ASKED:
                return chunk.delayed or self.tells_of_turns
            case State.PAUSED if Kind.ANNOUNCEMENT in self._marks:
                self._overtaken = 1 if self._real_time else 0
                return True
            case State.PAUSED | State.ANNOUNCED:
                is_stale = chunk.delayed or self._overtaken > 0
                self._overtaken = 0 if chunk.delayed else max(0, self._overtaken - 1)
                return is_stale
        return False
