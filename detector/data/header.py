"""What an image file says of itself in its first bytes. Reads one file, as far as its header."""

from pathlib import Path
from typing import NamedTuple

from PIL import ExifTags, Image

_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F"}

# What opening a file that is no image raises.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


class Header(NamedTuple):
    """Stored width and height, EXIF orientation (1 to 8), and whether there are colours."""

    width: int
    height: int
    orientation: int
    grey: bool

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height as a viewer shows it."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_header(path: Path) -> Header:
    """The header of an image.

    Raises:
        one of `UNREADABLE`: there is no such file, or it is no image.
    """
    with Image.open(path) as image:
        tag = image.getexif().get(ExifTags.Base.Orientation)
        orientation = tag if isinstance(tag, int) and 1 <= tag <= 8 else 1
        return Header(image.width, image.height, orientation, image.mode in _GREY_MODES)


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image."""
    return Path(name).suffix.lower() in SUFFIXES
