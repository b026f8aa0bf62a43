"""What a run has learnt, ready for use. Reads its folder."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from detector import checkpoint
from detector.config import Train
from detector.errors import UserError
from detector.models import Detector, build
from detector.models.classifier import Classifier
from detector.records import Evaluation
from detector.train import read_config


class Trained(NamedTuple):
    """A run's best checkpoint.

    Attributes:
        model: averaged where the run averages.
        settings: the run's configuration.
        classes: names by label.
        step: optimizer steps that it had made.
        evaluation: one of the run's, which has the classes' ids.
    """

    model: Detector
    settings: Train
    classes: tuple[str, ...]
    step: int
    evaluation: Evaluation


def best(run: Path) -> Trained:
    """Load a run's best checkpoint.

    Raises:
        UserError: the run has none yet, or it cannot be read.
    """
    path, records = run / "checkpoints" / "best.pt", sorted((run / "eval").glob("epoch_*.json"))
    if not (path.is_file() and records):
        raise UserError(f"{run} has no evaluated checkpoint yet", "it has one after its first evaluation")
    state, settings = checkpoint.load(path), read_config(run / "config.json")
    classes = tuple(state["classes"])
    model = _model(settings, len(classes))
    model.load_state_dict(state["average"] if "average" in state else state["model"])
    evaluation = msgspec.json.decode(records[-1].read_bytes(), type=Evaluation)
    return Trained(model, settings, classes, int(state["step"]), evaluation)


def _model(settings: Train, classes: int) -> Detector:
    if settings.task == "classify":
        return Classifier(settings.model, classes)
    return build(settings.model, classes, eval=settings.eval)
