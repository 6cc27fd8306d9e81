"""Checks of arguments: each returns the value in a plain type, or raises `InputError` with the argument's name."""

from __future__ import annotations

import decimal
import math
import numbers

from ..errors import InputError, short_repr
from .interrupts import from_handler

__all__ = ["plain_number", "to_bool", "to_byte_limit", "to_count", "to_seconds"]

_ENDLESS = 2e6
"""Seconds (23 days) from which a timeout counts as none: longer ones overflow the system's timers."""


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


def to_seconds(name: str, value: object, *, zero: bool = False) -> float:
    """Return a timeout in seconds as a float.

    Args:
        name: The argument.
        value: A real number above zero, of any type; ``math.inf`` for no limit.
        zero: Whether zero is accepted.

    Raises:
        InputError: It is negative, NaN, a bool or no real number.
    """
    number = plain_number(value)
    if number is not None and (number > 0 or (zero and number == 0)):
        return float(number) if number < _ENDLESS else math.inf
    least = "from zero" if zero else "above zero"
    raise InputError(f"{name} must be a number of seconds {least} (math.inf: no limit), got {short_repr(value)}")


def to_byte_limit(name: str, value: object) -> int:
    """Return a number of bytes above zero.

    Raises:
        InputError: It is no int, or below one.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be a number of bytes above zero, got {short_repr(value)}")
    return value


def to_count(name: str, value: object, least: int) -> int:
    """Return an int that is at least ``least``.

    Raises:
        InputError: It is no int, or too small.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number from {least}, got {short_repr(value)}")
    return value


def to_bool(name: str, value: object) -> bool:
    """Return True or False.

    Raises:
        InputError: It is anything else.
    """
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, got {short_repr(value)}")
    return value
