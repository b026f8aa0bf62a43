"""Detectors behind one contract: images and boxes in, loss parts or detections out. No I/O but `initialise`."""

from typing import Any

from torch import nn

from detector.config import ANCHOR_FREE, TORCHVISION, Eval, Model


class Detector(nn.Module):
    """What the trainer may expect of every detector, whatever its family.

    In training mode, `model(images, targets)` takes images (B, 3, H, W) float in [0, 1], RGB, with H and W
    multiples of 32, and targets (N, 7) float32 as `detector.batch.Batch` describes them. It returns a dict of
    scalar float32 tensors, the parts that add up to the loss. Each is a sum over the batch divided by B, so
    that the mean over processes with equal B is the value over all their images.

    In evaluation mode, `model(images)` returns one float32 tensor (K, 6) per image: x1, y1, x2, y2 in input
    pixels (not clipped to the image), score, label; by falling score, at most `Eval.max_detections` rows.

    Both work under `torch.autocast`; losses and boxes are computed in float32.

    Attributes:
        num_classes: number of contiguous labels, 0 to `num_classes - 1`.
    """

    num_classes: int


def build(config: Model, num_classes: int, *, eval: Eval) -> Detector:  # noqa: A002 (named as in `config.Train`)
    """The detector that a configuration names, with random weights; `weights.initialise` fills them.

    Raises:
        ConfigError: `anchors` and `masks` that do not fit each other or the network.
    """
    if config.name in TORCHVISION:
        from detector.models.torchvision_detectors import TorchvisionDetector

        return TorchvisionDetector(config, num_classes, eval)
    if config.name in ANCHOR_FREE:
        from detector.models.yolox import YOLOX

        return YOLOX(config, num_classes, eval)
    from detector.models.yolov3 import YOLOv3

    return YOLOv3(config, num_classes, eval)


def weight_decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: weights of convolutions decay, biases and normalisation do not.

    Darknet does the same (`convolutional_layer.c`: `decay` enters the update of the weights alone).
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
