"""Samples that a caller holds in memory: bytes, plain arrays, those of numpy, and tensors."""

from __future__ import annotations

from array import array
from typing import Any, Final

from ..errors import FOREIGN, InputError, unreadable
from ..net.interrupts import from_handler
from .pcm import floats_of, from_floats, little_endian
from .resample import Check, check_whole, mix_down, no_check

__all__ = ["is_array", "to_samples"]

_BLOCK: Final = 2**18
"""Frames that are converted at a time."""


def is_array(audio: object) -> bool:
    """Tell whether `to_samples` is for things of this type."""
    if isinstance(audio, bytes | bytearray | memoryview | array):
        return True
    return not isinstance(audio, type) and (hasattr(audio, "__array__") or callable(getattr(audio, "numpy", None)))


def to_samples(audio: Any, name: str, check: Check = no_check) -> bytes:
    """Convert an array to samples: s16le, one channel.

    Args:
        audio: one of

            - ``bytes``, ``bytearray``, a ``memoryview`` of bytes: s16le, one channel;
            - an ``array.array``, or a ``memoryview``, of 16-bit integers or of floats: one channel;
            - a numpy array, or whatever converts itself to one (by ``__array__`` or ``numpy()``, as tensors do), of
              int16, float32 or float64, in any byte order: of shape (n,), (1, n) or (n, 1), or of two channels, (2, n)
              or (n, 2). One or two rows are channels, whatever the columns. Two channels are mixed to their mean.

            Floats lie in -1 to 1; those of up to 2 are clipped.
        name: what errors call it.
        check: called again and again meanwhile; what it raises ends the work.

    Raises:
        InputError: half a sample, other numbers, another shape, or a float that is not finite or too large.
    """
    if isinstance(audio, array):
        if audio.typecode not in "hfd":
            raise InputError(
                f"{name} must be an array of int16 or of floats (typecode 'h', 'f' or 'd'),"
                f" got typecode {audio.typecode!r}"
            )
        audio = memoryview(audio)
    if isinstance(audio, bytes | bytearray | memoryview):
        return _of_view(memoryview(audio), name, check)
    try:
        import numpy  # noqa: PLC0415 - an extra, which whoever holds an array has

        values = numpy.asarray(audio if hasattr(audio, "__array__") else audio.numpy())
    except ImportError:
        raise InputError(f"{name} is a {type(audio).__name__}: to convert it, install numpy") from None
    except FOREIGN as exc:  # a tensor that is on another device, or whose gradient is wanted
        if from_handler(exc):
            raise
        raise unreadable(name, audio, exc) from exc
    return _of_numpy(numpy, values, name, check)


def _of_view(view: memoryview, name: str, check: Check) -> bytes:
    order, kind = (view.format[0], view.format[1:]) if view.format[0] in "<>=@" else ("=", view.format)
    if view.ndim != 1 or kind not in {"B", "c", "h", "f", "d"}:
        raise InputError(
            f"{name} must be a memoryview of bytes, of 16-bit integers (format 'h') or of floats ('f', 'd'), in one"
            f" dimension; got format {view.format!r}, shape {view.shape}"
        )
    order = order.replace("@", "=")
    data = view.tobytes()
    if kind in {"B", "c"}:
        check_whole(name, len(data))
        return data
    if kind == "h":
        return little_endian(data, order)
    floats = floats_of(data, order, view.itemsize)
    blocks = bytearray()
    for begin in range(0, len(floats), _BLOCK):
        check()
        blocks += from_floats(floats[begin : begin + _BLOCK], name, begin)
    return bytes(blocks)


def _of_numpy(numpy: Any, values: Any, name: str, check: Check) -> bytes:
    kind, size = values.dtype.kind, values.dtype.itemsize
    if (kind, size) not in {("i", 2), ("f", 4), ("f", 8)}:
        hint = "; convert it: x.astype(numpy.float32)" if kind == "f" else ""
        raise InputError(
            f"{name} must be an array of int16, or of float32 or float64 in -1 to 1; got dtype {values.dtype}{hint}"
        )
    if not values.size:
        return b""
    frames = values.reshape(-1, 1) if values.ndim == 1 else values
    if frames.ndim == 2 and len(frames) <= 2 and values.ndim == 2:
        frames = frames.T
    if frames.ndim != 2 or frames.shape[1] > 2:
        raise InputError(
            f"{name} must be an array of shape (n,), (1, n) or (n, 1), or of two channels, (2, n) or (n, 2);"
            f" got {values.shape}"
        )
    blocks, channels = bytearray(), frames.shape[1]
    for begin in range(0, len(frames), _BLOCK):
        check()
        block = frames[begin : begin + _BLOCK]
        if kind == "f":
            samples = from_floats(block.reshape(-1), name, begin, channels)
        else:
            samples = block.astype("<i2").tobytes()
        blocks += mix_down(samples, channels, numpy=numpy)
    return bytes(blocks)
