"""Resampling of samples (s16le), and mixing of channels."""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from ..errors import InputError, short_repr
from ..net.extras import loaded_numpy
from ..net.preload import import_optional

__all__ = ["CancelCheck", "Resampler", "check_even", "check_rate", "mix_channels", "no_check", "numpy_for"]

_MIN_RATE: Final = 8000
_MAX_RATE: Final = 192_000

_CROSSINGS: Final = 24
"""Zero crossings of the filter on each side. More make it steeper and slower."""

_CUTOFF: Final = 0.92
"""The -6 dB point of the filter, relative to half the lower rate: its slope begins at 0.85 and ends at 0.99."""

_MAX_PHASES: Final = 1024
"""Positions between two samples for which the filter is computed: enough for nearly all usual rates. For others the
nearest position is used, whose error is smaller than that of mu-law."""

_BLOCK: Final = 2**18
"""Products computed at a time, which limits memory."""

_IMPORT_NUMPY_AT: Final = 2**22
"""Products that take longer than importing numpy: about two seconds of audio."""


CancelCheck = Callable[[], None]
"""Raises to cancel work that takes long."""


def no_check() -> None:
    """Cancel nothing."""


def check_rate(name: str, value: object, least: int = _MIN_RATE, most: int = _MAX_RATE) -> int:
    """Return a sample rate, in Hz: an int, 8000 to 192000 unless other bounds are given.

    Args:
        name: The argument that the error names.
        value: The rate.
        least: The lowest accepted rate.
        most: The highest accepted rate.

    Raises:
        InputError: It is anything else, also a bool or a float.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InputError(f"{name} must be an int, {least} to {most} Hz; got {short_repr(value)}")
    return value


def check_even(name: str, size: int) -> None:
    """Raise `InputError` for an odd number of bytes."""
    if size % 2:
        raise InputError(f"{name} must be 16-bit samples, two bytes each; got {size} bytes, an odd number")


class Resampler:
    """Changes the rate of audio that comes in parts. The result does not depend on how it is divided.

    A filter (sinc, Hamming window) removes what the lower of the rates cannot carry, 50 dB down, so that it does not
    alias. Before and after the audio there is silence. Samples that exceed 16 bits are clipped. With and without numpy
    the samples are the same, except for differences of 1 by rounding.

    Args:
        source: The rate of the input in Hz.
        target: The rate of the output in Hz.
        check: Called repeatedly; what it raises cancels the work.
    """

    def __init__(self, source: int, target: int, check: CancelCheck = no_check) -> None:
        self.source = source
        self._target = target
        self._check = check
        self._rows = _filter(min(1.0, target / source), min(target // math.gcd(source, target), _MAX_PHASES), check)
        taps = len(self._rows[0])
        self._buffer = bytes(taps - 2)  # samples that the next windows need
        self._begin = 0  # position of the first of them, including half a window of silence
        self._received = 0
        self._produced = 0
        self._weights: Any = None  # the rows, for numpy

    def feed(self, samples: bytes) -> Iterator[bytes]:
        """Yield the samples that can be computed with these; the last few need more."""
        self._received += len(samples) // 2
        self._buffer += samples
        phases, taps = len(self._rows), len(self._rows[0])
        behind = self._begin + len(self._buffer) // 2 - taps + 1  # start of the first incomplete window
        made = -((self._target // 2 - behind * phases * self._target) // (self.source * phases))  # see `_start`
        yield from self._produce(max(made, self._produced))

    def end(self) -> Iterator[bytes]:
        """Yield the rest. For n samples, ``round(n * target / source)`` have then been yielded."""
        self._buffer += bytes(len(self._rows[0]) + 2)
        yield from self._produce(round(self._received * self._target / self.source))

    def _start(self, k: int) -> tuple[int, int]:
        """Return where the window of the k-th new sample begins, and the index of its filter row.

        The sample lies at ``k * source / target`` among the old ones.
        """
        phases = len(self._rows)
        return divmod((k * self.source * phases + self._target // 2) // self._target, phases)

    def _produce(self, until: int) -> Iterator[bytes]:
        taps = len(self._rows[0])
        work = until * taps
        weigh = self._convolve if until <= self._produced or numpy_for(work) is None else self._convolve_with_numpy
        step = max(1, _BLOCK // taps)
        while self._produced < until:
            self._check()
            count = min(step, until - self._produced)
            yield weigh(self._produced, count)
            self._produced += count
        done = min(self._start(self._produced)[0] - self._begin, len(self._buffer) // 2)
        if done > 0:
            self._buffer = self._buffer[2 * done :]
            self._begin += done

    def _convolve(self, first: int, count: int) -> bytes:
        taps = len(self._rows[0])
        places = [self._start(k) for k in range(first, first + count)]
        begin, end = places[0][0], places[-1][0] + taps
        part = self._buffer[2 * (begin - self._begin) : 2 * (end - self._begin)]
        old = list(map(float, struct.unpack(f"<{end - begin}h", part)))
        new = [
            round(sum(map(operator.mul, self._rows[phase], old[start - begin : start - begin + taps])))
            for start, phase in places
        ]
        if min(new) < -32768 or max(new) > 32767:
            new = [max(-32768, min(32767, sample)) for sample in new]
        return struct.pack(f"<{len(new)}h", *new)

    def _convolve_with_numpy(self, first: int, count: int) -> bytes:
        numpy = loaded_numpy()
        if self._weights is None:
            self._weights = numpy.array(self._rows)
        phases, taps = self._weights.shape
        # As `_start`, but relative to the first: 64-bit numbers must suffice for audio of any length.
        whole, rest = divmod(first * self.source * phases + self._target // 2, self._target)
        ahead = (numpy.arange(count, dtype=numpy.int64) * (self.source * phases) + rest) // self._target
        starts, places = numpy.divmod(ahead + whole % phases, phases)
        begin = whole // phases - self._begin
        part = self._buffer[2 * begin : 2 * (begin + int(starts[-1]) + taps)]
        windows = numpy.lib.stride_tricks.sliding_window_view(numpy.frombuffer(part, "<i2"), taps)
        sums = numpy.einsum("ij,ij->i", windows[starts].astype(float), self._weights[places])
        rounded: bytes = numpy.rint(sums).clip(-32768, 32767).astype("<i2").tobytes()
        return rounded


def _filter(ratio: float, phases: int, check: CancelCheck) -> list[list[float]]:
    """Return the weights of the old samples around a new one, one row for each position between two of them.

    Row p is for the position p / phases of the way from one to the next. The sum of each row is 1, so that a constant
    is not changed.
    """
    half = math.ceil(_CROSSINGS / ratio)
    rows = []
    for phase in range(phases):
        check()
        row = [_kernel(place - phase / phases, _CUTOFF * ratio, half) for place in range(1 - half, half + 1)]
        total = sum(row)
        rows.append([weight / total for weight in row])
    return rows


def _kernel(distance: float, cutoff: float, half: int) -> float:
    if distance == 0:
        return 1.0
    angle = math.pi * distance
    return math.sin(cutoff * angle) / (cutoff * angle) * (0.54 + 0.46 * math.cos(angle / half))


def numpy_for(work: int) -> Any:
    """Return numpy if it is loaded, or if importing it pays for so many products; else None."""
    numpy = loaded_numpy()
    if numpy is None and work >= _IMPORT_NUMPY_AT:
        return import_optional("numpy")  # a tenth of a second
    return numpy


def mix_channels(samples: bytes, channels: int, *, numpy: Any) -> bytes:
    """Return the mean of interleaved channels, rounded down.

    Args:
        samples: s16le.
        channels: The number of channels.
        numpy: The module; None: do without it.
    """
    if channels == 1:
        return samples
    if numpy is not None:
        frames = numpy.frombuffer(samples, "<i2").reshape(-1, channels)
        mixed: bytes = (frames.sum(axis=1, dtype=numpy.int32) // channels).astype("<i2").tobytes()
        return mixed
    values = struct.unpack(f"<{len(samples) // 2}h", samples)
    each = (values[channel::channels] for channel in range(channels))
    means = [sum(frame) // channels for frame in zip(*each, strict=True)]
    return struct.pack(f"<{len(means)}h", *means)
