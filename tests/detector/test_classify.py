"""A backbone is pretrained through the same loop, records and commands as a detector, and goes into one."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest
import torch
from class_folder import CLASSES, packed, write_classes
from command import Detrun
from torch import nn
from torchrun import checkpoint, differences, prepare

from detector import config
from detector.config import ConfigError, Eval, Model
from detector.control import Control
from detector.loop import Trainer
from detector.models import build
from detector.models.classifier import Classifier
from detector.models.weights import initialise
from detector.processes import Ranks
from detector.records import Evaluation
from detector.train import read_config

SETTINGS = {
    "task": "classify",
    "model__name": "darknet-tiny",
    "data__image_size": 32,
    "data__workers": 1,
    "optim__batch_size": 9,
    "optim__lr": 3e-3,
    "epochs": 3,
    "augment__crop_area": [0.3, 1.0],
}


pytestmark = pytest.mark.usefixtures("_signals")


class StopAt(Control):
    """Tells its rank to stop after so many batches, those of evaluations too, as a scheduler's signal does."""

    def __init__(self, batches: int) -> None:
        super().__init__(0, 0)
        self.left = batches

    def beat(self) -> None:
        self.left -= 1
        self._stop = self.left == 0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    return packed(write_classes(folder / "unpacked"), folder / "classes.tar")


def train(run: Path, stop_at: int = 0) -> str:
    return Trainer(run, read_config(run / "config.json"), Ranks(), StopAt(stop_at)).go()


@pytest.fixture(scope="module")
def pretrained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    run = prepare(tmp_path_factory.mktemp("runs") / "calm", data, **SETTINGS)
    assert train(run) == "done"
    return run


