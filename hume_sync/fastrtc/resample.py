"""What is done to samples (s16le): their rate is changed, and several channels become one."""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from ..errors import InputError, short_repr
from ..net.extras import loaded_numpy
from ..net.preload import import_optional

__all__ = ["Check", "Resampler", "check_rate", "check_whole", "mix_down", "no_check", "numpy_for"]

_MIN_RATE: Final = 8000
_MAX_RATE: Final = 192_000

_CROSSINGS: Final = 24
"""Zero crossings of the filter on each side: how steep it is, and what it costs."""

_CUTOFF: Final = 0.92
"""Where the filter lets half through, in halves of the lower rate: it begins at 0.85 and has closed at 0.99."""

_MAX_PHASES: Final = 1024
"""Places between two samples that the filter is made for: enough for nearly all usual rates. For others the nearest
place is taken, which is off by less than mu-law is."""

_BLOCK: Final = 2**18
"""Products at a time, so that what lies in between stays small."""

_IMPORT_NUMPY_AT: Final = 2**22
"""Products that take longer than importing numpy: about two seconds of audio."""


Check = Callable[[], None]
"""Raises where work that takes long has become pointless."""


def no_check() -> None:
    """Let any work go on."""


def check_rate(name: str, value: object, least: int = _MIN_RATE, most: int = _MAX_RATE) -> int:
    """The sample rate itself, in Hz: an int, 8000 to 192000 unless other bounds are given.

    Args:
        name: what the error calls it.
        value: the rate to look at.
        least: the lowest that is accepted.
        most: the highest.

    Raises:
        InputError: anything else, bools and floats included.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InputError(f"{name} must be an int, {least} to {most} Hz; got {short_repr(value)}")
    return value


def check_whole(name: str, size: int) -> None:
    """Raise `InputError` for a size in bytes that leaves half a sample."""
    if size % 2:
        raise InputError(f"{name} must be 16-bit samples, two bytes each; got {size} bytes, an odd number")


class Resampler:
    """Changes the rate of a sound that comes in parts: what comes out is the same, however it is divided.

    A filter (sinc, Hamming window) takes out what the lower of the rates cannot carry, 50 dB down, before it comes
    back as another tone. Before and after the sound there is silence. Louder samples than 16 bits hold are clipped.
    With and without numpy the samples are the same, but for a difference of 1 where rounding fell apart.

    Args:
        source: rate of what comes in, Hz.
        target: rate of what goes out.
        check: called again and again meanwhile; what it raises ends the work.
    """

    def __init__(self, source: int, target: int, check: Check = no_check) -> None:
        self.source = source
        self._target = target
        self._check = check
        self._rows = _filter(min(1.0, target / source), min(target // math.gcd(source, target), _MAX_PHASES), check)
        taps = len(self._rows[0])
        self._kept = bytes(taps - 2)  # samples that the windows of what is still to come begin with
        self._begin = 0  # place of the first of them, half a window of silence counted
        self._came = 0
        self._made = 0
        self._weights: Any = None  # the rows, for numpy

    def feed(self, samples: bytes) -> Iterator[bytes]:
        """Yield what can be said once these samples have come; the last few wait for more."""
        self._came += len(samples) // 2
        self._kept += samples
        phases, taps = len(self._rows), len(self._rows[0])
        behind = self._begin + len(self._kept) // 2 - taps + 1  # where the first window begins that is not all there
        made = -((self._target // 2 - behind * phases * self._target) // (self.source * phases))  # see `_start`
        yield from self._make(max(made, self._made))

    def end(self) -> Iterator[bytes]:
        """Yield the rest: ``round(n * target / source)`` samples have then been yielded for n."""
        self._kept += bytes(len(self._rows[0]) + 2)
        yield from self._make(round(self._came * self._target / self.source))

    def _start(self, k: int) -> tuple[int, int]:
        """Where the window of the k-th sample begins, and which row it is weighed by.

        The sample lies at ``k * source / target`` of the old.
        """
        phases = len(self._rows)
        return divmod((k * self.source * phases + self._target // 2) // self._target, phases)

    def _make(self, until: int) -> Iterator[bytes]:
        taps = len(self._rows[0])
        work = until * taps
        weigh = self._weigh if until <= self._made or numpy_for(work) is None else self._weigh_with_numpy
        step = max(1, _BLOCK // taps)
        while self._made < until:
            self._check()
            count = min(step, until - self._made)
            yield weigh(self._made, count)
            self._made += count
        done = min(self._start(self._made)[0] - self._begin, len(self._kept) // 2)
        if done > 0:
            self._kept = self._kept[2 * done :]
            self._begin += done

    def _weigh(self, first: int, count: int) -> bytes:
        taps = len(self._rows[0])
        places = [self._start(k) for k in range(first, first + count)]
        begin, end = places[0][0], places[-1][0] + taps
        part = self._kept[2 * (begin - self._begin) : 2 * (end - self._begin)]
        old = list(map(float, struct.unpack(f"<{end - begin}h", part)))
        new = [
            round(sum(map(operator.mul, self._rows[phase], old[start - begin : start - begin + taps])))
            for start, phase in places
        ]
        if min(new) < -32768 or max(new) > 32767:
            new = [max(-32768, min(32767, sample)) for sample in new]
        return struct.pack(f"<{len(new)}h", *new)

    def _weigh_with_numpy(self, first: int, count: int) -> bytes:
        numpy = loaded_numpy()
        if self._weights is None:
            self._weights = numpy.array(self._rows)
        phases, taps = self._weights.shape
        # As `_start`, but from the first on: numbers of 64 bits are to do for a sound of any length.
        whole, rest = divmod(first * self.source * phases + self._target // 2, self._target)
        ahead = (numpy.arange(count, dtype=numpy.int64) * (self.source * phases) + rest) // self._target
        starts, places = numpy.divmod(ahead + whole % phases, phases)
        begin = whole // phases - self._begin
        part = self._kept[2 * begin : 2 * (begin + int(starts[-1]) + taps)]
        windows = numpy.lib.stride_tricks.sliding_window_view(numpy.frombuffer(part, "<i2"), taps)
        sums = numpy.einsum("ij,ij->i", windows[starts].astype(float), self._weights[places])
        rounded: bytes = numpy.rint(sums).clip(-32768, 32767).astype("<i2").tobytes()
        return rounded


def _filter(ratio: float, phases: int, check: Check) -> list[list[float]]:
    """The weights of the samples around a new one, for each place it may have between two of them.

    Row p is for p / phases of the way from one to the next. The sum of each is 1, so that a constant stays what it is.
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
    """numpy where it is loaded, or where there are so many products to be made that it is worth its import."""
    numpy = loaded_numpy()
    if numpy is None and work >= _IMPORT_NUMPY_AT:
        return import_optional("numpy")  # a tenth of a second
    return numpy


def mix_down(samples: bytes, channels: int, *, numpy: Any) -> bytes:
    """The mean of interleaved channels, rounded down; ``numpy``: None to do without."""
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
