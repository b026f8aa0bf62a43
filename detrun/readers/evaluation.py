"""What a reader hands on: evaluations in the order of the log, with what is doubtful about them. No I/O.

A summary row is named by what it measures, never by its position: `AP@0.50:0.95/all/100` is average
precision (or `AR`, recall) at an IoU or a range of IoUs, for an area, at a number of detections per image.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

FULL_RANGE = "0.50:0.95"

# The twelve metrics of COCO: the row's name up to its maxDets, and maxDets; "" takes the largest that there is.
_DEFINITIONS = {
    "AP": (f"AP@{FULL_RANGE}/all", ""),
    "AP50": ("AP@0.50/all", ""),
    "AP75": ("AP@0.75/all", ""),
    "APs": (f"AP@{FULL_RANGE}/small", ""),
    "APm": (f"AP@{FULL_RANGE}/medium", ""),
    "APl": (f"AP@{FULL_RANGE}/large", ""),
    "AR1": (f"AR@{FULL_RANGE}/all", "1"),
    "AR10": (f"AR@{FULL_RANGE}/all", "10"),
    "AR100": (f"AR@{FULL_RANGE}/all", "100"),
    "ARs": (f"AR@{FULL_RANGE}/small", ""),
    "ARm": (f"AR@{FULL_RANGE}/medium", ""),
    "ARl": (f"AR@{FULL_RANGE}/large", ""),
}

USUAL_MAX_DETECTIONS = "100"


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation of one model.

    Attributes:
        iou_type: `bbox`, `segm` or `keypoints`; `class` for a classifier.
        metrics: of the twelve names in `METRICS` those that the log holds, a classifier's `CLASS_METRICS`; -1 is
            COCO's own "no ground truth in this slice".
        rows: printed summary rows by name, as printed.
        epoch, step: as the log counts them; None where it does not say.
        seconds, images: training time and images seen so far, where known.
        decimals: how many decimals AP was printed with; None is full precision.
        max_detections: detections per image that AP counts, `all` where there is no limit; None is unsaid.
        session: counts the starts inside one file from 1.
        copies: how often the log repeats it (one for each rank that printed).
        of_best: it evaluates the best weights once more after training, not those of an epoch.
        flags: what is doubtful, each as `kind: words`.
    """

    iou_type: str
    metrics: Mapping[str, float]
    rows: Mapping[str, float] = {}
    epoch: int | None = None
    step: int | None = None
    seconds: float | None = None
    images: int | None = None
    decimals: int | None = None
    max_detections: str | None = None
    session: int = 1
    copies: int = 1
    of_best: bool = False
    flags: tuple[str, ...] = ()


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """One run as a file tells it. `titles` lead to it inside a file that holds several, outermost first.

    `families` are the log families that it was read as; `facts` other numbers that it states, such as
    `parameters`.
    """

    titles: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    facts: Mapping[str, float | str] = {}
    flags: tuple[str, ...] = ()


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """A file that holds no evaluation, and why it is thought to."""

    source: str
    reason: str


def row_name(kind: str, iou: str, area: str, max_detections: str) -> str:
    """The name of a summary row, such as `AP@0.50:0.95/all/100`."""
    return f"{kind}@{iou}/{area}/{max_detections}"


@lru_cache(maxsize=256)
def rows_of_metrics(rows: tuple[str, ...]) -> Mapping[str, str]:
    """Which row stands for which of the twelve metrics: {metric: row name}.

    AP rows and AR rows by area come at maxDets 100 where there is such a row, else at the largest.
    AR1, AR10 and AR100 are exact: a log with maxDets 1, 10, 300 has no AR100. Rows of some categories
    alone, such as LVIS's rare ones, stand for none.
    """
    limits: dict[str, list[str]] = {}
    for name in rows:
        stem, _, limit = name.rpartition("/")
        limits.setdefault(stem, []).append(limit)
    found: dict[str, str] = {}
    for metric, (stem, limit) in _DEFINITIONS.items():
        there = limits.get(stem, ())
        chosen = limit if limit in there else None if limit else _largest(there)
        if chosen is not None:
            found[metric] = f"{stem}/{chosen}"
    return found


def _largest(limits: Sequence[str]) -> str | None:
    if USUAL_MAX_DETECTIONS in limits:
        return USUAL_MAX_DETECTIONS
    return max(limits, key=lambda limit: int(limit) if limit.isdecimal() else 1 << 60, default=None)
