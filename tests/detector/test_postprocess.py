"""From logits to detections, against plain loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from detector.config import Eval
from detector.models.decode import Prediction, decode
from detector.models.postprocess import detections, suppress

CLASSES = 3
ANCHORS = {32: ((40.0, 30.0), (60.0, 70.0)), 16: ((10.0, 14.0), (20.0, 30.0))}


def predictions(seed: int, images: int = 3, loud: float = 1.5, steps: int = 0) -> list[Prediction]:
    """Random predictions on 64 x 96 inputs; `steps` rounds the logits so that scores tie."""
    draw = np.random.default_rng(seed)
    heads = []
    for stride, anchors in ANCHORS.items():
        logits = loud * draw.normal(0, 1, (images, len(anchors), 5 + CLASSES, 64 // stride, 96 // stride))
        logits = np.round(logits * steps) / steps if steps else logits
        mask = torch.arange(len(anchors))
        heads.append(Prediction(torch.tensor(logits, dtype=torch.float32), torch.tensor(anchors), mask, stride))
    return heads


def sigmoid(x: Tensor) -> float:
    return 1 / (1 + math.exp(-float(x)))


def iou(a: list[float], b: list[float]) -> float:
    across = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    down = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - across * down
    return across * down / union if union else math.nan


def slow_detections(heads: list[Prediction], image: int, rule: Eval) -> list[list[float]]:
    """Detections of one image, cell by cell and pair by pair."""
    rows = []
    for logits, anchors, _, stride in heads:
        for slot, row, column in np.ndindex(logits.shape[1], *logits.shape[3:]):
            cell = logits[image, slot, :, row, column]
            cx, cy = (column + sigmoid(cell[0])) * stride, (row + sigmoid(cell[1])) * stride
            width, height = (float(anchors[slot, i]) * math.exp(cell[2 + i]) for i in range(2))
            box = [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]
            for label in range(CLASSES):
                score = sigmoid(cell[4]) * sigmoid(cell[5 + label])
                if score > rule.score_threshold:
                    rows.append([*box, score, label])
    return greedy(sorted(rows, key=lambda row: -row[4]), rule.nms_iou)[: rule.max_detections]


def greedy(rows: list[list[float]], limit: float) -> list[list[float]]:
    kept: list[list[float]] = []
    for row in rows:
        if not any(row[5] == other[5] and iou(row, other) > limit for other in kept):
            kept.append(row)
    return kept


def test_a_logit_of_zero_is_the_middle_of_its_cell_at_the_anchors_size() -> None:
    logits = torch.zeros(1, 1, 8, 2, 3)
    edges = decode(Prediction(logits, torch.tensor([[40.0, 20.0]]), torch.tensor([0]), 32))
    assert [edge[0, 0, 1, 2].item() for edge in edges] == [80 - 20, 48 - 10, 80 + 20, 48 + 10]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    threshold=st.sampled_from([0.0, 0.05, 0.3, 0.99]),
    nms_iou=st.sampled_from([0.0, 0.2, 0.45, 1.0]),
    most=st.sampled_from([1, 5, 100]),
)
def test_detections_are_those_of_plain_loops(seed: int, threshold: float, nms_iou: float, most: int) -> None:
    heads, rule = predictions(seed), Eval(score_threshold=threshold, nms_iou=nms_iou, max_detections=most)
    for image, found in enumerate(detections(heads, rule)):
        expected = torch.tensor(slow_detections(heads, image, rule)).reshape(-1, 6)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), steps=st.sampled_from([0, 1, 3]))
def test_an_image_has_the_same_detections_in_every_batch(seed: int, steps: int) -> None:
    heads, rule = predictions(seed, images=4, steps=steps), Eval(max_detections=20)
    together = detections(heads, rule)
    for order in ([0], [1], [2], [3], [3, 1], [2, 2, 0]):
        apart = detections([head._replace(logits=head.logits[order]) for head in heads], rule)
        for image, found in zip(order, apart, strict=True):
            assert torch.equal(found, together[image])


def test_ties_in_score_go_to_the_coarser_scale_then_to_the_earlier_cell() -> None:
    heads = [head._replace(logits=torch.zeros_like(head.logits)) for head in predictions(0, images=1)]
    (found,) = detections(heads, Eval(nms_iou=1.0, max_detections=5))
    centres = ((found[:, 0] + found[:, 2]) / 2).tolist()
    assert found[:, 4].tolist() == [0.25] * 5
    assert found[:, 5].tolist() == [0, 1, 2, 0, 1]
    assert centres == [16, 16, 16, 48, 48]
    assert (found[:, 2] - found[:, 0]).tolist() == [40] * 5


def test_nothing_above_the_threshold_is_an_empty_table_for_each_image() -> None:
    assert [found.shape for found in detections(predictions(0), Eval(score_threshold=1.0))] == [(0, 6)] * 3


def test_only_so_many_candidates_of_the_best_scores_enter_the_suppression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detector.models.postprocess._CANDIDATES_PER_DETECTION", 1)
    heads, rule = predictions(0), Eval(score_threshold=0.0, nms_iou=0.2, max_detections=10)
    everything = Eval(score_threshold=0.0, nms_iou=1.0, max_detections=10)
    for image, found in enumerate(detections(heads, rule)):
        best = slow_detections(heads, image, everything)
        expected = torch.tensor(greedy(best, rule.nms_iou))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_wild_logits_give_finite_boxes() -> None:
    found = torch.cat(detections(predictions(0, loud=500.0), Eval()))
    assert len(found)
    assert found.isfinite().all()


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 4), threshold=st.sampled_from([0.1, 0.45, 0.8]))
def test_suppression_is_torchvisions_in_each_class_of_each_image(seed: int, classes: int, threshold: float) -> None:
    from torchvision.ops import nms

    draw = torch.Generator().manual_seed(seed)
    corner, size = torch.rand(200, 2, generator=draw) * 50, torch.rand(200, 2, generator=draw) * 40
    boxes = torch.cat((corner, corner + size), 1)
    image, label = (torch.randint(count, (200,), generator=draw) for count in (3, classes))

    kept = suppress(boxes, image, label, threshold, 200)

    for group in (torch.stack((image, label), 1).unique(dim=0))[:, None]:
        own = (torch.stack((image, label), 1) == group).all(1).nonzero().flatten()
        falling = torch.arange(len(own), 0, -1, dtype=torch.float32)
        assert own[kept[own]].tolist() == own[nms(boxes[own], falling, threshold).sort().values].tolist()


def test_suppression_keeps_at_most_its_limit_in_each_group() -> None:
    boxes = torch.arange(10.0)[:, None] * 10 + torch.tensor([0.0, 0.0, 5.0, 5.0])
    image, label = torch.tensor([0] * 6 + [1] * 4), torch.tensor([0, 1] * 5)
    kept = suppress(boxes, image, label, 0.5, 2)
    assert kept.tolist() == [True] * 4 + [False] * 2 + [True] * 4
