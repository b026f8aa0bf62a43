"""A run becomes an ONNX file that says what torch says, with what a reader needs to know in it."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from class_folder import CLASSES, write_classes
from command import Detrun
from torch import nn
from torchrun import prepare

from detector import checkpoint
from detector.config import CLASSIFIERS, Eval, Model
from detector.data.loader import ImageBatches
from detector.data.read import read_split
from detector.data.sampler import EvalSampler
from detector.errors import UserError
from detector.export import TOLERANCES, export
from detector.models import Detector, build
from detector.models.classifier import Classifier
from detector.models.dense import dense
from detector.records import OF_CLASSES, ClassMetrics, Engine, Evaluation, GroundTruth
from detector.train import read_config


def network(name: str, classes: int) -> Detector:
    """A model that has not learnt, with statistics and biases of its own, so that its outputs differ by image."""
    torch.manual_seed(1)
    config = Model(name=name)  # type: ignore[arg-type]
    model = (
        Classifier(config, classes)
        if name in CLASSIFIERS
        else build(config, classes, eval=Eval(score_threshold=1e-5 if name.startswith("yolo") else 5e-3))
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return model


def trained(folder: Path, data: Path, name: str, classes: tuple[str, ...], **overrides: Any) -> Path:
    """A run's folder as it is behind an evaluation."""
    run = prepare(folder, data, model__name=name, **overrides)
    state = {"model": network(name, len(classes)).state_dict(), "classes": list(classes), "step": 8}
    checkpoint.save(run / "checkpoints" / "best.pt", state)
    (run / "eval").mkdir()
    evaluation = Evaluation(
        t=0,
        epoch=2,
        epochs=2,
        step=8,
        iou_type=OF_CLASSES,
        metrics={},
        per_class=[ClassMetrics(id=label, name=each, metrics={}) for label, each in enumerate(classes)],
        engine=Engine(name="none", version="0"),
        ground_truth=GroundTruth(path="", sha256="", images=0, annotations=0, categories=len(classes)),
        image_size=64,
        max_detections=0,
        detections="",
        inference_s=0,
        evaluation_s=0,
    )
    (run / "eval" / "epoch_0002.json").write_bytes(msgspec.json.encode(evaluation))
    (run / "run.json").write_text("{}")
    return run


def real_batch(run: Path) -> torch.Tensor:
    """Images of the val split as an evaluation shows them."""
    settings = read_config(run / "config.json")
    index = read_split(settings.data, "val").index
    batches = ImageBatches(index, settings, train=False)
    return batches[next(iter(EvalSampler(images=len(index), config=settings)))].images.float() / 255


def said_by(path: Path, images: torch.Tensor) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images.numpy()}), strict=True))


@pytest.mark.parametrize("name", ["yolov3-tiny", "yolox-darknet-tiny", "retinanet", "fcos", "ssdlite"])
def test_what_a_detector_finds_is_among_what_its_dense_network_says(name: str) -> None:
    model = network(name, 3).eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    with torch.inference_mode():
        found, (boxes, scores) = model(images), dense(model, 64)(images)

    assert boxes.shape[:2] == scores.shape[:2]
    assert scores.shape[2] == 3
    for rows, all_boxes, all_scores in zip(found, boxes, scores, strict=True):
        assert len(rows) > 0
        assert rows[0, 4].item() == pytest.approx(all_scores.max().item(), rel=1e-4)
        for row in rows[:20]:
            same_score = (all_scores[:, int(row[5])] - row[4]).abs() < 1e-5
            same_box = ((all_boxes - row[:4]).abs() < 1e-2 * (1 + row[:4].abs())).all(1)
            assert (same_score & same_box).any()


