"""The networks against darknet's own description: an interpreter of cfg files, layer by numbered layer."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, leaky_relu, pad

from detector.config import Eval, Model
from detector.models import build
from detector.models.weights import initialise

Section = tuple[str, dict[str, str]]


class Numbers:
    """The numbers of a weights file, handed out in order."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = torch.from_numpy(values)
        self.taken = 0

    def take(self, *shape: int) -> Tensor:
        size = int(np.prod(shape))
        self.taken += size
        return self.values[self.taken - size : self.taken].view(shape)


def parse(cfg: str) -> list[Section]:
    sections: list[Section] = []
    for line in (line.split("#")[0].strip() for line in cfg.splitlines()):
        if line.startswith("["):
            sections.append((line.strip("[]"), {}))
        elif line:
            key, _, value = line.partition("=")
            sections[-1][1][key.strip()] = value.strip()
    return sections[1:]


def interpret(sections: list[Section], numbers: Numbers, images: Tensor) -> list[Tensor]:
    """The inputs of all [yolo] layers."""
    outputs: list[Tensor] = []
    heads = []
    x = images
    for kind, options in sections:
        if kind == "convolutional":
            x = convolve(x, options, numbers)
        elif kind == "maxpool":
            x = pool(x, int(options["size"]), int(options["stride"]))
        elif kind == "upsample":
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        elif kind == "shortcut":
            x = outputs[-1] + outputs[int(options["from"])]
        elif kind == "route":
            x = torch.cat([outputs[int(layer)] for layer in options["layers"].split(",")], 1)
        else:
            assert kind == "yolo"
            heads.append(x)
        outputs.append(x)
    return heads


def convolve(x: Tensor, options: dict[str, str], numbers: Numbers) -> Tensor:
    filters, size = int(options["filters"]), int(options["size"])
    normalised = options.get("batch_normalize") == "1"
    shift = numbers.take(filters)
    scale, mean, variance = (numbers.take(filters) for _ in range(3)) if normalised else (None, None, None)
    weight = numbers.take(filters, x.shape[1], size, size)
    x = conv2d(x, weight, None if normalised else shift, int(options["stride"]), padding=size // 2)
    if normalised:
        x = batch_norm(x, mean, variance, scale, shift, eps=1e-5)
    return leaky_relu(x, 0.1) if options["activation"] == "leaky" else x


def pool(x: Tensor, size: int, stride: int) -> Tensor:
    """Darknet pads size - 1 in all; its offset -pad / 2 is integer division, so that all of it falls behind."""
    padded = pad(x, (0, size - 1, 0, size - 1), value=-torch.inf)
    return padded.unfold(2, size, stride).unfold(3, size, stride).amax((4, 5))


def yolov3_sections(classes: int) -> Iterator[Section]:
    """yolov3.cfg: 107 layers, with the numbers of its routes as they stand there."""

    def conv(filters: int, size: int, stride: int = 1) -> Section:
        return "convolutional", {
            "batch_normalize": "1",
            "filters": str(filters),
            "size": str(size),
            "stride": str(stride),
            "activation": "leaky",
        }

    yield conv(32, 3)
    for filters, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        yield conv(filters, 3, 2)
        for _ in range(blocks):
            yield conv(filters // 2, 1)
            yield conv(filters, 3)
            yield "shortcut", {"from": "-3"}
    for filters, skip in ((512, 61), (256, 36), (128, None)):
        for _ in range(3):
            yield conv(filters, 1)
            yield conv(2 * filters, 3)
        yield "convolutional", {"filters": str(3 * (5 + classes)), "size": "1", "stride": "1", "activation": "linear"}
        yield "yolo", {}
        if skip:
            yield "route", {"layers": "-4"}
            yield conv(filters // 2, 1)
            yield "upsample", {}
            yield "route", {"layers": f"-1, {skip}"}


def random_numbers(sections: list[Section], channels: int = 3) -> np.ndarray:
    """Numbers for every layer that keep the signal at a healthy size, in the order of the file."""
    draw = np.random.default_rng(0)
    widths: list[int] = []
    parts = []
    for kind, options in sections:
        inputs = widths[-1] if widths else channels
        if kind == "route":
            inputs = sum(widths[int(layer)] for layer in options["layers"].split(","))
        widths.append(int(options.get("filters", inputs)))
        if kind != "convolutional":
            continue
        filters, fan_in = widths[-1], inputs * int(options["size"]) ** 2
        if "batch_normalize" in options:
            parts += [draw.normal(0, 0.1, filters), draw.uniform(0.3, 0.7, filters)]
            parts += [draw.normal(0, 0.1, filters), draw.uniform(0.5, 1.5, filters)]
        else:
            parts.append(draw.normal(0, 1, filters))
        parts.append(draw.standard_normal(filters * fan_in, np.float32) * (2 / fan_in) ** 0.5)
    return np.concatenate(parts).astype(np.float32)


def assert_alike(heads: list[Tensor], logits: list[Tensor]) -> None:
    for expected, got in zip(heads, logits, strict=True):
        assert expected.std() > 0.1
        torch.testing.assert_close(got.flatten(1, 2), expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_yolov3_tiny_computes_what_darknets_cfg_and_weights_say(shared: Path) -> None:
    file = shared / "data/weights/yolov3-tiny.weights"
    numbers = Numbers(np.fromfile(file, "<f4", offset=20))
    images = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    model = build(Model(name="yolov3-tiny"), 80, eval=Eval()).eval()

    line = initialise(model, str(file))
    heads = interpret(parse((shared / "data/weights/yolov3-tiny.cfg").read_text()), numbers, images)

    assert line == "darknet weights yolov3-tiny.weights: 13 of 13 convs, 32,013,312 images seen"
    assert numbers.taken == len(numbers.values) == 8_858_734
    assert_alike(heads, [prediction.logits for prediction in model.predict(images)])


@torch.no_grad()
def test_yolov3_computes_what_darknets_cfg_says(tmp_path: Path) -> None:
    sections = list(yolov3_sections(classes=4))
    numbers = Numbers(random_numbers(sections))
    header = np.array([0, 2, 0, 123_456, 0], "<i4")
    (tmp_path / "yolov3.weights").write_bytes(header.tobytes() + numbers.values.numpy().tobytes())
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    model = build(Model(), 4, eval=Eval()).eval()

    line = initialise(model, str(tmp_path / "yolov3.weights"))
    heads = interpret(sections, numbers, images)

    assert len(sections) == 107
    assert line == "darknet weights yolov3.weights: 75 of 75 convs, 123,456 images seen"
    assert numbers.taken == len(numbers.values)
    assert_alike(heads, [prediction.logits for prediction in model.predict(images)])


@pytest.mark.parametrize(("classes", "size"), [(80, 248_007_048), (1, 248_007_048 - 79 * 5385 * 4)])
def test_the_interpreter_counts_as_many_numbers_as_yolov3_weights_has(classes: int, size: int) -> None:
    sections = list(yolov3_sections(classes))
    assert 20 + 4 * len(random_numbers(sections)) == size
