"""What the head of one scale says, and the boxes it means by it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# exp(10) is 22,026 anchors: beyond any image, yet small enough that areas stay finite in float32.
_LARGEST_LOG_SIZE = 10.0


class Prediction(NamedTuple):
    """One scale's output, and what it takes to read it.

    Attributes:
        logits: (B, A, 5 + C, H, W); tx, ty, tw, th, objectness, classes.
        anchors: (A, 2) float32; width and height in input pixels.
        mask: (A,) int64; indices of these anchors among those of all scales.
        stride: input pixels per cell.
    """

    logits: Tensor
    anchors: Tensor
    mask: Tensor
    stride: int


class Corners(NamedTuple):
    """Boxes by their edges in input pixels, four float32 tensors of one shape."""

    left: Tensor
    top: Tensor
    right: Tensor
    bottom: Tensor

    def area(self) -> Tensor:
        return (self.right - self.left) * (self.bottom - self.top)


def decode(prediction: Prediction) -> Corners:
    """The predicted boxes, in float32 whatever the dtype of the logits; (B, A, H, W) per edge.

    The centre lies in its cell, at sigmoid(tx), sigmoid(ty); the size is the anchor's times exp(tw), exp(th)
    (YOLOv3, section 2.1).
    """
    logits = prediction.logits[:, :, :4].float().unbind(2)
    rows = torch.arange(logits[0].shape[2], device=logits[0].device).view(-1, 1)
    columns = torch.arange(logits[0].shape[3], device=logits[0].device)
    return _corners(logits, columns, rows, prediction.anchors.view(-1, 2, 1, 1).unbind(1), prediction.stride)


def decode_cells(prediction: Prediction, cell: tuple[Tensor, ...]) -> Corners:
    """The boxes of some cells: image, anchor, row and column, each (n,); float32 (n,) per edge.

    Computed in float64 and rounded: in float32, exp and sigmoid differ in the last bit with the place of a number in
    its tensor, and so would the boxes of an image with the images beside it.
    """
    image, anchor, row, column = cell
    logits = prediction.logits[image, anchor, :4, row, column].double().unbind(1)
    edges = _corners(logits, column, row, prediction.anchors[anchor].double().unbind(1), prediction.stride)
    return Corners(*(edge.float() for edge in edges))


def _corners(logits: Sequence[Tensor], column: Tensor, row: Tensor, anchor: Sequence[Tensor], stride: int) -> Corners:
    x, y, log_width, log_height = logits
    centre_x, centre_y = (x.sigmoid() + column) * stride, (y.sigmoid() + row) * stride
    half_width = log_width.clamp(max=_LARGEST_LOG_SIZE).exp() * anchor[0] / 2
    half_height = log_height.clamp(max=_LARGEST_LOG_SIZE).exp() * anchor[1] / 2
    return Corners(centre_x - half_width, centre_y - half_height, centre_x + half_width, centre_y + half_height)
