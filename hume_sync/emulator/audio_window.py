"""The sliding audio window of a connection."""

from __future__ import annotations

from fractions import Fraction

from attrs import evolve, frozen

from ..reprs import safe_repr
from .clips import Clip

MAX_SECONDS = Fraction(10)
"""Seconds of audio kept: the longest window a request may ask for."""


@safe_repr
@frozen
class WindowView:
    """The audio that a model sees.

    Attributes:
        clips: The audio, oldest first.
        begin: Its start on the connection's clock, in seconds.
        end: Its end on the connection's clock, in seconds.
    """

    clips: tuple[Clip, ...]
    begin: Fraction
    end: Fraction

    @property
    def peak(self) -> float:
        """Return the loudest sample as a fraction of full scale."""
        return max((clip.peak for clip in self.clips), default=0.0)


@safe_repr
@frozen
class AudioWindow:
    """The audio that a connection has received.

    Attributes:
        history: The most recent audio, up to `MAX_SECONDS`.
        clock: Seconds of audio received since the connection was opened.
    """

    history: tuple[Clip, ...] = ()
    clock: Fraction = Fraction(0)

    def append(self, clip: Clip, width: Fraction, *, whole: bool = True) -> tuple[AudioWindow, WindowView]:
        """Return the window with ``clip`` added, and the view of ``width`` seconds that ends with it.

        The view is the clip, preceded by as much of the history as fits; the official reference gives examples.

        Args:
            clip: The new audio.
            width: The length of the view in seconds.
            whole: Whether a clip longer than ``width`` is seen whole, and not only its end.
        """
        seen = clip if whole else clip.last(width)
        context = _last(self.history, width - seen.seconds)
        end = self.clock + clip.seconds
        clips = (*context, seen)
        view = WindowView(clips, end - _length(clips), end)
        return AudioWindow(_last((*self.history, clip), MAX_SECONDS), end), view

    def reset(self, *, clock: bool = False) -> AudioWindow:
        """Return the window without its history; with ``clock``, the clock restarts at zero as well."""
        return AudioWindow() if clock else evolve(self, history=())


def _length(clips: tuple[Clip, ...]) -> Fraction:
    return sum((clip.seconds for clip in clips), Fraction(0))


def _last(clips: tuple[Clip, ...], seconds: Fraction) -> tuple[Clip, ...]:
    kept: list[Clip] = []
    for clip in reversed(clips):
        end = clip.last(max(Fraction(0), seconds))
        if end.seconds:
            kept.append(end)
        if end is not clip:
            break  # shortened, so older audio is no longer adjacent to it
        seconds -= end.seconds
    return tuple(reversed(kept))
