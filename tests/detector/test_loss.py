"""The vectorised loss against darknet's yolo_layer.c told in plain loops, cell by cell and box by box."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from detector.models.assign import covered
from detector.models.decode import Prediction, decode
from detector.models.loss import loss_parts

SIZE, CLASSES, IGNORE = 64, 3, 0.7
ANCHORS = ((8.0, 10.0), (12.0, 24.0), (20.0, 18.0), (30.0, 28.0), (40.0, 50.0))
# Anchor 3 belongs to both scales and anchor 0 to none: darknet trains both, or nothing.
MASKS = {32: (3, 4), 16: (1, 2, 3)}


class Box(NamedTuple):
    """A row of targets."""

    image: int
    label: int
    cx: float
    cy: float
    width: float
    height: float
    crowd: bool

    @property
    def has_area(self) -> bool:
        return self.width > 0 and self.height > 0


class Reference(NamedTuple):
    """What the slow loops say: the loss parts, and darknet's delta of every logit, which is minus its gradient."""

    box: float
    objectness: float
    classes: float
    deltas: dict[int, np.ndarray]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cross_entropy(logit: float, target: float) -> float:
    return math.log1p(math.exp(-abs(logit))) + max(logit, 0) - logit * target


def intersection(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Of two boxes given as cx, cy, width, height."""
    across = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    down = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    return max(across, 0) * max(down, 0)


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    shared = intersection(a, b)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared) if shared else 0.0


def shape_iou(box: Box, anchor: tuple[float, float]) -> float:
    return iou((0, 0, box.width, box.height), (0, 0, *anchor))


def predicted(cell: np.ndarray, anchor: tuple[float, float], row: int, column: int, stride: int) -> tuple[float, ...]:
    x, y, log_width, log_height = (float(value) for value in cell[:4])
    return (
        (column + sigmoid(x)) * stride,
        (row + sigmoid(y)) * stride,
        anchor[0] * math.exp(log_width),
        anchor[1] * math.exp(log_height),
    )


def reference(logits: dict[int, np.ndarray], boxes: list[Box]) -> Reference:
    """`forward_yolo_layer`, with crowds added, and the loss that belongs to its deltas."""
    box = objectness = classes = 0.0
    deltas = {stride: np.zeros_like(maps) for stride, maps in logits.items()}
    for stride, maps in logits.items():
        box_of, class_of, objectness_of = {}, {}, {}
        for image, slot, row, column in np.ndindex(*maps.shape[:2], *maps.shape[3:]):
            cell, delta = (array[image, slot, :, row, column] for array in (maps, deltas[stride]))
            guess = predicted(cell, ANCHORS[MASKS[stride][slot]], row, column, stride)
            if not is_excused(guess, [b for b in boxes if b.image == image]):
                delta[4] = 0 - sigmoid(cell[4])
                objectness_of[image, slot, row, column] = cross_entropy(cell[4], 0)
        for b in boxes:
            best = max(range(len(ANCHORS)), key=lambda n: shape_iou(b, ANCHORS[n]))
            inside = 0 <= b.cx <= SIZE and 0 <= b.cy <= SIZE
            if b.crowd or not b.has_area or not inside or best not in MASKS[stride]:
                continue
            slot = MASKS[stride].index(best)
            row, column = (min(int(centre / stride), SIZE // stride - 1) for centre in (b.cy, b.cx))
            where = b.image, slot, row, column
            cell, delta = (array[b.image, slot, :, row, column] for array in (maps, deltas[stride]))
            # Darknet cuts boxes at the image's edge, so that their share never passes 1.
            weight = 2 - min(b.width * b.height / SIZE**2, 1)
            tx, ty = b.cx / stride - column, b.cy / stride - row
            tw, th = math.log(b.width / ANCHORS[best][0]), math.log(b.height / ANCHORS[best][1])
            delta[:2] = weight * (tx - sigmoid(cell[0])), weight * (ty - sigmoid(cell[1]))
            delta[2:4] = weight * (tw - cell[2]), weight * (th - cell[3])
            box_of[where] = weight * (
                cross_entropy(cell[0], tx)
                + cross_entropy(cell[1], ty)
                + ((tw - cell[2]) ** 2 + (th - cell[3]) ** 2) / 2
            )
            delta[4] = 1 - sigmoid(cell[4])
            objectness_of[where] = cross_entropy(cell[4], 1)
            class_of.setdefault(where, set()).add(b.label)
            if len(class_of[where]) > 1 or delta[5:].any():
                delta[5 + b.label] = 1 - sigmoid(cell[5 + b.label])
            else:
                delta[5:] = [(n == b.label) - sigmoid(cell[5 + n]) for n in range(CLASSES)]
        box += sum(box_of.values())
        objectness += sum(objectness_of.values())
        for (image, slot, row, column), labels in class_of.items():
            cell = maps[image, slot, 5:, row, column]
            classes += sum(cross_entropy(cell[n], n in labels) for n in range(CLASSES))
    return Reference(box, objectness, classes, deltas)


def is_excused(guess: tuple[float, ...], boxes: list[Box]) -> bool:
    """Whether a cell's box overlaps a ground truth so well, or lies so deep in a crowd, that it is no negative."""
    for b in boxes:
        overlap = iou(guess, b[2:6])
        inside = intersection(guess, b[2:6]) / (guess[2] * guess[3])
        value, limit = (inside, 0.5) if b.crowd else (overlap, IGNORE)
        assume(abs(value - limit) > 1e-4)
        if value > limit:
            return True
    return False


def predictions(logits: dict[int, np.ndarray]) -> list[Prediction]:
    anchors = torch.tensor(ANCHORS)
    return [
        Prediction(torch.tensor(maps, dtype=torch.float32), anchors[list(MASKS[stride])], mask(stride), stride)
        for stride, maps in logits.items()
    ]


def mask(stride: int) -> Tensor:
    return torch.tensor(MASKS[stride])


def random_logits(seed: int, images: int) -> dict[int, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {
        stride: draw.normal(0, 1, (images, len(masked), 5 + CLASSES, SIZE // stride, SIZE // stride)) * 0.7
        for stride, masked in MASKS.items()
    }


def targets(boxes: list[Box]) -> Tensor:
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 7)


def loss(heads: list[Prediction], boxes: list[Box]) -> dict[str, Tensor]:
    return loss_parts(heads, targets(boxes), torch.tensor(ANCHORS), IGNORE)


def assert_as_darknet(logits: dict[int, np.ndarray], boxes: list[Box]) -> None:
    heads = predictions(logits)
    for head in heads:
        head.logits.requires_grad_()
    images = heads[0].logits.shape[0]
    expected = reference(logits, boxes)

    parts = loss(heads, boxes)
    sum(parts.values()).backward()

    assert parts["box"].item() == pytest.approx(expected.box / images, rel=1e-4, abs=1e-5)
    assert parts["objectness"].item() == pytest.approx(expected.objectness / images, rel=1e-4)
    assert parts["class"].item() == pytest.approx(expected.classes / images, rel=1e-4, abs=1e-5)
    for head, delta in zip(heads, expected.deltas.values(), strict=True):
        np.testing.assert_allclose(head.logits.grad.numpy(), -delta / images, rtol=1e-4, atol=1e-5)


# Halves of pixels, off the anchors' sizes; -4 and 68 lie outside of the image, 0 and 64 on its edge.
centres = st.integers(-8, 136).map(lambda half: half / 2)
sizes = st.one_of(st.just(0.0), st.integers(1, 120).map(lambda half: half / 2 + 0.13))
any_box = st.builds(Box, st.integers(0, 1), st.integers(0, CLASSES - 1), centres, centres, sizes, sizes, st.booleans())


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), boxes=st.lists(any_box, max_size=8))
def test_loss_and_gradients_are_darknets(seed: int, boxes: list[Box]) -> None:
    assert_as_darknet(random_logits(seed, 2), boxes)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    labels=st.lists(st.integers(0, CLASSES - 1), min_size=2, max_size=6),
    others=st.lists(any_box, max_size=3),
)
def test_of_several_boxes_in_a_cell_the_last_gives_the_box_and_all_give_classes(
    seed: int, labels: list[int], others: list[Box]
) -> None:
    crowd_out = [Box(1, label, 33 + n / 2, 40, 29 + n / 4, 28, False) for n, label in enumerate(labels)]
    assert_as_darknet(random_logits(seed, 2), [*crowd_out[:1], *others, *crowd_out[1:]])


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), cell=st.integers(0, 2 * 3 * 16 - 1), shift=st.floats(-3, 3), crowd=st.booleans())
def test_well_placed_predictions_and_those_in_a_crowd_are_no_negatives(
    seed: int, cell: int, shift: float, crowd: bool
) -> None:
    logits = random_logits(seed, 2)
    edges = decode(predictions(logits)[1])
    left, top, right, bottom = (edge.flatten()[cell].item() for edge in edges)
    box = Box(cell // 48, 0, (left + right) / 2 + shift, (top + bottom) / 2, right - left, bottom - top, crowd)
    assume(abs(shift) < 0.05 * (right - left))

    excused = covered(edges, targets([box]), IGNORE)

    assert excused.flatten()[cell] == 1
    assert_as_darknet(logits, [box])


@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [Box(0, 0, 20, 20, 0, 0, False)],
        [Box(0, 0, 20, 20, 0, 30, False), Box(1, 0, 20, 20, 30, 0, True)],
        [Box(0, 0, 32, 32, 64, 64, True)],
        [Box(0, 0, 200, 20, 30, 30, False), Box(0, 0, 20, -1, 30, 30, False)],
    ],
    ids=["none", "a point", "lines", "a crowd", "outside"],
)
def test_boxes_that_train_nothing_leave_a_finite_loss_without_positives(boxes: list[Box]) -> None:
    heads = predictions(random_logits(0, 2))
    for head in heads:
        head.logits.requires_grad_()
    parts = loss(heads, boxes)
    sum(parts.values()).backward()
    assert parts["box"] == parts["class"] == 0
    assert parts["objectness"].isfinite()
    for head in heads:
        assert head.logits.grad.isfinite().all()
        assert (head.logits.grad[:, :, 5:] == 0).all()


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), boxes=st.lists(any_box, max_size=8))
def test_the_loss_of_a_batch_is_the_mean_of_those_of_its_halves(seed: int, boxes: list[Box]) -> None:
    whole = predictions(random_logits(seed, 2))
    first, second = ([head._replace(logits=head.logits[i : i + 1]) for head in whole] for i in range(2))
    expected = [
        loss(first, [b for b in boxes if b.image == 0]),
        loss(second, [b._replace(image=0) for b in boxes if b.image == 1]),
    ]
    for name, part in loss(whole, boxes).items():
        torch.testing.assert_close(part, (expected[0][name] + expected[1][name]) / 2, rtol=1e-5, atol=1e-5)


