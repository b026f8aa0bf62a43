"""COCO's matching of detections to ground truth, kept per detection so that images can be weighted afterwards.

In: ground truth and detections as arrays. Out: for each area and category the detections by falling score, which of
them hit at each IoU threshold and which count neither way, and how much ground truth each image holds. The rules
are those of `COCOeval.evaluateImg` (https://github.com/cocodataset/cocoapi): greedy by score, a crowd takes any
number, a detection prefers ground truth that counts. With every image counted once, `resampling` gives
COCO's twelve numbers.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS = 100
AREAS = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))

# A perfect overlap is at least this, whatever the rounding.
_ALMOST_ONE = 1.0 - 1e-10

_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
# {image and category: {detection: [(row of ground truth, overlap)]}}
Pairs = dict[int, dict[int, list[tuple[int, float]]]]


class Truth(NamedTuple):
    """Ground truth: (G,) image and category indices, (G, 4) left, top, width, height, (G,) area and crowd flag."""

    image: NDArray[np.int64]
    category: NDArray[np.int64]
    box: Floats
    area: Floats
    crowd: Flags
    images: int
    categories: int


class Detected(NamedTuple):
    """Detections: (D,) image and category indices, (D, 4) left, top, width, height, (D,) score."""

    image: NDArray[np.int64]
    category: NDArray[np.int64]
    box: Floats
    score: Floats

    def of(self, rows: NDArray[Any]) -> "Detected":
        """Some of them, by index or flag."""
        return Detected(self.image[rows], self.category[rows], self.box[rows], self.score[rows])


class Ranked(NamedTuple):
    """The detections of one category, by falling score, for one range of areas.

    Attributes:
        image: (D,) index of each one's image.
        place: (D,) place among the detections of its image and category, from 0.
        hit: (T, D) matched to ground truth that counts, at each IoU threshold.
        ignored: (T, D) matched to a crowd or to ground truth of another size, or itself of another size.
        truth: (images,) how much ground truth that counts each image holds.
    """

    image: NDArray[np.int64]
    place: NDArray[np.int64]
    hit: Flags
    ignored: Flags
    truth: NDArray[np.int64]


def match(truth: Truth, found: Detected) -> list[list[Ranked]]:
    """Per area of `AREAS`, per category: its detections, matched."""
    order = np.lexsort((-found.score, found.image, found.category))
    found = found.of(order)
    starts = _starts(found)
    place = np.arange(len(order)) - np.repeat(starts[:-1], np.diff(starts))
    kept = place < MAX_DETECTIONS
    found, place = found.of(kept), place[kept]
    pairs = _candidates(truth, found)
    return [_of_area(truth, found, place, pairs, area) for area in AREAS]


def _of_area(
    truth: Truth, found: Detected, place: NDArray[np.int64], pairs: Pairs, area: tuple[float, float]
) -> list[Ranked]:
    counts = ~truth.crowd & _inside(truth.area, area)
    hit, ignored = _matched(len(place), pairs, counts, truth.crowd)
    ignored |= ~hit & ~_inside(found.box[:, 2] * found.box[:, 3], area)
    return [_ranked(truth, found, place, counts, hit, ignored, category) for category in range(truth.categories)]


def _candidates(truth: Truth, found: Detected) -> Pairs:
    """For each image and category, its detections by falling score with the ground truth that they overlap enough."""
    mine = found.category * truth.images + found.image
    begin, end = (np.searchsorted(mine, truth.category * truth.images + truth.image, side) for side in _SIDES)
    row = np.repeat(np.arange(len(begin)), end - begin)
    box = np.arange(len(row)) - np.repeat(np.cumsum(end - begin) - end, end - begin)
    overlap = iou(found.box[box], truth.box[row], truth.crowd[row])
    enough = overlap >= THRESHOLDS[0]
    pairs: Pairs = {}
    order = np.lexsort((row[enough], box[enough]))
    columns = (column[enough][order].tolist() for column in (box, row, overlap))
    for number, of_truth, value in zip(*columns, strict=True):
        pairs.setdefault(int(mine[number]), {}).setdefault(number, []).append((of_truth, value))
    return pairs


def _matched(boxes: int, pairs: Pairs, counts: Flags, crowd: Flags) -> tuple[Flags, Flags]:
    """(T, D) hit and ignored: each detection takes the ground truth that it overlaps most and that is free."""
    hit = np.zeros((len(THRESHOLDS), boxes), dtype=bool)
    ignored = np.zeros_like(hit)
    counted, crowds = counts.tolist(), crowd.tolist()
    for level, threshold in enumerate(np.minimum(THRESHOLDS, _ALMOST_ONE).tolist()):
        for pair in pairs.values():
            taken: set[int] = set()
            for number, candidates in pair.items():
                free = [(value, row) for row, value in candidates if value >= threshold and row not in taken]
                right = [(value, row) for value, row in free if counted[row]]
                if right or free:
                    row = max(right or free)[1]
                    (hit if right else ignored)[level, number] = True
                    if not crowds[row]:
                        taken.add(row)
    return hit, ignored


def _ranked(
    truth: Truth, found: Detected, place: NDArray[np.int64], counts: Flags, hit: Flags, ignored: Flags, category: int
) -> Ranked:
    begin, end = np.searchsorted(found.category, [category, category + 1])
    order = begin + np.argsort(-found.score[begin:end], kind="stable")
    mine = counts & (truth.category == category)
    return Ranked(
        image=found.image[order],
        place=place[order],
        hit=hit[:, order],
        ignored=ignored[:, order],
        truth=np.bincount(truth.image[mine], minlength=truth.images),
    )


def iou(boxes: Floats, truth: Floats, crowd: Flags) -> Floats:
    """(N,) intersection over union, row by row; over the detection's own area where the ground truth is a crowd."""
    low = np.maximum(boxes[:, :2], truth[:, :2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], truth[:, :2] + truth[:, 2:])
    width, height = np.clip(high - low, 0.0, None).T
    both, own = width * height, boxes[:, 2] * boxes[:, 3]
    union = np.where(crowd, own, own + truth[:, 2] * truth[:, 3] - both)
    overlap: Floats = np.divide(both, union, out=np.zeros_like(both), where=union > 0.0)
    return overlap


def _inside(area: Floats, limits: tuple[float, float]) -> Flags:
    return (area >= limits[0]) & (area <= limits[1])


def _starts(found: Detected) -> NDArray[np.intp]:
    """Where each image and category begins among sorted detections, and the end."""
    change = (np.diff(found.category) != 0) | (np.diff(found.image) != 0)
    return (
        np.concatenate([[0], np.flatnonzero(change) + 1, [len(found.score)]])
        if len(found.score)
        else np.zeros(1, np.intp)
    )
