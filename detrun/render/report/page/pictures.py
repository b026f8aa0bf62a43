"""Val images as small JPEGs inside the page, within a bound on their size together. Reads image files."""

import base64
import io
from functools import lru_cache
from pathlib import Path

from detrun.comparison.images import Image

# Of all images of a page together, before they are written as text, which adds a third.
MOST_BYTES = 2_200_000
_SIDES_PX = (720, 560, 420, 320, 240)
_QUALITIES = (82, 72, 60)
_LEAST_BYTES = 4_000


def data_uris(images: tuple[Image, ...]) -> list[str | None]:
    """A `data:` address for each image, shrunk as far as its share demands; None for a file that is no image."""
    share = max(_LEAST_BYTES, MOST_BYTES // max(1, len(images)))
    return [_data_uri(image.path, image.width, image.height, share) for image in images]


@lru_cache(maxsize=256)
def _data_uri(path: Path, width: int, height: int, most_bytes: int) -> str | None:
    jpeg = _jpeg(path, (width, height), most_bytes)
    return None if jpeg is None else "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _jpeg(path: Path, size: tuple[int, int], most_bytes: int) -> bytes | None:
    """The largest and finest that fits; else the smallest."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    try:
        with Pillow.open(path) as opened:
            opened.draft("RGB", (_SIDES_PX[0], _SIDES_PX[0]))
            turned = ImageOps.exif_transpose(opened)
            portrait = size[0] < size[1]
            upright = opened if portrait != (turned.width < turned.height) else turned
            pixels = upright.convert("RGB")
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError):
        return None
    jpeg = b""
    for side in _SIDES_PX:
        pixels.thumbnail((side, side))
        for quality in _QUALITIES:
            out = io.BytesIO()
            pixels.save(out, "JPEG", quality=quality, optimize=True)
            jpeg = out.getvalue()
            if len(jpeg) <= most_bytes:
                return jpeg
    return jpeg
