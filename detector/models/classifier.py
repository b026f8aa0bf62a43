"""A classifier over one of darknet's backbones, to pretrain it. The contract is that of `Detector`, with classes."""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

from detector.batch import NO_CLASS
from detector.config import Model
from detector.models import Detector
from detector.models.darknet import DarkNet53, DarkNetTiny

_BACKBONES: dict[str, type[DarkNet53] | type[DarkNetTiny]] = {"darknet53": DarkNet53, "darknet-tiny": DarkNetTiny}


class Classifier(Detector):
    """The backbone, the mean over its coarsest map, and a linear layer, as darknet's `darknet53.cfg` has them.

    In training mode, `model(images, labels)` takes labels (B,) int64 and returns the cross-entropy as the part `class`;
    images of `NO_CLASS` count as 0. In evaluation mode, `model(images)` returns logits (B, classes) float32.
    """

    def __init__(self, config: Model, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.smoothing = config.label_smoothing
        backbone = _BACKBONES[config.name]()
        self.backbone = backbone
        self.classifier = nn.Linear(backbone.channels[-1], num_classes)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor] | Tensor:
        coarsest = self.backbone(images)[-1]
        logits: Tensor = self.classifier(adaptive_avg_pool2d(coarsest, 1).flatten(1))
        with torch.autocast(images.device.type, enabled=False):
            logits = logits.float()
            if labels is None:
                return logits
            total = cross_entropy(
                logits, labels, ignore_index=NO_CLASS, reduction="sum", label_smoothing=self.smoothing
            )
            return {"class": total / len(labels)}
