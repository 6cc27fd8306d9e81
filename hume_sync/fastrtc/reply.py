"""One turn of a conversation: when a reply is over, which servers do not say."""

from __future__ import annotations

import attrs

from .events import AudioChunk, Event, LogMessage

__all__ = ["Reply", "Turn"]


@attrs.frozen
class Reply:
    """What came of one turn."""

    audio: bytes = attrs.field(repr=lambda audio: f"<{len(audio)} bytes>")
    """s16le, mono."""
    sample_rate: int
    messages: tuple[Event, ...]
    """All that was no audio, in the order it came."""
    complete: bool
    """False: the server announced more pieces of audio than came in time."""

    @property
    def seconds(self) -> float:
        """How long its audio plays."""
        return len(self.audio) / 2 / self.sample_rate


class Turn:
    """Counts what comes. Servers mark no end: a reply is over once as many pieces of audio have come as were announced
    (`response_starting`), and nothing has come behind them for a while.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._audio: list[bytes] = []
        self._messages: list[Event] = []
        self._announced = 0

    def add(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, AudioChunk):
            self._audio.append(event.samples)
            return
        self._messages.append(event)
        if isinstance(event, LogMessage):
            if event.text == "response_starting":
                self._announced += 1
            elif event.text == "pause_detected":  # a new turn: what the last one had announced was dropped
                self._audio.clear()
                self._announced = 0

    @property
    def heard(self) -> bool:
        """Whether audio has come."""
        return bool(self._audio)

    @property
    def may_be_over(self) -> bool:
        """Whether all that was announced has come."""
        return self.heard and len(self._audio) >= self._announced

    def reply(self) -> Reply:
        """What has come so far."""
        return Reply(b"".join(self._audio), self._sample_rate, tuple(self._messages), self.may_be_over)
