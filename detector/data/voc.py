"""Reads the layout of PASCAL VOC: one XML file per image, and lists of the images of each split.

Source: Everingham and Winn, "The PASCAL Visual Object Classes Challenge 2007 Development Kit", sections 3 and 4.

Pixels are counted from 1 there, and a box holds its last pixel: its left edge lies at xmin - 1, its right one at xmax.
An object that is `difficult` becomes a crowd, since VOC wants of it what COCO wants of a crowd: it trains nothing, need
not be found, and finding it is no mistake. (COCO ignores a little more: any number of detections that lie in it.)
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from detector.data.header import UNREADABLE, is_image, read_header
from detector.data.index import CocoIndex
from detector.data.instances import Annotation, Category, Image, Instances, Reading, indexed
from detector.data.layout import VOC_BOXES, Files
from detector.data.report import DataReport
from detector.errors import UserError


class _Object(NamedTuple):
    """One object; its box is left, top, width, height in pixels from the outer edges, or None where it is damaged."""

    name: str
    difficult: bool
    box: tuple[float, float, float, float] | None


class _Sheet(NamedTuple):
    """One XML file; a size of 0 where it does not say."""

    width: int
    height: int
    objects: list[_Object]


def read_voc(root: Path, files: Files) -> tuple[CocoIndex, DataReport]:
    """The images of a list, as an index and a report on it. Image ids count from 1 in the order of the list.

    The classes are the names in `classes.txt` in the root, else all that any file in `Annotations/` uses, sorted, and
    so the same in every split.

    Raises:
        UserError: the list is empty, or none of its images has a file in `Annotations/` that can be read.
    """
    sheets = {path.stem: _sheet(path) for path in sorted((root / VOC_BOXES).glob("*.xml"))}
    names = _classes(root, sheets)
    by_stem = {Path(entry.name).stem: entry.name for entry in os.scandir(files.images) if is_image(entry.name)}
    instances = Instances([], [], [Category(number, name) for number, name in enumerate(names, start=1)])
    reading = Reading(source=str(files.annotations), folder=files.images, instances=instances)
    broken, damaged = [], []
    for number, stem in enumerate(_listed(files.annotations), start=1):
        sheet = sheets.get(stem)
        file = by_stem.get(stem, f"{stem}.jpg")
        size = _size(sheet, files.images / file) if sheet else None
        if sheet is None or size is None:
            broken.append(f"{VOC_BOXES}/{stem}.xml")
            continue
        instances.images.append(Image(number, file, *size))
        damaged += list(_add(reading, number, file, sheet, names))
    if not instances.images:
        problem = f"{files.annotations}: none of its {len(broken)} images has a readable file in {root / VOC_BOXES}"
        raise UserError(problem, f"such as {broken[0]}")
    reading.found.extend([("unreadable_annotations", broken), ("unreadable_boxes", damaged)])
    return indexed(reading)


def _classes(root: Path, sheets: dict[str, _Sheet | None]) -> list[str]:
    listed = root / "classes.txt"
    if listed.is_file():
        return [line.strip() for line in listed.read_text(errors="replace").splitlines() if line.strip()]
    return sorted({each.name for sheet in sheets.values() if sheet for each in sheet.objects})


def _listed(path: Path) -> Iterator[str]:
    """The names in a list, each once; what stands behind a name, 1 or -1 in the list of a class, is left out."""
    lines = path.read_text(errors="replace").splitlines()
    names = dict.fromkeys(line.split()[0] for line in lines if line.strip())
    if not names:
        raise UserError(f"{path}: lists no images")
    return iter(names)


def _add(reading: Reading, image: int, file: str, sheet: _Sheet, names: list[str]) -> Iterator[str]:
    """Take over the objects of one image; the places of those that are damaged."""
    for number, each in enumerate(sheet.objects, start=1):
        place = f"{file} object {number} ({each.name or 'nameless'})"
        if each.box is None:
            yield place
            continue
        category = names.index(each.name) + 1 if each.name in names else 0
        rows = reading.instances.annotations
        rows.append(Annotation(len(rows) + 1, image, category, each.box, iscrowd=each.difficult))
        reading.places.append(place)


def _size(sheet: _Sheet, image: Path) -> tuple[int, int] | None:
    """Width and height as the XML has them, else as the image has."""
    if sheet.width > 0 and sheet.height > 0:
        return sheet.width, sheet.height
    try:
        return read_header(image).shown
    except UNREADABLE:
        return None


def _sheet(path: Path) -> _Sheet | None:
    """A file's content; None where it is no annotation at all."""
    try:
        top = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    if top.tag != "annotation":
        return None
    width, height = (int(_number(top, f"size/{side}") or 0) for side in ("width", "height"))
    return _Sheet(width, height, [_object(each) for each in top.iterfind("object")])


def _object(element: ElementTree.Element) -> _Object:
    name = (element.findtext("name") or "").strip()
    left, top, right, bottom = (_number(element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
    difficult = (element.findtext("difficult") or "0").strip() == "1"
    if not name or left is None or top is None or right is None or bottom is None:
        return _Object(name, difficult, None)
    return _Object(name, difficult, (left - 1, top - 1, right - left + 1, bottom - top + 1))


def _number(element: ElementTree.Element, path: str) -> float | None:
    """A finite number, None where there is none."""
    try:
        value = float(element.findtext(path) or "")
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None
