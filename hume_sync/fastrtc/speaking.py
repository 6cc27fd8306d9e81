"""What is said to a handler: which audio makes a question, and how far the server has got with it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..errors import HumeClientException, Timeout
from ..net.clock import monotonic
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from .line import Line
from .link import Link, Spoken

__all__ = ["Speaker"]

_GAP = 0.5
"""Seconds without audio to send, after which what is sent begins a new question."""


class Speaker:
    """Sends audio, and numbers it, so that it is known what an answer answers. One thread sends at a time.

    A question begins with the first audio behind the ``end`` of another, behind a gap, or on a new connection.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._quiet_since = -math.inf  # when all that was sent has been spoken
        self.number = 0
        """Of the audio sent last; 0: none was."""
        self.link: Link | None = None
        """The connection it was sent on, unless its loss was told of since."""

    def say(self, pieces: Iterable[bytes], deadline: Deadline, *, ends: bool) -> None:
        """Send these; ``ends``: with them the question ends."""

        def say(link: Link) -> None:
            begins = self.link is not link or monotonic() - self._quiet_since > _GAP
            self.link = link
            self.number += 1
            if begins:
                link.mark(Spoken(self.number, begins=True), deadline)
            try:
                for samples in pieces:
                    link.send_audio(samples, deadline)
            except Timeout as exc:
                if not from_outside(exc):
                    _mark_in_spite(link, self.number)
                raise
            link.mark(Spoken(self.number), deadline)
            self._quiet_since = -math.inf if ends else monotonic() + link.backlog

        self._line.use(say, deadline)


def _mark_in_spite(link: Link, number: int) -> None:
    """Of what was sent in part it is known, too, when the server has got to its end."""
    try:
        link.mark(Spoken(number), Deadline(0.0))
    except HumeClientException as exc:
        if from_outside(exc):
            raise
