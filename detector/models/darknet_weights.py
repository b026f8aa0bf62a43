"""Loads darknet's weight files, whole or a first part, into a model that registers its modules in their order.

A file is a header and then, for each convolution in the order of the cfg, float32 arrays: beta, gamma, mean,
variance and weights where batch normalisation follows, bias and weights where it does not, which is in the heads
(`load_convolutional_weights` in darknet's parser.c).
"""

import struct
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from detector.errors import UserError
from detector.models import Detector


class DarknetFile(NamedTuple):
    """A darknet file in memory: the number of training images seen, and all its float32 numbers."""

    images_seen: int
    values: npt.NDArray[np.float32]


class Layer(NamedTuple):
    """A convolution with the batch normalisation that follows it; a head has a bias instead."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d | None

    def tensors(self) -> list[Tensor]:
        """The layer's tensors in the order of darknet's files."""
        if self.norm is None:
            assert self.conv.bias is not None
            return [self.conv.bias, self.conv.weight]
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None
        return [self.norm.bias, self.norm.weight, mean, variance, self.conv.weight]


def darknet_layers(model: nn.Module) -> list[Layer]:
    """The convolutions of a model in the order of darknet's files."""
    modules = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    return [
        Layer(module, after if isinstance(after, nn.BatchNorm2d) else None)
        for module, after in zip(modules, [*modules[1:], None], strict=True)
        if isinstance(module, nn.Conv2d)
    ]


def read_darknet(path: Path) -> DarknetFile:
    """Read a darknet file.

    The header is three int32 (major, minor, revision) and the number of training images seen, an int64 from
    version 0.2 on and an int32 before.

    Raises:
        UserError: the file is no darknet file.
    """
    with path.open("rb") as stream:
        head = stream.read(20)
    size = path.stat().st_size
    major, minor = struct.unpack_from("<2i", head) if size >= 16 else (-1, -1)
    start, seen = (20, "<q") if major * 10 + minor >= 2 else (16, "<i")
    if not (0 <= major < 1000 and 0 <= minor < 1000) or size < start or (size - start) % 4:
        problem = f"{path} is no darknet weights file: {size:,} bytes that begin with version {major}.{minor}"
        raise UserError(problem, "was the download cut short, or did it save a web page?")
    return DarknetFile(struct.unpack_from(seen, head, 12)[0], np.fromfile(path, "<f4", offset=start))


def load_darknet(model: Detector, path: Path) -> str:
    """Fill the convolutions that a darknet file holds: all of them, or any first part such as a backbone.

    Heads whose number of classes differs stay as they are.

    Returns:
        One line that says what was loaded.

    Raises:
        UserError: the file is no darknet file, or its length fits no first part of the model.
    """
    file = read_darknet(path)
    layers = darknet_layers(model)
    convs, classes = _layout(layers, model.num_classes, len(file.values), path)
    offset = loaded = 0
    for layer in layers[:convs]:
        size = _numbers(layer, classes, model.num_classes)
        if layer.norm is not None or classes == model.num_classes:
            _fill(layer, file.values[offset : offset + size])
            loaded += 1
        offset += size
    line = f"darknet weights {path.name}: {loaded} of {len(layers)} convs, {file.images_seen:,} images seen"
    if classes != model.num_classes:
        return f"{line}, heads fresh ({classes} classes in the file, {model.num_classes} here)"
    return line + (", the others fresh" if loaded < len(layers) else "")


def _layout(layers: list[Layer], num_classes: int, numbers: int, path: Path) -> tuple[int, int]:
    """How many of the convolutions a file of so many numbers holds, and its number of classes."""
    ends = list(accumulate(_numbers(layer, num_classes, num_classes) for layer in layers))
    if numbers in ends:
        return ends.index(numbers) + 1, num_classes
    per_class = sum(_numbers(layer, -4, num_classes) for layer in layers if layer.norm is None)
    more, rest = divmod(numbers - ends[-1], per_class)
    if rest == 0 and num_classes + more > 0:
        return len(layers), num_classes + more
    whole = f"{ends[-1]:,} at {num_classes} classes"
    below = sum(end < numbers for end in ends)
    hint = (
        f"{below} of {len(layers)} convs would take {ends[below - 1]:,}; is the file of this `model.name`, and whole?"
    )
    raise UserError(f"{path} holds {numbers:,} numbers, but the model takes {whole}, or those of its first convs", hint)


def _numbers(layer: Layer, classes: int, num_classes: int) -> int:
    """How many numbers a file of `classes` holds for a layer of a model of `num_classes`."""
    here = sum(tensor.numel() for tensor in layer.tensors())
    return here if layer.norm is not None else here // (5 + num_classes) * (5 + classes)


@torch.no_grad()
def _fill(layer: Layer, values: npt.NDArray[np.float32]) -> None:
    tensors = layer.tensors()
    parts = torch.split(torch.from_numpy(values), [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))
