"""torchvision's detectors behind the trainer's contract, and its weights in them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from detector.batch import Batch
from detector.config import TORCHVISION, ConfigError, Eval, Model, load
from detector.errors import UserError
from detector.evaluation.detections import of_batch
from detector.models import Detector, build
from detector.models.torchvision_detectors import FAMILIES
from detector.models.weights import initialise


def detector(name: str, num_classes: int = 3, *, init: str = "scratch", **rule: float) -> Detector:
    torch.manual_seed(0)
    return build(Model(name=name, init=init), num_classes, eval=Eval(**rule))


def unfilled(name: str, num_classes: int, *, init: str) -> Detector:
    """A network of zeros, which takes no time to make."""
    with torch.device("meta"):
        model = detector(name, num_classes, init=init)
    return model.to_empty(device="cpu")


def boxes(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 7)


SOME_BOXES = boxes((0, 1, 30, 40, 20, 30, 0), (0, 2, 60, 20, 50, 10, 0), (1, 0, 40, 40, 60, 70, 0))
NOTHING = boxes((0, 1, 30, 40, 20, 30, 1), (1, 0, 40, 40, 0, 70, 0))


# SSD's last maps need an input of 288 pixels.
SIDE = {"ssd": 288}


@pytest.mark.parametrize("name", TORCHVISION)
def test_steps_reach_every_parameter_that_is_not_frozen_and_detections_land_in_the_original_image(name: str) -> None:
    """DistributedDataParallel waits for every gradient; a crowd and a box without area are no boxes."""
    model, side = detector(name, score_threshold=0.0, max_detections=7), SIDE.get(name, 64)
    for targets in (SOME_BOXES, NOTHING):
        parts = model(torch.rand(2, 3, side, side), targets)
        sum(parts.values()).backward()

        assert all(part.dtype == torch.float32 and part.ndim == 0 and part.isfinite() for part in parts.values())
        assert [key for key, value in model.named_parameters() if value.grad is None] == []
        model.zero_grad(set_to_none=True)

    with torch.inference_mode():
        found = model.eval()(torch.rand(2, 3, side, side))

    for rows in found:
        assert rows.dtype == torch.float32
        assert 0 < len(rows) <= 7
        assert (rows[:, 4].diff() <= 0).all()
        assert set(rows[:, 5].tolist()) <= {0.0, 1.0, 2.0}
        assert (rows[:, :4] >= 0).all()
        assert (rows[:, :4] <= side).all()
    # Photos twice as large and half as high as wide, letterboxed.
    whole = of_batch(found, letterboxed(side), np.array([10, 20, 30]))
    assert (whole.bbox[:, 1] + whole.bbox[:, 3] <= side + 1e-3).all()
    rows = np.concatenate([each.numpy() for each in found])
    assert np.allclose(whole.bbox[:, 0], 2 * rows[:, 0], atol=1e-3)
    assert np.allclose(whole.bbox[:, 1], (2 * rows[:, 1] - side / 2).clip(0, side), atol=1e-3)


def letterboxed(side: int) -> Batch:
    return Batch(
        images=torch.zeros(2, 3, side, side, dtype=torch.uint8),
        targets=boxes(),
        image_ids=torch.tensor([5, 9]),
        placements=torch.tensor([[0.5, 0.5, 0.0, side / 4]] * 2),
        sizes=torch.tensor([[2.0 * side, 1.0 * side]] * 2),
    )


def test_autocast_leaves_anchors_boxes_and_losses_in_float32() -> None:
    model, images = detector("retinanet", score_threshold=0.0), torch.rand(2, 3, 64, 96)
    exact = model(images, SOME_BOXES)
    seen = []
    model.net.anchor_generator.register_forward_hook(lambda _, __, anchors: seen.extend(anchors))

    with torch.autocast("cpu", torch.bfloat16):
        parts = model(images, SOME_BOXES)

    assert {anchors.dtype for anchors in seen} == {torch.float32}
    for key, part in parts.items():
        assert part.dtype == torch.float32
        torch.testing.assert_close(part, exact[key], rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", TORCHVISION)
def test_weights_for_cocos_91_ids_become_the_80_classes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    family = FAMILIES[name]
    with torch.device("meta"):
        shapes = family.network(weights=None, weights_backbone=None, num_classes=91).state_dict()
    theirs = {key: torch.rand(value.shape) for key, value in shapes.items()}
    cached = tmp_path / "hub" / "checkpoints" / Path(family.weights.url).name
    cached.parent.mkdir(parents=True)
    torch.save(theirs, cached)
    model = unfilled(name, 80, init="torchvision")

    line = initialise(model, "torchvision")

    assert line.startswith(f"torchvision's {cached.name}: ")
    assert "fresh" not in line
    ours = model.net.state_dict()
    # The last of COCO's ids is 90, a toothbrush; the 66th of its 80 classes is a mouse, with the id 74.
    for key in ("head.classification_head.cls_logits.weight", "head.classification_head.module_list.2.bias"):
        if key in ours:
            got, given = ours[key].unflatten(0, (-1, 80 + family.background)), theirs[key].unflatten(0, (-1, 91))
            assert torch.equal(got[:, -1], given[:, 90])
            assert torch.equal(got[:, 64 + family.background], given[:, 74])
    if name == "fasterrcnn":
        key = "roi_heads.box_predictor.cls_score.weight"
        assert torch.equal(ours[key][65], theirs[key][74])
        got, given = (state["roi_heads.box_predictor.bbox_pred.bias"].view(-1, 4) for state in (ours, theirs))
        assert torch.equal(got[80], given[90])
    other = unfilled(name, 5, init=str(cached))
    assert "class layers fresh" in initialise(other, str(cached))
    backbone = {key: value for key, value in other.net.state_dict().items() if key.startswith("backbone.")}
    assert all(torch.equal(value, theirs[key]) for key, value in backbone.items() if "tracked" not in key)


def test_a_backbone_trained_on_imagenet_comes_in_frozen_where_torchvision_freezes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import resnet50

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = detector("retinanet", init="torchvision-backbone")
    with pytest.raises(ConfigError, match="not in its cache") as caught:
        initialise(model, "torchvision-backbone")
    assert "https://download.pytorch.org/models/resnet50" in caught.value.hint
    cached = tmp_path / "hub" / "checkpoints" / Path(FAMILIES["retinanet"].backbone_weights.url).name
    cached.parent.mkdir(parents=True)
    theirs = resnet50(weights=None)
    torch.save(theirs.state_dict(), cached)

    initialise(model, "torchvision-backbone")

    body = model.net.backbone.body
    assert torch.equal(body.layer4[2].conv3.weight, theirs.layer4[2].conv3.weight)
    assert torch.equal(body.bn1.running_var, theirs.bn1.running_var)
    trained = {key for key, value in model.named_parameters() if value.requires_grad}
    assert not any("layer1" in key or "bn" in key for key in trained)
    assert any("layer2" in key for key in trained)
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="is of another model"):
        initialise(model, str(tmp_path / "other.pth"))


def test_a_backbone_alone_that_torchvision_does_not_offer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.init"):
        initialise(detector("ssdlite"), "torchvision-backbone")


def test_an_input_too_small_for_ssds_last_maps_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="256 is too small for ssd") as caught:
        load({"model": {"name": "ssd"}, "data": {"image_size": 256}})
    assert "288" in caught.value.hint
