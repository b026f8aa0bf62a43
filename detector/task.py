"""What the training loop knows of what is learnt: two tasks behind one contract."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch.utils.data import DataLoader

from detector.config import Train
from detector.evaluation.run import Progress
from detector.journal import Journal
from detector.learner import Learner
from detector.models import Detector
from detector.processes import Ranks
from detector.records import Evaluation


class Task(Protocol):
    """Data, model and judgement of one run on one rank; every method but `judge` is called on all ranks alike."""

    @property
    def images(self) -> int:
        """Images of the train split."""

    @property
    def classes(self) -> Sequence[str]:
        """Names by label."""

    def model(self) -> Detector:
        """A fresh model."""

    def train_loader(self, start_step: int, accumulate: int) -> DataLoader[Any]:
        """This rank's micro-batches from a step to the end of training."""

    def look(self, learner: Learner, going: Progress) -> list[Any] | None:
        """What this rank finds in its share of the val split; `None` where `going` said to stop."""

    def gathered(self, found: list[Any]) -> Any:
        """What all ranks found, on rank 0."""

    def judge(self, whole: Any, *, epoch: int, step: int, started: float) -> Evaluation:
        """The record of what all ranks found, by rank 0 alone; `started` is when they began, on the monotonic clock."""


def open_task(config: Train, ranks: Ranks, journal: Journal) -> Task:
    """Open the data that a configuration names for its task.

    Raises:
        UserError: the data cannot be used.
    """
    if config.task == "classify":
        from detector.classification import Classification

        return Classification(config, ranks, journal)
    from detector.detection import Detection

    return Detection(config, ranks, journal)
