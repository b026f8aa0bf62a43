"""Writes small sets of images to classify: each class has a colour of its own."""

import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("blue", "green", "red")
_COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 40), "red": (210, 40, 40)}


def write_classes(root: Path, train: int = 12, val: int = 4, side: int = 40) -> Path:
    """`ROOT/SPLIT/CLASS/NUMBER.jpg`, of several shapes."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for label in CLASSES:
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                noise = random.integers(-30, 30, (side + number % 3 * 8, side, 3))
                pixels = np.clip(noise + _COLOURS[label], 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return root


def packed(root: Path, path: Path, mode: str = "w") -> Path:
    """The same as a tar file, in a folder of some name."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(root, arcname="some-name")
    return path
