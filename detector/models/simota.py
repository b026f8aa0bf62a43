"""Which points learn which box where there are no anchors: SimOTA (YOLOX, section 2.1), over a batch at once.

Each box takes the points that cost it least, as many as its best predictions overlap it well, and a point that
several boxes want goes to the one for which it costs least. All shapes depend on the number of boxes alone, never on
their values, so that nothing here waits for the device.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from detector.batch import CROWD, CX, CY, HEIGHT, IMAGE, LABEL, WIDTH

# A box takes points at most so many strides from its centre before any other.
_CENTRE_STRIDES = 2.5
_MOST_POINTS = 10
_IOU_COST = 3.0
_FAR_COST = 1e5
_SMALLEST_IOU = 1e-8


class Points(NamedTuple):
    """What is predicted at P points, those of all scales, finest or coarsest first.

    Attributes:
        corners: (B, P, 4) float32; x1, y1, x2, y2 in input pixels.
        objectness: (B, P) float32 logits.
        classes: (B, P, C) float32 logits.
        centres: (P, 2) float32; where the points are, in input pixels.
        strides: (P,) float32.
    """

    corners: Tensor
    objectness: Tensor
    classes: Tensor
    centres: Tensor
    strides: Tensor


class Matches(NamedTuple):
    """The K cheapest points of each of N boxes.

    Attributes:
        point: (N, K) int64.
        trained: (N, K) float32; 1 where the point learns the box, else 0. No point learns two boxes.
        iou: (N, K) float32, of the predicted box with the box.
        ignored: (B, P) bool; points inside a crowd, which are no negatives.
    """

    point: Tensor
    trained: Tensor
    iou: Tensor
    ignored: Tensor


@torch.no_grad()
def assign(points: Points, targets: Tensor) -> Matches:
    """Match boxes with points; crowds and boxes without area match none.

    Args:
        points: what is predicted.
        targets: (N, 7) float32.
    """
    image, boxes = targets[:, IMAGE].long(), as_corners(targets)
    inside, near = _inside(points, boxes), _near(points, targets)
    crowd = (targets[:, CROWD] != 0)[:, None]
    drawable = (targets[:, WIDTH] > 0) & (targets[:, HEIGHT] > 0)
    candidate = (inside | near) & drawable[:, None] & ~crowd
    iou = _iou(points.corners[image], boxes[:, None]) * candidate
    cost = _class_cost(points, targets) - _IOU_COST * iou.clamp(min=_SMALLEST_IOU).log()
    cost = (cost + _FAR_COST * ~(inside & near)).masked_fill(~candidate, torch.inf)
    most = min(_MOST_POINTS, len(points.centres))
    wanted = iou.topk(most, 1).values.sum(1).long().clamp(min=1)
    cheapest, point = cost.topk(most, 1, largest=False)
    chosen = (torch.arange(most, device=cost.device) < wanted[:, None]) & cheapest.isfinite()
    ignored = torch.zeros_like(points.objectness).index_add_(0, image, (inside & crowd).float()) > 0
    key = image[:, None] * len(points.centres) + point
    return Matches(point, _cheapest_of_each(key, cheapest, chosen, ignored.numel()), iou.gather(1, point), ignored)


def as_corners(targets: Tensor) -> Tensor:
    """(N, 4): x1, y1, x2, y2 of targets (N, 7)."""
    centre, half = targets[:, CX : CY + 1], targets[:, WIDTH : HEIGHT + 1] / 2
    return torch.cat((centre - half, centre + half), 1)


def _inside(points: Points, boxes: Tensor) -> Tensor:
    """(N, P): whether a point lies in a box."""
    after, before = points.centres > boxes[:, None, :2], points.centres < boxes[:, None, 2:]
    return (after & before).all(2)


def _near(points: Points, targets: Tensor) -> Tensor:
    """(N, P): whether a point lies in the square around a box's centre."""
    distance = (points.centres - targets[:, None, CX : CY + 1]).abs().amax(2)
    return distance < _CENTRE_STRIDES * points.strides


def _class_cost(points: Points, targets: Tensor) -> Tensor:
    """(N, P): binary cross-entropy of all classes' scores, objectness times class, with the box's label."""
    logits = points.classes
    # score = sqrt(sigmoid(objectness) * sigmoid(class)); its logarithm, and that of 1 - score.
    log_score = -(softplus(-points.objectness)[..., None] + softplus(-logits)) / 2
    log_rest = torch.log1p(-log_score.exp().clamp(max=1 - 1e-6))
    image, label = targets[:, IMAGE].long(), targets[:, LABEL].long()
    return -log_rest.sum(2)[image] + (log_rest - log_score)[image, :, label]


def _cheapest_of_each(key: Tensor, cost: Tensor, chosen: Tensor, keys: int) -> Tensor:
    """(N, K) float32: 1 for one chosen pair of each key, the cheapest and of these the first."""
    key, cost = key.flatten(), cost.masked_fill(~chosen, torch.inf).flatten()
    least = cost.new_full((keys,), torch.inf).scatter_reduce(0, key, cost, "amin")
    rank = torch.arange(len(key), device=key.device)
    rank = rank.masked_fill((cost > least[key]) | cost.isinf(), len(key))
    first = rank.new_full((keys,), len(rank)).scatter_reduce(0, key, rank, "amin")
    return ((rank == first[key]) & (rank < len(rank))).float().view_as(chosen)


def _iou(predicted: Tensor, boxes: Tensor) -> Tensor:
    """IoU of corners (..., 4) that broadcast."""
    overlap = torch.minimum(predicted[..., 2:], boxes[..., 2:]) - torch.maximum(predicted[..., :2], boxes[..., :2])
    intersection = overlap.clamp(min=0).prod(-1)
    areas = (predicted[..., 2:] - predicted[..., :2]).prod(-1) + (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    return intersection / (areas - intersection).clamp(min=1e-9)
