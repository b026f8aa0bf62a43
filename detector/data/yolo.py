"""Reads the layout of YOLO: a text file per image, a line per box, in shares of the image's width and height.

    class centre_x centre_y width height

Source: https://docs.ultralytics.com/datasets/detect/ and darknet's own lists. The text file lies where `labels` stands
for the last `images` of the image's path, or beside the image; an image without one is background. A line with more
numbers is a polygon, of which the surrounding box is taken. Boxes are rounded to thousandths of a pixel.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from detector.config import ConfigError, Data
from detector.data.header import UNREADABLE, is_image, read_header
from detector.data.index import CocoIndex
from detector.data.instances import Annotation, Category, Image, Instances, Reading, indexed
from detector.data.layout import YOLO_NAMES, Name
from detector.data.report import DataReport
from detector.errors import UserError

# They wait for storage at once, which over a network is most of the work.
_THREADS = 16

# Beyond this a number is no class and no share of an image.
_ABSURD = 1e6
_FOLDERS = {
    "train": ("images/train", "train/images", "train"),
    "val": ("images/val", "val/images", "valid/images", "images/valid", "val", "valid"),
}

Box = tuple[float, float, float, float]


def read_yolo(data: Data, root: Path, split: Name) -> tuple[CocoIndex, DataReport]:
    """A split as an index and a report on it. Category ids are the numbers in the label files.

    Where the images are is said by the configuration, else by `data.yaml`, else by the usual names of folders. Image
    ids count from 1 in the order of the files' names.

    Raises:
        UserError: no class names, no images, or a `data.yaml` that cannot be used.
    """
    settings = _settings(root)
    sources = _sources(data, root, split, settings)
    paths = [path for source in sources for path in _images(source)]
    names = [PurePosixPath(path.relative_to(root)) if path.is_relative_to(root) else path for path in paths]
    instances = Instances([], [], [Category(*pair) for pair in enumerate(_class_names(root, settings))])
    reading = Reading(source=", ".join(map(str, sources)), folder=root, instances=instances)
    unsized, unread = [], []
    with ThreadPoolExecutor(_THREADS) as pool:
        sizes = pool.map(_size, paths, chunksize=64)
        for path, name, size in zip(paths, names, sizes, strict=True):
            if size is None:
                unsized.append(str(name))
                continue
            image = Image(len(instances.images) + 1, str(name), *size)
            instances.images.append(image)
            unread += list(_add(reading, image, _labels(data, root, split, path)))
    reading.found.extend([("unsized_files", unsized), ("unreadable_boxes", unread)])
    return indexed(reading)


def _settings(root: Path) -> dict[str, Any]:
    """What the root's YAML file says; nothing where there is none."""
    files = [path for path in (root / "data.yaml", *sorted(root.glob("*.yaml"))) if path.is_file()]
    if not files:
        return {}
    try:
        content = yaml.safe_load(files[0].read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{files[0]}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or "names" not in content:
        raise UserError(f"{files[0]}: has no `names`", "a list of the classes' names, in the order of their numbers")
    return content


def _class_names(root: Path, settings: dict[str, Any]) -> list[str]:
    """From `data.yaml`, as a list or by number, or else one on each line of `classes.txt`."""
    names = settings.get("names")
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        return [str(names[number]) for number in range(len(names))]
    if isinstance(names, list):
        return [str(name) for name in names]
    if names is not None:
        raise UserError(f"{root}: `names` in its YAML file is neither a list nor a table by number from 0")
    for file in (root / name for name in YOLO_NAMES):
        if file.is_file():
            return [line.strip() for line in file.read_text(errors="replace").splitlines() if line.strip()]
    raise UserError(f"{root}: nothing names the classes", "write `names: [...]` to data.yaml, or a classes.txt")


def _sources(data: Data, root: Path, split: Name, settings: dict[str, Any]) -> list[Path]:
    """The folders of a split's images, or the text files that list them."""
    key = f"data.{split}_images"
    configured = getattr(data, f"{split}_images")
    told = configured or settings.get(split)
    if not told:
        folders = [root / name for name in _FOLDERS[split]]
        found = next((folder for folder in folders if folder.is_dir()), None)
        if found is None:
            raise ConfigError(key, f"no folder `{folders[0]}`", f"--set {key}=FOLDER, relative to `{root}`")
        return [found]
    wanted = [str(each) for each in (told if isinstance(told, list) else [told])]
    return [_resolved(root, each, str(settings.get("path") or ""), key) for each in wanted]


def _resolved(root: Path, name: str, base: str, key: str) -> Path:
    """A path of `data.yaml`. Its `path` may be one of another machine, and exports write `../train` for `train`."""
    candidates = [root / name, root / base / name, root / name.removeprefix("../")]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise ConfigError(key, f"no folder or list `{candidates[0]}`", f"it is taken relative to `{root}`")


def _images(source: Path) -> list[Path]:
    """The images in a folder and those below it by name, or those that a text file lists."""
    if source.is_dir():
        return sorted((path for path in source.rglob("*") if is_image(path.name)), key=lambda path: path.parts)
    lines = (line.strip() for line in source.read_text(errors="replace").splitlines())
    return [source.parent / line for line in lines if line]


def _size(path: Path) -> tuple[int, int] | None:
    try:
        return read_header(path).shown
    except UNREADABLE:
        return None


def _labels(data: Data, root: Path, split: Name, image: Path) -> Path:
    """The label file of an image."""
    configured: str = getattr(data, f"{split}_annotations")
    if configured:
        return root / configured / f"{image.stem}.txt"
    beside = image.with_suffix(".txt")
    parts = list(beside.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    swapped = Path(*parts)
    return swapped if swapped.is_file() else beside


def _add(reading: Reading, image: Image, file: Path) -> Iterator[str]:
    """Take over the boxes of one image; the places of lines that cannot be read."""
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        yield str(file)
        return
    for number, line in enumerate(lines, start=1):
        row, place = _row(line), f"{file.name} line {number}"
        if row is not None:
            label, box = row
            rows = reading.instances.annotations
            rows.append(Annotation(len(rows) + 1, image.id, label, _pixels(box, image)))
            reading.places.append(place)
        elif line.strip():
            yield place


def _row(line: str) -> tuple[int, Box] | None:
    """Class and centre, width, height in shares of the image; None where the line says something else."""
    try:
        first, *numbers = (float(word) for word in line.split())
    except ValueError:
        return None
    if not first.is_integer() or not all(abs(number) < _ABSURD for number in (first, *numbers)):
        return None
    if len(numbers) == 4:
        return int(first), (numbers[0], numbers[1], numbers[2], numbers[3])
    if len(numbers) < 6 or len(numbers) % 2:
        return None
    xs, ys = numbers[::2], numbers[1::2]
    return int(first), ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys))


def _pixels(box: Box, image: Image) -> Box:
    """Left, top, width, height in pixels."""
    x, y, width, height = box
    left, top = (x - width / 2) * image.width, (y - height / 2) * image.height
    return round(left, 3), round(top, 3), round(width * image.width, 3), round(height * image.height, 3)
