"""YOLOv3 and YOLOv3-tiny, exact to darknet's cfg files in layers, anchors, loss and decoding.

Modules are registered in the order of darknet's files: backbone, then neck and head of each scale, coarsest first.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from detector.config import ConfigError, Eval, Model
from detector.models import Detector
from detector.models.darknet import DarkNet53, DarkNetTiny
from detector.models.decode import Prediction
from detector.models.head import COARSEST_STRIDE, Head, Neck, Scale
from detector.models.loss import loss_parts
from detector.models.postprocess import detections

Anchors = tuple[tuple[float, float], ...]
Masks = tuple[tuple[int, ...], ...]


class _Family(NamedTuple):
    """What tells the networks apart. Necks (widths of their convolutions), heads and masks run from coarse to fine."""

    backbone: type[DarkNet53] | type[DarkNetTiny]
    necks: tuple[tuple[int, ...], ...]
    heads: tuple[int, ...]
    anchors: Anchors
    masks: Masks


_FAMILIES = {
    "yolov3": _Family(
        backbone=DarkNet53,
        necks=((512, 1024, 512, 1024, 512), (256, 512, 256, 512, 256), (128, 256, 128, 256, 128)),
        heads=(1024, 512, 256),
        anchors=(
            *((10, 13), (16, 30), (33, 23)),
            *((30, 61), (62, 45), (59, 119)),
            *((116, 90), (156, 198), (373, 326)),
        ),
        masks=((6, 7, 8), (3, 4, 5), (0, 1, 2)),
    ),
    "yolov3-tiny": _Family(
        backbone=DarkNetTiny,
        necks=((256,), ()),
        heads=(512, 256),
        anchors=((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319)),
        masks=((3, 4, 5), (0, 1, 2)),
    ),
}


class YOLOv3(Detector):
    """Backbone, necks and heads of one family; see `Detector` for what goes in and comes out.

    Args:
        config: family by `name`, `anchors` and `masks` where they differ from darknet's, `ignore_iou`.
        num_classes: C.
        rule: which boxes count as detections.

    Raises:
        ConfigError: anchors or masks that do not fit each other or the number of scales.
    """

    anchors: Tensor

    def __init__(self, config: Model, num_classes: int, rule: Eval) -> None:
        super().__init__()
        family = _FAMILIES[config.name]
        anchors, masks = _anchors_and_masks(config, family)
        self.num_classes = num_classes
        self.rule = rule
        self.ignore_iou = config.ignore_iou
        self.smoothing = config.label_smoothing
        self.register_buffer("anchors", torch.tensor(anchors, dtype=torch.float32), persistent=False)
        self.backbone = family.backbone()
        self.scales = nn.ModuleList(_scales(family, anchors, masks, num_classes))

    def forward(self, images: Tensor, targets: Tensor | None = None) -> dict[str, Tensor] | list[Tensor]:
        predictions = self.predict(images)
        if not self.training:
            return detections(predictions, self.rule)
        assert targets is not None, "training takes targets"
        return loss_parts(predictions, targets, self.anchors, self.ignore_iou, self.smoothing)

    def predict(self, images: Tensor) -> list[Prediction]:
        """What each scale says about images (B, 3, H, W), coarsest scale first."""
        features, predictions = None, []
        for scale, x in zip(self.scales, reversed(self.backbone(images)), strict=False):
            features, prediction = scale(x, features)
            predictions.append(prediction)
        return predictions


def _scales(family: _Family, anchors: Anchors, masks: Masks, num_classes: int) -> Iterator[Scale]:
    coarser, stride = 0, COARSEST_STRIDE
    channels = family.backbone.channels[-len(masks) :]
    for inputs, widths, width, mask in zip(reversed(channels), family.necks, family.heads, masks, strict=True):
        neck = Neck(inputs, coarser, widths)
        own = [anchors[index] for index in mask]
        yield Scale(neck, Head(neck.channels, width, anchors=own, mask=mask, stride=stride, num_classes=num_classes))
        coarser, stride = neck.channels, stride // 2


def _anchors_and_masks(config: Model, family: _Family) -> tuple[Anchors, Masks]:
    anchors = family.anchors if config.anchors is None else config.anchors
    masks = family.masks if config.masks is None else config.masks
    if any(size <= 0 for anchor in anchors for size in anchor):
        raise ConfigError("model.anchors", "an anchor needs a positive width and height")
    if len(masks) != len(family.masks):
        problem = f"{config.name} has {len(family.masks)} scales, got {len(masks)} masks"
        raise ConfigError("model.masks", problem, f"darknet's are {_listed(family.masks)}")
    for mask in masks:
        if not mask or len(set(mask)) < len(mask):
            raise ConfigError("model.masks", f"{list(mask)} should name some anchors, each once")
        if not set(mask) <= set(range(len(anchors))):
            problem = f"{list(mask)} names an anchor that is not there: {len(anchors)} anchors count from 0"
            raise ConfigError("model.masks", problem, "set `model.anchors` and `model.masks` together")
    return anchors, masks


def _listed(masks: Masks) -> str:
    return ", ".join(str(list(mask)) for mask in masks)
