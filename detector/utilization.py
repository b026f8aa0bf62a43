"""How much of a GPU's arithmetic a run uses: model FLOP utilization, as in PaLM (Chowdhery et al. 2022, appendix B)."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from detector.config import Train
from detector.learner import Learner
from detector.models.classifier import Classifier

# Dense FLOP/s in bf16 and fp16 by a part of the device's name, from NVIDIA's data sheets; the first that fits counts.
_PEAKS = {"H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "A100": 312e12}
# torch convolves float32 as TF32, at half of that.
_SHARE = {"bf16": 1.0, "fp16": 1.0, "fp32": 0.5}


def peak(device_name: str, precision: str) -> float | None:
    """FLOP/s of one device at most, `None` where they are not known."""
    known = next((flops for part, flops in _PEAKS.items() if part in device_name), None)
    return None if known is None else known * _SHARE[precision]


class Utilization:
    """Of a run's GPUs: counts the model's FLOPs once, where the GPU is a known one."""

    def __init__(self, learner: Learner, config: Train) -> None:
        device = learner.ranks.device
        known = device.type == "cuda"
        self.most = peak(torch.cuda.get_device_name(device), config.precision) if known else None
        self.size = config.data.image_size
        self.flops = training_flops(learner.model, self.size) if self.most else 0.0
        self.world = learner.ranks.world

    def at(self, images_per_s: float, size: int) -> float | None:
        """The share used at a rate over all GPUs and an input size, `None` where the GPU is not known.

        The work of a convolution is as its pixels.
        """
        if self.most is None:
            return None
        return images_per_s * self.flops * (size / self.size) ** 2 / (self.most * self.world)


def training_flops(model: nn.Module, size: int) -> float:
    """FLOPs of a forward and a backward pass per square image, counted once on a copy of the model.

    Two per multiplication and addition. Those of the loss and of what is no convolution or matrix product do not count.
    """
    twin = copy.deepcopy(model).train()
    weight = next(twin.parameters())
    labels = torch.zeros(2, dtype=torch.int64) if isinstance(model, Classifier) else torch.empty(0, 7)
    # Batch norm refuses a single value; two images have two.
    images = torch.zeros(2, 3, size, size, device=weight.device)
    with torch.random.fork_rng(), FlopCounterMode(display=False) as counter:
        losses = twin(images, labels.to(weight.device))
        sum(losses.values()).backward()
    return float(counter.get_total_flops() / 2)
