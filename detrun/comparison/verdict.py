"""Whether a difference in AP is more than noise, in words, where the data carry any. No I/O.

Two sources of noise are told apart. Seeds: the spread of AP between runs of the same configuration. Images: the
interval of a paired bootstrap over the images of the val set.
"""

import math
from collections.abc import Sequence

from detrun.comparison import Arm, Interval

WITHIN, BEYOND = "within seed noise", "beyond seed noise"
EXCLUDES, INCLUDES = "CI excludes 0", "CI includes 0"

# Sample SD of final AP over seeds of one configuration is .001 to .002 on COCO (MLPerf 0.6 SSD, five seeds), so a
# gap between two single runs tells nothing below about twice its square root of two.
SINGLE_SEED_NOISE = 0.003

# 97.5% quantiles of Student's t for 1 to 30 degrees of freedom; beyond, the normal distribution's is close.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_NORMAL = 1.96


def verdict(arm: Arm, baseline: Arm) -> str:
    """What can be said of an arm's difference in AP from the baseline; `""` where nothing can."""
    if "AP" not in arm.deltas:
        return ""
    seeds = _seed_word(abs(arm.deltas["AP"]), arm, baseline)
    images = _image_word(arm.intervals.get("AP"))
    return ", ".join(filter(None, (seeds, images)))


def half_width(first: Sequence[float], second: Sequence[float]) -> float:
    """Half the 95% interval of a difference of means, by Welch's t-test, given (n, sample SD) of both arms."""
    (n1, sd1), (n2, sd2) = first, second
    parts = sd1 * sd1 / n1, sd2 * sd2 / n2
    error = math.sqrt(sum(parts))
    if error == 0.0:
        return 0.0
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (n1 - 1) + parts[1] ** 2 / (n2 - 1))
    return quantile(max(1.0, freedom)) * error


def _seed_word(delta: float, arm: Arm, baseline: Arm) -> str:
    if len(arm.runs) > 1 and len(baseline.runs) > 1:
        spread = half_width((len(arm.runs), arm.sd["AP"]), (len(baseline.runs), baseline.sd["AP"]))
        return WITHIN if delta <= spread else BEYOND
    return WITHIN if delta < SINGLE_SEED_NOISE else ""


def _image_word(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return EXCLUDES if interval.excludes_zero else INCLUDES


def quantile(freedom: float) -> float:
    """The 97.5% quantile of Student's t; between the table's entries its logarithm is linear in 1 / freedom."""
    whole = math.floor(freedom)
    if whole >= len(_T):
        return _NORMAL + (_T[-1] - _NORMAL) * len(_T) / freedom
    share = (1 / whole - 1 / freedom) * whole * (whole + 1)
    return float(_T[whole - 1] * (_T[whole] / _T[whole - 1]) ** share)