def test_colours_are_learnt_and_every_record_is_there(pretrained: Path, data: Path) -> None:
    paths = sorted((pretrained / "eval").glob("epoch_*.json"))
    last = msgspec.json.decode(paths[-1].read_bytes(), type=Evaluation)
    assert [path.name for path in paths] == [f"epoch_000{epoch}.json" for epoch in (1, 2, 3)]
    assert last.metrics["top1"] * 12 in range(13)
    assert last.metrics["top5"] == 1.0
    assert [each.name for each in last.per_class] == list(CLASSES)
    assert (last.ground_truth.path, last.ground_truth.images, last.step) == (str(data), 12, 12)
    rows = [json.loads(line) for line in (pretrained / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert all(row["losses"] == {"class": row["loss"]} for row in rows)
    assert sum(row["loss"] for row in rows[8:]) < 0.7 * sum(row["loss"] for row in rows[:4])
    best = torch.load(pretrained / "checkpoints" / "best.pt", weights_only=True)
    assert best["classes"] == list(CLASSES)


def test_a_classifier_stopped_in_the_middle_of_an_epoch_resumes_to_the_same_bits(
    pretrained: Path, data: Path, tmp_path: Path
) -> None:
    run = prepare(tmp_path / "stopped", data, **SETTINGS)
    assert train(run, stop_at=4 + 3 + 2) == "stopped"
    assert 4 < checkpoint(run)["step"] < 8
    assert train(run) == "done"
    assert differences(checkpoint(pretrained), checkpoint(run)) == []
    metrics = [json.loads((each / "eval/epoch_0003.json").read_text())["metrics"] for each in (pretrained, run)]
    assert metrics[0] == metrics[1]


def test_a_detector_takes_the_backbone_of_a_classifier(pretrained: Path) -> None:
    best = pretrained / "checkpoints" / "best.pt"
    theirs = torch.load(best, weights_only=True)["model"]
    detector = build(Model(name="yolov3-tiny"), 4, eval=Eval())
    heads = {key: value.clone() for key, value in detector.state_dict().items() if not key.startswith("backbone.")}
    said = initialise(detector, str(best))
    ours = detector.state_dict()
    backbone = [key for key in ours if key.startswith("backbone.")]
    assert len(backbone) == 7 * 6
    assert all(torch.equal(ours[key], theirs[key]) for key in backbone)
    assert all(torch.equal(ours[key], value) for key, value in heads.items())
    assert said == "checkpoint best.pt: the 42 tensors of its backbone, all others fresh"


def test_a_detector_with_another_backbone_refuses_it(pretrained: Path) -> None:
    detector = build(Model(name="yolov3"), 4, eval=Eval())
    with pytest.raises(config.UserError, match=r"best\.pt is a classifier on another backbone") as caught:
        initialise(detector, str(pretrained / "checkpoints" / "best.pt"))
    assert "`darknet-tiny` fits `yolov3-tiny` and `yolox-darknet-tiny`" in caught.value.hint


def test_a_classifier_of_other_classes_goes_on_with_a_fresh_last_layer(pretrained: Path) -> None:
    best = pretrained / "checkpoints" / "best.pt"
    theirs = torch.load(best, weights_only=True)["model"]
    model = Classifier(Model(name="darknet-tiny"), 5)
    fresh = model.classifier.weight.detach().clone()
    assert "heads fresh" in initialise(model, str(best))
    assert torch.equal(model.state_dict()["backbone.convs.0.conv.weight"], theirs["backbone.convs.0.conv.weight"])
    assert torch.equal(model.classifier.weight, fresh)


def test_a_classifiers_smoothed_targets_share_some_of_their_weight_among_all_classes() -> None:
    """Szegedy et al. 2016, section 7: (1 - s) of the label and s / C of each class."""
    torch.manual_seed(0)
    model, images = Classifier(Model(name="darknet-tiny", label_smoothing=0.3), 5), torch.rand(3, 3, 64, 64)
    nn.init.normal_(model.classifier.weight, std=1.0)
    labels = torch.tensor([4, 0, -100])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    loss = model(images, labels)["class"].item()
    logs = model.eval()(images).log_softmax(1)
    expected = -sum(0.7 * logs[at, label] + 0.3 * logs[at].mean() for at, label in ((0, 4), (1, 0))) / 3
    assert loss == pytest.approx(expected.item(), rel=1e-4)
    assert loss != pytest.approx(-(logs[0, 4] + logs[1, 0]).item() / 3, rel=1e-2)


@pytest.mark.parametrize(
    ("table", "key", "said", "hint"),
    [
        ({"task": "classify"}, "model.name", "`yolov3` is no classifier", "`darknet-tiny`"),
        ({"model": {"name": "darknet53"}}, "model.name", "`darknet53` is a classifier", "task=classify"),
        ({"task": "classify", "data": {"cache": "ram"}}, "data.cache", "decoded each time", "`none`"),
    ],
)
def test_what_belongs_to_the_other_task_is_refused(table: dict[str, object], key: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        config.load(table)
    assert caught.value.key == key
    assert hint in caught.value.hint


@pytest.mark.torchrun
def test_a_backbone_is_pretrained_compared_and_put_into_a_detector_by_commands_alone(
    detrun: Detrun, data: Path
) -> None:
    small = ("--on", "local", "--procs", "2", "--set", f"data.root={data}", "--set", "data.image_size=32")
    first = detrun.submit(*small, "--set", "precision=bf16", recipe="darknet-tiny-imagenet")[0]["id"]
    second = detrun.submit("--on", "local", "--set", "model.init=@darknet-tiny-imagenet", epochs=1)[0]["id"]
    row = detrun.wait(second, "done", "failed", timeout_s=300)
    assert row["state"] == "done", detrun.logs(second)
    assert "checkpoint best.pt: the 42 tensors of its backbone" in detrun.logs(second)

    metrics = detrun.status(first)[0]["metrics"]
    assert 0 <= metrics["top1"] <= metrics["top5"] == 1
    assert metrics["AP"] is None
    table = detrun("status").stdout
    assert f"\ttop1={metrics['top1']!r}\t" in table
    assert f"evaluation   top1 {metrics['top1']:.3f}"[:17] in detrun("status", first).stdout

    other = _copy(detrun, first, "darknet-tiny-imagenet-000000", top1=metrics["top1"] + 0.25)
    report = detrun.json("report", "darknet-tiny-imagenet")
    assert report["iou_type"] == "class"
    assert {run["id"]: run["metrics"]["top1"] for run in report["runs"]} == {
        first: metrics["top1"],
        other: metrics["top1"] + 0.25,
    }
    assert [abs(arm["deltas"].get("top1") or 0) for arm in report["arms"]] in ([0.25, 0], [0, 0.25])
    for form in ("md", "csv", "latex"):
        shown = detrun("report", "darknet-tiny-imagenet", "-o", form).stdout
        assert "top1" in shown
        assert "top5" in shown
        assert "AP50" not in shown
    detrun("report", "-o", "html", "--per-class", "--ci", "--errors", "--out", "page.html")
    # Beside a detector a classifier is named as what cannot be ranked.
    assert "no bbox evaluation" in detrun("report", "-o", "md").stdout + detrun("report", "-o", "json").stdout


def _copy(detrun: Detrun, run: str, name: str, *, top1: float) -> str:
    """The same run with another rate and another result."""
    folder = shutil.copytree(detrun.runs / run, detrun.runs / name, symlinks=True)
    for file, change in (
        (folder / "run.json", {"id": name}),
        (folder / "config.json", {"optim": {"lr": 0.5}}),
        (folder / "eval/epoch_0002.json", {"metrics": {"top1": top1, "top5": 1.0}}),
    ):
        content = json.loads(file.read_text())
        file.write_text(json.dumps({**content, **{key: _merged(content[key], value) for key, value in change.items()}}))
    return name


def _merged(old: object, new: object) -> object:
    return {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new
