"""Darknet's training loss on logits, in float32."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from detector.models.assign import Positives, assign, best_anchor, covered
from detector.models.decode import Prediction, decode


def loss_parts(
    predictions: Sequence[Prediction], targets: Tensor, anchors: Tensor, ignore_iou: float, smoothing: float = 0.0
) -> dict[str, Tensor]:
    """The loss of a batch: `box`, `objectness` and `class`, scalars, sums over the batch divided by B.

    Their gradients are those of darknet's `yolo_layer.c`, which writes them down without a loss: cross-entropy
    with logits on tx, ty, objectness and classes, half the squared error on tw, th, the box terms weighted by
    2 minus the box's share of the image.

    Args:
        predictions: one per scale.
        targets: (N, 7) float32.
        anchors: (all anchors, 2) float32; in input pixels.
        ignore_iou: predicted boxes of a higher IoU with a ground truth are no negatives.
        smoothing: class targets are `smoothing / 2` and 1 minus that.
    """
    best = best_anchor(targets, anchors)
    parts = torch.stack([_scale_parts(prediction, targets, best, ignore_iou, smoothing) for prediction in predictions])
    box, objectness, classes = (parts.sum(0) / predictions[0].logits.shape[0]).unbind()
    return {"box": box, "objectness": objectness, "class": classes}


def _scale_parts(prediction: Prediction, targets: Tensor, best: Tensor, ignore_iou: float, smoothing: float) -> Tensor:
    """(3,): box, objectness and class, summed over the batch."""
    logits, anchors, mask, stride = prediction
    shape = logits[:, :, 0].shape
    with torch.no_grad():
        positives = assign(targets, best, anchors, mask, shape, stride, logits.shape[2] - 5)
        negatives = _negatives(positives, covered(decode(prediction), targets, ignore_iou))
    objectness, rows = _Read.apply(logits, *positives.cell)
    offsets, found, classes = torch.split(rows, [4, 1, rows.shape[1] - 5], 1)
    trained = positives.trained[:, None]
    nothing = (softplus(objectness) * negatives).sum()
    found = _cross_entropy(found, torch.ones_like(found), trained)
    wanted = positives.classes * (1 - smoothing) + smoothing / 2
    labelled = _cross_entropy(classes, wanted, trained.expand_as(classes))
    return torch.stack((_box_part(offsets, positives), found + nothing, labelled))


class _Read(torch.autograd.Function):
    """Objectness of all cells, (B, A, H, W), and all logits of some cells, (N, 5 + C), as float32.

    The same as two indexings, but their gradients share one buffer of the size of the logits.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, *cell: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(logits, *cell)
        image, anchor, row, column = cell
        return logits[:, :, 4].float(), logits[image, anchor, :, row, column].float()

    @staticmethod
    def backward(ctx: Any, objectness: Tensor, rows: Tensor) -> tuple[Tensor | None, ...]:
        logits, *cell = ctx.saved_tensors
        gradient = torch.zeros_like(logits)
        gradient[:, :, 4] = objectness
        gradient.permute(0, 1, 3, 4, 2).index_put_(tuple(cell), rows.to(gradient.dtype), accumulate=True)
        return gradient, None, None, None, None


def _negatives(positives: Positives, covers: Tensor) -> Tensor:
    """(B, A, H, W) float32: 1 where nothing covers the cell and no box trains it, else 0."""
    return (covers.index_put(positives.cell, positives.trained, accumulate=True) == 0).float()


def _box_part(offsets: Tensor, positives: Positives) -> Tensor:
    weight = positives.weight[:, None].expand(-1, 2)
    centre = _cross_entropy(offsets[:, :2], positives.centre, weight)
    return centre + (weight * (offsets[:, 2:] - positives.log_size) ** 2).sum() / 2


def _cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
