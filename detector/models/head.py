"""Neck and head of a scale, from which YOLOv3 and YOLOv3-tiny are put together."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detector.models.darknet import ConvBlock
from detector.models.decode import Prediction

# Input pixels per cell of the first scale; each further one halves them.
COARSEST_STRIDE = 32
# What a fresh head expects: about so many objects per map at this input size, and each class this probable.
_PRIOR_OBJECTS = 8
_PRIOR_IMAGE_SIZE = 416
_PRIOR_CLASS = 0.01


class Neck(nn.Module):
    """Merges the next coarser scale into the backbone's map, then 1x1 and 3x3 convolutions in turn.

    Args:
        inputs: channels of the backbone's map.
        coarser: channels of the next coarser neck, 0 where there is none.
        widths: channels of the convolutions; may be empty.

    Attributes:
        channels: channels that come out.
    """

    def __init__(self, inputs: int, coarser: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.lateral = nn.Sequential()
        if coarser:
            self.lateral = nn.Sequential(ConvBlock(coarser, coarser // 2, 1), nn.Upsample(scale_factor=2))
        channels = [inputs + coarser // 2, *widths]
        self.body = nn.Sequential(
            *(ConvBlock(channels[i], channels[i + 1], 3 if i % 2 else 1) for i in range(len(widths)))
        )
        self.channels = channels[-1]

    def forward(self, x: Tensor, coarser: Tensor | None) -> Tensor:
        merged = x if coarser is None else torch.cat((self.lateral(coarser), x), 1)
        features: Tensor = self.body(merged)
        return features


class Head(nn.Module):
    """A 3x3 convolution, then a 1x1 with bias that says 5 + C numbers per anchor and cell.

    Args:
        inputs: channels of the neck.
        width: channels in between.
        anchors: this scale's anchors, (width, height) in input pixels.
        mask: their indices among the anchors of all scales.
        stride: input pixels per cell.
        num_classes: C.
    """

    anchors: Tensor
    mask: Tensor

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        anchors: Sequence[tuple[float, float]],
        mask: Sequence[int],
        stride: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.widen = ConvBlock(inputs, width, 3)
        self.predict = nn.Conv2d(width, len(mask) * (5 + num_classes), 1)
        self.register_buffer("anchors", torch.tensor(anchors, dtype=torch.float32), persistent=False)
        self.register_buffer("mask", torch.tensor(mask), persistent=False)
        self._expect_little(num_classes)

    def forward(self, x: Tensor) -> Prediction:
        logits: Tensor = self.predict(self.widen(x))
        batch, channels, height, width = logits.shape
        anchors = len(self.mask)
        logits = logits.view(batch, anchors, channels // anchors, height, width)
        return Prediction(logits, self.anchors, self.mask, self.stride)

    def _expect_little(self, num_classes: int) -> None:
        """Start from a low prior, as RetinaNet does (section 4.1), so that the many negatives do not swamp step 1."""
        anchors = len(self.mask)
        bias = torch.zeros(anchors, 5 + num_classes)
        bias[:, 4] = logit(_PRIOR_OBJECTS / (anchors * (_PRIOR_IMAGE_SIZE // self.stride) ** 2))
        bias[:, 5:] = logit(_PRIOR_CLASS)
        self.predict.bias = nn.Parameter(bias.flatten())
        nn.init.normal_(self.predict.weight, std=0.01)


class Scale(nn.Module):
    """One scale: the neck, whose features the next finer scale takes too, and the head on top of it."""

    def __init__(self, neck: Neck, head: Head) -> None:
        super().__init__()
        self.neck = neck
        self.head = head

    def forward(self, x: Tensor, coarser: Tensor | None) -> tuple[Tensor, Prediction]:
        features = self.neck(x, coarser)
        return features, self.head(features)


def logit(probability: float) -> float:
    """The inverse of the sigmoid."""
    return math.log(probability / (1 - probability))
