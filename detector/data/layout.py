"""Where the parts of a data set lie: recognises the three layouts and finds the files of a split.

In: the `data` section of a configuration and its root. Out: paths. Looks at names in folders and opens no file; free of
numpy, so that a submission can look too.

| layout | annotations | images |
|---|---|---|
| COCO | `annotations/instances_SPLIT[2017].json` or `SPLIT/_annotations.coco.json` | `images/SPLIT`, `SPLIT2017` |
| VOC | lists in `ImageSets/Main/`; boxes in `Annotations/*.xml` | `JPEGImages` |
| YOLO | `labels/.../*.txt` beside `images/.../*`, or both in one folder; names in `data.yaml` or `classes.txt` | |

VOC trains on `trainval.txt` where there is a `test.txt` to evaluate on, else on `train.txt` with `val.txt`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from detector.config import ConfigError, Data

Format = Literal["coco", "voc", "yolo"]
Name = Literal["train", "val"]
SPLITS: tuple[Name, Name] = ("train", "val")

# Other names of the val split, and the years that COCO puts behind a split's name.
SPELLINGS = {"train": ("train",), "val": ("val", "valid")}
_YEARS = ("", "2017", "2014")

VOC_LISTS = Path("ImageSets/Main")
VOC_BOXES = Path("Annotations")
YOLO_NAMES = ("classes.txt", "obj.names", "labels/classes.txt")


class Files(NamedTuple):
    """What a split is read from: a COCO file or a VOC list, and the folder of the images."""

    annotations: Path
    images: Path


def recognise(data: Data, root: Path) -> Format:
    """The layout of a folder, as configured or as it shows itself.

    Raises:
        ConfigError: it shows none; the hint names a folder inside that does.
    """
    if data.format != "auto":
        return data.format
    if data.train_annotations.endswith(".json") or data.val_annotations.endswith(".json"):
        return "coco"
    found = _shown(root)
    if found is None:
        nested = next((folder for folder in _folders(root) if _shown(folder)), None)
        hint = f"`{nested}` holds one" if nested else "`detector/data/layout.py` lists what is looked for"
        raise ConfigError("data.root", f"`{root}` holds no data set in COCO, VOC or YOLO layout", hint)
    return found


def locate(data: Data, root: Path, split: Name, layout: Format) -> Files:
    """The files of a split in COCO or VOC layout.

    Raises:
        ConfigError: one is missing; the hint names those that are there.
    """
    annotations, images = _configured(data, root, split)
    annotations = annotations or _first(_lists(root, split) if layout == "voc" else _jsons(root, split))
    images = images or _first([root / "JPEGImages"] if layout == "voc" else _image_folders(root, split, annotations))
    if not annotations.is_file():
        raise ConfigError(f"data.{split}_annotations", f"no file `{annotations}`", _alternatives(root, layout))
    if not images.is_dir():
        raise ConfigError(f"data.{split}_images", f"no folder `{images}`", f"it is taken relative to `{root}`")
    return Files(annotations, images)


def locate_classes(data: Data, root: Path, split: Name) -> Path:
    """The folder of a split that holds one folder of images per class, as ImageNet's.

    Raises:
        ConfigError: it is missing.
    """
    configured = getattr(data, f"{split}_images")
    folder = root / configured if configured else _first([root / name for name in SPELLINGS[split]])
    if not folder.is_dir():
        raise ConfigError(f"data.{split}_images", f"no folder `{folder}`", "it holds one folder for each class")
    return folder


def shows_classes(data: Data) -> bool:
    """Whether the root is a tar file, or shows none of the three layouts, but folders of classes in its train split."""
    root = Path(data.root).expanduser()
    if root.is_file():
        return True
    if data.format != "auto" or not root.is_dir() or _shown(root):
        return False
    train = root / (data.train_images or SPELLINGS["train"][0])
    return train.is_dir() and any(entry.is_dir() for entry in os.scandir(train))


def _configured(data: Data, root: Path, split: Name) -> tuple[Path | None, Path | None]:
    annotations, images = getattr(data, f"{split}_annotations"), getattr(data, f"{split}_images")
    return root / annotations if annotations else None, root / images if images else None


def _shown(root: Path) -> Format | None:
    if any(path.is_file() for split in SPLITS for path in _jsons(root, split)):
        return "coco"
    if (root / VOC_LISTS).is_dir() and (root / VOC_BOXES).is_dir():
        return "voc"
    if any((root / name).exists() for name in ("labels", "train/labels", *YOLO_NAMES)) or any(root.glob("*.yaml")):
        return "yolo"
    return "coco" if any(root.glob("annotations/*.json")) else None


def _jsons(root: Path, split: str) -> list[Path]:
    """Where a COCO file may be, the usual place first."""
    names = [f"annotations/instances_{name}{year}.json" for name in SPELLINGS[split] for year in _YEARS]
    names += [f"{name}/_annotations.coco.json" for name in SPELLINGS[split]]
    return [root / name for name in names]


def _image_folders(root: Path, split: str, annotations: Path) -> list[Path]:
    if annotations.name == "_annotations.coco.json":
        return [annotations.parent]
    forms = ("images/{}", "{}", "{}/images")
    return [root / form.format(name + year) for form in forms for year in _YEARS for name in SPELLINGS[split]]


def _lists(root: Path, split: str) -> list[Path]:
    lists = root / VOC_LISTS
    tested = (lists / "test.txt").is_file() and (lists / "trainval.txt").is_file()
    name = {"train": "trainval", "val": "test"}[split] if tested else split
    return [lists / f"{name}.txt"]


def _first(candidates: list[Path]) -> Path:
    """The first that is there, else the first."""
    return next((path for path in candidates if path.exists()), candidates[0])


def _alternatives(root: Path, layout: Format) -> str:
    kind, patterns = (".txt", [f"{VOC_LISTS}/*.txt"]) if layout == "voc" else (".json", ["*.json", "*/*.json"])
    there = [str(path.relative_to(root)) for pattern in patterns for path in sorted(root.glob(pattern))]
    return f"there: {', '.join(there[:6])}" if there else f"`{root}` and its folders hold no {kind} file at all"


def _folders(root: Path) -> Iterator[Path]:
    """The folders in a folder and those in them."""
    inside = sorted(Path(entry.path) for entry in os.scandir(root) if entry.is_dir())
    yield from inside
    for folder in inside:
        yield from sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir())
