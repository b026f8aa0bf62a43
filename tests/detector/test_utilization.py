"""The FLOPs by which a GPU's use is told."""

import pytest

from detector.config import Eval, Model
from detector.models import build
from detector.models.classifier import Classifier
from detector.utilization import peak, training_flops


def test_the_flops_of_yolov3_are_those_of_its_layers() -> None:
    """197.29 GFLOP at 416 with 80 classes; a convolution's are proportional to its pixels."""
    model = build(Model(name="yolov3"), 80, eval=Eval()).eval()
    statistics = {key: value.clone() for key, value in model.state_dict().items() if "running" in key}

    assert training_flops(model, 64) == pytest.approx(197.29e9 * (64 / 416) ** 2, rel=1e-4)
    assert all((value == model.state_dict()[key]).all() for key, value in statistics.items())
    assert not model.training


@pytest.mark.parametrize("name", ["yolox-darknet-tiny", "ssdlite"])
def test_the_flops_of_other_families_are_about_three_times_those_of_their_forward_pass(name: str) -> None:
    small, large = (training_flops(build(Model(name=name), 3, eval=Eval()), size) for size in (64, 128))
    assert small > 1e7
    assert large == pytest.approx(4 * small, rel=0.2)


def test_the_flops_of_a_classifier_are_counted_too() -> None:
    assert training_flops(Classifier(Model(name="darknet-tiny"), 10), 64) > 1e8


def test_the_peak_is_that_of_the_device_and_of_the_precision() -> None:
    assert peak("NVIDIA H200", "bf16") == 989e12
    assert peak("NVIDIA H100 PCIe", "fp16") == 756e12
    assert peak("NVIDIA A100-SXM4-80GB", "fp32") == 156e12
    assert peak("Tesla K80", "bf16") is None
