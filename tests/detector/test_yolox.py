"""The decoupled, anchor-free family: assignment and loss against a slow obvious reference, and manners."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torchvision.ops import box_iou, complete_box_iou_loss

from detector.config import ConfigError, Eval, Model, load
from detector.models import Detector, build
from detector.models.box_loss import complete_iou_loss
from detector.models.simota import Matches, Points, assign
from detector.models.yolox import loss_parts

CLASSES = 3


def detector(name: str = "yolox-darknet-tiny", **rule: float) -> Detector:
    torch.manual_seed(0)
    return build(Model(name=name), CLASSES, eval=Eval(**rule))


def boxes(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 7)


SOME_BOXES = boxes((0, 1, 30, 40, 20, 30, 0), (0, 2, 60, 20, 50, 10, 0), (1, 0, 40, 40, 60, 70, 0))


def random_case(seed: int) -> tuple[Points, Tensor]:
    """Three images of 96 x 64 pixels on two scales, boxes that crowd together, a crowd, a box without area."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.cat(
        [torch.cartesian_prod(torch.arange(s / 2, 64, s), torch.arange(s / 2, 96, s)).flip(1) for s in (32, 16)]
    )
    strides = torch.cat([torch.full((6,), 32.0), torch.full((24,), 16.0)])
    middle = centres + torch.randn(3, 30, 2, generator=random) * 8
    half = torch.rand(3, 30, 2, generator=random) * 25 + 2
    points = Points(
        corners=torch.cat((middle - half, middle + half), 2),
        objectness=torch.randn(3, 30, generator=random),
        classes=torch.randn(3, 30, CLASSES, generator=random),
        centres=centres,
        strides=strides,
    )
    count = 14
    targets = torch.cat(
        (
            torch.randint(0, 2, (count, 1), generator=random),  # the third image has none
            torch.randint(0, CLASSES, (count, 1), generator=random),
            torch.rand(count, 2, generator=random) * torch.tensor([96.0, 64.0]),
            torch.rand(count, 2, generator=random) * 50 + 3,
            torch.zeros(count, 1),
        ),
        1,
    )
    targets[3, 6], targets[7, 4] = 1, 0
    return points, targets


def obvious_matches(points: Points, targets: Tensor) -> tuple[dict[tuple[int, int], int], set[tuple[int, int]]]:
    """The box that each (image, point) learns, and the points inside crowds."""
    bids: dict[tuple[int, int], list[tuple[float, int, int]]] = {}
    ignored = set()
    for n, (image, label, x, y, w, h, crowd) in enumerate(targets.tolist()):
        image, label = int(image), int(label)
        if w <= 0 or h <= 0:
            continue
        costs, ious = [], []
        for p, ((px, py), stride) in enumerate(zip(points.centres.tolist(), points.strides.tolist(), strict=True)):
            inside = abs(px - x) < w / 2 and abs(py - y) < h / 2
            near = max(abs(px - x), abs(py - y)) < 2.5 * stride
            if crowd and inside:
                ignored.add((image, p))
            if crowd or not (inside or near):
                continue
            box = torch.tensor([[x - w / 2, y - h / 2, x + w / 2, y + h / 2]])
            iou = float(box_iou(points.corners[image, p][None], box))
            scores = (points.objectness[image, p].sigmoid() * points.classes[image, p].sigmoid()).sqrt().tolist()
            cost = -sum(math.log(s if c == label else 1 - s) for c, s in enumerate(scores))
            cost += -3 * math.log(max(iou, 1e-8)) + (0 if inside and near else 1e5)
            costs.append((cost, p))
            ious.append(iou)
        wanted = max(1, int(sum(sorted(ious, reverse=True)[:10])))
        for cost, p in sorted(costs)[:wanted]:
            bids.setdefault((image, p), []).append((cost, n, p))
    return {key: min(bid)[1] for key, bid in bids.items()}, ignored


def obvious_loss(points: Points, targets: Tensor, smoothing: float) -> dict[str, float]:
    owner, ignored = obvious_matches(points, targets)
    total = {"box": 0.0, "objectness": 0.0, "class": 0.0}
    for image in range(3):
        share = 1 / max(1, sum(at == image for at, _ in owner)) / 3
        for p in range(30):
            said = points.objectness[image, p].sigmoid().item()
            if (image, p) not in owner:
                total["objectness"] -= share * math.log(1 - said) * ((image, p) not in ignored)
                continue
            _, label, x, y, w, h, _ = targets[owner[image, p]].tolist()
            box = torch.tensor([[x - w / 2, y - h / 2, x + w / 2, y + h / 2]])
            predicted = points.corners[image, p][None]
            total["objectness"] -= share * math.log(said)
            total["box"] += 5 * share * float(complete_box_iou_loss(predicted, box, reduction="sum"))
            for c, score in enumerate(points.classes[image, p].sigmoid().tolist()):
                want = float(box_iou(predicted, box)) * (1 - smoothing / 2 if c == label else smoothing / 2)
                total["class"] -= share * (want * math.log(score) + (1 - want) * math.log(1 - score))
    return total


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_assignment_and_loss_are_those_of_the_obvious_reference(seed: int, smoothing: float) -> None:
    points, targets = random_case(seed)

    matches = assign(points, targets)
    found = {(int(targets[n, 0]), int(matches.point[n, k])): n for n, k in matches.trained.nonzero().tolist()}

    owner, ignored = obvious_matches(points, targets)
    assert found == owner
    assert int(matches.trained.sum()) == len(owner) >= 10
    assert {tuple(at) for at in matches.ignored.nonzero().tolist()} == ignored
    parts = loss_parts(points, targets, matches, smoothing)
    for name, value in obvious_loss(points, targets, smoothing).items():
        assert parts[name].item() == pytest.approx(value, rel=1e-4), name


