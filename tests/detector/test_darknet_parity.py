"""Darknet's public yolov3-tiny weights reach their known accuracy on genuine COCO images.

Network, file reader, decoding and suppression all have to agree with darknet for that. The expected figures were
measured elsewhere: AP .211, AP50 .411 letterboxed; AP .212 to .219, AP50 .44 to .45 stretched.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import hotcoco
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from detector.config import Eval, Model
from detector.models import Detector, build
from detector.models.weights import initialise

SIZE = 416
# The masks that the weights were trained with; the cfg beside them says 0,1,2 for the second.
TRAINED_MASKS = ((3, 4, 5), (1, 2, 3))


class Placed(NamedTuple):
    """An image at network size, (3, SIZE, SIZE) in [0, 1], and where it lies: input = original * scale + offset."""

    pixels: torch.Tensor
    scale: torch.Tensor
    offset: torch.Tensor


def letterbox(image: torch.Tensor) -> Placed:
    height, width = image.shape[1:]
    longer = max(height, width)
    new_height, new_width = height * SIZE // longer, width * SIZE // longer
    top, left = (SIZE - new_height) // 2, (SIZE - new_width) // 2
    canvas = torch.full((3, SIZE, SIZE), 0.5)
    canvas[:, top : top + new_height, left : left + new_width] = resize(image, new_height, new_width)
    return Placed(canvas, torch.tensor([new_width / width, new_height / height]), torch.tensor([left, top]))


def stretch(image: torch.Tensor) -> Placed:
    height, width = image.shape[1:]
    return Placed(resize(image, SIZE, SIZE), torch.tensor([SIZE / width, SIZE / height]), torch.zeros(2))


def resize(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Darknet's `resize_image`: bilinear with the corners' centres aligned."""
    return interpolate(image[None], (height, width), mode="bilinear", align_corners=True)[0]


def read(path: Path) -> torch.Tensor:
    image = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


def in_original_pixels(found: torch.Tensor, placed: Placed) -> torch.Tensor:
    """x, y, width, height of detections (K, 6)."""
    low, high = ((corner - placed.offset) / placed.scale for corner in (found[:, :2], found[:, 2:4]))
    return torch.cat((low, high - low), 1)


@torch.no_grad()
def detect(model: Detector, folder: Path, truth: dict, place: Callable[[torch.Tensor], Placed]) -> list[dict]:
    categories = sorted(category["id"] for category in truth["categories"])
    rows = []
    for start in range(0, len(truth["images"]), 8):
        entries = truth["images"][start : start + 8]
        batch = [place(read(folder / entry["file_name"])) for entry in entries]
        detections = model(torch.stack([placed.pixels for placed in batch]))
        for entry, placed, found in zip(entries, batch, detections, strict=True):
            rows += [
                {"image_id": entry["id"], "category_id": categories[int(label)], "bbox": box, "score": score}
                for box, score, label in zip(
                    in_original_pixels(found, placed).tolist(), found[:, 4].tolist(), found[:, 5], strict=True
                )
            ]
    return rows


def stats(annotations: Path, rows: list[dict]) -> np.ndarray:
    truth = hotcoco.COCO(str(annotations))
    evaluation = hotcoco.COCOeval(truth, truth.loadRes(rows), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return np.asarray(evaluation.stats)


@pytest.mark.parametrize(("place", "ap50_from", "ap50_to"), [(letterbox, 0.40, 0.43), (stretch, 0.42, 0.46)])
def test_darknets_tiny_weights_reach_their_known_ap_on_coco(
    shared: Path, place: Callable[[torch.Tensor], Placed], ap50_from: float, ap50_to: float
) -> None:
    model = build(Model(name="yolov3-tiny", masks=TRAINED_MASKS), 80, eval=Eval())
    initialise(model, str(shared / "data/weights/yolov3-tiny.weights"))
    annotations = shared / "data/coco-mini/annotations/instances_val.json"

    rows = detect(model.eval(), shared / "data/coco-mini/images/val", json.loads(annotations.read_bytes()), place)

    ap, ap50, *_ = stats(annotations, rows)
    assert 0.20 <= ap <= 0.23
    assert ap50_from <= ap50 <= ap50_to
