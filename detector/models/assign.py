"""Which cell and anchor learns which box, and which cells learn that nothing is there.

Darknet's rule (`yolo_layer.c`): the anchor whose shape overlaps a box best learns it, in the cell of the box's
centre, at the scales whose mask holds that anchor. Every other cell is a negative unless the box that it
predicts overlaps a ground truth well. All shapes depend on the number of boxes alone, never on their values, so
that nothing here waits for the device.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from detector.batch import CROWD, CX, CY, HEIGHT, IMAGE, LABEL, WIDTH
from detector.models.decode import Corners

# Pairs of cell and box that are compared at a time: 4 MiB per intermediate, which caches hold.
_PAIRS = 1 << 20
# A cell whose predicted box lies in a crowd by more than this share of its own area is no negative.
_IN_CROWD = 0.5


class Positives(NamedTuple):
    """What one scale learns about N boxes, in the order of their cells.

    A row counts where `trained` is 1. Of several boxes in the same cell and anchor only the last one counts,
    with the classes of all of them, as in darknet.

    Attributes:
        cell: four (N,) int64 tensors that index (B, A, H, W); in range for every row.
        trained: (N,) float32; 1 or 0.
        weight: (N,) float32; 2 minus the box's share of the image, times `trained`.
        centre: (N, 2) float32; target of sigmoid(tx), sigmoid(ty), in [0, 1].
        log_size: (N, 2) float32; target of tw, th.
        classes: (N, C) float32; 1 for each class of the boxes in that cell.
    """

    cell: tuple[Tensor, Tensor, Tensor, Tensor]
    trained: Tensor
    weight: Tensor
    centre: Tensor
    log_size: Tensor
    classes: Tensor


def best_anchor(targets: Tensor, anchors: Tensor) -> Tensor:
    """The anchor of highest IoU with each box, both centred at the same point; the first one of a tie.

    Args:
        targets: (N, 7) float32.
        anchors: (all anchors, 2) float32, in pixels.

    Returns:
        (N,) int64.
    """
    sizes = targets[:, None, WIDTH : HEIGHT + 1]
    overlap = torch.minimum(sizes, anchors).prod(2)
    return (overlap / (sizes.prod(2) + anchors.prod(1) - overlap)).argmax(1)


def assign(
    targets: Tensor, best: Tensor, anchors: Tensor, mask: Tensor, shape: torch.Size, stride: int, num_classes: int
) -> Positives:
    """The positives of one scale.

    A box trains nothing if it is a crowd, has no area, or has its centre outside the image.

    Args:
        targets: (N, 7) float32.
        best: (N,) int64 from `best_anchor`.
        anchors: (A, 2) float32; this scale's anchors in pixels.
        mask: (A,) int64; their indices among all anchors.
        shape: (B, A, H, W) of this scale's map.
        stride: pixels per cell.
        num_classes: C.
    """
    matches = best[:, None] == mask
    cell, valid = _cells(targets, matches.int().argmax(1), shape, stride)
    valid = valid & matches.any(1)
    key = _flat(cell, shape).where(valid, shape.numel())
    key, order = key.sort(stable=True)
    last = key.diff(append=key.new_full((1,), -1)) != 0
    targets, trained = targets[order], (valid[order] & last).float()
    cell = (cell[0][order], cell[1][order], cell[2][order], cell[3][order])
    grid_centre = torch.stack((cell[3], cell[2]), 1)
    size = targets[:, WIDTH : HEIGHT + 1]
    share = size.prod(1) / (shape[2] * shape[3] * stride**2)
    return Positives(
        cell=cell,
        trained=trained,
        weight=trained * (2 - share.clamp(0, 1)),
        centre=(targets[:, CX : CY + 1] / stride - grid_centre).clamp(0, 1),
        log_size=(size.clamp(min=1e-6) / anchors[cell[1]]).log(),
        classes=_classes_of_cell(key, targets[:, LABEL].long(), num_classes),
    )


def _cells(
    targets: Tensor, anchor: Tensor, shape: torch.Size, stride: int
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """The cell of each box's centre, clamped into the map, and whether the box can train one."""
    height, width = shape[2] * stride, shape[3] * stride
    x, y = targets[:, CX], targets[:, CY]
    column = (x / stride).long().clamp(0, shape[3] - 1)
    row = (y / stride).long().clamp(0, shape[2] - 1)
    inside = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    has_area = (targets[:, WIDTH] > 0) & (targets[:, HEIGHT] > 0)
    return (targets[:, IMAGE].long(), anchor, row, column), inside & has_area & (targets[:, CROWD] == 0)


def _flat(cell: tuple[Tensor, Tensor, Tensor, Tensor], shape: torch.Size) -> Tensor:
    image, anchor, row, column = cell
    return ((image * shape[1] + anchor) * shape[2] + row) * shape[3] + column


def _classes_of_cell(key: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """(N, C): for each row, 1 at the labels of all rows with the same key. Keys are sorted."""
    group = (key.diff(prepend=key.new_full((1,), -1)) != 0).cumsum(0) - 1
    table = torch.zeros(len(key), num_classes, device=key.device)
    # Several rows may write the same element: they all write 1.
    return table.index_put_((group, label), torch.ones(len(key), device=key.device))[group]


def covered(corners: Corners, targets: Tensor, ignore_iou: float) -> Tensor:
    """How many ground truths speak against counting a cell as a negative.

    A box does where its IoU with the cell's predicted box exceeds `ignore_iou`, a crowd where more than half of
    the predicted box lies inside it. Both read `intersection > share * own area + floor`:
    IoU > t is `intersection > t / (1 + t) * (area + other area)`.

    Args:
        corners: the predicted boxes, (B, A, H, W).
        targets: (N, 7) float32, crowds included.
        ignore_iou: in [0, 1].

    Returns:
        (B, A, H, W) float32.
    """
    shape = corners.left.shape
    flat = Corners(*(edge.flatten(1) for edge in corners))
    count = torch.zeros_like(flat.left)
    area = flat.area()
    # Compiled, the comparison is fused and its pairs are never stored; a loop would tie the code to one N.
    boxes_at_once = max(1, _PAIRS // flat.left.shape[1])
    for part in (targets,) if torch.compiler.is_compiling() else torch.split(targets, boxes_at_once):
        image = part[:, IMAGE].long()
        left, top, right, bottom = _edges(part)
        overlap = (
            flat.right.index_select(0, image)
            .clamp_(max=right)
            .sub_(flat.left.index_select(0, image).clamp_(min=left))
            .clamp_(min=0)
        )
        overlap *= (
            flat.bottom.index_select(0, image)
            .clamp_(max=bottom)
            .sub_(flat.top.index_select(0, image).clamp_(min=top))
            .clamp_(min=0)
        )
        share, floor = _cover_limits(part, ignore_iou)
        count.index_add_(0, image, overlap.gt_(torch.addcmul(floor, area.index_select(0, image), share)))
    return count.view(shape)


def _edges(targets: Tensor) -> Corners:
    centre_x, centre_y, width, height = targets[:, CX : HEIGHT + 1, None].unbind(1)
    return Corners(centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2)


def _cover_limits(targets: Tensor, ignore_iou: float) -> tuple[Tensor, Tensor]:
    """`share` and `floor` of `covered`, (N, 1) each."""
    crowd = targets[:, CROWD, None] != 0
    iou_share = ignore_iou / (1 + ignore_iou)
    area = targets[:, WIDTH, None] * targets[:, HEIGHT, None]
    share = torch.full_like(area, iou_share).masked_fill(crowd, _IN_CROWD)
    return share, (iou_share * area).masked_fill(crowd, 0.0)
