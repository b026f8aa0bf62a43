"""From annotations as they were written to boxes that can be used, and the count of everything odd. No I/O."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.data.index import CocoIndex, Int64

# A box may reach this far, in pixels, out of its image before it is reported; less is rounding.
ROUNDING_PX = 1.0

Bools = NDArray[np.bool_]
# A kind of finding, and every place that has it.
Found = tuple[str, list[str]]


@dataclass(kw_only=True)
class Rows:
    """Annotations by column, one row each.

    Attributes:
        numbers: int64; which annotation, counted from 0.
        ids: int64.
        images, labels: int64; positions in the lists of images and categories, -1 where the id is not listed.
        boxes: (N, 4) float64; left, top, width, height in pixels.
        areas: float64, square pixels.
        crowd: bool.
    """

    numbers: Int64
    ids: Int64
    images: Int64
    labels: Int64
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: Bools

    def __getitem__(self, rows: Any) -> "Rows":
        return Rows(**{name: column[rows] for name, column in vars(self).items()})


def clean(rows: Rows, sizes: NDArray[np.int32], names: list[str], places: list[str]) -> tuple[Rows, list[Found]]:
    """The rows that can be used, clipped to their image and sorted by it, and what was wrong with the others.

    Args:
        rows: every annotation.
        sizes: (images, 2); width and height.
        names: file name of each image, for the findings.
        places: where each annotation stands, for the findings; empty where its id tells.
    """
    found: list[Found] = []

    def note(kind: str, bad: Bools) -> None:
        found.append((kind, list(_named(rows, bad, names, places))))

    def drop(kind: str, bad: Bools) -> Rows:
        note(kind, bad)
        return rows[~bad]

    note("repeated_annotations", _repeats(rows.ids))
    rows = drop("unknown_images", rows.images < 0)
    rows = drop("unknown_categories", rows.labels < 0)
    rows = drop("zero_size", _nothing_left(rows.boxes))
    corners = np.concatenate([rows.boxes[:, :2], rows.boxes[:, :2] + rows.boxes[:, 2:]], axis=1)
    clipped = np.clip(corners, 0, np.tile(sizes[rows.images], 2))
    rows.boxes = np.concatenate([clipped[:, :2], clipped[:, 2:] - clipped[:, :2]], axis=1)
    outside = _nothing_left(rows.boxes)
    note("clipped", (np.abs(corners - clipped) > ROUNDING_PX).any(axis=1) & ~outside)
    rows = drop("outside", outside)
    rows = rows[np.argsort(rows.images, kind="stable")]
    note("crowds", rows.crowd)
    return rows, found


def emptiness(index: CocoIndex) -> Iterator[Found]:
    """Images and categories that are left without a box."""
    empty = np.flatnonzero(np.diff(index.box_starts) == 0)
    yield "empty_images", [index.name(int(position)) for position in empty]
    unused = np.flatnonzero(np.bincount(index.labels, minlength=len(index.category_ids)) == 0)
    yield "unused_categories", [index.category_names[label] for label in unused]


def _nothing_left(boxes: NDArray[np.float64]) -> Bools:
    """True for boxes without width or height."""
    return (boxes[:, 2] <= 0) | (boxes[:, 3] <= 0)


def _named(rows: Rows, which: Bools, names: list[str], places: list[str]) -> Iterator[str]:
    """Some of the rows by their place, or by file and annotation id."""
    for row in np.flatnonzero(which):
        image = rows.images[row]
        by_id = f"annotation {rows.ids[row]}"
        yield places[rows.numbers[row]] if places else f"{names[image]} {by_id}" if image >= 0 else by_id


def _repeats(ids: Int64) -> Bools:
    """True where an id stood before."""
    _, first = np.unique(ids, return_index=True)
    repeats = np.ones(len(ids), dtype=bool)
    repeats[first] = False
    return repeats
