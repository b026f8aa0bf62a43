"""The decoded images of a split, from the cache where they are in it, else from their files.

An image is decoded as large as the largest input of the run needs it, whatever input it is wanted for at the moment,
so that a cached one and one from its file are the same pixels.
"""

import time

import numpy as np
from numpy.typing import NDArray

from detector.config import Train
from detector.data.geometry import letterbox
from detector.data.image import ImageError, Picture, read_image, reduction
from detector.data.index import CocoIndex, Int64
from detector.data.store import ImageStore

# A file that cannot be read is tried once more after this long: network storage has its moments.
RETRY_S = 0.1


class Pictures:
    """The images of an index by position; `side` is that of the largest input in pixels."""

    def __init__(self, index: CocoIndex, side: int, *, stretched: bool, store: ImageStore | None = None) -> None:
        self.index, self.side, self.stretched, self.store = index, side, stretched, store

    def __len__(self) -> int:
        return len(self.index)

    def size(self, position: int) -> tuple[int, int]:
        """Annotated width and height."""
        width, height = self.index.sizes[position]
        return int(width), int(height)

    def get(self, position: int) -> Picture | None:
        """The image, None where it cannot be read."""
        if self.store is None:
            return self._read(position)
        stored = self.store.get(position)
        if stored is not None:
            return Picture(stored, self.store.reduction(position), *self.size(position))
        picture = self._read(position)
        if picture is not None and (picture.width, picture.height) == self.size(position):
            self.store.put(position, picture.pixels)
        return picture

    def _read(self, position: int) -> Picture | None:
        size = self.size(position)
        at_least = needed(size, self.side, stretched=self.stretched)
        for wait_s in (RETRY_S, 0.0):
            try:
                return read_image(self.index.path(position), *size, at_least=at_least)
            except (OSError, ImageError):
                time.sleep(wait_s)
        return None


def needed(size: tuple[int, int], side: int, *, stretched: bool) -> tuple[int, int]:
    """Width and height at which an image fills an input."""
    if stretched:
        return side, side
    view = letterbox(*size, side)
    return view.width, view.height


def reductions(sizes: NDArray[np.int32], side: int, *, stretched: bool) -> Int64:
    """What images of (N, 2) widths and heights are reduced by for an input: (N,) int64."""
    pairs = ((int(width), int(height)) for width, height in sizes)
    return np.array([reduction(size, needed(size, side, stretched=stretched)) for size in pairs], dtype=np.int64)


def largest_side(config: Train, *, train: bool) -> int:
    """Side of the largest input that a split is shown on."""
    scales = config.augment.multi_scale if train else None
    return max(config.data.image_size, scales[1]) if scales else config.data.image_size