def test_comparing_in_small_portions_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    rows = np.column_stack([draw.integers(0, 2, 50), draw.integers(0, CLASSES, 50), draw.uniform(0, SIZE, (50, 4))])
    boxes = [Box(int(row[0]), int(row[1]), *row[2:], crowd=bool(n % 5 == 0)) for n, row in enumerate(rows)]
    edges = decode(predictions(random_logits(0, 2))[1])
    whole = covered(edges, targets(boxes), 0.3)
    monkeypatch.setattr("detector.models.assign._PAIRS", 100)
    assert whole.sum() > 10
    assert torch.equal(covered(edges, targets(boxes), 0.3), whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_get_their_gradients_in_half_precision(dtype: torch.dtype) -> None:
    boxes = [Box(0, 1, 20, 30, 25, 24, False), Box(1, 2, 50, 10, 12, 20, False), Box(1, 0, 5, 5, 0, 0, False)]
    exact = predictions(random_logits(0, 2))
    half = [head._replace(logits=head.logits.to(dtype)) for head in exact]
    for head in (*exact, *half):
        head.logits.requires_grad_()
    for heads in (exact, half):
        sum(loss(heads, boxes).values()).backward()
    for one, other in zip(exact, half, strict=True):
        assert other.logits.grad.dtype == dtype
        torch.testing.assert_close(other.logits.grad.float(), one.logits.grad, rtol=0.02, atol=0.02)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_wild_logits_give_no_nan(seed: int) -> None:
    heads = predictions({stride: 300 * maps for stride, maps in random_logits(seed, 2).items()})
    for head in heads:
        head.logits.requires_grad_()
    sum(loss(heads, [Box(0, 1, 20, 30, 25, 24, False), Box(1, 0, 30, 30, 60, 60, True)]).values()).backward()
    assert all(head.logits.grad.isfinite().all() for head in heads)


def test_smoothed_class_targets_stand_that_far_from_0_and_1() -> None:
    """One box in one cell: the class part is the cross-entropy of its logits with the targets of the docstring."""
    heads = predictions(random_logits(3, 1))
    box = Box(0, 1, 20, 30, 25, 24, False)
    plain, smoothed = (
        loss_parts(heads, targets([box]), torch.tensor(ANCHORS), IGNORE, smoothing)["class"].item()
        for smoothing in (0.0, 0.2)
    )
    cells = [
        head.logits[0, anchor, 5:, int(box.cy // head.stride), int(box.cx // head.stride)]
        for head in heads
        for anchor, number in enumerate(head.mask.tolist())
        if number == 3
    ]
    expected = {
        smoothing: sum(
            cross_entropy(value, 1 - smoothing / 2 if label == box.label else smoothing / 2)
            for cell in cells
            for label, value in enumerate(cell.tolist())
        )
        for smoothing in (0.0, 0.2)
    }
    assert len(cells) == 2
    assert (plain, smoothed) == pytest.approx((expected[0.0], expected[0.2]), rel=1e-5)
    assert abs(plain - smoothed) > 1e-3
