"""Writes small data sets in COCO layout for the tests of the data part."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def image_row(number: int, name: str, width: int = 64, height: int = 48) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": width, "height": height}


def box_row(number: int, image: int, category: int, bbox: list[float], **more: Any) -> dict[str, Any]:
    row = {"id": number, "image_id": image, "category_id": category, "bbox": bbox, "area": bbox[2] * bbox[3]}
    return row | {"iscrowd": 0} | more


def write_annotations(
    root: Path,
    images: list[dict[str, Any]],
    boxes: list[dict[str, Any]],
    categories: dict[int, str],
    split: str = "train",
) -> Path:
    """`annotations/instances_SPLIT.json` and an empty folder for its images; returns the file."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "images" / split).mkdir(parents=True, exist_ok=True)
    file = root / "annotations" / f"instances_{split}.json"
    rows = [{"id": number, "name": name} for number, name in categories.items()]
    file.write_text(json.dumps({"images": images, "annotations": boxes, "categories": rows}))
    return file


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A picture with smooth structure, which JPEG keeps: (height, width, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def write_image(path: Path, width: int = 64, height: int = 48, mode: str = "RGB", **options: Any) -> np.ndarray:
    """Writes a smooth picture; returns its RGB pixels before compression."""
    pixels = noise(width, height)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return pixels


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags
