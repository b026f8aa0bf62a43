"""The founding experiment in small: a detector from scratch, and on a backbone pretrained here, in few epochs.

Pretrained on twenty classes of Tiny-ImageNet, trained on BCCD at 256 px; three seeds each, one run after the other on
this machine's cores, in their fastest precision. Takes an hour and a half, most of it with DarkNet-53.
"""

from pathlib import Path
from typing import NamedTuple

import local_runs
from command import Detrun

PRETRAINING, EPOCHS = "darknet-tiny-imagenet", 5
_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


class Trial(NamedTuple):
    """A backbone, pretrained for some epochs, and a recipe whose settings train the detector on it."""

    backbone: str
    pretraining_epochs: int
    recipe: str
    detector: str


# The second is the paper's detector with the settings of its smaller one.
TRIALS = (
    Trial("darknet-tiny", 20, "yolox-darknet-tiny-bccd", "yolox-darknet-tiny"),
    Trial("darknet53", 10, "yolov3-tiny-bccd", "yolov3"),
)


def run() -> None:
    if not _DATA.is_dir():
        print(f"{_DATA} is missing: nothing measured")
        return
    for trial in TRIALS:
        with local_runs.fresh(_DATA / "bccd") as detrun:
            _compare(detrun, trial)


def _compare(detrun: Detrun, trial: Trial) -> None:
    precision = local_runs.precisions()[-1]
    keys = {"precision": precision, "epochs": trial.pretraining_epochs, "model__name": trial.backbone}
    (backbone,) = local_runs.train(detrun, PRETRAINING, _DATA / "tiny-imagenet-20.tar", **keys)
    print(f"{trial.backbone} in {precision}: top-1 {backbone.score:.3f} in {backbone.whole_s:.0f} s", flush=True)
    starts = ("scratch", f"@{PRETRAINING}")
    keys = {"precision": precision, "epochs": EPOCHS, "model__name": trial.detector, "model__init": starts}
    runs = local_runs.train(detrun, trial.recipe, detrun.data, "--seeds", "3", **keys)
    scratch = [run for run in runs if run.overrides["model.init"] == "scratch"]
    print(local_runs.row(f"{trial.detector}, scratch", scratch), flush=True)
    print(local_runs.row(f"{trial.detector}, pretrained", [run for run in runs if run not in scratch]), flush=True)
