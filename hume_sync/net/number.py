"""Numbers of any type, as callers hold them, made plain ones."""

from __future__ import annotations

import decimal
import math
import numbers

from .interrupts import from_handler

__all__ = ["plain_number"]


def plain_number(value: object) -> int | float | None:
    """Return a real number of any type (numpy's, Decimal, Fraction) as a plain ``int`` or ``float``.

    Returns:
        The number; infinity for one beyond the range of a float, NaN for what is none; None for a bool and for what
        is no real number at all.
    """
    if type(value) is float or type(value) is int:
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real | decimal.Decimal):
        return None
    try:
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    except OverflowError:
        return -math.inf if value < 0 else math.inf
    except ValueError as exc:  # a signalling NaN
        if from_handler(exc):
            raise
        return math.nan
    except TypeError:  # numpy counts a time difference as an integer
        return None
