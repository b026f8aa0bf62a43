"""What a classifier sees of an image: a random part of it in training, its middle in evaluation. No I/O.

Source: Szegedy et al., "Going Deeper with Convolutions" (CVPR 2015), section 6, as torchvision's `RandomResizedCrop`
has it; evaluation shows the middle 224 of 256 pixels of the shorter side, as has been usual since AlexNet.
"""

import math
from typing import NamedTuple

from numpy.random import Generator

from detector.config import Augment
from detector.data.geometry import Rect

_ASPECTS = (3 / 4, 4 / 3)
_TRIES = 10
_MIDDLE = 224 / 256


class Crop(NamedTuple):
    """One draw: areas in shares of the image and aspects to try in turn, a place, and whether it is mirrored."""

    shapes: list[list[float]]
    place_x: float
    place_y: float
    mirrored: bool


def draw_crop(augment: Augment, random: Generator) -> Crop:
    """Areas within `crop_area`, aspects from 3/4 to 4/3, evenly in their logarithm."""
    low, high = (math.log(aspect) for aspect in _ASPECTS)
    smallest, largest = augment.crop_area
    shapes = [
        [smallest + (largest - smallest) * area, math.exp(low + (high - low) * aspect)]
        for area, aspect in random.random((_TRIES, 2)).tolist()
    ]
    place_x, place_y, coin = random.random(3).tolist()
    return Crop(shapes, place_x, place_y, coin < augment.flip)


def part_of(crop: Crop, width: int, height: int) -> Rect:
    """The first of the shapes that fits into an image, at its place; the whole middle where none does."""
    for area, aspect in crop.shapes:
        across = round(math.sqrt(width * height * area * aspect))
        down = round(math.sqrt(width * height * area / aspect))
        if 0 < across <= width and 0 < down <= height:
            return _at(crop.place_x, crop.place_y, across, down, width, height)
    across, down = min(width, round(height * _ASPECTS[1])), min(height, round(width / _ASPECTS[0]))
    return _at(0.5, 0.5, across, down, width, height)


def middle_of(width: int, height: int) -> Rect:
    """The square in the middle that evaluation shows."""
    side = max(round(min(width, height) * _MIDDLE), 1)
    return _at(0.5, 0.5, side, side, width, height)


def _at(place_x: float, place_y: float, across: int, down: int, width: int, height: int) -> Rect:
    left, top = round(place_x * (width - across)), round(place_y * (height - down))
    return Rect(left, top, left + across, top + down)