def test_a_run_is_exported_by_command_with_all_that_a_reader_needs(detrun: Detrun, tmp_path: Path, tiny: Path) -> None:
    run = trained(tmp_path / "run", tiny, "yolov3-tiny", ("red", "green"))

    told = detrun.json("export", str(run), "--onnx")

    path = tmp_path / "run.onnx"
    assert told["file"] == path.name
    assert told["outputs"] == {"boxes": [60, 4], "scores": [60, 2]}
    assert all(told["differences"][name] <= TOLERANCES[name] for name in TOLERANCES)
    file = onnx.load(path)
    onnx.checker.check_model(file, full_check=True)
    known = {each.key: each.value for each in file.metadata_props}
    assert [each.version for each in file.opset_import if each.domain == ""] == [told["opset"]] == [18]
    assert (json.loads(known["classes"]), known["image_size"], known["step"]) == (["red", "green"], "64", "8")
    assert "[0, 1]" in known["images"]
    assert "grey" in known["images"]
    images = real_batch(run)
    with torch.inference_mode():
        boxes, scores = dense(network("yolov3-tiny", 2), 64)(images)
    said = said_by(path, images)
    assert len(images) == 4
    assert np.allclose(said["boxes"], boxes, atol=0.05, rtol=1e-4)
    assert np.allclose(said["scores"], scores, atol=1e-5)
    assert not list(tmp_path.glob("*.partial"))


def test_a_run_of_the_anchor_free_family_is_exported(tmp_path: Path, tiny: Path) -> None:
    run = trained(tmp_path / "run", tiny, "yolox-darknet-tiny", ("red", "green"))
    done = export(run, tmp_path / "x.onnx")
    assert done.outputs == {"boxes": (84, 4), "scores": (84, 2)}
    assert done.lines()[1].startswith("largest difference to torch over 4 images: boxes ")
    said = said_by(tmp_path / "x.onnx", real_batch(run)[:3])
    assert said["boxes"].shape == (3, 84, 4)


def test_a_classifier_is_exported_as_probabilities(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data")
    run = trained(tmp_path / "run", data, "darknet-tiny", CLASSES, task="classify", data__image_size=32)
    done = export(run, tmp_path / "x.onnx")
    scores = said_by(tmp_path / "x.onnx", torch.rand(5, 3, 32, 32))["scores"]
    assert done.outputs == {"scores": (3,)}
    assert done.classes == CLASSES
    assert scores.shape == (5, 3)
    assert np.allclose(scores.sum(1), 1)


def test_a_file_that_says_something_else_than_torch_does_not_stay(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data")
    run = trained(tmp_path / "run", data, "darknet-tiny", CLASSES, task="classify", data__image_size=32)
    with pytest.raises(UserError, match=r"onnxruntime and torch differ: scores by .*; no file written"):
        export(run, tmp_path / "x.onnx", tolerances={"scores": -1.0})
    assert not list(tmp_path.glob("x.onnx*"))


def test_a_missing_package_is_named_with_the_extra_that_has_it(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="needs onnxruntime, not installed here") as caught:
        export(prepare(tmp_path / "run", tiny), tmp_path / "x.onnx")
    assert "detrun[export]" in caught.value.hint


def test_data_that_is_not_there_any_more_can_be_named_elsewhere(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = shutil.copytree(tiny, tmp_path / "data")
    run = trained(tmp_path / "run", moved, "yolov3-tiny", ("red", "green"))
    shutil.rmtree(moved)
    with pytest.raises(UserError, match=r"checked on the run's val split, and data\.root: no folder") as caught:
        export(run, tmp_path / "x.onnx")
    assert "DETRUN_DATA_ROOT" in caught.value.hint

    monkeypatch.setenv("DETRUN_DATA_ROOT", str(tiny))
    with pytest.raises(UserError, match=r"cannot write .*no/x\.onnx: No such file or directory"):
        export(run, tmp_path / "no" / "x.onnx")


def test_a_detector_of_two_stages_is_refused_with_what_runs_it() -> None:
    with pytest.raises(UserError, match="fasterrcnn cannot be exported") as caught:
        dense(network("fasterrcnn", 2), 64)
    assert "detrun predict" in caught.value.hint
