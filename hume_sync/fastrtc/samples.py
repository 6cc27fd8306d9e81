"""What is done to samples (s16le): their rate is changed, and two channels become one."""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from ..errors import InputError, described
from ..net.optional import loaded_numpy

__all__ = ["Check", "check_rate", "check_whole", "mean", "mix_down", "resample"]

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


def _no_check() -> None: ...


def check_rate(name: str, value: object) -> int:
    """The sample rate itself, in Hz: an int, 8000 to 192000.

    Args:
        name: what the error calls it.
        value: the rate to look at.

    Raises:
        InputError: anything else, bools and floats included.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not _MIN_RATE <= value <= _MAX_RATE:
        raise InputError(f"{name} must be an int, {_MIN_RATE} to {_MAX_RATE} Hz; got {described(value)}")
    return value


def check_whole(name: str, size: int) -> None:
    """Raise `InputError` for a size in bytes that leaves half a sample."""
    if size % 2:
        raise InputError(f"{name} must be 16-bit samples, two bytes each; got {size} bytes, an odd number")


def resample(samples: bytes, source: int, target: int, check: Check = _no_check) -> bytes:
    """The same sound at another rate.

    A filter (sinc, Hamming window) takes out what the lower of the rates cannot carry, 50 dB down, before it comes
    back as another tone. Before and after the samples there is silence.

    Args:
        samples: s16le, one channel.
        source: their rate in Hz, 8000 to 192000.
        target: the rate wanted; if it is the same, so are the samples.
        check: called again and again meanwhile; what it raises ends the work.

    Returns:
        ``round(n * target / source)`` samples for n, louder ones cut to 16 bits. With and without numpy they are the
        same, but for a difference of 1 where rounding fell apart.

    Raises:
        InputError: an odd number of bytes, or a rate out of range.
    """
    check_rate("source", source)
    check_rate("target", target)
    check_whole("samples", len(samples))
    if source == target:
        return samples
    rows = _filter(min(1.0, target / source), min(target // math.gcd(source, target), _MAX_PHASES), check)
    taps = len(rows[0])
    padded = bytes(taps - 2) + samples + bytes(taps + 2)  # so that every window lies inside
    count = round(len(samples) // 2 * target / source)
    weigh = _weigh if _numpy_for(count * taps) is None else _weigh_with_numpy
    return _joined(weigh(padded, rows, source, target, count), check)


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


def _joined(blocks: Iterator[bytes], check: Check) -> bytes:
    done = bytearray()
    for block in blocks:
        check()
        done += block
    return bytes(done)


def _weigh(padded: bytes, rows: list[list[float]], source: int, target: int, count: int) -> Iterator[bytes]:
    """The new samples, in blocks.

    The k-th lies at ``k * source / target`` of the old; its window begins there in ``padded``.
    """
    phases, taps = len(rows), len(rows[0])
    step = max(1, _BLOCK // taps)
    for first in range(0, count, step):
        block = range(first, min(first + step, count))
        places = [divmod((k * source * phases + target // 2) // target, phases) for k in block]
        begin, end = places[0][0], places[-1][0] + taps
        old = list(map(float, struct.unpack(f"<{end - begin}h", padded[2 * begin : 2 * end])))
        new = [
            round(sum(map(operator.mul, rows[phase], old[start - begin : start - begin + taps])))
            for start, phase in places
        ]
        if min(new) < -32768 or max(new) > 32767:
            new = [max(-32768, min(32767, sample)) for sample in new]
        yield struct.pack(f"<{len(new)}h", *new)


def _weigh_with_numpy(padded: bytes, rows: list[list[float]], source: int, target: int, count: int) -> Iterator[bytes]:
    numpy = loaded_numpy()
    weights = numpy.array(rows)
    phases, taps = weights.shape
    step = max(1, _BLOCK // taps)
    windows = numpy.lib.stride_tricks.sliding_window_view(numpy.frombuffer(padded, "<i2"), taps)
    for first in range(0, count, step):
        block = numpy.arange(first, min(first + step, count), dtype=numpy.int64)
        starts, places = numpy.divmod((block * (source * phases) + target // 2) // target, phases)
        sums = numpy.einsum("ij,ij->i", windows[starts].astype(float), weights[places])
        yield numpy.rint(sums).clip(-32768, 32767).astype("<i2").tobytes()


def _numpy_for(work: int) -> Any:
    """numpy where it is loaded, or where there is work enough to be worth its import."""
    numpy = loaded_numpy()
    if numpy is None and work >= _IMPORT_NUMPY_AT:
        try:
            import numpy  # noqa: PLC0415 - an extra, and a tenth of a second
        except ImportError:
            return None
    return numpy


def mean(numpy: Any, channels: Any) -> bytes:
    """The mean of the two rows of an array."""
    mixed: bytes = (channels.sum(axis=0, dtype=numpy.int32) >> 1).astype("<i2").tobytes()
    return mixed


def mix_down(samples: bytes, check: Check = _no_check) -> bytes:
    """The mean of two interleaved channels; ``check`` as for `resample`."""
    return _joined(_means(samples, _numpy_for(len(samples) // 4)), check)


def _means(samples: bytes, numpy: Any) -> Iterator[bytes]:
    for begin in range(0, len(samples), 4 * _BLOCK):
        part = samples[begin : begin + 4 * _BLOCK]
        if numpy is not None:
            yield mean(numpy, numpy.frombuffer(part, "<i2").reshape(-1, 2).T)
            continue
        values = struct.unpack(f"<{len(part) // 2}h", part)
        means = [left + right >> 1 for left, right in zip(values[0::2], values[1::2], strict=True)]
        yield struct.pack(f"<{len(means)}h", *means)
