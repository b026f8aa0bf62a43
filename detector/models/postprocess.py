"""From the head's logits to the detections of each image. Vectorised over the batch, loops over scales and ranks only.

What comes out for an image does not depend on the images beside it: every step is exact per image, and ties in
score go to the coarser scale, then to the earlier anchor, row, column and label.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from detector.config import Eval
from detector.models.decode import Prediction, decode_cells

# Candidates per image that enter the suppression, per detection that may come out of it.
_CANDIDATES_PER_DETECTION = 30


def detections(predictions: Sequence[Prediction], rule: Eval) -> list[Tensor]:
    """Boxes above the score threshold after suppression within each class.

    A box counts once for each class whose score, objectness times class probability, exceeds
    `rule.score_threshold` (darknet's `get_yolo_detections`).

    Returns:
        One float32 tensor (K, 6) per image: x1, y1, x2, y2 in input pixels, score, label; by falling score,
        K at most `rule.max_detections`.
    """
    parts = [_candidates(prediction, rule.score_threshold) for prediction in predictions]
    image, rows = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    return _best(image, rows, predictions[0].logits.shape[0], rule)


def selected(objectness: Tensor, classes: Tensor, corners: Tensor, rule: Eval) -> list[Tensor]:
    """The same for what is predicted at P points: logits (B, P) and (B, P, C), corners (B, P, 4), all float32."""
    found = _probability(objectness)
    cell = (found > rule.score_threshold).nonzero(as_tuple=True)
    scores = found[cell][:, None] * _probability(classes[cell])
    box, label = (scores > rule.score_threshold).nonzero(as_tuple=True)
    rows = torch.cat((corners[cell][box], scores[box, label, None], label[:, None]), 1)
    return _best(cell[0][box], rows, len(objectness), rule)


def _best(image: Tensor, rows: Tensor, batch_size: int, rule: Eval) -> list[Tensor]:
    """What is left of candidates (n, 6) after suppression, per image."""
    image, rows = _top(image, rows, batch_size, rule.max_detections * _CANDIDATES_PER_DETECTION)
    kept = suppress(rows[:, :4], image, rows[:, 5], rule.nms_iou, rule.max_detections)
    image, rows = _top(image[kept], rows[kept], batch_size, rule.max_detections)
    return list(torch.split(rows, torch.bincount(image, minlength=batch_size).tolist()))


def _candidates(prediction: Prediction, threshold: float) -> tuple[Tensor, Tensor]:
    """(n,) int64 images and (n, 6) float32 rows of one scale above the threshold."""
    logits = prediction.logits
    objectness = _probability(logits[:, :, 4])
    cell = (objectness > threshold).nonzero(as_tuple=True)
    image, anchor, row, column = cell
    scores = objectness[cell][:, None] * _probability(logits[image, anchor, 5:, row, column])
    box, label = (scores > threshold).nonzero(as_tuple=True)
    edges = torch.stack(decode_cells(prediction, cell), 1)
    return image[box], torch.cat((edges[box], scores[box, label, None], label[:, None]), 1)


def _probability(logits: Tensor) -> Tensor:
    """The sigmoid in float32, by way of float64: see `decode_cells`."""
    return logits.double().sigmoid().float()


def _top(image: Tensor, rows: Tensor, batch_size: int, limit: int) -> tuple[Tensor, Tensor]:
    """The `limit` rows of highest score of each image, sorted by image and falling score; stable."""
    order = rows[:, 4].argsort(descending=True, stable=True)
    order = order[image[order].argsort(stable=True)]
    counts = torch.bincount(image, minlength=batch_size)
    rank = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[image[order]]
    order = order[rank < limit]
    return image[order], rows[order]


def suppress(boxes: Tensor, image: Tensor, label: Tensor, iou: float, limit: int) -> Tensor:
    """Greedy non-maximum suppression within each class of each image, all of them at once.

    Round k takes the best box left in every group and drops what overlaps it, so the number of rounds is that
    of the boxes kept in the fullest group. Unlike `torchvision.ops.batched_nms`, which shifts the groups apart
    and rounds doing so, the result for an image is the same to the last bit in every batch.

    Args:
        boxes: (n, 4) float32 corners, those of a group by falling score.
        image: (n,) int64.
        label: (n,); with the image it names a box's group.
        iou: a box goes if its IoU with a kept one of its group exceeds this.
        limit: rounds, hence boxes kept per group, at most.

    Returns:
        (n,) bool: the boxes kept.
    """
    group, order = (image << 32 | label.long()).sort(stable=True)
    kept = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for _ in range(limit):
        if len(order) == 0:
            break
        starts = torch.ones_like(order, dtype=torch.bool)
        starts[1:] = group[1:] != group[:-1]
        best = order[starts]
        kept[best] = True
        leader = best[starts.cumsum(0) - 1]
        left = ~(starts | (_iou(boxes[order], boxes[leader]) > iou))
        group, order = group[left], order[left]
    return kept


def _iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of boxes (n, 4) row by row; NaN where both are points."""
    overlap = torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])
    intersection = overlap.clamp(min=0).prod(1)
    areas = (first[:, 2:] - first[:, :2]).prod(1) + (second[:, 2:] - second[:, :2]).prod(1)
    return intersection / (areas - intersection)
