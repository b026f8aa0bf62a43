"""How long an evaluation takes beside looking at the images: 5,000 of them with 100 detections each, in COCO's numbers.

The same detections go through pycocotools, whose numbers must be the same to the last bit.
"""

import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
import timing
import torch

from detector.config import Eval
from detector.evaluation.coco import Judge
from detector.evaluation.detections import Detections
from detector.models.decode import Prediction
from detector.models.postprocess import detections
from detector.models.yolov3 import _FAMILIES

IMAGES, DETECTIONS, CLASSES = 5000, 100, 80
BUDGET_S = 1.0
_SIDE = 640


def run() -> None:
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "instances_val.json"
        boxes = _ground_truth(path, random)
        found = _found(boxes, random)
        started = time.perf_counter()
        judge = Judge(path, "hotcoco")
        print(f"loading {len(boxes):,} boxes of ground truth, once in a run: {time.perf_counter() - started:.2f} s")
        times = timing.of_call(lambda: judge.score(found), runs=5)
        print(timing.row(f"scoring {len(found.score):,} detections", times, BUDGET_S))
        began = time.process_time()
        judge.score(found)
        print(f"the same in CPU time, all cores together: {time.process_time() - began:.2f} s")
        started = time.perf_counter()
        theirs = Judge(path, "pycocotools").score(found)
        took = time.perf_counter() - started
        ours = judge.score(found)
        same = ours.metrics == theirs.metrics and ours.per_class == theirs.per_class
        print(f"pycocotools, loading included: {took:.1f} s; equal to the last bit, per class too: {same}")
        print("  ".join(f"{key} {value:.5f}" for key, value in ours.metrics.items()))
    _post_processing()


def _ground_truth(path: Path, random: np.random.Generator) -> np.ndarray:
    """About 7 boxes an image, as in COCO; rows of image, class, x, y, width, height."""
    counts = random.poisson(7, IMAGES)
    images = np.repeat(np.arange(1, IMAGES + 1), counts)
    classes = random.integers(1, CLASSES + 1, len(images))
    sizes = np.exp(random.uniform(np.log(8), np.log(400), (len(images), 2)))
    places = random.random((len(images), 2)) * (_SIDE - sizes)
    rows = np.column_stack([images, classes, places, sizes])
    annotations = [
        {
            "id": number,
            "image_id": int(row[0]),
            "category_id": int(row[1]),
            "bbox": row[2:].tolist(),
            "area": float(row[4] * row[5]),
            "iscrowd": int(number % 100 == 0),
        }
        for number, row in enumerate(rows, start=1)
    ]
    whole = {
        "images": [
            {"id": number, "file_name": f"{number}.jpg", "width": _SIDE, "height": _SIDE}
            for number in range(1, IMAGES + 1)
        ],
        "categories": [{"id": each, "name": f"class {each}"} for each in range(1, CLASSES + 1)],
        "annotations": annotations,
    }
    path.write_bytes(msgspec.json.encode(whole))
    return rows


def _found(truth: np.ndarray, random: np.random.Generator) -> Detections:
    """Every box somewhat aside, and others anywhere, up to a hundred in each image."""
    counts = np.bincount(truth[:, 0].astype(int), minlength=IMAGES + 1)[1:]
    images = np.repeat(np.arange(1, IMAGES + 1), DETECTIONS - counts)
    sizes = np.exp(random.uniform(np.log(8), np.log(400), (len(images), 2)))
    places = random.random((len(images), 2)) * (_SIDE - sizes)
    aside = truth[:, 2:] + random.normal(0, 0.08, (len(truth), 4)) * np.tile(truth[:, 4:], 2)
    aside[:, 2:] = np.abs(aside[:, 2:])
    score = np.concatenate([random.beta(4, 2, len(truth)), random.beta(1, 6, len(images))])
    image = np.concatenate([truth[:, 0].astype(np.int64), images])
    category = np.concatenate([truth[:, 1].astype(np.int64), random.integers(1, CLASSES + 1, len(images))])
    order = np.argsort(image, kind="stable")
    bbox = np.concatenate([aside, np.column_stack([places, sizes])]).astype(np.float32)
    return Detections(image[order], category[order], bbox[order], score.astype(np.float32)[order])


def _post_processing() -> None:
    """From logits at 416 to at most a hundred detections an image: one call for the batch."""
    random = torch.Generator().manual_seed(0)
    family = _FAMILIES["yolov3"]
    for batch in (1, 16):
        heads = []
        for at, mask in enumerate(family.masks):
            side = 13 << at
            logits = torch.randn(batch, 3, 5 + CLASSES, side, side, generator=random)
            logits[:, :, 4] -= 4
            logits[:, :, 5:] -= 3
            anchors = torch.tensor([family.anchors[index] for index in mask], dtype=torch.float32)
            heads.append(Prediction(logits, anchors, torch.tensor(mask), 32 >> at))
        with torch.inference_mode():
            rows = detections(heads, Eval())
            times = timing.of_call(lambda heads=heads: detections(heads, Eval()), runs=5)
        print(timing.row(f"decode, top-k and NMS, batch {batch}", times) + f"   {sum(map(len, rows))} detections")
