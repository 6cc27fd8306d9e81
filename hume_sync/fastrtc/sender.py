"""Sending audio: which audio makes a question, how far the server has got with it, and at what pace it is sent."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..errors import HumeClientException, Timeout
from ..net.clock import monotonic
from ..net.deadline import Deadline
from ..net.interrupts import from_outside
from ..net.tracebacks import clear_locals
from .audio import pieces
from .transport import Mark, ReconnectingTransport, Transport

__all__ = ["MESSAGE_RATE", "AudioSender", "SendSchedule", "trailing_quiet"]

MESSAGE_RATE: Final = 50
"""Messages a second where audio is sent in real time."""

_MAX_LATENESS: Final = 0.5
"""Seconds that audio may be late. If its source has paused for longer, the pause is not made up for in a burst."""

_QUESTION_GAP: Final = 0.5
"""Seconds without audio after which the next audio begins a new question."""

_QUIET: Final = 500
"""Amplitude (of 32768) below which audio is not speech."""

_BLOCK: Final = 320
"""Samples that are checked for quiet together."""


class SendSchedule:
    """The deadlines and the pace of one call that sends audio.

    Args:
        connection: The transport to send on.
        sample_rate: The rate of the audio in Hz.
        deadline: The deadline of the call.
        extend: Whether the call may also take as long as the audio plays.
        paced: Whether to send each message only once the earlier ones have played.
    """

    def __init__(
        self, connection: ReconnectingTransport, sample_rate: int, deadline: Deadline, *, extend: bool, paced: bool
    ) -> None:
        self._connection = connection
        self._sample_rate = sample_rate
        self._deadline = deadline
        self._extend = extend
        self._paced = paced

    def check(self) -> None:
        """Raise `Timeout` if the deadline has passed, and `MisuseError` if the session was closed."""
        self._connection.check()
        if self._deadline.expired():
            raise Timeout("timed out while audio was read, converted or waited for", phase="send")

    def schedule(self, messages: Iterable[bytes]) -> Iterator[tuple[bytes, Deadline]]:
        """Yield each message when it is due, with the deadline for sending it. Raises as `check`."""
        due = monotonic()
        for samples in messages:
            seconds = len(samples) / 2 / self._sample_rate
            if self._extend:
                self._deadline = self._deadline.extended_by(seconds)
            if self._paced:
                now = monotonic()
                if now > due + _MAX_LATENESS:
                    due = now
                if now < due:
                    self._connection.sleep(min(due - now, self._deadline.remaining()))
                due += seconds
            self.check()
            yield samples, self._deadline


class AudioSender:
    """Sends audio and numbers it, so that a reply can be matched to its question. One thread sends at a time.

    A question begins with the first audio after the ``end`` of another one, after a gap, or on a new connection.

    Attributes:
        number: The number of the audio sent last; 0: none was sent.
        transport: The transport it was sent on; None once the loss of that was reported.
    """

    def __init__(self, connection: ReconnectingTransport, sample_rate: int) -> None:
        self._connection = connection
        self._sample_rate = sample_rate
        self._idle_since = -math.inf  # when all audio that was sent will have been played
        self.number = 0
        self.transport: Transport | None = None
        self._sent = 0  # bytes of this audio
        self._quiet = 0  # quiet bytes at its end

    def send(self, audio: Any, silence: float, deadline: Deadline, *, extend: bool, pace: bool = False) -> None:
        """Send audio, followed by silence, which ends the question.

        Args:
            audio: See `Session.send_audio`.
            silence: Seconds of silence. 0: none, and the question may continue.
            deadline: The deadline of the call.
            extend: Whether the call may also take as long as the audio plays.
            pace: Whether to send it in real time.
        """
        paced = pace and not self._connection.transport.real_time
        pacing = SendSchedule(self._connection, self._sample_rate, deadline, extend=extend, paced=paced)
        limit = {"most": self._sample_rate // MESSAGE_RATE} if paced else {}
        try:
            messages = pieces(audio, self._sample_rate, silent=silence, check=pacing.check, **limit)
            with contextlib.closing(messages):
                self._send_all(pacing.schedule(messages), ends=silence > 0)
        except BaseException as exc:
            clear_locals(exc, generators=True)
            raise

    def _send_all(self, messages: Iterable[tuple[bytes, Deadline]], *, ends: bool) -> None:
        """Send all messages on one transport. An error raised by their iterator is not one of the connection."""
        transport: Transport | None = None
        deadline = Deadline(0.0)
        iterator = iter(messages)
        while True:
            try:
                message = next(iterator, None)
            except BaseException:
                if transport is not None:
                    _mark_partial(transport, self.number)
                raise
            if message is None:
                break
            samples, deadline = message
            if transport is None:
                transport = self._connection.transport
                self._connection.call(functools.partial(self._begin, deadline=deadline), deadline, transport=transport)
            send = functools.partial(self._send_samples, samples=samples, deadline=deadline)
            self._connection.call(send, deadline, transport=transport)
        if transport is not None:
            finish = functools.partial(self._finish, deadline=deadline, ends=ends)
            self._connection.call(finish, deadline, transport=transport)

    def _begin(self, transport: Transport, deadline: Deadline) -> None:
        is_new_question = self.transport is not transport or monotonic() - self._idle_since > _QUESTION_GAP
        self.transport = transport
        self.number += 1
        self._sent = self._quiet = 0
        if is_new_question:
            transport.send_mark(Mark(self.number, begins=True), deadline)

    def _send_samples(self, transport: Transport, samples: bytes, deadline: Deadline) -> None:
        try:
            transport.send_audio(samples, deadline)
        except Timeout as exc:
            if not from_outside(exc):
                _mark_partial(transport, self.number)
            raise
        if transport.real_time:
            quiet = trailing_quiet(samples)
            self._quiet = quiet if quiet < len(samples) else self._quiet + quiet
            self._sent += len(samples)

    def _finish(self, transport: Transport, deadline: Deadline, ends: bool) -> None:
        if self._quiet < self._sent:  # not all of it was quiet
            transport.send_mark(Mark(self.number, quiet=True), deadline, before=self._quiet)
        transport.send_mark(Mark(self.number), deadline)
        self._idle_since = -math.inf if ends else monotonic() + transport.queued_seconds


def trailing_quiet(samples: bytes) -> int:
    """Return the bytes of quiet at the end of the samples, in whole blocks."""
    values = memoryview(samples).cast("h")
    end = len(values)
    while end > 0:
        block = values[max(0, end - _BLOCK) : end]
        if max(block) > _QUIET or min(block) < -_QUIET:
            break
        end -= len(block)
    return 2 * (len(values) - end)


def _mark_partial(transport: Transport, number: int) -> None:
    """Mark the end of audio that was sent in part, ignoring failures."""
    try:
        transport.send_mark(Mark(number), Deadline(0.0))
    except HumeClientException as exc:
        if from_outside(exc):
            raise
