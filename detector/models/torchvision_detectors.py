"""torchvision's detectors behind the contract of `Detector`: same batches in, same loss parts and detections out.

Batches come sized and letterboxed already, so torchvision's own resizing is left out; its normalisation, anchors,
losses and post-processing stay as they are. As in torchvision, Faster R-CNN, FCOS, SSD and SSDlite divide a loss by
the positives of the images seen together; only RetinaNet does so image by image.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights
from torchvision.models import detection as torchvision_models
from torchvision.models._api import WeightsEnum
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d

from detector.batch import CROWD, CX, CY, HEIGHT, IMAGE, LABEL, WIDTH
from detector.config import Eval, Model
from detector.models import Detector

_IMAGENET_EPS = 1e-5
_RESNET_STEM = ("backbone.body.conv1.", "backbone.body.layer1.")

Targets = list[dict[str, Tensor]]


class _Family(NamedTuple):
    """What tells torchvision's networks apart.

    Attributes:
        network: makes the network with random weights.
        weights: trained on COCO.
        backbone_weights: trained on ImageNet, `None` where its backbone cannot be loaded alone.
        background: classes beside those of the data set: 1 where label 0 means "nothing".
        frozen: beginnings of the names of parameters that torchvision does not train from given weights.
        head: modules whose outputs are read in float32.
        rule: the module with the limits of post-processing, "" for the network itself.
        norm_eps: the epsilon with which a ResNet's normalisation was frozen when `weights` were trained.
    """

    network: Callable[..., nn.Module]
    weights: WeightsEnum
    backbone_weights: WeightsEnum | None
    background: int
    frozen: tuple[str, ...]
    head: tuple[str, ...]
    rule: str = ""
    norm_eps: float = _IMAGENET_EPS


FAMILIES = {
    "fasterrcnn": _Family(
        network=torchvision_models.fasterrcnn_resnet50_fpn,
        weights=torchvision_models.FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
        backbone_weights=ResNet50_Weights.IMAGENET1K_V1,
        background=1,
        frozen=_RESNET_STEM,
        head=("rpn.head", "roi_heads.box_predictor"),
        rule="roi_heads",
        norm_eps=0.0,
    ),
    "retinanet": _Family(
        network=torchvision_models.retinanet_resnet50_fpn,
        weights=torchvision_models.RetinaNet_ResNet50_FPN_Weights.COCO_V1,
        backbone_weights=ResNet50_Weights.IMAGENET1K_V1,
        background=0,
        frozen=_RESNET_STEM,
        head=("head",),
        norm_eps=0.0,
    ),
    "fcos": _Family(
        network=torchvision_models.fcos_resnet50_fpn,
        weights=torchvision_models.FCOS_ResNet50_FPN_Weights.COCO_V1,
        backbone_weights=ResNet50_Weights.IMAGENET1K_V1,
        background=0,
        frozen=_RESNET_STEM,
        head=("head",),
    ),
    "ssd": _Family(
        network=torchvision_models.ssd300_vgg16,
        weights=torchvision_models.SSD300_VGG16_Weights.COCO_V1,
        backbone_weights=None,
        background=1,
        frozen=("backbone.features.0.", "backbone.features.2."),
        head=("head",),
    ),
    "ssdlite": _Family(
        network=torchvision_models.ssdlite320_mobilenet_v3_large,
        weights=torchvision_models.SSDLite320_MobileNet_V3_Large_Weights.COCO_V1,
        backbone_weights=None,
        background=1,
        frozen=(),
        head=("head",),
    ),
}


class TorchvisionDetector(Detector):
    """One of torchvision's networks, as `net`; see `Detector` for what goes in and comes out.

    From scratch, everything is trained, batch normalisation included; from torchvision's weights the first layers
    and a ResNet's normalisation are frozen, as torchvision itself does.

    Args:
        config: family by `name`; `init` says whether it starts from torchvision's weights.
        num_classes: C.
        rule: which boxes count as detections.
    """

    def __init__(self, config: Model, num_classes: int, rule: Eval) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.family = FAMILIES[config.name]
        pretrained = config.init.startswith("torchvision") or config.init.endswith(".pth")
        self.net = _network(self.family, num_classes, self._norm_eps(config.init) if pretrained else None)
        if pretrained:
            for name, parameter in self.net.named_parameters():
                parameter.requires_grad_(not name.startswith(self.family.frozen))
        limits: Any = self.net.get_submodule(self.family.rule)
        limits.score_thresh, limits.nms_thresh = rule.score_threshold, rule.nms_iou
        limits.detections_per_img = rule.max_detections

    def forward(self, images: Tensor, targets: Tensor | None = None) -> dict[str, Tensor] | list[Tensor]:
        if not self.training:
            return [self._rows(found) for found in self.net(list(images))]
        assert targets is not None, "training takes targets"
        return self.net(list(images), self._targets(images, targets))  # type: ignore[no-any-return]

    def _norm_eps(self, init: str) -> float | None:
        """Of the normalisation that is frozen; `None` where it learns all the same."""
        if self.family.backbone_weights is None:
            return None
        own = init == "torchvision" or Path(init).name == Path(self.family.weights.url).name
        return self.family.norm_eps if own else _IMAGENET_EPS

    def _rows(self, found: dict[str, Tensor]) -> Tensor:
        labels = found["labels"] - self.family.background
        return torch.cat((found["boxes"], found["scores"][:, None], labels[:, None]), 1)

    def _targets(self, images: Tensor, targets: Tensor) -> Targets:
        """Boxes by their corners, clipped to the input, per image; crowds and boxes without area left out."""
        height, width = images.shape[2:]
        centre, half = targets[:, CX : CY + 1], targets[:, WIDTH : HEIGHT + 1] / 2
        limits = torch.tensor([width, height, width, height], device=targets.device)
        corners = torch.cat((centre - half, centre + half), 1).clamp(min=0).minimum(limits)
        valid = (targets[:, CROWD] == 0) & (corners[:, 2:] > corners[:, :2]).all(1)
        labels = targets[:, LABEL].long() + self.family.background
        owned = [valid & (targets[:, IMAGE] == image) for image in range(len(images))]
        return [{"boxes": corners[mine], "labels": labels[mine]} for mine in owned]


class _Normalise(nn.Module):
    """In place of torchvision's `GeneralizedRCNNTransform`: normalises, and leaves sizes as they are."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: list[Tensor], targets: Targets | None = None) -> tuple[ImageList, Targets | None]:
        batch = (torch.stack(images) - self.mean) / self.std
        sizes = [(batch.shape[2], batch.shape[3])] * len(images)
        return ImageList(batch, sizes), targets

    def postprocess(self, found: Targets, _: list[tuple[int, int]], __: list[tuple[int, int]]) -> Targets:
        return found


def _network(family: _Family, num_classes: int, norm_eps: float | None) -> nn.Module:
    net = family.network(weights=None, weights_backbone=None, num_classes=num_classes + family.background)
    transform: Any = net.transform
    net.transform = _Normalise(transform.image_mean, transform.image_std)
    for module in net.modules():
        if isinstance(module, DefaultBoxGenerator):
            # SSD's steps belong to an input of 300 pixels; without them the boxes follow the maps of any input.
            module.steps = None
    if norm_eps is not None:
        _freeze_norms(net.get_submodule("backbone"), norm_eps)
    for name in ("backbone", *family.head):
        net.get_submodule(name).register_forward_hook(_in_float32)
    return net


def _freeze_norms(module: nn.Module, eps: float) -> None:
    """Put batch normalisation that never changes in place of each that learns."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, eps))
        else:
            _freeze_norms(child, eps)


def _in_float32(_: nn.Module, __: Any, output: Any) -> Any:
    """What a module says, in float32 under autocast: anchors take the dtype of the maps, and bfloat16 has 8 bits."""
    if isinstance(output, Tensor):
        return output.float()
    if isinstance(output, dict):
        return type(output)((key, value.float()) for key, value in output.items())
    return type(output)([_in_float32(_, __, each) for each in output])
