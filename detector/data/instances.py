"""Annotations in COCO's terms, whatever layout they were read from, and the index that they become. No I/O.

The format: https://cocodataset.org/#format-data.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from detector.data.cleaning import Found, Rows, clean, emptiness
from detector.data.index import CocoIndex, Int64, starts
from detector.data.report import DataReport, findings
from detector.errors import UserError


class Image(msgspec.Struct, gc=False):
    """`file_name` is relative to the folder of the images."""

    id: int
    file_name: str
    width: Annotated[int, Meta(gt=0)]
    height: Annotated[int, Meta(gt=0)]


class Annotation(msgspec.Struct, gc=False):
    """`bbox` is left, top, width, height in pixels, counted from the outer edges of the image."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int | bool = 0


class Category(msgspec.Struct, gc=False):
    """`id` need be neither contiguous nor start anywhere."""

    id: int
    name: str


class Instances(msgspec.Struct):
    """A split as a COCO `instances` file has it."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A split as it was read.

    Attributes:
        source: file or folder, for messages.
        folder: of the images.
        instances: everything that could be read.
        places: per annotation where it stands, for messages; its id where there is none.
        found: what was wrong with files on the way.
    """

    source: str
    folder: Path
    instances: Instances
    places: list[str] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)


def indexed(reading: Reading) -> tuple[CocoIndex, DataReport]:
    """A reading as an index, and a report on it.

    Labels are contiguous in the order of ascending category ids. Boxes without width or height, wholly outside their
    image, or of an unknown image or category are dropped; the others are clipped to their image.

    Raises:
        UserError: there are no images or no categories, or two categories share an id.
    """
    images, repeated = _first_of_each(reading.instances.images)
    categories = sorted(reading.instances.categories, key=lambda category: category.id)
    _refuse_unusable(reading.source, images, categories)
    sizes = np.array([(image.width, image.height) for image in images], dtype=np.int32)
    rows = _columns(reading.instances.annotations, images, categories)
    rows, found = clean(rows, sizes, [image.file_name for image in images], reading.places)
    index = _index(reading.folder, images, sizes, categories, rows)
    found += [*reading.found, ("repeated_images", repeated), *emptiness(index)]
    return index, DataReport.of(reading.source, index, findings(found))


def ground_truth(index: CocoIndex) -> bytes:
    """The index as a COCO file for evaluation: the same bytes for the same annotations, wherever they lie."""
    images = np.repeat(index.image_ids, np.diff(index.box_starts))
    # The shortest decimals that give the same float32: 12.3 rather than 12.300000190734863.
    boxes, areas = (values.astype(str).astype(np.float64).tolist() for values in (index.boxes, index.areas))
    sizes = index.sizes.tolist()
    rows = zip(images.tolist(), index.category_ids[index.labels].tolist(), boxes, areas, index.crowd, strict=True)
    instances = {
        "info": {"description": "written by detrun"},
        "images": [Image(int(number), index.name(at), *sizes[at]) for at, number in enumerate(index.image_ids)],
        "annotations": [
            Annotation(number, image, category, tuple(box), area, int(crowd))
            for number, (image, category, box, area, crowd) in enumerate(rows, start=1)
        ],
        "categories": [Category(*pair) for pair in index.categories],
    }
    return msgspec.json.encode(instances)


def _first_of_each(images: list[Image]) -> tuple[list[Image], list[str]]:
    """The images without repeated ids, and the files that repeat one."""
    seen: dict[int, Image] = {}
    repeated = [image.file_name for image in images if seen.setdefault(image.id, image) is not image]
    return list(seen.values()), repeated


def _refuse_unusable(source: str, images: list[Image], categories: list[Category]) -> None:
    if not images:
        raise UserError(f"{source}: lists no images")
    if not categories:
        raise UserError(f"{source}: lists no categories")
    for one, other in itertools.pairwise(categories):
        if one.id == other.id:
            raise UserError(f"{source}: category id {one.id} is both `{one.name}` and `{other.name}`")


def _columns(annotations: list[Annotation], images: list[Image], categories: list[Category]) -> Rows:
    def column(values: Iterable[Any], dtype: type[Any]) -> NDArray[Any]:
        return np.fromiter(values, dtype, count=len(annotations))

    boxes = np.array([row.bbox for row in annotations], dtype=np.float64).reshape(-1, 4)
    areas = column((np.nan if row.area is None else row.area for row in annotations), np.float64)
    image_ids = column((row.image_id for row in annotations), np.int64)
    category_ids = column((row.category_id for row in annotations), np.int64)
    return Rows(
        numbers=np.arange(len(annotations)),
        ids=column((row.id for row in annotations), np.int64),
        images=_positions([image.id for image in images], image_ids),
        labels=_positions([category.id for category in categories], category_ids),
        boxes=boxes,
        areas=np.where(np.isnan(areas), boxes[:, 2] * boxes[:, 3], areas),
        crowd=column((row.iscrowd for row in annotations), np.bool_),
    )


def _positions(listed: list[int], wanted: Int64) -> Int64:
    """Where each wanted id stands in a list of distinct ids, -1 where it does not."""
    ids = np.array(listed, dtype=np.int64)
    order = np.argsort(ids)
    slots = np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)
    return np.where(ids[order[slots]] == wanted, order[slots], -1)


def _index(
    folder: Path, images: list[Image], sizes: NDArray[np.int32], categories: list[Category], rows: Rows
) -> CocoIndex:
    names = [image.file_name.encode() for image in images]
    return CocoIndex(
        folder=folder,
        image_ids=np.array([image.id for image in images], dtype=np.int64),
        names=b"".join(names),
        name_starts=starts([len(name) for name in names]),
        sizes=sizes,
        box_starts=starts(np.bincount(rows.images, minlength=len(images))),
        boxes=rows.boxes.astype(np.float32),
        labels=rows.labels.astype(np.int32),
        crowd=rows.crowd,
        areas=rows.areas.astype(np.float32),
        category_ids=np.array([category.id for category in categories], dtype=np.int64),
        category_names=tuple(category.name for category in categories),
    )
