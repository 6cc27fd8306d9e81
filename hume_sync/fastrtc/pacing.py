"""When the messages of a sound are sent, and how long that may take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ..errors import Timeout
from ..net.clock import monotonic
from ..net.deadline import Deadline
from .reconnecting import ReconnectingTransport

__all__ = ["FRAMES", "Pacing"]

FRAMES: Final = 50
"""Messages a second, where a sound is sent as it plays."""

_LATE: Final = 0.5
"""Seconds a sound may be late before the time is lost, and not made up for in a burst: its source has paused."""


class Pacing:
    """The time of one call that sends audio.

    Args:
        line: what it is sent on.
        sample_rate: of the messages.
        deadline: of the call.
        grows: whether the call may take as long as the sound plays besides.
        paced: whether each message is sent only once those before it have played.
    """

    def __init__(
        self, line: ReconnectingTransport, sample_rate: int, deadline: Deadline, *, grows: bool, paced: bool
    ) -> None:
        self._line = line
        self._sample_rate = sample_rate
        self._deadline = deadline
        self._grows = grows
        self._paced = paced

    def check(self) -> None:
        """Raise `Timeout` where no time is left, and `MisuseError` where the session was closed."""
        self._line.check()
        if self._deadline.expired():
            raise Timeout("no time left while audio was read, converted or waited for", phase="send")

    def time(self, messages: Iterable[bytes]) -> Iterator[tuple[bytes, Deadline]]:
        """Yield messages when they are due, each with the deadline of sending it; raises as `check` does."""
        due = monotonic()
        for samples in messages:
            seconds = len(samples) / 2 / self._sample_rate
            if self._grows:
                self._deadline = self._deadline.extended_by(seconds)
            if self._paced:
                now = monotonic()
                if now > due + _LATE:
                    due = now
                if now < due:
                    self._line.sleep(min(due - now, self._deadline.remaining()))
                due += seconds
            self.check()
            yield samples, self._deadline
