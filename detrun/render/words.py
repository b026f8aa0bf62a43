"""Numbers, times and progress as people read them. Pure."""

import time
from collections.abc import Sequence
from datetime import datetime

NOTHING = "–"
_BLOCKS = "▁▂▃▄▅▆▇█"


def number(value: float | None, digits: int = 3) -> str:
    """Significant digits without an exponent where that stays short."""
    if value is None:
        return NOTHING
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    return f"{value:.{max(digits - 1, 0)}e}"


def metric(value: float | None, decimals: int = 3) -> str:
    """A metric between 0 and 1 without its leading zero; -1 stays -1."""
    if value is None:
        return NOTHING
    if value == -1:
        return "-1"
    text = f"{value:.{decimals}f}"
    return text.removeprefix("0") if text.startswith("0.") else text.replace("-0.", "-.", 1)


def duration(seconds: float | None) -> str:
    """Hours and minutes, with days or seconds where they matter."""
    if seconds is None:
        return NOTHING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours < 1 else f"{hours}:{minutes:02d} h"


def age(seconds: float) -> str:
    """How long ago, roughly."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"


def clock(at: float, now: float | None = None) -> str:
    """A time of day, with the date where it is not today's."""
    moment, today = datetime.fromtimestamp(at), datetime.fromtimestamp(time.time() if now is None else now)
    return moment.strftime("%H:%M" if moment.date() == today.date() else "%d %b %H:%M")


def iso(at: float | None) -> str:
    """A time for machines: ISO 8601 with the zone."""
    return "" if at is None else datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")


def bar(done: float, cells: int = 6) -> str:
    """A share from 0 to 1 as blocks."""
    full = max(0, min(cells, round(done * cells)))
    return "▓" * full + "░" * (cells - full)


def sparkline(values: Sequence[float]) -> str:
    """Values as blocks from the lowest to the highest."""
    known = [value for value in values if value == value and abs(value) != float("inf")]
    if len(known) < 2:
        return ""
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    return "".join(_BLOCKS[round((value - low) / span * (len(_BLOCKS) - 1))] for value in known)
