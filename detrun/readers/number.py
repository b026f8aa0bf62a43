"""Numbers as logs print them: the value, how many decimals it was printed with, and whether in percent."""

import math
import re
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

# A number that nothing is glued to: `0.4x9` and `0.41.2` are damaged, not 0.4.
NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?!\w|\.\w)"

_WHOLE = re.compile(NUMBER)

# COCO's mark for a slice without ground truth.
ABSENT = -1.0

_LONGEST = 40


class Number(NamedTuple):
    """A metric between 0 and 1, or -1. `decimals` is None for full precision; `percent` if the log said x100."""

    value: float
    decimals: int | None
    percent: bool = False

    def agrees(self, other: "Number") -> bool:
        """Whether both can be roundings of one value."""
        return abs(self.value - other.value) <= self._half_unit() + other._half_unit() + 1e-12

    def finer(self, other: "Number") -> "Number":
        """The one that holds more digits; itself where both hold as many."""
        return other if _rank(other) > _rank(self) else self

    def _half_unit(self) -> float:
        return 0.0 if self.decimals is None or self.value == ABSENT else 0.5 * 10.0**-self.decimals


def _rank(number: Number) -> float:
    return math.inf if number.decimals is None else number.decimals


def decimals_of(text: str) -> int:
    """Digits after the point of a printed number, its exponent counted in."""
    mantissa, _, exponent = text.lower().partition("e")
    return max(0, len(mantissa.partition(".")[2]) - int(exponent or 0))


@lru_cache(maxsize=1 << 14)
def printed(text: str, *, percent: bool = False, full: bool = False) -> Number | None:
    """The metric that a log printed, None where it is no number from 0 to 1 (0 to 100 in percent) and not -1.

    Division by 100 moves the point, so that 27.391 gives the float nearest to 0.27391.
    """
    text = text.strip()
    if len(text) > _LONGEST or not _WHOLE.fullmatch(text):
        return None
    value = float(text)
    decimals = None if full else decimals_of(text)
    if value == ABSENT:
        return Number(ABSENT, decimals)
    if not 0.0 <= value <= (100.0 if percent else 1.0):
        return None
    if percent:
        value = float(Decimal(text).scaleb(-2))
        decimals = None if decimals is None else decimals + 2
    return Number(value, decimals, percent)


def stated(value: object, *, percent: bool = False) -> Number | None:
    """The metric that a JSON log holds in full precision, None where it is no such number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not ABSENT <= value <= 100.0:
        return None
    number = float(value)
    if percent:
        return printed(repr(number), percent=True, full=True)
    return Number(number, None) if number == ABSENT or 0.0 <= number <= 1.0 else None


def whole(value: object) -> int | None:
    """An epoch or a step: a whole number from 0 up, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        return None
    return int(value) if value == int(value) else None
