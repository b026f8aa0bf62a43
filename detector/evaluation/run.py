"""One evaluation of a model on the val split: all ranks look at images, rank 0 scores and writes the record."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader

from detector.batch import AnyBatch
from detector.config import Train
from detector.evaluation import detections as boxes
from detector.evaluation.coco import Judge
from detector.evaluation.detections import Detections
from detector.learner import Learner
from detector.processes import Ranks
from detector.records import Evaluation

Loaded = TypeVar("Loaded", bound=AnyBatch)
Found = TypeVar("Found")
Progress = Callable[[AnyBatch | None], bool]


def look(
    learner: Learner, loader: DataLoader[Loaded], read: Callable[[Any, Loaded], Found], going: Progress
) -> list[Found] | None:
    """What `read` makes of the model's output, for each of this rank's batches; `None` where `going` said to stop.

    `going` is asked at every batch, which it is told, and as often on every rank, so that all can vote in it.
    """
    learner.ranks.share_buffers(learner.evaluated)
    learner.evaluated.eval()
    batches = iter(loader)
    waiting: deque[Future[Found]] = deque()
    found: list[Found] = []
    lanes, lane_count = _lanes(learner)
    try:
        for _ in range(max(learner.ranks.gather_all(len(loader)))):
            batch = next(batches, None)
            if not going(batch):
                return None
            if batch is not None:
                waiting.append(lanes.submit(_of_batch, learner, batch, read))
            if len(waiting) > lane_count:
                found.append(waiting.popleft().result())
        return found + [each.result() for each in waiting]
    finally:
        lanes.shutdown(cancel_futures=True)
        torch.set_num_threads(learner.threads)
        learner.model.train()


def _lanes(learner: Learner) -> tuple[ThreadPoolExecutor, int]:
    """Threads that each take whole batches: on CPU as many as cores, with one core each.

    A convolution spread over two cores does not add in the same order as on one; this way the cores that a rank has
    make no difference to the last bit.
    """
    if learner.ranks.device.type == "cuda":
        return ThreadPoolExecutor(1), 1
    return ThreadPoolExecutor(learner.threads, initializer=partial(torch.set_num_threads, 1)), learner.threads


def _of_batch(learner: Learner, batch: Loaded, read: Callable[[Any, Loaded], Found]) -> Found:
    with torch.inference_mode(), learner.precision.autocast():
        return read(learner.evaluated(learner.images(batch)), batch)


def record(
    folder: Path, whole: Detections, judge: Judge, config: Train, *, epoch: int, step: int, inference_s: float
) -> Evaluation:
    """Score a split's detections and write `epoch_NNNN.npz` and the record that goes beside it, in this order."""
    started = time.monotonic()
    score = judge.score(whole)
    evaluation = Evaluation(
        t=time.time(),
        epoch=epoch,
        epochs=config.epochs,
        step=step,
        iou_type="bbox",
        metrics=score.metrics,
        per_class=score.per_class,
        engine=score.engine,
        ground_truth=judge.ground_truth,
        image_size=config.data.image_size,
        max_detections=config.eval.max_detections,
        detections=f"epoch_{epoch:04d}.npz",
        inference_s=inference_s,
        evaluation_s=time.monotonic() - started,
    )
    folder.mkdir(parents=True, exist_ok=True)
    boxes.write(folder / evaluation.detections, whole)
    return evaluation


def gathered(found: list[Detections], ranks: Ranks) -> Detections | None:
    """All ranks' detections as one on rank 0, in an order that no number of ranks changes; `None` elsewhere."""
    parts = ranks.gather(boxes.joined(found))
    return boxes.joined(parts) if ranks.is_first else None
