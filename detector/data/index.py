"""The data set in memory: flat arrays, whatever the layout on disk was. No I/O.

A worker process that is forked shares these arrays with its parent for as long as it lives: reading an element writes
nothing back, not even a reference count, so that memory does not grow with the number of workers or epochs.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# What to do where two splits differ in them.
SAME_CATEGORIES = "both splits must list the same categories with the same ids"

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]


class Truth(NamedTuple):
    """The annotated boxes of one image.

    Attributes:
        boxes: (N, 4) float32; left, top, width, height in pixels of the image.
        labels: (N,) int32, contiguous from 0.
        crowd: (N,) bool.
    """

    boxes: Float32
    labels: NDArray[np.int32]
    crowd: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class CocoIndex:
    """N images with M boxes of C categories; position, not id, addresses an image.

    Attributes:
        folder: where the image files lie.
        image_ids: (N,) int64, the annotation file's own, in the file's order.
        names: the N file names, UTF-8, one after the other; `name_starts` (N + 1,) int64 delimits them.
        sizes: (N, 2) int32; width and height as annotated.
        box_starts: (N + 1,) int64; image i has the boxes `box_starts[i]:box_starts[i + 1]`.
        boxes: (M, 4) float32; left, top, width, height in pixels, inside the image and of positive size.
        labels: (M,) int32; index into `category_ids`.
        crowd: (M,) bool.
        areas: (M,) float32; square pixels, of the mask where the file says so.
        category_ids: (C,) int64, ascending.
        category_names: C names in the same order.
    """

    folder: Path
    image_ids: Int64
    names: bytes
    name_starts: Int64
    sizes: NDArray[np.int32]
    box_starts: Int64
    boxes: Float32
    labels: NDArray[np.int32]
    crowd: NDArray[np.bool_]
    areas: Float32
    category_ids: Int64
    category_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def categories(self) -> list[tuple[int, str]]:
        """Id and name of each category."""
        return list(zip(self.category_ids.tolist(), self.category_names, strict=True))

    def differences(self, other: "CocoIndex") -> str:
        """The first few categories that only one of two splits has; `""` where a label means the same in both."""
        differ = sorted(set(self.categories) ^ set(other.categories))
        return ", ".join(f"{name} ({number})" for number, name in differ[:5])

    def name(self, position: int) -> str:
        """File name of an image, relative to `folder`."""
        return self.names[self.name_starts[position] : self.name_starts[position + 1]].decode()

    def path(self, position: int) -> Path:
        """File of an image."""
        return self.folder / self.name(position)

    def content(self, position: int) -> NDArray[np.uint8]:
        """The bytes of an image's file.

        Raises:
            OSError: it cannot be read.
        """
        return np.fromfile(self.path(position), dtype=np.uint8)

    def truth(self, position: int) -> Truth:
        """Boxes of an image, as views of the index."""
        rows = slice(self.box_starts[position], self.box_starts[position + 1])
        return Truth(self.boxes[rows], self.labels[rows], self.crowd[rows])

    def without(self, positions: Int64) -> "CocoIndex":
        """The same data set less some images and their boxes. Categories stay."""
        images = np.ones(len(self), dtype=bool)
        images[positions] = False
        counts = np.diff(self.box_starts)
        boxes = np.repeat(images, counts)
        kept = [self.name(int(position)).encode() for position in np.flatnonzero(images)]
        return replace(
            self,
            image_ids=self.image_ids[images],
            names=b"".join(kept),
            name_starts=starts([len(name) for name in kept]),
            sizes=self.sizes[images],
            box_starts=starts(counts[images]),
            boxes=self.boxes[boxes],
            labels=self.labels[boxes],
            crowd=self.crowd[boxes],
            areas=self.areas[boxes],
        )


def starts(lengths: "list[int] | Int64") -> Int64:
    """Where each of some consecutive runs begins, and where the last one ends: (N,) to (N + 1,) int64."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])
