"""COCO's twelve numbers under weights on images, many weightings at once.

A weight counts how often an image was drawn: whole numbers give exactly what a data set with copies of the images
would give, because copies of a detection stand together in the ranking. Precision is interpolated at 101 recalls
as in `COCOeval.accumulate` (https://github.com/cocodataset/cocoapi).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.records import METRICS
from detrun.comparison.matching import THRESHOLDS, Ranked

RECALLS = np.linspace(0.0, 1.0, 101)
Floats = NDArray[np.float64]

# Metrics as (area, AP's or AR's IoU thresholds, detections per image): areas as in `AREAS`.
_ALL, _50, _75 = slice(None), slice(0, 1), slice(5, 6)
_PRECISIONS = {
    "AP": (0, _ALL),
    "AP50": (0, _50),
    "AP75": (0, _75),
    "APs": (1, _ALL),
    "APm": (2, _ALL),
    "APl": (3, _ALL),
}
_RECALLS = {"AR1": (0, 1), "AR10": (0, 10), "AR100": (0, 100), "ARs": (1, 100), "ARm": (2, 100), "ARl": (3, 100)}
_LIMITS = (1, 10, 100)


def weighted(areas: Sequence[Sequence[Ranked]], weights: Floats) -> Floats:
    """The metrics under each weighting.

    Args:
        areas: as `detrun.comparison.matching.match` gives them.
        weights: (R, images) how often each image counts.

    Returns:
        (R, 12) in the order of `METRICS`; NaN where a weighting has no ground truth in a slice.
    """
    tables = [_table(categories, weights) for categories in areas]
    columns = {name: _mean(tables[area][0][:, :, levels]) for name, (area, levels) in _PRECISIONS.items()}
    columns |= {name: _mean(tables[area][1][:, :, :, _LIMITS.index(limit)]) for name, (area, limit) in _RECALLS.items()}
    return np.stack([columns[name] for name in METRICS], axis=1)


def _table(categories: Sequence[Ranked], weights: Floats) -> tuple[Floats, Floats]:
    """(R, C, T) average precision and (R, C, T, limits) recall; NaN where there is no ground truth."""
    precision = np.full((len(weights), len(categories), len(THRESHOLDS)), np.nan)
    recall = np.full((*precision.shape, len(_LIMITS)), np.nan)
    for number, ranked in enumerate(categories):
        truth = weights @ ranked.truth
        some = truth > 0
        if some.any():
            found = _of_category(ranked, weights[some], truth[some])
            precision[some, number], recall[some, number] = found
    return precision, recall


def _of_category(ranked: Ranked, weights: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """(R, T) average precision and (R, T, limits) recall of one category, given (R,) ground truth."""
    precision = np.zeros((len(weights), len(THRESHOLDS)))
    recall = np.zeros((*precision.shape, len(_LIMITS)))
    last = int(np.flatnonzero(ranked.hit.any(axis=0)).max(initial=-1)) + 1
    kept = np.flatnonzero(~ranked.ignored[:, :last].all(axis=0))
    mine = weights[:, ranked.image[kept]]
    counted = np.cumsum(mine, axis=1)
    for level in range(len(THRESHOLDS)):
        hits = np.flatnonzero(ranked.hit[level, kept])
        ignored = np.flatnonzero(ranked.ignored[level, kept])
        among = counted[:, hits] - _before(mine, ignored, hits)
        precision[:, level] = _average_precision(mine[:, hits], among, truth)
        places = ranked.place[kept[hits]]
        for number, limit in enumerate(_LIMITS):
            recall[:, level, number] = mine[:, hits[places < limit]].sum(axis=1) / truth
    return precision, recall


def _before(mine: Floats, ignored: NDArray[np.intp], hits: NDArray[np.intp]) -> Floats:
    """(R, H) the weight of the ignored detections that stand before each hit."""
    sums = np.cumsum(mine[:, ignored], axis=1)
    return np.concatenate([np.zeros((len(mine), 1)), sums], axis=1)[:, np.searchsorted(ignored, hits)]


def _average_precision(hits: Floats, among: Floats, truth: Floats) -> Floats:
    """(R,) from (R, H) weights of hits by falling score, and the weight of all detections down to each.

    A hit answers for the recalls that it is the first to reach, with the highest precision from there on.
    """
    if not hits.shape[1]:
        return np.zeros(len(hits))
    right = np.cumsum(hits, axis=1)
    precision = np.divide(right, among, out=np.zeros_like(right), where=among > 0)
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(RECALLS, right / truth[:, None], side="right")
    area: Floats = (highest * np.diff(reached, axis=1, prepend=0)).sum(axis=1)
    return area / len(RECALLS)


def _mean(values: Floats) -> Floats:
    """(R,) mean over all other axes of what is not NaN; NaN where nothing is."""
    flat = values.reshape(len(values), -1)
    known = ~np.isnan(flat)
    total = np.where(known, flat, 0.0).sum(axis=1)
    mean: Floats = np.divide(total, known.sum(axis=1), out=np.full(len(flat), np.nan), where=known.any(axis=1))
    return mean
