"""Which images an input is made of: one, four around a point, and perhaps another one through them. No I/O.

Mosaic and mixup as YOLOX does them (Ge et al., "YOLOX: Exceeding YOLO Series in 2021", section 2.1), after ultralytics'
YOLOv5: the point lies in the middle half of a canvas of four images, which is seen at the scale that is drawn; mixup
lays one more image over the whole, half and half, and keeps the boxes of both. Every image has a warp and a colour of
its own.
"""

from typing import NamedTuple

from numpy.random import Generator

from detector.config import Augment
from detector.data.augment import UNCHANGED, Colour, Warp, draw_colour, draw_warp, view_of
from detector.data.geometry import Rect, View, letterbox, whole


class Corner(NamedTuple):
    """A corner of an image that is pinned to a point, which is given in shares of the input.

    The image lies right of the point or left of it, below it or above it, and is seen there alone.
    """

    x: float
    y: float
    right: bool
    below: bool

    def pin(self, view: View, size: int) -> View:
        x, y = round(self.x * size), round(self.y * size)
        return view._replace(left=x - (0 if self.right else view.width), top=y - (0 if self.below else view.height))

    def region(self, size: int) -> Rect:
        x, y = (min(max(round(at * size), 0), size) for at in (self.x, self.y))
        left, right = (x, size) if self.right else (0, x)
        top, bottom = (y, size) if self.below else (0, y)
        return Rect(left, top, right, bottom)


class Change(NamedTuple):
    """What augmentation does to one image; the default is a letterbox in its own colours."""

    warp: Warp | None = None
    colour: Colour = UNCHANGED
    corner: Corner | None = None

    def view(self, image: tuple[int, int], size: int) -> View:
        """Where an image of some width and height lies."""
        view = letterbox(*image, size) if self.warp is None else view_of(self.warp, *image, size)
        return self.corner.pin(view, size) if self.corner else view

    def region(self, size: int) -> Rect:
        """Where it may be seen."""
        return self.corner.region(size) if self.corner else whole(size)


class Part(NamedTuple):
    """An image by its position in the index, and what is done to it."""

    position: int
    change: Change


class Composition(NamedTuple):
    """The images that lie side by side on an input, and the one that is seen through them."""

    parts: tuple[Part, ...]
    through: Part | None = None

    def without_colour(self) -> tuple["Composition", Colour]:
        """The same in its own colours and the one colour of the whole input, where it has one."""
        first, *others = self.parts
        if others or self.through:
            return self, UNCHANGED
        plain = first._replace(change=first.change._replace(colour=UNCHANGED))
        return Composition((plain,)), first.change.colour


def compose(augment: Augment, position: int, images: int, random: Generator, *, closing: bool) -> Composition:
    """Draw what becomes of an image: alone where `closing`, and else perhaps with others out of so many `images`."""
    first = Part(position, _change(augment, random))
    mosaic, mixup = random.uniform(size=2) < (augment.mosaic, augment.mixup)
    if closing or not (mosaic or mixup):
        return Composition((first,))
    parts = _around_a_point(augment, first, images, random) if mosaic else (first,)
    return Composition(parts, _other(augment, images, random) if mixup else None)


def _around_a_point(augment: Augment, first: Part, images: int, random: Generator) -> tuple[Part, ...]:
    assert first.change.warp is not None
    scale = first.change.warp.scale
    x, y = 0.5 + scale * random.uniform(-0.5, 0.5, size=2)
    parts = [first, *(_other(augment, images, random) for _ in range(3))]
    return tuple(
        part._replace(change=_pinned(part.change, Corner(x, y, right=bool(place % 2), below=place >= 2), scale))
        for place, part in enumerate(parts)
    )


def _pinned(change: Change, corner: Corner, scale: float) -> Change:
    assert change.warp is not None
    return change._replace(warp=change.warp._replace(scale=scale), corner=corner)


def _other(augment: Augment, images: int, random: Generator) -> Part:
    return Part(int(random.integers(images)), _change(augment, random))


def _change(augment: Augment, random: Generator) -> Change:
    warp = draw_warp(augment, random)
    return Change(warp, draw_colour(augment, random))
