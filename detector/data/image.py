"""Image files to pixels: RGB, 8 bit, three channels, upright. Reads one file at a time.

OpenCV decodes; its JPEG decoder is libjpeg-turbo. An image is read at a half, a quarter or an eighth of its size where
that is enough: it shrinks without aliasing, where plain bilinear resizing would not, and a JPEG decodes faster.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.errors import UserError

Pixels = NDArray[np.uint8]

_JPEG = b"\xff\xd8\xff"
# IMREAD_REDUCED_GRAYSCALE_* are the bare reductions; IMREAD_COLOR_RGB adds the colours.
_REDUCED = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


class ImageError(UserError):
    """A file that is no image, or not a whole one."""


class Picture(NamedTuple):
    """A decoded image, perhaps reduced.

    Attributes:
        pixels: (h, w, 3) uint8, RGB.
        reduction: 1, 2, 4, ...; a pixel stands for that many in either direction of the file.
        width, height: of the whole image in its own pixels.
    """

    pixels: Pixels
    reduction: int
    width: int
    height: int

    def reduced(self, at_least: tuple[int, int]) -> "Picture":
        """The picture as coarse as it may be for a width and a height that it will be resized to."""
        rows, columns, _ = self.pixels.shape
        by = reduction((columns, rows), at_least)
        return self._replace(pixels=_averaged(self.pixels, by), reduction=self.reduction * by)


def read_image(path: Path, width: int, height: int, at_least: tuple[int, int]) -> Picture:
    """Decode a file in the orientation whose size agrees with the annotated one (see `scan`).

    Greyscale is repeated over the channels, palettes and CMYK become RGB, 16 bits lose their lower 8, and alpha is
    dropped.

    Args:
        path: the file.
        width: annotated width.
        height: annotated height.
        at_least: width and height that the image must keep; it is reduced where it keeps them.

    Raises:
        OSError: the file cannot be read.
        ImageError: it is no image, is cut short, or holds something else than 8 or 16 bit per channel.
    """
    data = np.fromfile(path, dtype=np.uint8)
    by = reduction((width, height), at_least)
    decoded = min(by, 8) if data[:3].tobytes() == _JPEG else 1
    for flags in (_REDUCED[decoded], _REDUCED[decoded] | cv2.IMREAD_IGNORE_ORIENTATION):
        pixels = decode(data, path, flags)
        if pixels.shape[:2] == (-(-height // decoded), -(-width // decoded)):
            return Picture(_averaged(pixels, by // decoded), by, width, height)
    pixels = decode(data, path)
    return Picture(pixels, 1, pixels.shape[1], pixels.shape[0]).reduced(at_least)


def reduction(size: tuple[int, int], at_least: tuple[int, int]) -> int:
    """The largest power of two that a width and a height can be divided by and stay as long as wanted."""
    possible = min(side // wanted for side, wanted in zip(size, at_least, strict=True))
    return 1 << max(possible.bit_length() - 1, 0)


def decode(data: Pixels, source: object, flags: int = cv2.IMREAD_COLOR_RGB) -> Pixels:
    """A file's bytes as (h, w, 3) uint8, RGB.

    Raises:
        ImageError: it is no image, or not a whole one; the message names the source.
    """
    try:
        pixels = cv2.imdecode(data, flags)
    except cv2.error:  # an empty file, or more pixels than OpenCV allows
        pixels = None
    if pixels is None:
        raise ImageError(f"{source}: not an image that can be decoded, or not a whole one")
    return np.asarray(pixels, dtype=np.uint8)


def is_whole(data: Pixels) -> bool:
    """Whether a file's bytes are all of an image; a JPEG is decoded at an eighth, which reads it to its end."""
    try:
        decode(data, "", _REDUCED[8])
    except ImageError:
        return False
    return True


def _averaged(pixels: Pixels, by: int) -> Pixels:
    """The mean of every `by` x `by` pixels; the last row and column are repeated where they do not fill a block."""
    if by == 1:
        return pixels
    rows, columns, _ = pixels.shape
    filled = cv2.copyMakeBorder(pixels, 0, -rows % by, 0, -columns % by, cv2.BORDER_REPLICATE)
    mean: Pixels = cv2.resize(filled, (-(-columns // by), -(-rows // by)), interpolation=cv2.INTER_AREA)
    return mean
