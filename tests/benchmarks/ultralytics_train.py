"""Train ultralytics' YOLOv3-tiny from scratch for some seconds and print its AP as JSON; runs in an environment apart.

Arguments: data.yaml, the ground truth of its val split in COCO's format, image size, batch size, seconds, seed, folder.
"""

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch.utils.flop_counter import FlopCounterMode


def main(data: Path, truth: Path, size: int, batch: int, seconds: float, seed: int, folder: Path) -> dict[str, Any]:
    from ultralytics import YOLO

    model = YOLO("yolov3-tiny.yaml")
    began, ends = [], []  # seconds: of the first step's start, of every step's end; the last epoch may be cut short
    # It leaves a core free, which is half of two; the other side computes on all, and so shall this.
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(len(os.sched_getaffinity(0))))
    model.add_callback("on_train_start", lambda _: began.append(time.perf_counter()))
    model.add_callback("on_train_batch_end", lambda _: ends.append(time.perf_counter()))
    # `nbs`, the batch up to which it would accumulate gradients, is set to the batch: the other side takes a step each.
    model.train(
        data=str(data), imgsz=size, batch=batch, nbs=batch, time=seconds / 3600, seed=seed, project=str(folder),
        name="run", device="cpu", pretrained=False, cache="ram", workers=2, val=False, plots=False, verbose=False,
    )  # fmt: skip
    trained = YOLO(str(Path(model.trainer.save_dir) / "weights" / "last.pt"))
    network = trained.model.float()
    images = sum(1 for _ in (data.parent / "images" / "train").iterdir())
    return {
        "AP": evaluate(trained, COCO(str(truth)), data.parent / "images" / "val", size),
        "images_per_s": batch * len(ends) / (ends[-1] - began[0]),
        "train_s": ends[-1] - began[0],
        "epochs": batch * len(ends) / images,
        "parameters": sum(each.numel() for each in network.parameters()),
        "gflop": gflop(network, size),
    }


def gflop(model: torch.nn.Module, size: int) -> float:
    """10^9 operations of the convolutions for one image, forward, two for a multiplication with its addition."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.eval()(torch.rand(1, 3, size, size))
    return counter.get_total_flops() / 1e9


def evaluate(model: Any, truth: COCO, folder: Path, size: int) -> float:
    """AP by pycocotools, from 100 detections an image at every confidence."""
    categories = sorted(truth.getCatIds())
    rows = []
    for image in truth.loadImgs(truth.getImgIds()):
        path = str(folder / Path(image["file_name"]).name)
        found = model.predict(path, imgsz=size, conf=0.001, max_det=100, verbose=False, device="cpu")[0].boxes
        for (left, top, right, bottom), score, label in zip(
            found.xyxy.tolist(), found.conf.tolist(), found.cls.tolist(), strict=True
        ):
            box = [left, top, right - left, bottom - top]
            rows.append({"image_id": image["id"], "category_id": categories[int(label)], "bbox": box, "score": score})
    evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


if __name__ == "__main__":
    data, truth, size, batch, seconds, seed, folder = sys.argv[1:]
    with contextlib.redirect_stdout(io.StringIO()):
        answer = main(Path(data), Path(truth), int(size), int(batch), float(seconds), int(seed), Path(folder))
    print(json.dumps(answer))
