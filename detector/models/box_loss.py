"""How far predicted boxes are from those that they learn. No I/O.

torchvision's `complete_box_iou_loss` says the same, but picks overlapping pairs by a mask, for which the host waits for
a GPU and a compiled step falls apart.
"""

import math

import torch
from torch import Tensor

_TINY = 1e-7


def complete_iou_loss(predicted: Tensor, boxes: Tensor) -> Tensor:
    """CIoU loss (Zheng et al. 2020, "Distance-IoU Loss", equations 7 to 11) of boxes row by row.

    1 - IoU, plus the squared distance of the centres over that of the common hull's corners, plus a weight times how
    far the aspects are apart; the weight passes no gradient.

    Args:
        predicted: (..., 4) float32; x1, y1, x2, y2.
        boxes: (..., 4) likewise.

    Returns:
        (...), from 0 on.
    """
    low, high = torch.maximum(predicted[..., :2], boxes[..., :2]), torch.minimum(predicted[..., 2:], boxes[..., 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    size, wanted = predicted[..., 2:] - predicted[..., :2], boxes[..., 2:] - boxes[..., :2]
    iou = overlap / (size.prod(-1) + wanted.prod(-1) - overlap + _TINY)
    hull = torch.maximum(predicted[..., 2:], boxes[..., 2:]) - torch.minimum(predicted[..., :2], boxes[..., :2])
    apart = (predicted[..., :2] + predicted[..., 2:] - boxes[..., :2] - boxes[..., 2:]) / 2
    distance = apart.square().sum(-1) / (hull.square().sum(-1) + _TINY)
    aspect = (4 / math.pi**2) * (_angle(wanted) - _angle(size)).square()
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect + _TINY)
    return 1 - iou + distance + weight * aspect


def _angle(size: Tensor) -> Tensor:
    width, height = size.unbind(-1)
    return torch.atan(width / height.clamp(min=_TINY))
