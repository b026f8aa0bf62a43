"""Where an image lies on the square that the network sees, for its pixels and for its boxes alike. No I/O.

An image fills a rectangle of whole input pixels, its view, perhaps mirrored. What of the view lies in a region is seen:
a rectangle of whole pixels of the image, shown on a rectangle of whole pixels of the input. One scale and one offset
per axis, counted from the outer edges of the corner pixels, then describe exactly what happens to the pixels, and move
the boxes.
"""

from typing import NamedTuple

import cv2
import numpy as np

from detector.data.image import Picture, Pixels
from detector.data.index import Float32, Truth

# Middle grey, darknet's .5.
GREY = 128

# Boxes of which less than this many input pixels is left in either direction, or less than this share of their area,
# have nothing to learn from.
SMALLEST_PX = 1.0
SMALLEST_SHARE = 0.1


class View(NamedTuple):
    """The rectangle of input pixels that a whole image fills, and whether left and right change places."""

    left: int
    top: int
    width: int
    height: int
    mirrored: bool = False


class Rect(NamedTuple):
    """Whole pixels from `left` up to `right`, which is not of it, and from `top` up to `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def within(self, other: "Rect") -> "Rect":
        """What the two have in common; of no width or no height where that is nothing."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        return Rect(left, top, max(min(self.right, other.right), left), max(min(self.bottom, other.bottom), top))


class Shown(NamedTuple):
    """A rectangle of a picture's pixels, the rectangle of the input that it fills, and whether it is mirrored."""

    pixels: Rect
    on: Rect
    mirrored: bool


class Placement(NamedTuple):
    """`input = original * scale + offset`, per axis, in pixels; a mirrored image has a negative horizontal scale."""

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float


def letterbox(width: int, height: int, size: int) -> View:
    """The largest centred view of an image that keeps its aspect, as darknet's `letterbox_image`."""
    scale = size / max(width, height)
    fit_width, fit_height = max(round(width * scale), 1), max(round(height * scale), 1)
    return View((size - fit_width) // 2, (size - fit_height) // 2, fit_width, fit_height)


def whole(size: int) -> Rect:
    """All of a square input."""
    return Rect(0, 0, size, size)


def seen(view: View, region: Rect, columns: int, rows: int) -> Shown | None:
    """What is seen of a picture of so many pixels, whole ones only, in a region; None where that is nothing.

    At the region's border a pixel of the picture may be seen in part; then all of it is, and the scale gives way.
    """
    right, bottom = view.left + view.width, view.top + view.height
    on = Rect(view.left, view.top, right, bottom).within(region)
    if not on.width or not on.height:
        return None
    low, high = (right - on.right, right - on.left) if view.mirrored else (on.left - view.left, on.right - view.left)
    columns_seen = low * columns // view.width, -(-high * columns // view.width)
    rows_seen = (on.top - view.top) * rows // view.height, -(-(on.bottom - view.top) * rows // view.height)
    return Shown(Rect(columns_seen[0], rows_seen[0], columns_seen[1], rows_seen[1]), on, view.mirrored)


def placement(shown: Shown, reduction: int = 1) -> Placement:
    """The affine map to the input from an image whose pixels are reduced to those that are shown."""
    pixels, on = shown.pixels, shown.on
    scale_x, scale_y = on.width / (pixels.width * reduction), on.height / (pixels.height * reduction)
    offset_y = on.top - pixels.top * reduction * scale_y
    if shown.mirrored:
        return Placement(-scale_x, scale_y, on.right + pixels.left * reduction * scale_x, offset_y)
    return Placement(scale_x, scale_y, on.left - pixels.left * reduction * scale_x, offset_y)


def fit(picture: Picture, shown: Shown) -> Pixels:
    """The pixels that are shown, resized bilinearly and perhaps mirrored: (on.height, on.width, 3) uint8."""
    left, top, right, bottom = shown.pixels
    size = (shown.on.width, shown.on.height)
    fitted: Pixels = cv2.resize(picture.pixels[top:bottom, left:right], size, interpolation=cv2.INTER_LINEAR)
    return cv2.flip(fitted, 1) if shown.mirrored else fitted


def paint(pixels: Pixels, on: Rect, out: Pixels) -> None:
    """Put pixels, (on.height, on.width, 3), on their rectangle of planes, (3, size, size) uint8."""
    cv2.split(pixels, list(out[:, on.top : on.bottom, on.left : on.right]))


def place_boxes(truth: Truth, at: Placement, region: Rect) -> Float32:
    """Boxes on the input, clipped to a region of it.

    A box is dropped when less than `SMALLEST_PX` of it, in width or in height, or less than `SMALLEST_SHARE` of its
    area is left to be seen.

    Returns:
        (N, 6) float32: label, centre x, centre y, width, height in input pixels, and 1 for a crowd.
    """
    scale = np.array([at.scale_x, at.scale_y], dtype=np.float32)
    offset = np.array([at.offset_x, at.offset_y], dtype=np.float32)
    ends = np.stack([truth.boxes[:, :2], truth.boxes[:, :2] + truth.boxes[:, 2:]]) * scale + offset
    low, high = ends.min(axis=0), ends.max(axis=0)
    before = (high - low).prod(axis=1)
    low, high = np.maximum(low, region[:2]), np.minimum(high, region[2:])
    extent = high - low
    enough = (extent >= SMALLEST_PX).all(axis=1) & (extent.prod(axis=1) >= SMALLEST_SHARE * before)
    columns = (truth.labels, (low + high) / 2, extent, truth.crowd)
    rows: Float32 = np.column_stack(columns)[enough].astype(np.float32)
    return rows
