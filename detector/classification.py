"""The task of telling the class of an image: folders of classes, a classifier, top-1 and top-5."""

from collections.abc import Sequence

from torch.utils.data import DataLoader

from detector.batch import ClassBatch
from detector.config import Train
from detector.data.class_batches import class_eval_loader, class_train_loader
from detector.data.index import Int64
from detector.evaluation import classes
from detector.evaluation import run as evaluation
from detector.evaluation.run import Progress
from detector.journal import Journal
from detector.learner import Learner
from detector.models import Detector
from detector.models.classifier import Classifier
from detector.processes import Ranks
from detector.records import Evaluation
from detector.splits import open_folders, workers


class Classification:
    """See `detector.task.Task`."""

    def __init__(self, config: Train, ranks: Ranks, journal: Journal) -> None:
        self.config, self.ranks = config, ranks
        self.train, self.val = open_folders(config.data, ranks)
        if ranks.is_first:
            counts = f"{len(self.train)} images to train on, {len(self.val)} to evaluate on"
            journal.say(f"{config.data.root}: {counts}, {len(self.classes)} classes")

    @property
    def images(self) -> int:
        return len(self.train)

    @property
    def classes(self) -> Sequence[str]:
        return self.train.classes

    def model(self) -> Detector:
        return Classifier(self.config.model, len(self.classes))

    def train_loader(self, start_step: int, accumulate: int) -> DataLoader[ClassBatch]:
        return class_train_loader(
            self.train,
            self.config,
            rank=self.ranks.rank,
            world=self.ranks.world,
            start_step=start_step,
            workers=workers(self.config, self.ranks),
            gpu=self.ranks.device.type == "cuda",
            accumulate=accumulate,
        )

    def look(self, learner: Learner, going: Progress) -> list[Int64] | None:
        loader = class_eval_loader(
            self.val,
            self.config,
            rank=self.ranks.rank,
            world=self.ranks.world,
            workers=workers(self.config, self.ranks),
            gpu=self.ranks.device.type == "cuda",
        )
        return evaluation.look(learner, loader, classes.ranks_of, going)

    def gathered(self, found: list[Int64]) -> list[Int64]:
        return [each for part in self.ranks.gather(found) for each in part]

    def judge(self, whole: list[Int64], *, epoch: int, step: int, started: float) -> Evaluation:
        return classes.record(whole, self.val, self.config, epoch=epoch, step=step, started=started)
