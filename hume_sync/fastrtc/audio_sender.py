"""What is said to a handler: which audio makes a question, and how far the server has got with it."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterable
from typing import Any

from ..errors import HumeClientException, Timeout
from ..net.clock import monotonic
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.tracebacks import clear_locals
from .audio import pieces
from .pacing import FRAMES, Pacing
from .reconnecting import ReconnectingTransport
from .transport import Spoken, Transport

__all__ = ["AudioSender"]

_GAP = 0.5
"""Seconds without audio to send, after which what is sent begins a new question."""

_QUIET = 500
"""What is quieter is no speech; of 32768."""

_BLOCK = 320
"""Samples that are looked at together."""


class AudioSender:
    """Sends audio, and numbers it, so that it is known what an answer answers. One thread sends at a time.

    A question begins with the first audio behind the ``end`` of another, behind a gap, or on a new connection.
    """

    def __init__(self, line: ReconnectingTransport, sample_rate: int) -> None:
        self._line = line
        self._sample_rate = sample_rate
        self._quiet_since = -math.inf  # when all that was sent has been spoken
        self.number = 0
        """Of the audio sent last; 0: none was."""
        self.link: Transport | None = None
        """The connection it was sent on, unless its loss was told of since."""
        self._sent = 0  # bytes of this audio
        self._quiet = 0  # of them at the end

    def say(self, audio: Any, silence: float, deadline: Deadline, *, grows: bool, pace: bool = False) -> None:
        """Send audio, and then silence, with which the question ends.

        Args:
            audio: see `Session.send_audio`.
            silence: seconds of it. 0: none; the question may go on.
            deadline: of the call.
            grows: whether the call may take as long as the audio plays besides.
            pace: whether it is sent in real time.
        """
        paced = pace and not self._line.link.real_time
        pacing = Pacing(self._line, self._sample_rate, deadline, grows=grows, paced=paced)
        most = {"most": self._sample_rate // FRAMES} if paced else {}
        try:
            coming = pieces(audio, self._sample_rate, silent=silence, check=pacing.check, **most)
            with contextlib.closing(coming) as messages:
                self._send_all(pacing.time(messages), ends=silence > 0)
        except BaseException as exc:
            clear_locals(exc, generators=True)
            raise

    def _send_all(self, messages: Iterable[tuple[bytes, Deadline]], *, ends: bool) -> None:
        """Send messages. What their iterator raises is no error of the connection, whatever it looks like."""
        link: Transport | None = None  # all of it goes there, or nowhere
        deadline = Deadline(0.0)
        coming = iter(messages)
        while True:
            try:
                message = next(coming, None)
            except BaseException:
                if link is not None:
                    _mark_in_spite(link, self.number)
                raise
            if message is None:
                break
            samples, deadline = message
            if link is None:
                link = self._line.link
                self._line.use(functools.partial(self._begin, deadline=deadline), deadline, link=link)
            self._line.use(functools.partial(self._send, samples=samples, deadline=deadline), deadline, link=link)
        if link is not None:
            self._line.use(functools.partial(self._finish, deadline=deadline, ends=ends), deadline, link=link)

    def _begin(self, link: Transport, deadline: Deadline) -> None:
        begins = self.link is not link or monotonic() - self._quiet_since > _GAP
        self.link = link
        self.number += 1
        self._sent = self._quiet = 0
        if begins:
            link.mark(Spoken(self.number, begins=True), deadline)

    def _send(self, link: Transport, samples: bytes, deadline: Deadline) -> None:
        try:
            link.send_audio(samples, deadline)
        except Timeout as exc:
            if not from_outside(exc):
                _mark_in_spite(link, self.number)
            raise
        if link.real_time:
            quiet = quiet_end(samples)
            self._quiet = quiet if quiet < len(samples) else self._quiet + quiet
            self._sent += len(samples)

    def _finish(self, link: Transport, deadline: Deadline, ends: bool) -> None:
        if self._quiet < self._sent:  # else all of it was quiet
            link.mark(Spoken(self.number, quiet=True), deadline, before=self._quiet)
        link.mark(Spoken(self.number), deadline)
        self._quiet_since = -math.inf if ends else monotonic() + link.backlog


def quiet_end(samples: bytes) -> int:
    """The bytes of quiet at the end of it, in whole blocks."""
    values = memoryview(samples).cast("h")
    end = len(values)
    while end > 0:
        block = values[max(0, end - _BLOCK) : end]
        if max(block) > _QUIET or min(block) < -_QUIET:
            break
        end -= len(block)
    return 2 * (len(values) - end)


def _mark_in_spite(link: Transport, number: int) -> None:
    """Of what was sent in part it is known, too, when the server has got to its end."""
    try:
        link.mark(Spoken(number), Deadline(0.0))
    except HumeClientException as exc:
        if from_outside(exc):
            raise
