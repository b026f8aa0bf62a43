"""Writes run directories as the trainer and the job layer write them, through their own record types."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from detector.config import dump, load
from detector.records import (
    METRICS,
    ClassMetrics,
    Engine,
    Evaluation,
    Event,
    GroundTruth,
    Metrics,
    encode,
)
from jobs.records import Code, Run
from jobs.resources import Resources
from jobs.rundir import RunDir, create

START = 1_700_000_000.0
EPOCH_S = 60.0


def make_run(
    runs: Path,
    name: str,
    aps: list[float],
    *,
    settings: dict[str, Any] | None = None,
    last_event: str = "done",
    reason: str | None = None,
    created_at: float = START,
    ground_truth: GroundTruth | None = None,
    classes: dict[str, float] | None = None,
    detections: list[Any] | None = None,
    engine: str = "1.3.0",
) -> Path:
    """A run directory with an evaluation for each AP, at epochs 1, 2, and so on."""
    path = runs / name
    config = load(settings or {})
    directory = create(path, _run(name, created_at), dump(config))
    truth = ground_truth or GroundTruth(path="val.json", sha256="0" * 64, images=72, annotations=900, categories=3)
    directory.evaluations.mkdir(parents=True)
    for epoch, ap in enumerate(aps, start=1):
        stored = detections[epoch - 1] if detections else None
        if stored is not None:
            np.savez_compressed(directory.evaluations / f"epoch_{epoch:04d}.npz", **stored)
        record = _evaluation(epoch, len(aps), ap, truth, classes or {"cell": ap}, engine, config.data.image_size)
        content = msgspec.json.format(msgspec.json.encode(record), indent=1)
        (directory.evaluations / f"epoch_{epoch:04d}.json").write_bytes(content)
    _journal(directory, len(aps), last_event, reason)
    return path


def metrics_of(ap: float) -> dict[str, float]:
    """Twelve numbers that differ from each other and rise with AP."""
    return {metric: round(ap * (1 + place / 20), 6) for place, metric in enumerate(METRICS)}


def coco_truth(path: Path) -> GroundTruth:
    """An annotation file as an evaluation's record describes it."""
    content = path.read_bytes()
    table = json.loads(content)
    return GroundTruth(
        path=str(path),
        sha256=hashlib.sha256(content).hexdigest(),
        images=len(table["images"]),
        annotations=len(table["annotations"]),
        categories=len(table["categories"]),
    )


def arrays(results: list[dict[str, Any]]) -> dict[str, Any]:
    """COCO results as the arrays of a detections file."""
    ordered = sorted(results, key=lambda result: result["image_id"])
    return {
        "image_id": np.array([result["image_id"] for result in ordered], np.int64),
        "category_id": np.array([result["category_id"] for result in ordered], np.int64),
        "bbox": np.array([result["bbox"] for result in ordered], np.float32).reshape(-1, 4),
        "score": np.array([result["score"] for result in ordered], np.float32),
    }


def _run(name: str, created_at: float) -> Run:
    return Run(
        id=name,
        recipe=name.rpartition("-")[0],
        sweep=None,
        overrides={},
        digest=name.rpartition("-")[2],
        created_at=created_at,
        command_line=["detrun", "submit", name.rpartition("-")[0]],
        cwd="/work",
        user="ada",
        host="node1",
        code=Code(version="0.1.0", root="/work", files="f" * 12, git_sha="a41c9e2" + "0" * 33, dirty=False),
        versions={"torch": "2.15.0"},
        resources=Resources(),
    )


def _evaluation(
    epoch: int, epochs: int, ap: float, truth: GroundTruth, classes: dict[str, float], engine: str, size: int
) -> Evaluation:
    return Evaluation(
        t=START + EPOCH_S * epoch,
        epoch=epoch,
        epochs=epochs,
        step=100 * epoch,
        iou_type="bbox",
        parameters=8_686_000,
        metrics=metrics_of(ap),
        per_class=[
            ClassMetrics(id=place, name=name, metrics=metrics_of(value))
            for place, (name, value) in enumerate(classes.items(), start=1)
        ],
        engine=Engine(name="hotcoco", version=engine),
        ground_truth=truth,
        image_size=size,
        max_detections=100,
        detections=f"epoch_{epoch:04d}.npz",
        inference_s=1.0,
        evaluation_s=0.1,
    )


def _journal(directory: RunDir, epochs: int, last_event: str, reason: str | None) -> None:
    end = START + EPOCH_S * epochs
    events = [
        Event(t=START, event="start", attempt=1, host="node1", nodes=["node1"]),
        Event(t=end, event=last_event, attempt=1, reason=reason),
    ]
    directory.events.write_bytes(b"".join(map(encode, events)))
    row = Metrics(
        t=end,
        epoch=epochs,
        epochs=max(epochs, 1),
        step=100 * epochs,
        steps=100 * epochs,
        loss=1.5,
        losses={"box": 1.5},
        lr=1e-3,
        images_per_s=812.0,
        data_wait=0.02,
        image_size=416,
    )
    directory.metrics.write_bytes(encode(row))
