"""Darknet's augmentation for detection: aspect jitter, random placement on grey, mirroring, and colour. No I/O.

Source: `load_data_detection` and `random_distort_image` of darknet, which trained the YOLOv3 of the paper; the scale
jitter is that of its successors. Randomness comes from the generator that is passed in and from nowhere else; it is
drawn first and applied later, so that the same draw can be applied to any image.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from detector.config import Augment
from detector.data.geometry import View
from detector.data.image import Pixels


class Warp(NamedTuple):
    """One draw of the geometric part.

    Attributes:
        stretch_x, stretch_y: factors on width and height that only their ratio matters of.
        place_x, place_y: share of the free space that lies left of and above the image.
        mirrored: left and right change places.
        scale: size relative to the input.
    """

    stretch_x: float
    stretch_y: float
    place_x: float
    place_y: float
    mirrored: bool
    scale: float = 1.0


class Colour(NamedTuple):
    """One draw of the photometric part: hue shift in turns, factors on saturation and on value."""

    hue: float
    saturation: float
    exposure: float


UNCHANGED = Colour(0.0, 1.0, 1.0)


def draw_warp(augment: Augment, random: Generator) -> Warp:
    """Stretches within `1 +- jitter`, a place, a mirror with probability `flip`, and a scale."""
    stretch_x, stretch_y, place_x, place_y, coin, zoom = random.random(6).tolist()
    thinnest, breadth = 1 - augment.jitter, 2 * augment.jitter
    smallest, largest = augment.scale
    return Warp(
        stretch_x=thinnest + breadth * stretch_x,
        stretch_y=thinnest + breadth * stretch_y,
        place_x=place_x,
        place_y=place_y,
        mirrored=coin < augment.flip,
        scale=smallest + (largest - smallest) * zoom,
    )


def draw_colour(augment: Augment, random: Generator) -> Colour:
    """A hue shift within `+- hue`, and factors between 1 and the limit or, as often, one over it."""
    hue, saturation, exposure, more_saturation, more_exposure = random.random(5).tolist()
    saturation = 1 + (augment.saturation - 1) * saturation
    exposure = 1 + (augment.exposure - 1) * exposure
    return Colour(
        hue=augment.hue * (2 * hue - 1),
        saturation=saturation if more_saturation < 0.5 else 1 / saturation,
        exposure=exposure if more_exposure < 0.5 else 1 / exposure,
    )


def view_of(warp: Warp, width: int, height: int, size: int) -> View:
    """Where an image lies: its longer side, once stretched, fills the input times the scale.

    It is placed at random in the space that is left, or where it is larger, so that the input sees a random part.
    """
    aspect = (width * warp.stretch_x) / (height * warp.stretch_y)
    view_width = max(round(size * warp.scale * min(aspect, 1)), 1)
    view_height = max(round(size * warp.scale / max(aspect, 1)), 1)
    left = round(warp.place_x * (size - view_width))
    top = round(warp.place_y * (size - view_height))
    return View(left, top, view_width, view_height, warp.mirrored)


def recolour(pixels: Pixels, colour: Colour) -> Pixels:
    """RGB pixels with another colour, in HSV of 8 bits: hue wraps around, saturation and value stop at their ends."""
    if colour == UNCHANGED:
        return pixels
    hue, saturation, value = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL))
    hue += np.uint8(round(colour.hue * 256) % 256)
    saturation = cv2.convertScaleAbs(saturation, alpha=colour.saturation)
    value = cv2.convertScaleAbs(value, alpha=colour.exposure)
    changed: Pixels = cv2.cvtColor(cv2.merge((hue, saturation, value)), cv2.COLOR_HSV2RGB_FULL)
    return changed


def recoloured_grey(grey: int, colour: Colour) -> int:
    """What `recolour` makes of a grey level."""
    return min(round(grey * colour.exposure), 255)
