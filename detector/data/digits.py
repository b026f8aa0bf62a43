"""The data set that detrun composes itself: scenes of real handwritten digits, written as an ordinary COCO folder.

The digits are scikit-learn's `load_digits`: 1,797 samples of 8 x 8 pixels by 13 writers, from the UCI set "Optical
Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998). No sample is in both splits. The same seed and the
same library versions give the same bytes.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from detector.config import ConfigError
from detector.data.image import Pixels
from detector.data.index import Int64
from detector.data.philox import SCENE, SOURCES, generator
from detector.data.scenes import SIDE_PX, Scene, paint
from detector.data.user_cache import user_cache
from detector.errors import UserError

BUILTIN = "builtin:digits"
SCENES = {"train": 600, "val": 150}
VAL_SHARE = 0.2

# Raised whenever the same seed gives other scenes than before.
VERSION = 1


def resolve_root(root: str) -> Path:
    """The folder that `data.root` names; `builtin:digits` is composed in the cache where it is not there yet.

    Raises:
        ConfigError: the root is not set, is no folder, or is an unknown built-in.
        UserError: the cache cannot be written.
    """
    if root == BUILTIN:
        return _cached()
    if not root:
        raise ConfigError("data.root", "is not set", "`--set data.root=/path` names the folder with your data")
    if root.startswith("builtin:"):
        raise ConfigError("data.root", f"no built-in data set `{root}`", f"there is `{BUILTIN}`")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            "data.root", f"no folder `{folder}`", "`--set data.root=/path` names the folder with your data"
        )
    return folder


def compose(folder: Path, seed: int = 0) -> Path:
    """The data set in a folder; one that is there already is taken to be whole and left as it is.

    It is written beside its place and renamed, so that several processes may do so at once, and one that is killed
    leaves nothing that looks whole.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        whole = Path(temporary) / folder.name
        for split in SCENES:
            _write_split(whole, split, seed)
        try:
            whole.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    return folder


def _cached() -> Path:
    cache = user_cache()
    try:
        return compose(cache / f"digits-v{VERSION}")
    except OSError as error:
        hint = "`DETRUN_CACHE=/path` in the environment names another folder"
        raise UserError(f"{cache}: cannot write the digits there: {error.strerror}", hint) from None


def sources(split: str, seed: int) -> Int64:
    """Numbers of the samples that a split may use."""
    samples = _load().target.size
    order = generator(seed, SOURCES).permutation(samples)
    val = round(VAL_SHARE * samples)
    return np.sort(order[:val] if split == "val" else order[val:])


def scenes(split: str, seed: int) -> Iterator[Scene]:
    """The scenes of a split, one after the other."""
    digits, mine = _load(), sources(split, seed)
    for number in range(SCENES[split]):
        random = generator(seed, SCENE, (number, list(SCENES).index(split)))
        yield paint(digits.images[mine], digits.target[mine], random)


def _load() -> Any:
    from sklearn.datasets import load_digits  # takes a second to import, and a composed data set does without

    return load_digits()


def _write_split(root: Path, split: str, seed: int) -> None:
    images = root / "images" / split
    images.mkdir(parents=True)
    rows: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    for number, scene in enumerate(scenes(split, seed), start=1):
        name = f"{number:06d}.jpg"
        (images / name).write_bytes(_jpeg(scene.pixels))
        rows["images"].append({"id": number, "file_name": name, "width": SIDE_PX, "height": SIDE_PX})
        rows["annotations"] += _annotations(number, scene, len(rows["annotations"]))
    categories = [{"id": digit, "name": str(digit)} for digit in range(10)]
    info = {"description": "Scenes of handwritten digits", "version": str(VERSION), "seed": seed}
    annotations = root / "annotations"
    annotations.mkdir(exist_ok=True)
    text = msgspec.json.encode({"info": info, **rows, "categories": categories})
    (annotations / f"instances_{split}.json").write_bytes(text)


def _jpeg(pixels: Pixels) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
    return bytes(data)


def _annotations(image_id: int, scene: Scene, before: int) -> list[dict[str, Any]]:
    """Rows for a scene's digits; ids go on from those before, from 1."""
    return [
        {
            "id": before + number,
            "image_id": image_id,
            "category_id": label,
            "bbox": list(box),
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for number, (label, box) in enumerate(zip(scene.labels, scene.boxes, strict=True), start=1)
    ]
