"""Paints scenes of handwritten digits: paper, clutter, ink, light, noise. Pure functions of a generator; no I/O."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from detector.data.image import Pixels

SIDE_PX = 160
DIGITS = (3, 8)
HEIGHT_PX = (24.0, 72.0)
TILT_DEG = 20.0

# A digit may hide this share of the ink of another, and their boxes may overlap up to this IoU.
HIDDEN = 0.2
OVERLAP = 0.05

# A glyph is drawn from a smooth field of this side, in which the 8 x 8 sample fills all but a margin.
_FIELD_PX, _SAMPLE_PX = 96, 64

Plane = NDArray[np.float32]
Box = tuple[int, int, int, int]


class Scene(NamedTuple):
    """One picture.

    Attributes:
        pixels: (SIDE_PX, SIDE_PX, 3) uint8, RGB.
        labels: the digits that are in it.
        boxes: for each, left, top, width, height in pixels, tight around its visible ink.
    """

    pixels: Pixels
    labels: list[int]
    boxes: list[Box]


def paint(samples: NDArray[np.float64], digits: NDArray[np.int64], random: Generator) -> Scene:
    """A scene of some of the samples.

    Args:
        samples: (N, 8, 8), ink from 0 to 16.
        digits: (N,) what each sample shows.
        random: decides everything else.
    """
    paper, ink = _colours(random)
    picture = _paper(paper, random)
    _clutter(picture, paper, ink, random)
    masks: list[Plane] = []
    labels = []
    for _ in range(random.integers(DIGITS[0], DIGITS[1] + 1)):
        number = int(random.integers(len(samples)))
        mask = _placed(_field(samples[number]), masks, random)
        if mask is None:
            continue
        masks = [*(mask_below * (1 - mask) for mask_below in masks), mask]
        labels.append(int(digits[number]))
        _blend(picture, mask, ink + random.normal(0, 12, 3))
    return Scene(_photographed(picture, random), labels, [_box(mask) for mask in masks])


def _colours(random: Generator) -> tuple[Plane, Plane]:
    """Paper and ink, RGB from 0 to 255: dark on light, or now and then chalk on a board."""
    light = random.uniform(185, 250) + random.uniform(-22, 22, 3)
    dark = random.uniform(15, 70) + random.uniform(-15, 60, 3) * random.uniform(0, 1)
    paper, ink = (dark, light) if random.random() < 0.25 else (light, dark)
    return np.clip(paper, 0, 255).astype(np.float32), np.clip(ink, 0, 255).astype(np.float32)


def _paper(colour: Plane, random: Generator) -> Plane:
    """A sheet in uneven light: (SIDE_PX, SIDE_PX, 3)."""
    light = random.normal(0, random.uniform(3, 16), (5, 5, 1)) + random.normal(0, 3, (5, 5, 3))
    sheet: Plane = cv2.resize(colour + light.astype(np.float32), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    return sheet


def _clutter(picture: Plane, paper: Plane, ink: Plane, random: Generator) -> None:
    """Lines, blots and broken strokes in faded ink, painted in place."""
    for draw, most in ((_ruling, 1), (_line, 3), (_blot, 3), (_arc, 4)):
        for _ in range(random.integers(0, most + 1)):
            mask = np.zeros((SIDE_PX, SIDE_PX), dtype=np.uint8)
            draw(mask, random)
            fade = random.uniform(0.15, 0.6)
            colour = paper + (ink - paper) * fade + random.normal(0, 18, 3)
            _blend(picture, cv2.GaussianBlur(mask, (0, 0), random.uniform(0.4, 1.2)).astype(np.float32) / 255, colour)


def _ruling(mask: Pixels, random: Generator) -> None:
    """The lines of an exercise book, sometimes squared."""
    gap, first = int(random.integers(12, 28)), int(random.integers(0, 12))
    squared = random.random() < 0.4
    for at in range(first, SIDE_PX, gap):
        cv2.line(mask, (0, at), (SIDE_PX, at), 130, 1)
        if squared:
            cv2.line(mask, (at, 0), (at, SIDE_PX), 130, 1)


def _line(mask: Pixels, random: Generator) -> None:
    start, end = (tuple(int(at) for at in random.integers(-20, SIDE_PX + 20, 2)) for _ in range(2))
    cv2.line(mask, start, end, 255, int(random.integers(1, 3)), cv2.LINE_AA)


def _blot(mask: Pixels, random: Generator) -> None:
    centre = tuple(int(at) for at in random.integers(0, SIDE_PX, 2))
    axes = tuple(int(length) for length in random.integers(2, 16, 2))
    cv2.ellipse(mask, centre, axes, random.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)


def _arc(mask: Pixels, random: Generator) -> None:
    """A curved stroke too short to be a digit."""
    centre = tuple(int(at) for at in random.integers(0, SIDE_PX, 2))
    axes = tuple(int(length) for length in random.integers(5, 22, 2))
    begin, sweep = random.uniform(0, 360), random.uniform(40, 120)
    cv2.ellipse(
        mask, centre, axes, random.uniform(0, 180), begin, begin + sweep, 255, int(random.integers(2, 5)), cv2.LINE_AA
    )


def _field(sample: NDArray[np.float64]) -> Plane:
    """The sample as a smooth landscape of ink from 0 to about 1, with an empty margin all around."""
    margin = (_FIELD_PX - _SAMPLE_PX) * 8 // (2 * _SAMPLE_PX)
    padded = np.pad(sample.astype(np.float32) / 16, margin)
    large = cv2.resize(padded, (_FIELD_PX, _FIELD_PX), interpolation=cv2.INTER_CUBIC)
    smooth: Plane = cv2.GaussianBlur(large, (0, 0), 1.5)
    return smooth


def _placed(field: Plane, below: list[Plane], random: Generator) -> Plane | None:
    """The ink of a digit where it hides little of the others, or None where there is no such place."""
    low, high = HEIGHT_PX
    for _ in range(30):
        height = low * (high / low) ** random.random()
        mask = _inked(field, height, random)
        if _fits(mask, below):
            return mask
    return None


def _inked(field: Plane, height: float, random: Generator) -> Plane:
    """The digit at a size, tilt, slant and place: (SIDE_PX, SIDE_PX), 1 where there is ink."""
    scale = height / _SAMPLE_PX
    tilt = np.deg2rad(random.uniform(-TILT_DEG, TILT_DEG))
    slant, squeeze = random.uniform(-0.15, 0.15), random.uniform(0.85, 1.2)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    matrix = scale * turn @ np.array([[squeeze, slant], [0, 1]])
    centre = random.uniform(height * 0.55, SIDE_PX - height * 0.55, 2)
    shift = centre - matrix @ np.full(2, _FIELD_PX / 2 - 0.5)
    ink: Plane = cv2.warpAffine(field, np.column_stack([matrix, shift]), (SIDE_PX, SIDE_PX), flags=cv2.INTER_LINEAR)
    threshold, edge = random.uniform(0.43, 0.56), 0.3 / math.sqrt(height / 24)
    mask: Plane = np.clip((ink - threshold) / edge + 0.5, 0, 1)
    return mask


def _fits(mask: Plane, below: list[Plane]) -> bool:
    box = _box(mask)
    border = 1
    inside = min(box[:2]) >= border and max(box[0] + box[2], box[1] + box[3]) <= SIDE_PX - border
    return inside and all(
        _iou(box, _box(other)) <= OVERLAP and cv2.sumElems(other * mask)[0] <= HIDDEN * cv2.sumElems(other)[0]
        for other in below
    )


def _box(mask: Plane) -> Box:
    """Tight around the pixels that are mostly ink."""
    left, top, width, height = cv2.boundingRect((mask >= 0.5).astype(np.uint8))
    return left, top, width, height


def _iou(one: Box, other: Box) -> float:
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    return common / (one[2] * one[3] + other[2] * other[3] - common)


def _blend(picture: Plane, mask: Plane, colour: NDArray[np.floating]) -> None:
    """Paint in place with a colour where the mask is 1; only the part that it touches is computed."""
    left, top, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    part = (slice(top, top + height), slice(left, left + width))
    picture[part] += mask[part][..., None] * (colour.astype(np.float32) - picture[part])


def _photographed(picture: Plane, random: Generator) -> Pixels:
    """A little out of focus, and grainy."""
    blurred = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.3, 0.9))
    grain = random.standard_normal((SIDE_PX, SIDE_PX, 1), dtype=np.float32)
    pixels: Pixels = cv2.convertScaleAbs(np.maximum(blurred + random.uniform(1, 8) * grain, 0))
    return pixels
