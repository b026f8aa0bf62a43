"""A classifier's accuracy: the share of images whose class is its first guess, or one of its first five.

Counts are whole numbers, so the result does not depend on the number of processes. An image that cannot be read is
wrong.
"""

import hashlib
import time
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from detector.batch import ClassBatch
from detector.config import Train
from detector.data.folder import FolderIndex
from detector.data.index import Int64
from detector.records import OF_CLASSES, ClassMetrics, Engine, Evaluation, GroundTruth

_WITHIN = {"top1": 1, "top5": 5}


def ranks_of(logits: Tensor, batch: ClassBatch) -> Int64:
    """Position of each image and the rank of its class among the guesses, from 0: (B, 2) int64.

    Of classes with the same logit the true one comes last, so that a model that says nothing has nothing right.
    """
    known = batch.targets.clamp(min=0).to(logits.device)
    own = logits.gather(1, known[:, None])
    others = (logits >= own).sum(1) - 1
    # A logit that is NaN is no less than others and no more; it must not come first.
    others[own[:, 0].isnan()] = logits.shape[1]
    rank = others.cpu().numpy()
    rank[(batch.targets < 0).numpy()] = logits.shape[1]
    return np.stack([batch.image_ids.numpy(), rank], axis=1)


def record(
    found: Sequence[Int64], index: FolderIndex, config: Train, *, epoch: int, step: int, started: float
) -> Evaluation:
    """What all batches say together; `started` is when they began, on the monotonic clock."""
    scoring = time.monotonic()
    rows = np.concatenate(found)
    labels, ranks = index.labels[rows[:, 0]], rows[:, 1]
    return Evaluation(
        t=time.time(),
        epoch=epoch,
        epochs=config.epochs,
        step=step,
        iou_type=OF_CLASSES,
        metrics=_metrics(ranks),
        per_class=[
            ClassMetrics(id=label, name=name, metrics=_metrics(ranks[labels == label]))
            for label, name in enumerate(index.classes)
        ],
        engine=Engine(name="detrun", version=version("detrun")),
        ground_truth=_describe(index),
        image_size=config.data.image_size,
        max_detections=0,
        detections="",
        inference_s=scoring - started,
        evaluation_s=time.monotonic() - scoring,
    )


def _metrics(ranks: NDArray[np.int64]) -> dict[str, float]:
    """-1 where there are no images."""
    return {name: float((ranks < most).mean()) if len(ranks) else -1.0 for name, most in _WITHIN.items()}


def _describe(index: FolderIndex) -> GroundTruth:
    digest = hashlib.sha256(index.names + index.labels.tobytes()).hexdigest()
    images = len(index)
    return GroundTruth(
        path=str(index.root), sha256=digest, images=images, annotations=images, categories=len(index.classes)
    )
