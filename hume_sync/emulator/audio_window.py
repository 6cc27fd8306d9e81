"""The sliding window over the audio of one connection."""

from __future__ import annotations

from fractions import Fraction

from attrs import evolve, frozen

from ..reprs import safe_repr
from .clips import Clip

LONGEST = Fraction(10)
"""Seconds of audio worth keeping: the longest window a request may ask for."""


@safe_repr
@frozen
class WindowView:
    """What an audio model sees: clips, and the seconds of the connection's clock they begin and end at."""

    clips: tuple[Clip, ...]
    begin: Fraction
    end: Fraction

    @property
    def peak(self) -> float:
        """The loudest sample, as a part of full scale."""
        return max((clip.peak for clip in self.clips), default=0.0)


@safe_repr
@frozen
class AudioWindow:
    """Audio a connection has received: its recent end, and the seconds received since it was opened."""

    history: tuple[Clip, ...] = ()
    clock: Fraction = Fraction(0)

    def push(self, clip: Clip, width: Fraction, *, whole: bool = True) -> tuple[AudioWindow, WindowView]:
        """Return the window after ``clip``, and the view of ``width`` seconds that ends with it.

        The view is the end of the history, as far as there is room, and the clip; the official reference
        gives the examples. A clip longer than ``width`` is seen whole, or without ``whole`` its end only.
        """
        seen = clip if whole else clip.last(width)
        context = _last(self.history, width - seen.seconds)
        end = self.clock + clip.seconds
        clips = (*context, seen)
        view = WindowView(clips, end - _length(clips), end)
        return AudioWindow(_last((*self.history, clip), LONGEST), end), view

    def reset(self, *, clock: bool = False) -> AudioWindow:
        """Return the window without its history, and with ``clock`` at zero again."""
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
            break  # cut: what is older would no longer join on to it
        seconds -= end.seconds
    return tuple(reversed(kept))
