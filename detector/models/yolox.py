"""Decoupled, anchor-free heads on DarkNet-53 and on the tiny backbone, after YOLOX (Ge et al. 2021).

The backbones and necks are those of `yolov3`. Each point of a map says one box, in strides around the point, and who
learns what is decided by `simota`.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from detector.batch import IMAGE, LABEL
from detector.config import Eval, Model
from detector.models import Detector
from detector.models.box_loss import complete_iou_loss
from detector.models.darknet import ConvBlock, DarkNet53, DarkNetTiny
from detector.models.head import COARSEST_STRIDE, Neck, logit
from detector.models.postprocess import selected
from detector.models.simota import Matches, Points, as_corners, assign

_PRIOR = 0.01
# A fresh head says squares of so many strides. Those of one stride, YOLOX's, overlap most boxes so little that SimOTA
# gives each a point or two at first.
_PRIOR_STRIDES = 2.0
_BOX_WEIGHT = 5.0
# exp(10) is 22,026 strides: beyond any image, yet small enough that areas stay finite in float32.
_LARGEST_LOG_SIZE = 10.0


class _Family(NamedTuple):
    """Necks (widths of their convolutions) run from coarse to fine; `width` is that of every head by default."""

    backbone: type[DarkNet53] | type[DarkNetTiny]
    necks: tuple[tuple[int, ...], ...]
    width: int


_FAMILIES = {
    "yolox-darknet53": _Family(
        backbone=DarkNet53,
        necks=((512, 1024, 512, 1024, 512), (256, 512, 256, 512, 256), (128, 256, 128, 256, 128)),
        width=256,
    ),
    "yolox-darknet-tiny": _Family(backbone=DarkNetTiny, necks=((256,), (128,), (64,)), width=64),
}


class DecoupledHead(nn.Module):
    """Two 3x3 convolutions for the class, two for box and objectness, over a common 1x1 (YOLOX, figure 2)."""

    def __init__(self, inputs: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.stem = ConvBlock(inputs, width, 1)
        self.for_class = nn.Sequential(ConvBlock(width, width, 3), ConvBlock(width, width, 3))
        self.for_box = nn.Sequential(ConvBlock(width, width, 3), ConvBlock(width, width, 3))
        self.classes = nn.Conv2d(width, num_classes, 1)
        self.box = nn.Conv2d(width, 4, 1)
        self.objectness = nn.Conv2d(width, 1, 1)
        size = math.log(_PRIOR_STRIDES)
        for layer, bias in (
            (self.classes, [logit(_PRIOR)] * num_classes),
            (self.box, [0.0, 0.0, size, size]),
            (self.objectness, [logit(_PRIOR)]),
        ):
            nn.init.normal_(layer.weight, std=0.01)
            layer.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 5 + C, H, W): offset x, y, log width, height, objectness, classes."""
        x = self.stem(x)
        shape = self.for_box(x)
        return torch.cat((self.box(shape), self.objectness(shape), self.classes(self.for_class(x))), 1)


class YOLOX(Detector):
    """Backbone, necks and decoupled heads of one family; see `Detector` for what goes in and comes out.

    Args:
        config: family by `name`, `head_width` and `label_smoothing`.
        num_classes: C.
        rule: which boxes count as detections.
    """

    def __init__(self, config: Model, num_classes: int, rule: Eval) -> None:
        super().__init__()
        family = _FAMILIES[config.name]
        self.num_classes = num_classes
        self.rule = rule
        self.smoothing = config.label_smoothing
        self.backbone = family.backbone()
        necks = list(_necks(family))
        self.necks = nn.ModuleList(necks)
        width = config.head_width or family.width
        self.heads = nn.ModuleList(DecoupledHead(neck.channels, width, num_classes) for neck in necks)

    def forward(self, images: Tensor, targets: Tensor | None = None) -> dict[str, Tensor] | list[Tensor]:
        points = self.predict(images)
        if not self.training:
            return selected(points.objectness, points.classes, points.corners, self.rule)
        assert targets is not None, "training takes targets"
        return loss_parts(points, targets, assign(points, targets), self.smoothing)

    def predict(self, images: Tensor) -> Points:
        """What all scales say about images (B, 3, H, W), coarsest scale first."""
        features, scales = None, []
        for at, x in enumerate(reversed(self.backbone(images))):
            features = self.necks[at](x, features)
            scales.append(_points(self.heads[at](features), COARSEST_STRIDE >> at))
        corners, objectness, classes, centres, strides = zip(*scales, strict=True)
        return Points(
            corners=torch.cat(corners, 1),
            objectness=torch.cat(objectness, 1),
            classes=torch.cat(classes, 1),
            centres=torch.cat(centres),
            strides=torch.cat(strides),
        )


def loss_parts(points: Points, targets: Tensor, matches: Matches, smoothing: float) -> dict[str, Tensor]:
    """The loss of a batch: `box`, `objectness` and `class`, in float32.

    CIoU on the matched boxes, cross-entropy of objectness everywhere and of the classes at the matches, with the IoU
    as the target of the label. An image's loss is divided by its matches, and the sum by B: unlike YOLOX's division
    by the matches of all images, this does not depend on which images a process sees together.
    """
    image = targets[:, IMAGE].long()[:, None].expand_as(matches.point)
    found = torch.zeros_like(points.objectness).index_put((image, matches.point), matches.trained, accumulate=True)
    share = 1 / (found.sum(1).clamp(min=1) * len(found))
    weight = matches.trained * share[image]
    boxes = as_corners(targets)[:, None].expand(-1, matches.point.shape[1], -1)
    apart = complete_iou_loss(points.corners[image, matches.point], boxes)
    said = points.classes[image, matches.point]
    labels = (targets[:, LABEL, None] == torch.arange(said.shape[2], device=said.device)).float()[:, None]
    wanted = (labels * (1 - smoothing) + smoothing / 2) * matches.iou[..., None]
    classes = binary_cross_entropy_with_logits(said, wanted, reduction="none").sum(2)
    everywhere = binary_cross_entropy_with_logits(points.objectness, found, reduction="none")
    counted = (~matches.ignored | (found > 0)) * share[:, None]
    return {
        "box": _BOX_WEIGHT * (apart * weight).sum(),
        "objectness": (everywhere * counted).sum(),
        "class": (classes * weight).sum(),
    }


def _necks(family: _Family) -> Iterator[Neck]:
    coarser = 0
    for inputs, widths in zip(reversed(family.backbone.channels), family.necks, strict=True):
        neck = Neck(inputs, coarser, widths)
        yield neck
        coarser = neck.channels


def _points(logits: Tensor, stride: int) -> Points:
    """One scale's map, (B, 5 + C, H, W), as points row by row."""
    height, width = logits.shape[2:]
    said = logits.float().flatten(2).transpose(1, 2)
    rows = (torch.arange(height, device=logits.device) + 0.5) * stride
    columns = (torch.arange(width, device=logits.device) + 0.5) * stride
    centres = torch.stack((columns.repeat(height), rows.repeat_interleave(width)), 1)
    middle = centres + said[..., :2] * stride
    half = said[..., 2:4].clamp(max=_LARGEST_LOG_SIZE).double().exp().float() * stride / 2
    return Points(
        corners=torch.cat((middle - half, middle + half), 2),
        objectness=said[..., 4],
        classes=said[..., 5:],
        centres=centres,
        strides=centres.new_full((len(centres),), float(stride)),
    )