@given(arrays(np.float32, (2, 9, 4), elements=st.floats(0, 64, width=32)))
def test_the_box_loss_is_torchvisions_and_so_are_its_gradients(rows: npt.NDArray[np.float32]) -> None:
    """Corners in any order are sorted; the sides are a pixel at least, below which torchvision's has NaN."""
    low, high = np.minimum(rows[..., :2], rows[..., 2:]), np.maximum(rows[..., :2], rows[..., 2:]) + 1
    predicted, truth = torch.from_numpy(np.concatenate((low, high), 2))
    found, expected = (
        (loss, torch.autograd.grad(loss.sum(), at)[0])
        for function in (complete_iou_loss, complete_box_iou_loss)
        for at in [predicted.clone().requires_grad_()]
        for loss in [function(at, truth)]
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_box_loss_of_boxes_without_a_size_is_finite() -> None:
    predicted = torch.tensor([[3.0, 3.0, 3.0, 3.0], [2.0, 2.0, 9.0, 2.0]], requires_grad=True)
    loss = complete_iou_loss(predicted, torch.tensor([[3.0, 3.0, 3.0, 3.0], [5.0, 1.0, 6.0, 8.0]]))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


def test_the_loss_of_a_batch_is_the_mean_over_its_images() -> None:
    points, targets = random_case(0)
    whole = loss_parts(points, targets, assign(points, targets), 0.1)
    alone = [loss_of_image(points, targets, image) for image in range(3)]
    for name, value in whole.items():
        torch.testing.assert_close(value, torch.stack([part[name] for part in alone]).mean(), rtol=1e-4, atol=1e-5)


def loss_of_image(points: Points, targets: Tensor, image: int) -> dict[str, Tensor]:
    part = points._replace(
        corners=points.corners[image : image + 1],
        objectness=points.objectness[image : image + 1],
        classes=points.classes[image : image + 1],
    )
    own = targets[targets[:, 0] == image].clone()
    own[:, 0] = 0
    matches: Matches = assign(part, own)
    return loss_parts(part, own, matches, 0.1)


@pytest.mark.parametrize("name", ["yolox-darknet-tiny", "yolox-darknet53"])
def test_a_step_reaches_every_parameter_with_boxes_and_without(name: str) -> None:
    model = detector(name)
    for targets in (SOME_BOXES, boxes()):
        with torch.autocast("cpu", torch.bfloat16):
            parts = model(torch.rand(2, 3, 96, 64), targets)
        sum(parts.values()).backward()
        assert set(parts) == {"box", "objectness", "class"}
        assert all(part.dtype == torch.float32 and part.isfinite() for part in parts.values())
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
        model.zero_grad(set_to_none=True)


def test_detections_are_boxes_in_input_pixels_by_falling_score() -> None:
    model = detector(score_threshold=0.0, max_detections=9).eval()
    with torch.inference_mode():
        found = model(torch.rand(2, 3, 64, 64))
    for rows in found:
        assert 0 < len(rows) <= 9
        assert (rows[:, 4].diff() <= 0).all()
        assert set(rows[:, 5].tolist()) <= {0.0, 1.0, 2.0}
        # A fresh head says a box of two strides, 16 at least, around its point.
        assert (rows[:, 2] - rows[:, 0]).min() > 12


def test_heads_are_as_wide_as_asked_for() -> None:
    model = build(Model(name="yolox-darknet-tiny", head_width=24), 3, eval=Eval())
    assert {head.stem.conv.out_channels for head in model.heads} == {24}
    with torch.inference_mode():
        assert len(model.eval()(torch.rand(2, 3, 64, 64))) == 2
    with pytest.raises(ConfigError, match="head_width: yolov3 has one width"):
        load({"model": {"name": "yolov3", "head_width": 24}})


def test_a_fresh_head_gives_a_box_of_ordinary_size_several_points() -> None:
    """45 x 55 pixels, a red blood cell of BCCD at 256."""
    model = detector()
    target = boxes((0, 0, 128, 128, 45, 55, 0))
    with torch.inference_mode():
        points = model.predict(torch.rand(1, 3, 256, 256))
    assert int(assign(points, target).trained.sum()) >= 3


def test_it_learns_two_boxes_by_heart() -> None:
    model = detector(score_threshold=0.01)
    torch.manual_seed(0)
    images = torch.rand(1, 3, 64, 64) * 0.2
    images[0, 0, 10:30, 10:40] = 1
    images[0, 1, 36:60, 20:52] = 1
    targets = boxes((0, 1, 25, 20, 30, 20, 0), (0, 2, 36, 48, 32, 24, 0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.3
    for _ in range(31):
        optimizer.zero_grad()
        sum(model(images, targets).values()).backward()
        optimizer.step()

    with torch.inference_mode():
        rows = model.eval()(images)[0]

    for label, box in ((1, [10.0, 10, 40, 30]), (2, [20.0, 36, 52, 60])):
        best = rows[rows[:, 5] == label][:1, :4]
        assert box_iou(best, torch.tensor([box])) > 0.5
