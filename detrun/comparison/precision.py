"""Precision over recall, from the stored detections of runs of our own, as hotcoco accumulates them. Reads only.

COCO's 101 recalls, all areas, 100 detections per image (`COCOeval.accumulate`, https://github.com/cocodataset/cocoapi).
"""

from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from detrun.comparison import Arm
from detrun.comparison.bootstrap import Progress
from detrun.comparison.detections import NoDetectionsError, Stored, matched, stored
from detrun.readers.number import ABSENT

# IoU thresholds by name: places among COCO's ten.
LEVELS = {".50": slice(0, 1), ".75": slice(5, 6), ".50:.95": slice(None)}
_ALL_AREAS, _MOST_DETECTIONS = 0, 2

Curve = tuple[float, ...]


class PrecisionCurves(msgspec.Struct, frozen=True, kw_only=True):
    """An arm's precision at recalls 0, .01, ..., 1, by the names of `LEVELS`.

    `mean` is over the categories that have ground truth; `classes` holds each of these, by name.
    """

    arm: str
    mean: dict[str, Curve]
    classes: dict[str, dict[str, Curve]]


def precision_of(arms: Sequence[Arm], progress: Progress) -> tuple[list[PrecisionCurves], list[str]]:
    """The curves of each arm's first run, and why some arms have none."""
    curves, reasons = [], []
    for place, arm in enumerate(arms):
        try:
            names, table = _table(stored(arm.runs[0]))
            curves.append(_curves(arm.name, names, table))
        except NoDetectionsError as error:
            reasons.append(f"{arm.name}: {error}")
        progress((place + 1) / len(arms))
    return curves, reasons


def _curves(arm: str, names: Sequence[str], table: NDArray[np.float64]) -> PrecisionCurves:
    known = [place for place in range(len(names)) if table[0, 0, place] != ABSENT]
    classes = {names[place]: _by_level(table[:, :, place]) for place in known}
    mean = _by_level(table[:, :, known].mean(axis=2)) if known else {}
    return PrecisionCurves(arm=arm, mean=mean, classes=classes)


def _by_level(table: NDArray[np.float64]) -> dict[str, Curve]:
    """From (3, 101)."""
    return {name: tuple(row.tolist()) for name, row in zip(LEVELS, table, strict=True)}


@lru_cache(maxsize=128)
def _table(files: Stored) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the categories, and (3, 101, C) precision by level and recall; -1 without ground truth."""
    evaluation = matched(files)
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, _ALL_AREAS, _MOST_DETECTIONS]
    names = {row["id"]: row["name"] for row in evaluation.coco_gt.dataset["categories"]}
    levels = np.stack([precision[places].mean(axis=0) for places in LEVELS.values()])
    return [str(names[number]) for number in evaluation.params.cat_ids], levels
