"""Detections of a whole split as flat arrays, and their compact file. Reads and writes `.npz`."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detector.batch import Batch


class Detections(NamedTuple):
    """N boxes over any number of images.

    Attributes:
        image_id: (N,) int64.
        category_id: (N,) int64, the data set's own ids.
        bbox: (N, 4) float32; left, top, width, height in pixels of the image.
        score: (N,) float32.
    """

    image_id: NDArray[np.int64]
    category_id: NDArray[np.int64]
    bbox: NDArray[np.float32]
    score: NDArray[np.float32]

    def rows(self) -> NDArray[np.float64]:
        """(N, 7) float64: image id, left, top, width, height, score, category id, as COCO's `loadRes` takes them."""
        columns = (self.image_id, *self.bbox.T, self.score, self.category_id)
        return np.column_stack([column.astype(np.float64) for column in columns])

    def records(self) -> list[dict[str, Any]]:
        """COCO's results format, https://cocodataset.org/#format-results."""
        fields = zip(
            self.image_id.tolist(), self.category_id.tolist(), self.bbox.tolist(), self.score.tolist(), strict=True
        )
        return [
            {"image_id": image, "category_id": category, "bbox": bbox, "score": score}
            for image, category, bbox, score in fields
        ]


def of_batch(found: Sequence[Tensor], batch: Batch, category_ids: NDArray[np.int64]) -> Detections:
    """A batch's detections in pixels of the original images, clipped to them.

    Args:
        found: per image (K, 6) as a `Detector` returns them, on any device.
        batch: the batch they were found in.
        category_ids: (C,) ids by contiguous label.
    """
    counts = [len(rows) for rows in found]
    rows = torch.cat(list(found)).float().cpu().numpy()
    scale, offset = np.split(np.repeat(batch.placements.numpy(), counts, axis=0), 2, axis=1)
    limits = np.tile(np.repeat(batch.sizes.numpy(), counts, axis=0), 2)
    corners = np.clip((rows[:, :4] - np.tile(offset, 2)) / np.tile(scale, 2), 0, limits)
    return Detections(
        image_id=np.repeat(batch.image_ids.numpy(), counts),
        category_id=category_ids[rows[:, 5].astype(np.int64)],
        bbox=np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).astype(np.float32),
        score=rows[:, 4],
    )


def joined(parts: Sequence[Detections]) -> Detections:
    """All parts as one, sorted by image; the order within an image stays."""
    if not parts:
        nothing = np.empty(0, np.int64)
        return Detections(nothing, nothing, np.empty((0, 4), np.float32), np.empty(0, np.float32))
    whole = _with_each(lambda *columns: np.concatenate(columns), *parts)
    order = np.argsort(whole.image_id, kind="stable")
    return _with_each(lambda column: column[order], whole)


def write(path: Path, detections: Detections) -> None:
    """Replace a detections file: write, fsync, rename."""
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as file:
        np.savez_compressed(file, **detections._asdict())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read(path: Path) -> Detections:
    """A file that `write` wrote."""
    with np.load(path) as arrays:
        return _with_each(lambda name: arrays[name], Detections._fields)


def _with_each(make: Callable[..., NDArray[Any]], *rows: Sequence[Any]) -> Detections:
    """Detections with every column made from the same column of the rows."""
    image_id, category_id, bbox, score = (make(*columns) for columns in zip(*rows, strict=True))
    return Detections(image_id, category_id, bbox, score)
