"""Size, shape and manners of the two networks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.utils.flop_counter import FlopCounterMode

from detector.config import ConfigError, Eval, Model
from detector.models import Detector, build, weight_decay_groups


def detector(name: str = "yolov3-tiny", num_classes: int = 3, **model: object) -> Detector:
    torch.manual_seed(0)
    return build(Model(name=name, **model), num_classes, eval=Eval())


def on_meta(name: str) -> Detector:
    with torch.device("meta"):
        return detector(name, 80)


def boxes(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 7)


SOME_BOXES = boxes((0, 1, 30, 40, 20, 30, 0), (0, 2, 60, 20, 50, 10, 0), (1, 0, 40, 40, 60, 70, 0))


@pytest.mark.parametrize(
    ("name", "parameters", "backbone", "convs", "norms", "gflop"),
    [
        ("yolov3", 61_949_149, 40_584_928, 75, 72, 65.864),
        ("yolov3-tiny", 8_852_366, 6_294_416, 13, 11, 5.565),
    ],
)
def test_the_networks_have_darknets_size(
    name: str, parameters: int, backbone: int, convs: int, norms: int, gflop: float
) -> None:
    model = on_meta(name)
    with FlopCounterMode(display=False) as counter:
        model.predict(torch.empty(1, 3, 416, 416, device="meta"))
    modules = list(model.modules())

    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert sum(parameter.numel() for parameter in model.backbone.parameters()) == backbone
    assert sum(isinstance(module, nn.Conv2d) for module in modules) == convs
    assert sum(isinstance(module, nn.BatchNorm2d) for module in modules) == norms
    assert counter.get_total_flops() / 1e9 == pytest.approx(gflop, abs=5e-4)


def test_yolov3_tiny_stores_as_many_numbers_as_its_weights_file() -> None:
    numbers = [value.numel() for key, value in on_meta("yolov3-tiny").state_dict().items() if "tracked" not in key]
    assert sum(numbers) == 8_858_734


@pytest.mark.parametrize("name", ["yolov3", "yolov3-tiny"])
@settings(max_examples=5)
@given(rows=st.integers(1, 20), columns=st.integers(1, 20))
def test_the_grid_follows_any_multiple_of_32(name: str, rows: int, columns: int) -> None:
    with torch.device("meta"):
        predictions = detector(name).predict(torch.empty(2, 3, 32 * rows, 32 * columns))
    for prediction, factor in zip(predictions, (1, 2, 4), strict=False):
        assert prediction.logits.shape == (2, 3, 8, factor * rows, factor * columns)
        assert prediction.stride == 32 // factor


def test_darknets_anchors_are_the_default() -> None:
    coarsest = detector("yolov3").eval().predict(torch.zeros(1, 3, 32, 32))[0]
    assert coarsest.anchors.tolist() == [[116, 90], [156, 198], [373, 326]]
    assert coarsest.mask.tolist() == [6, 7, 8]


def test_own_anchors_and_masks_replace_darknets_one_scale_at_a_time() -> None:
    model = detector(anchors=((5, 5), (10, 20), (30, 30)), masks=((1, 2), (0,)))
    coarse, fine = model.predict(torch.zeros(1, 3, 64, 64))
    assert coarse.anchors.tolist() == [[10, 20], [30, 30]]
    assert coarse.logits.shape == (1, 2, 8, 2, 2)
    assert fine.logits.shape == (1, 1, 8, 4, 4)
    assert model(torch.rand(2, 3, 64, 64), SOME_BOXES)["box"] > 0


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("model.masks", {"masks": ((3, 4, 5),)}),
        ("model.masks", {"masks": ((6, 7, 8), (3, 4, 5), (0, 1, 2))}),
        ("model.masks", {"masks": ((3, 4, 6), (0, 1, 2))}),
        ("model.masks", {"masks": ((3, 4, -1), (0, 1, 2))}),
        ("model.masks", {"masks": ((3, 4, 4), (0, 1, 2))}),
        ("model.masks", {"masks": ((3, 4, 5), ())}),
        ("model.masks", {"anchors": ((10, 10), (20, 20))}),
        ("model.anchors", {"anchors": ((10, 0), (20, 20)), "masks": ((0,), (1,))}),
    ],
)
def test_anchors_and_masks_that_do_not_fit_are_refused_by_name(key: str, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        detector(**wrong)
    assert caught.value.key == key
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["yolov3", "yolov3-tiny"])
def test_a_fresh_head_expects_about_eight_objects_per_map_and_no_class(name: str) -> None:
    with torch.no_grad():
        predictions = detector(name).predict(torch.rand(1, 3, 416, 416))
    for prediction in predictions:
        assert 4 < prediction.logits[:, :, 4].sigmoid().sum() < 16
        assert prediction.logits[:, :, 5:].sigmoid().mean() == pytest.approx(0.01, abs=0.005)


def test_only_weights_of_convolutions_decay() -> None:
    model = on_meta("yolov3")
    decaying, others = weight_decay_groups(model, 5e-4)
    convs = {id(module.weight) for module in model.modules() if isinstance(module, nn.Conv2d)}
    assert {id(parameter) for parameter in decaying["params"]} == convs
    assert len(decaying["params"]) + len(others["params"]) == len(list(model.parameters()))
    assert (decaying["weight_decay"], others["weight_decay"]) == (5e-4, 0.0)


def test_training_step_reaches_every_parameter_and_the_running_statistics() -> None:
    model = detector()
    before = {key: value.clone() for key, value in model.named_buffers()}
    parts = model(torch.rand(2, 3, 64, 96), SOME_BOXES)
    sum(parts.values()).backward()
    assert set(parts) == {"box", "objectness", "class"}
    assert all(part.dtype == torch.float32 and part.ndim == 0 for part in parts.values())
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    assert all((value != before[key]).any() for key, value in model.named_buffers() if "running" in key)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_losses_and_boxes_in_float32(dtype: torch.dtype) -> None:
    model, images = detector(), torch.rand(2, 3, 64, 64)
    exact = model(images, SOME_BOXES)
    with torch.autocast("cpu", dtype):
        parts = model(images, SOME_BOXES)
    sum(parts.values()).backward()
    for name, part in parts.items():
        assert part.dtype == torch.float32
        torch.testing.assert_close(part, exact[name], rtol=0.05, atol=0.05)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    model.eval()
    model.rule = Eval(score_threshold=0.0)
    with torch.no_grad(), torch.autocast("cpu", dtype):
        assert all(found.dtype == torch.float32 and len(found) for found in model(images))


def test_channels_last_gives_the_same_losses_and_keeps_its_layout() -> None:
    model, images = detector(), torch.rand(2, 3, 64, 64)
    expected = model(images, SOME_BOXES)
    model = model.to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
    assert all(feature.is_contiguous(memory_format=torch.channels_last) for feature in model.backbone(images))
    for name, part in model(images, SOME_BOXES).items():
        torch.testing.assert_close(part, expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["yolov3", "yolov3-tiny", "yolox-darknet53", "yolox-darknet-tiny"])
def test_the_training_step_is_one_graph_for_any_number_of_boxes(name: str) -> None:
    model, images = detector(name), torch.rand(2, 3, 64, 64)
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for count in (2, 3, 7, 40):
        targets = SOME_BOXES.repeat(14, 1)[:count]
        torch._dynamo.maybe_mark_dynamic(targets, 0)
        parts = compiled(images, targets)
        torch.testing.assert_close(parts, model(images, targets), rtol=1e-4, atol=1e-4)
    sum(parts.values()).backward()
    assert counter.frame_count == 1
