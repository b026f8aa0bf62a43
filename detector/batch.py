"""What the loader hands to the model: one batch of images with their boxes, or with their classes. No I/O."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

# Columns of `Batch.targets`.
IMAGE, LABEL, CX, CY, WIDTH, HEIGHT, CROWD = range(7)


class Batch(NamedTuple):
    """Images of one size, with their boxes in pixels of that size.

    Attributes:
        images: (B, 3, H, W) uint8, RGB.
        targets: (N, 7) float32; per box the image's index in the batch, the contiguous label, the box's
            centre x, centre y, width and height in input pixels, and 1 where it is a crowd.
        image_ids: (B,) int64, the data set's own ids; of the first image where an input is made of several.
        placements: (B, 4) float32; scale x, scale y, offset x, offset y of the letterbox:
            `input = original * scale + offset`. Of the first image where an input is made of several.
        sizes: (B, 2) float32; original width and height, likewise.
        bad: files that could not be read; grey without boxes stands in for each.
        colours: (B, 3) float32, where the device is to change them; see `colour.recoloured`.
    """

    images: Tensor
    targets: Tensor
    image_ids: Tensor
    placements: Tensor
    sizes: Tensor
    bad: Sequence[str] = ()
    colours: Tensor | None = None


# The label of an image that could not be read; torch's cross-entropy leaves it out.
NO_CLASS = -100


class ClassBatch(NamedTuple):
    """Images of one size, each with its class.

    Attributes:
        images: (B, 3, H, W) uint8, RGB.
        targets: (B,) int64 labels; `NO_CLASS` where the file could not be read.
        image_ids: (B,) int64; positions in the split.
        bad: files that could not be read; a grey image stands in for each.
        colours: as in `Batch`.
    """

    images: Tensor
    targets: Tensor
    image_ids: Tensor
    bad: Sequence[str] = ()
    colours: Tensor | None = None


AnyBatch = Batch | ClassBatch
