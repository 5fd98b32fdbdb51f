"""Arithmetic on JSON numbers: integers stay integers where they can, and nothing gives Infinity."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from functools import reduce

Number = int | float
_MAX_BITS = 1024  # of an integer: a double holds none with more
# Of more digits than these nothing is left, or nothing is cut off.
_MAX_PLACES = 5000
_EXACT = decimal.Context(prec=3 * _MAX_PLACES, rounding=decimal.ROUND_HALF_UP)


class ArithmeticRangeError(ValueError):
    """A division by zero, or a result that is no JSON number."""


def add(*numbers: Number) -> Number:
    return _finite(lambda: sum(numbers))


def subtract(first: Number, second: Number) -> Number:
    return _finite(lambda: first - second)


def multiply(*numbers: Number) -> Number:
    # Each product is checked, so that none grows without bound.
    return reduce(lambda first, second: _finite(lambda: first * second), numbers)


def divide(first: Number, second: Number) -> Number:
    """The quotient: an integer if two integers divide without a rest."""
    _not_zero(second)
    if isinstance(first, int) and isinstance(second, int) and first % second == 0:
        return _finite(lambda: first // second)
    return _finite(lambda: first / second)


def mod(first: Number, second: Number) -> Number:
    """The rest of a division, with the sign of `second`, as in Python."""
    _not_zero(second)
    return _finite(lambda: first % second)


def rounded(number: Number, places: int = 0) -> Number:
    """The nearest number with so many decimal places; halves go away from zero.

    Without places, or fewer than none, it is an integer.
    """
    if isinstance(number, float) and not math.isfinite(number):
        raise ArithmeticRangeError("is out of the range of JSON numbers")
    if isinstance(number, int) and places >= 0:
        return number
    # As written in decimal: 2.675 has two places 2.68, though its double is a little less.
    unit = decimal.Decimal(1).scaleb(-max(min(places, _MAX_PLACES), -_MAX_PLACES))
    made = decimal.Decimal(repr(number)).quantize(unit, context=_EXACT)
    return float(made) + 0.0 if places > 0 else int(made)  # no negative zero


def _not_zero(divisor: Number) -> None:
    if divisor == 0:
        raise ArithmeticRangeError("divides by zero")


def _finite(compute: Callable[[], Number]) -> Number:
    try:
        made = compute()
    except OverflowError:
        made = math.inf
    too_large = made.bit_length() > _MAX_BITS if isinstance(made, int) else not math.isfinite(made)
    if too_large:
        raise ArithmeticRangeError("is out of the range of JSON numbers")
    return made
