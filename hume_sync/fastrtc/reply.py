"""What came of one turn."""

from __future__ import annotations

import os

import attrs

from ..reprs import safe_repr
from .audio import write_wav
from .events import Custom, ErrorMessage, Event

__all__ = ["Reply"]

_LINES = 10
"""Of a reply that is printed, at most."""


@safe_repr
@attrs.frozen
class Reply:
    """The answer to a question, or a greeting."""

    audio: bytes = attrs.field(repr=lambda audio: f"<{len(audio)} bytes>")
    """s16le, mono. Empty where the handler answers without audio, by outputs alone."""
    sample_rate: int
    messages: tuple[Event, ...]
    """All that was no audio, in the order it came."""
    complete: bool
    """Whether all that was announced has come, and then nothing for ``idle`` seconds. False: time was up before, the
    next turn began, the connection ended, or the handler has failed (``error``). (One that has died without a word
    looks like one that pauses, until it is noticed: over WebSocket after the client's ``patience``, over WebRTC after
    40 s at most.)"""

    @property
    def seconds(self) -> float:
        """How long its audio plays."""
        return len(self.audio) / 2 / self.sample_rate

    @property
    def error(self) -> str | None:
        """What the handler says of its failure. Over WebSocket servers do not tell of one."""
        return next((event.text for event in reversed(self.messages) if isinstance(event, ErrorMessage)), None)

    @property
    def text(self) -> str:
        """Texts among the application's own messages (`Custom`), a line each; outputs come by `Session.outputs`."""
        return "\n".join(
            event.data for event in self.messages if isinstance(event, Custom) and isinstance(event.data, str)
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write its audio as a WAV file.

        Raises:
            OSError: the file cannot be written.
        """
        write_wav(path, self.audio, self.sample_rate)

    def __str__(self) -> str:
        """Itself in a few lines: its length, and its messages, those that repeat each other once."""
        lines: list[tuple[str, int]] = []
        for event in self.messages:
            line = repr(event)
            if lines and lines[-1][0] == line:
                lines[-1] = (line, lines[-1][1] + 1)
            else:
                lines.append((line, 1))
        shown = [line if count == 1 else f"{line} x {count}" for line, count in lines]
        shown = [line if len(line) <= _WIDTH else f"{line[:_WIDTH]}..." for line in shown]
        if len(shown) > _LINES - 1:
            shown[_LINES - 2 :] = [f"... and {len(shown) - _LINES + 2} more"]
        what = "" if self.complete else ", incomplete"
        return "\n".join([f"{self.seconds:.2f} s of audio at {self.sample_rate} Hz{what}", *shown])


_WIDTH = 200
"""Characters of one of its lines, at most."""
