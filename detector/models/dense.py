"""A model as one network whose outputs have the same shape for any image: what it predicts before suppression. No I/O.

For programs that have a suppression of their own, and for exporters, which cannot follow a selection.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from detector.errors import UserError
from detector.models import Detector
from detector.models.classifier import Classifier
from detector.models.decode import Prediction, decode
from detector.models.simota import Points
from detector.models.torchvision_detectors import TorchvisionDetector
from detector.models.yolov3 import YOLOv3
from detector.models.yolox import YOLOX


class Dense(nn.Module):
    """Images (B, 3, S, S) float in [0, 1], RGB, to what stands in `outputs`, in this order and float32.

    `boxes` (B, P, 4) are x1, y1, x2, y2 in input pixels; `scores` (B, P, C) those by which the detector itself selects
    and suppresses, each class for itself. Of a classifier there are only `scores` (B, C), probabilities.
    """

    outputs: tuple[str, ...] = ("boxes", "scores")

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model
        self.eval()


class _DenseClassifier(Dense):
    outputs = ("scores",)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        logits: Tensor = self.model(images)
        return (logits.softmax(1),)


class _DenseYOLOv3(Dense):
    model: YOLOv3

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        boxes, scores = zip(*map(_of_scale, self.model.predict(images)), strict=True)
        return torch.cat(boxes, 1), torch.cat(scores, 1)


class _DenseYOLOX(Dense):
    model: YOLOX

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        points: Points = self.model.predict(images)
        return points.corners, points.objectness.sigmoid()[..., None] * points.classes.sigmoid()


class _DenseTorchvision(Dense):
    """RetinaNet, FCOS, SSD and SSDlite, by the parts of their heads; boxes are clipped to the input as theirs are."""

    anchors: Tensor

    def __init__(self, model: TorchvisionDetector, size: int) -> None:
        super().__init__(model)
        self.net = model.net
        self.softmax = model.family.background == 1
        blank = torch.zeros(1, 3, size, size)
        net: Any = model.net
        with torch.no_grad():
            maps = list(net.backbone(blank).values())
        (anchors,) = net.anchor_generator(ImageList(blank, [(size, size)]), maps)
        self.register_buffer("anchors", anchors, persistent=False)
        self.size = size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        net: Any = self.net
        said = net.head(list(net.backbone((images - net.transform.mean) / net.transform.std).values()))
        return self._boxes(said["bbox_regression"]).clamp(0, self.size), self._scores(said)

    def _boxes(self, said: Tensor) -> Tensor:
        """(B, P, 4) from (B, P, 4) as the box coder of the family reads them."""
        coder: Any = self.net.box_coder
        anchors = self.anchors.expand_as(said)
        if hasattr(coder, "decode_single"):
            flat: Tensor = coder.decode_single(said.flatten(0, 1), anchors.flatten(0, 1))
            return flat.view_as(said)
        decoded: Tensor = coder.decode(said, anchors)
        return decoded

    def _scores(self, said: dict[str, Tensor]) -> Tensor:
        logits = said["cls_logits"]
        if self.softmax:
            return logits.softmax(2)[..., 1:]
        if "bbox_ctrness" in said:
            return (logits.sigmoid() * said["bbox_ctrness"].sigmoid()).sqrt()
        return logits.sigmoid()


def dense(model: Detector, size: int) -> Dense:
    """The dense network of a model, which is put into evaluation mode, for inputs of a size.

    Raises:
        UserError: the model selects boxes on its way, and has no such network.
    """
    if isinstance(model, Classifier):
        return _DenseClassifier(model)
    if isinstance(model, YOLOv3):
        return _DenseYOLOv3(model)
    if isinstance(model, YOLOX):
        return _DenseYOLOX(model)
    assert isinstance(model, TorchvisionDetector)
    if hasattr(model.net, "roi_heads"):
        raise UserError(
            "fasterrcnn cannot be exported: its second stage reads the boxes that its first one selects",
            "every other `model.name` can; `detrun predict` runs this one",
        )
    return _DenseTorchvision(model, size)


def _of_scale(prediction: Prediction) -> tuple[Tensor, Tensor]:
    """(B, AHW, 4) boxes and (B, AHW, C) scores."""
    probability = prediction.logits[:, :, 4:].float().sigmoid()
    scores = probability[:, :, :1] * probability[:, :, 1:]
    boxes = torch.stack(decode(prediction), 2)
    return _by_cell(boxes), _by_cell(scores)


def _by_cell(values: Tensor) -> Tensor:
    """(B, A, N, H, W) as (B, AHW, N)."""
    return values.permute(0, 1, 3, 4, 2).flatten(1, 3)
