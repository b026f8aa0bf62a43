"""Reads COCO `instances` files. Reads the JSON alone, no image.

Keys that are not needed (segmentations above all) are skipped unparsed, and the file is mapped rather than read, so
that the 450 MB of train2017 cost neither minutes nor gigabytes.
"""

import mmap
from pathlib import Path

import msgspec

from detector.data.index import CocoIndex
from detector.data.instances import Instances, Reading, indexed
from detector.data.report import DataReport
from detector.errors import UserError


def read_coco(annotations: Path, folder: Path) -> tuple[CocoIndex, DataReport]:
    """An `instances` file and the folder of its images, as an index and a report on it.

    Raises:
        UserError: not JSON, not COCO, or no use (see `indexed`).
    """
    return indexed(Reading(source=str(annotations), folder=folder, instances=_decode(annotations)))


def _decode(path: Path) -> Instances:
    if not path.stat().st_size:
        raise UserError(f"{path}: the file is empty")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return msgspec.json.decode(text, type=Instances)
    except msgspec.ValidationError as error:
        hint = "a COCO instances file has `images`, `annotations` with a `bbox` each, and `categories`"
        raise UserError(f"{path}: not a COCO instances file: {error}", hint) from None
    except msgspec.DecodeError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
