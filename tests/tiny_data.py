"""A data set in COCO layout that trains in seconds: coloured rectangles on grey, written as real image files."""

import json
from pathlib import Path

import cv2
import numpy as np

SIZE = 64
CATEGORIES = {3: "red", 7: "green"}
COLOURS = {3: (200, 40, 40), 7: (40, 200, 40)}


def write(root: Path, train: int = 24, val: int = 7) -> Path:
    """Compose both splits; category ids have gaps and the last val image has no box."""
    for split, count, seed in (("train", train, 1), ("val", val, 2)):
        _write_split(root, split, count, np.random.default_rng(seed))
    return root


def _write_split(root: Path, split: str, count: int, random: np.random.Generator) -> None:
    folder = root / "images" / split
    folder.mkdir(parents=True)
    images, annotations = [], []
    for image_id in range(1, count + 1):
        pixels = random.integers(90, 130, (SIZE, SIZE, 3), dtype=np.uint8)
        images.append({"id": image_id, "file_name": f"{image_id}.png", "width": SIZE, "height": SIZE})
        for _ in range(0 if split == "val" and image_id == count else 2):
            category = int(random.choice(list(CATEGORIES)))
            width, height = (int(side) for side in random.integers(12, 28, 2))
            left, top = (int(random.integers(0, SIZE - side)) for side in (width, height))
            pixels[top : top + height, left : left + width] = COLOURS[category]
            box = {"bbox": [left, top, width, height], "area": width * height, "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, "category_id": category, **box})
        cv2.imwrite(str(folder / f"{image_id}.png"), pixels[:, :, ::-1])
    categories = [{"id": key, "name": name} for key, name in CATEGORIES.items()]
    whole = {"images": images, "annotations": annotations, "categories": categories}
    path = root / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(whole))
