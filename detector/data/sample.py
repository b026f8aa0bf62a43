"""One input of a batch: its images read, changed, and put where they belong with their boxes."""

from typing import NamedTuple

import cv2
import numpy as np

from detector.data.augment import recolour, recoloured_grey
from detector.data.geometry import GREY, Placement, fit, paint, place_boxes, placement, seen
from detector.data.image import Pixels
from detector.data.index import Float32
from detector.data.mosaic import Composition, Part
from detector.data.pictures import Pictures


class Sample(NamedTuple):
    """One input apart from its pixels.

    Attributes:
        rows: as from `place_boxes`, of all its images.
        placement: of its first image.
        size: width and height of its first image.
        bad: positions of its images that could not be read.
    """

    rows: Float32
    placement: Placement
    size: tuple[int, int]
    bad: tuple[int, ...] = ()


def load_sample(pictures: Pictures, composition: Composition, out: Pixels) -> Sample:
    """Draw an input on planes, (3, S, S) uint8. Where an image cannot be read, there is grey without boxes."""
    samples = [_draw(pictures, part, out) for part in composition.parts]
    if composition.through:
        second = np.empty_like(out)
        samples.append(_draw(pictures, composition.through, second))
        _mix(out, second)
    rows = np.concatenate([sample.rows for sample in samples])
    return samples[0]._replace(rows=rows, bad=tuple(at for sample in samples for at in sample.bad))


def _draw(pictures: Pictures, part: Part, out: Pixels) -> Sample:
    """Draw one image on its region, and grey where it leaves some."""
    change, side = part.change, out.shape[-1]
    picture, size = pictures.get(part.position), pictures.size(part.position)
    region = change.region(side)
    ground = out[:, region.top : region.bottom, region.left : region.right]
    if picture is None:
        ground.fill(GREY)
        return Sample(np.empty((0, 6), np.float32), Placement(1, 1, 0, 0), size, (part.position,))
    size = (picture.width, picture.height)
    view = change.view((side, side) if pictures.stretched else size, side)
    picture = picture.reduced((view.width, view.height))
    ground.fill(recoloured_grey(GREY, change.colour))
    rows, columns, _ = picture.pixels.shape
    shown = seen(view, region, columns, rows)
    if shown is None:
        return Sample(np.empty((0, 6), np.float32), Placement(1, 1, 0, 0), size)
    paint(recolour(fit(picture, shown), change.colour), shown.on, out)
    at = placement(shown, picture.reduction)
    return Sample(place_boxes(pictures.index.truth(part.position), at, region), at, size)


def _mix(out: Pixels, second: Pixels) -> None:
    """Half and half, in place."""
    flat = out.reshape(-1, out.shape[-1])
    cv2.addWeighted(flat, 0.5, second.reshape(flat.shape), 0.5, 0, dst=flat)
